"""Options and arguments of several commands, and the client of the plugin that they name."""

import os
from collections.abc import Callable
from typing import Any, TypeAlias

import click
from attrs import evolve

from moby_plugins import (
    Client,
    Plugin,
    PluginError,
    Settings,
    SpecError,
    new_client,
    new_local_discovery,
)
from moby_plugins.cli.errors import ACTIVATE
from moby_plugins.domain.address import Address, of_path
from moby_plugins.domain.address import is_address as has_scheme
from moby_plugins.domain.plugin import check_protocol, is_plugin_name
from moby_plugins.domain.retry import is_seconds
from moby_plugins.domain.text import quoted, shown

# Seconds in which an engine has to tell of its plugins while a shell completes a name.
COMPLETION = 1.0
Decorator: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]


_ENGINE = "moby_plugins.engine"


def _settings(context: click.Context, _: click.Parameter, path: str | None) -> Settings:
    settings = Settings.from_env() if path is None else Settings.load(path)
    engine = context.meta.get(_ENGINE)
    return settings if engine is None else evolve(settings, engine=engine)


def _engine(context: click.Context, _: click.Parameter, given: str | None) -> None:
    context.meta[_ENGINE] = given


_with_file: Decorator = click.option(
    "--config",
    "settings",
    metavar="FILE",
    type=click.Path(),
    callback=_settings,
    help="Settings from a TOML file, not the environment.",
)
# Read before the other, which needs it.
_with_engine: Decorator = click.option(
    "--engine",
    metavar="ADDRESS",
    callback=_engine,
    expose_value=False,
    is_eager=True,
    help="An engine, for its managed plugins too.",
)


def with_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options ``--config`` and ``--engine``: the argument ``settings``."""
    decorated: Callable[..., Any] = _with_file(_with_engine(command))
    return decorated


with_json: Decorator = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def with_timeout(default: float | None, help_text: str) -> Decorator:
    """The option ``--timeout``: a positive number of seconds, or ``default``."""
    told = "" if default is None else f"  [default: {default:g}]"
    return click.option(
        "--timeout",
        metavar="SECONDS",
        type=float,
        default=default,
        callback=_positive,
        help=f"{help_text}{told}",
    )


def _positive(_: click.Context, __: click.Parameter, given: float | None) -> float | None:
    if given is not None and not is_seconds(given):
        raise click.BadParameter(f"{given:g} is no positive number of seconds")
    return given


def example(*lines: str) -> str:
    """The end of a command's help: how to call it, line by line."""
    heading = "Example:" if len(lines) == 1 else "Examples:"
    return "\n".join(["\b", heading, *(f"  {line}" for line in lines)])


def plugin_names(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The names that a look-up finds and that begin so; none where they cannot be read."""
    try:
        settings = context.params.get("settings") or Settings.from_env()
        # A shell waits for it.
        names = new_local_discovery(evolve(settings, activation_timeout=COMPLETION)).scan()
    except PluginError:
        return []
    # A shell reads one name a line, and shows it as it is.
    return [name for name in names if name.startswith(incomplete) and name.isprintable()]


def methods(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """The methods that engines call and that begin so."""
    from moby_plugins.subsystems import ENGINE_SUBSYSTEMS

    known = {remote.method for kind in ENGINE_SUBSYSTEMS for remote in kind.remotes.values()}
    return sorted(name for name in known | {ACTIVATE} if name.startswith(incomplete))


def subsystems(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """The subsystems that engines speak, as manifests name them, and that begin so."""
    from moby_plugins.subsystems import ENGINE_SUBSYSTEMS

    known = (kind.implements for kind in ENGINE_SUBSYSTEMS)
    return sorted(name for name in known if name.startswith(incomplete))


with_target: Decorator = click.argument(
    "target", metavar="NAME|ADDRESS", shell_complete=plugin_names
)


def is_address(target: str) -> bool:
    """Whether ``target`` is an address, and no name: by its scheme, or as a path.

    Raises ``SpecError`` for a relative path that was given for an address.
    """
    if target.startswith(("./", "../")):
        meant = shown(of_path(os.path.abspath(target)))
        raise SpecError(
            f"{quoted(target)} is not a plugin name, and no address; did you mean {meant}?"
        )
    return target.startswith("/") or has_scheme(target)


def plugin_at(address: str) -> Plugin:
    """The plugin at ``address``, which is called as its socket or its host is.

    Raises ``SpecError``.
    """
    where = Address(address)
    called = where.host or os.path.basename(where.path).removesuffix(".sock")
    return Plugin(called if is_plugin_name(called) else "plugin", address)


def client_of(target: str, settings: Settings) -> Client:
    """A client of ``target``, to be closed by the caller.

    Raises what the look-up of a name raises, and ``SpecError``.
    """
    if is_address(target):
        return new_client(target, settings=settings)
    plugin = check_protocol(new_local_discovery(settings).lookup(target))
    return new_client(plugin.addr, plugin.tls_config, settings=settings)
