"""Options and arguments that several commands share, and clients for the plugin that is named."""

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

# Seconds to wait for an engine's list of plugins while a shell completes a name.
COMPLETION = 1.0
# The key of the value of ``--engine`` in click's context, where ``--config`` reads it.
_ENGINE = "moby_plugins.engine"
Decorator: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]


def _settings(context: click.Context, _: click.Parameter, path: str | None) -> Settings:
    settings = Settings.from_env() if path is None else Settings.load(path)
    engine = context.meta.get(_ENGINE)
    return settings if engine is None else evolve(settings, engine=engine)


def _engine(context: click.Context, _: click.Parameter, value: str | None) -> None:
    context.meta[_ENGINE] = value


with_config: Decorator = click.option(
    "--config",
    "settings",
    metavar="FILE",
    type=click.Path(readable=False),  # an error of the settings says it
    callback=_settings,
    help="Settings from a TOML file, not the environment.",
)
# Eager, since the callback of ``--config`` needs its value.
_with_engine: Decorator = click.option(
    "--engine",
    metavar="ADDRESS",
    callback=_engine,
    expose_value=False,
    is_eager=True,
    help="The engine to find or create managed plugins in.",
)


def with_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options ``--config`` and ``--engine`` to a command, as its argument ``settings``."""
    decorated: Callable[..., Any] = with_config(_with_engine(command))
    return decorated


with_json: Decorator = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def with_timeout(default: float | None, help_text: str) -> Decorator:
    """Return a decorator that adds ``--timeout``, a positive number of seconds."""
    default_text = "" if default is None else f"  [default: {default:g}]"
    return click.option(
        "--timeout",
        metavar="SECONDS",
        type=float,
        default=default,
        callback=_positive,
        help=f"{help_text}{default_text}",
    )


def _positive(_: click.Context, __: click.Parameter, value: float | None) -> float | None:
    if value is not None and not is_seconds(value):
        raise click.BadParameter(f"{value:g} is not a positive number of seconds")
    return value


def example(*lines: str) -> str:
    """Return the end of a command's help, with an example on each line."""
    heading = "Example:" if len(lines) == 1 else "Examples:"
    return "\n".join(["\b", heading, *(f"  {line}" for line in lines)])


def plugin_names(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of plugins that begin with ``incomplete``; ``[]`` if listing fails."""
    try:
        settings = context.params.get("settings") or Settings.from_env()
        # The shell waits for the result, so limit the time.
        names = new_local_discovery(evolve(settings, activation_timeout=COMPLETION)).scan()
    except PluginError:
        return []
    # A shell expects one name per line, and does not escape it.
    return [name for name in names if name.startswith(incomplete) and name.isprintable()]


def methods(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Return the methods that engines call and that begin with ``incomplete``."""
    from moby_plugins.subsystems import ENGINE_SUBSYSTEMS

    known = {remote.method for kind in ENGINE_SUBSYSTEMS for remote in kind.remotes.values()}
    return sorted(name for name in known | {ACTIVATE} if name.startswith(incomplete))


def subsystems(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of the engines' subsystems that begin with ``incomplete``."""
    from moby_plugins.subsystems import ENGINE_SUBSYSTEMS

    known = (kind.implements for kind in ENGINE_SUBSYSTEMS)
    return sorted(name for name in known if name.startswith(incomplete))


with_target: Decorator = click.argument(
    "target", metavar="NAME|ADDRESS", shell_complete=plugin_names
)


def is_address(target: str) -> bool:
    """Return whether ``target`` is an address rather than a name: it has a scheme or is a path.

    Raises ``SpecError`` for a path that begins with ``./`` or ``../``.
    """
    if target.startswith(("./", "../")):
        meant = shown(of_path(os.path.abspath(target)))
        raise SpecError(
            f"{quoted(target)} is not a plugin name, nor an address; did you mean {meant}?"
        )
    return target.startswith("/") or has_scheme(target)


def plugin_at(address: str) -> Plugin:
    """Return the plugin at ``address``, named after its socket or host.

    Raises ``SpecError`` if the address is invalid.
    """
    where = Address(address)
    called = where.host or os.path.basename(where.path).removesuffix(".sock")
    return Plugin(called if is_plugin_name(called) else "plugin", address)


def client_of(target: str, settings: Settings) -> Client:
    """Return a client of the plugin ``target``, its name or address; the caller closes the client.

    Raises ``SpecError`` for an invalid address or spec, ``PluginNotFoundError``,
    ``InvalidPluginNameError`` or ``PluginDisabledError`` for a name, and ``TransportError``,
    ``StatusError`` or ``WireError`` if the configured engine fails to look the name up.
    """
    if is_address(target):
        return new_client(target, settings=settings)
    plugin = check_protocol(new_local_discovery(settings).lookup(target))
    return new_client(plugin.addr, plugin.tls_config, settings=settings)
