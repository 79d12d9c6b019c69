"""``moby-plugins serve``: serve a plugin written in Python, named as ``MODULE:APP``."""

import logging
import math
import os
import re
import sys
import threading
from importlib import import_module
from typing import Any

import click

from moby_plugins import Settings, SettingsError
from moby_plugins.app.hosting import DRAIN
from moby_plugins.cli.options import example, with_settings
from moby_plugins.domain.http import App
from moby_plugins.domain.text import quoted, shown
from moby_plugins.serving import (
    PluginApp,
    PluginServer,
    ServerTLS,
    plugin_server_tcp,
    plugin_server_unix,
    stopped_by_signals,
)
from moby_plugins.subsystems import Subsystem

_MODE = re.compile("(0o?)?[0-7]{1,3}")


def app_argument(_: click.Context, __: click.Parameter, given: str) -> tuple[str, App]:
    """The module's name and the application; what the module itself raises passes unchanged."""
    module, colon, path = given.partition(":")
    if not (module and colon and path):
        named = quoted(given)
        raise click.BadParameter(f"{named} is not of the form MODULE:APP, as in plugin:app is")
    return module, _as_app(given, _attribute(module, path))


def _attribute(module: str, path: str) -> Any:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as ``python -m`` has it, whichever way this was called
    try:
        found: Any = import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise
        missing = quoted(error.name)
        raise click.BadParameter(f"there is no module {missing} here or installed") from error
    for name in path.split("."):
        if not hasattr(found, name):
            offer = _offer(import_module(module))
            raise click.BadParameter(f"{shown(module)} has no {quoted(path)}; {offer}")
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
        raise click.BadParameter(f"{shown(given)} cannot be served: {shown(error)}") from error
    if isinstance(found, type) or not callable(found):
        raise click.BadParameter(
            f"{given} is {type(found).__name__!r}, and neither a PluginApp, a subsystem nor a"
            " function from Request to Response"
        )
    app: App = found
    return app


def _octal(_: click.Context, __: click.Parameter, given: str) -> int:
    # Not what int() takes besides: a sign, space, an underscore.
    if not _MODE.fullmatch(given):
        raise click.BadParameter(f"{quoted(given)} is no file mode such as 660")
    return int(given, 8)


def _number(_: click.Context, __: click.Parameter, given: float) -> float:
    if math.isnan(given):
        raise click.BadParameter("it is not a number")
    return given


@click.command(
    epilog=example(
        "moby-plugins serve shelves:Shelves --name shelf",
        "moby-plugins serve shelves:app --name shelf --tcp 127.0.0.1:9000",
    )
)
@click.argument("app", metavar="MODULE:APP", callback=app_argument)
@click.option("--name", help="What users call the plugin.  [default: the module's name]")
@click.option("--group", help="The group that may use the socket.")
@click.option("--mode", default="660", callback=_octal, help="The socket's mode.  [default: 660]")
@click.option("--tcp", metavar="HOST:PORT", help="Listen on TCP, and write a spec that says so.")
@click.option(
    "--drain",
    type=click.FloatRange(min=0, max=threading.TIMEOUT_MAX),
    default=DRAIN,
    show_default=True,
    metavar="SECONDS",
    callback=_number,
    help="How long running calls may go on once it is told to end.",
)
@click.option("--tls-cert", "cert_file", metavar="FILE", help="Speak TLS with this certificate,")
@click.option("--tls-key", "key_file", metavar="FILE", help="and this key.")
@click.option("--tls-ca", "ca_file", metavar="FILE", help="What hosts verify the certificate by.")
@click.option("--client-ca", "client_ca_file", metavar="FILE", help="Who signs hosts' own.")
@with_settings
def serve(
    app: tuple[str, App],
    name: str | None,
    group: str | None,
    mode: int,
    tcp: str | None,
    drain: float,
    settings: Settings,
    **tls: str | None,
) -> None:
    """Serve a plugin written in Python, until SIGTERM, SIGHUP or Ctrl-C.

    APP is a PluginApp, a subsystem's implementation or class, or a function.
    """
    module, application = app
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    name = name or module.rpartition(".")[2]
    given = {key: path for key, path in tls.items() if path}
    if tcp is None:
        if given:
            raise click.UsageError("TLS is for --tcp alone: a socket is plain text")
        server = plugin_server_unix(
            application,
            name,
            sockets_path=settings.sockets_path,
            mode=mode,
            group=group,
            drain=drain,
        )
    else:
        server = plugin_server_tcp(
            application,
            name,
            tcp,
            tls=_server_tls(given),
            specs_path=_specs_path(settings),
            drain=drain,
        )
    _run(server, application)


def _run(server: PluginServer, app: App) -> None:
    with stopped_by_signals(server), server:
        what = ", ".join(app.manifest.implements) if isinstance(app, PluginApp) else "a function"
        print(f"serving {what} at {server.addr}", file=sys.stderr, flush=True)
        server.run()


def _server_tls(given: dict[str, str]) -> ServerTLS | None:
    if not given:
        return None
    if not given.keys() >= {"cert_file", "key_file"}:
        raise click.UsageError("TLS takes both --tls-cert and --tls-key")
    return ServerTLS(**given)


def _specs_path(settings: Settings) -> str:
    if not settings.specs_paths:
        raise SettingsError("specs_paths is empty, and a plugin on TCP is found by its spec")
    return settings.specs_paths[0]
