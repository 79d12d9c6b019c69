"""What ``MODULE:APP`` names, as an application that can be served."""

import os
import sys
from importlib import import_module
from typing import Any

import click

from moby_plugins.domain.http import App
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import Subsystem


def app_argument(_: click.Context, __: click.Parameter, given: str) -> tuple[str, App]:
    """The module's name and the application; what the module itself raises passes unchanged."""
    module, colon, path = given.partition(":")
    if not (module and colon and path):
        raise click.BadParameter(f"{given!r} is not of the form MODULE:APP, as in plugin:app is")
    return module, _as_app(given, _attribute(module, path))


def _attribute(module: str, path: str) -> Any:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as ``python -m`` has it, whichever way this was called
    try:
        found: Any = import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise
        raise click.BadParameter(f"there is no module {error.name!r} here or installed") from error
    for name in path.split("."):
        if not hasattr(found, name):
            raise click.BadParameter(f"{module} has no {path!r}; {_offer(import_module(module))}")
        found = getattr(found, name)
    return found


def _offer(module: object) -> str:
    own = {name: thing for name, thing in vars(module).items() if _is_own(thing, module)}
    names = sorted(name for name in own if not name.startswith("_"))
    return f"it has {', '.join(names)}" if names else "it has nothing that could be served"


def _is_own(thing: object, module: object) -> bool:
    if isinstance(thing, type):
        return issubclass(thing, Subsystem) and thing.__module__ == vars(module)["__name__"]
    return isinstance(thing, (PluginApp, Subsystem))


def _as_app(given: str, found: Any) -> App:
    try:
        if isinstance(found, type) and issubclass(found, Subsystem):
            return PluginApp(found())
        if isinstance(found, Subsystem):
            return PluginApp(found)
    except TypeError as error:
        raise click.BadParameter(f"{given} cannot be served: {error}") from error
    if isinstance(found, type) or not callable(found):
        raise click.BadParameter(
            f"{given} is {type(found).__name__!r}, and neither a PluginApp, a subsystem nor a"
            " function from Request to Response"
        )
    app: App = found
    return app
