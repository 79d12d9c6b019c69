"""The command ``moby-plugins serve``, which serves a Python plugin named as ``MODULE:APP``."""

import logging
import math
import os
import re
import sys
import threading
from contextlib import ExitStack
from importlib import import_module
from types import TracebackType
from typing import Any, TypeAlias, cast

import click

from moby_plugins import Observer, PluginError, Settings, SettingsError, SpecError
from moby_plugins.app.config import observers_of
from moby_plugins.app.listening import SOCKET_MODE
from moby_plugins.app.plugin_server import DRAIN
from moby_plugins.app.serving import AccessLog, as_app, is_async_app
from moby_plugins.app.subsystem import Described
from moby_plugins.cli.interrupts import told_of_signals
from moby_plugins.cli.options import Decorator, with_config
from moby_plugins.cli.reloading import Sources, show_error, watch_for
from moby_plugins.domain.async_http import AsyncApp
from moby_plugins.domain.http import App
from moby_plugins.domain.plugin import Manifest
from moby_plugins.domain.text import quoted, shown
from moby_plugins.serving import (
    MetricsServer,
    PluginServer,
    ServerTLS,
    observed,
    plugin_server_tcp,
    plugin_server_unix,
    stopped_by_signals,
)

Served: TypeAlias = App | AsyncApp
# The exit status after an exception of the plugin's module, as of Python itself.
FAILED = 1
_MODE = re.compile("(0o?)?[0-7]{1,3}")


def app_argument(
    context: click.Context, __: click.Parameter, text: str
) -> tuple[str, Served] | None:
    """Return the module's name and the application.

    Without ``--reload``, ``click.BadParameter`` is raised if there is no such module or
    application, and an exception of the module ends the command with status 1, after the part of
    its traceback that is not of this library. With ``--reload``, the error is printed too, and the
    command restarts once a file has changed. While a shell completes a line, nothing is imported.
    """
    if context.resilient_parsing:
        return None
    directory = os.getcwd()  # an error of its own if it was removed
    if directory not in sys.path:
        sys.path.insert(0, directory)  # as with ``python -m``, for the installed script too
    try:
        return _app_of(text)
    except Exception as error:
        sources: Sources | None = context.params.get("sources")
        if sources is None and isinstance(error, (click.ClickException, PluginError)):
            raise
        show_error(error.with_traceback(_own_part(error.__traceback__)))
        if sources is None:
            context.exit(FAILED)
        print("moby-plugins: waiting for a change", file=sys.stderr, flush=True)
        sources.wait()
        sources.restart()


def _app_of(text: str) -> tuple[str, Served]:
    module, colon, path = text.partition(":")
    if not (module and colon and path) or module.startswith("."):
        named = quoted(text)
        raise click.BadParameter(f"{named} is not of the form MODULE:APP, such as plugin:app")
    return module, _as_app(text, _attribute(module, path))


def _own_part(traceback: TracebackType | None) -> TracebackType | None:
    """Return a traceback from the first frame on that belongs neither here nor to the import."""
    while traceback is not None:
        module = str(traceback.tb_frame.f_globals.get("__name__"))
        if module != __name__ and module.partition(".")[0] not in {
            "importlib",
            "_frozen_importlib",
        }:
            break
        traceback = traceback.tb_next
    return traceback


def _attribute(module: str, path: str) -> Any:
    try:
        value: Any = import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise
        near = (
            f"; did you mean {quoted(module.removesuffix('.py'))}?" if module[-3:] == ".py" else ""
        )
        missing = f"there is no module {quoted(error.name)} here or installed{near}"
        raise click.BadParameter(missing) from error
    except SystemExit as error:
        how = f"SystemExit({quoted(error.code)})"
        raise click.ClickException(f"importing {shown(module)} ends the program: {how}") from error
    for name in path.split("."):
        if not hasattr(value, name):
            offer = _offer(import_module(module))
            raise click.BadParameter(f"{shown(module)} has no {quoted(path)}; {offer}")
        value = getattr(value, name)
    return value


def _offer(module: object) -> str:
    own = {name: thing for name, thing in vars(module).items() if _is_own(thing, module)}
    names = sorted(name for name in own if not name.startswith("_"))
    return f"it has {', '.join(names)}" if names else "it has nothing that could be served"


def _is_own(thing: object, module: object) -> bool:
    if isinstance(thing, type):
        return issubclass(thing, Described) and thing.__module__ == vars(module)["__name__"]
    # ``manifest`` identifies sync and async apps without an import of asyncio.
    return isinstance(thing, Described) or isinstance(getattr(thing, "manifest", None), Manifest)


def _as_app(name: str, value: Any) -> Served:
    try:
        return as_app(value)
    except TypeError as error:
        raise click.BadParameter(f"{shown(name)} cannot be served: {shown(error)}") from error


def _octal(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    # int() alone would also accept a sign, spaces and underscores.
    if not _MODE.fullmatch(value):
        raise click.BadParameter(f"{quoted(value)} is not a file mode such as 660")
    return int(value, 8)


def _seconds(_: click.Context, __: click.Parameter, value: float) -> float:
    if math.isnan(value):
        raise click.BadParameter("nan is not a number of seconds")
    if not 0 <= value <= threading.TIMEOUT_MAX:
        raise click.BadParameter(f"{value} is not in the range 0<=x<={threading.TIMEOUT_MAX}.")
    return value


with_drain: Decorator = click.option(
    "--drain",
    type=float,
    default=DRAIN,
    metavar="SECONDS",
    callback=_seconds,
    help=f"Seconds for running calls to end.  [default: {DRAIN:g}]",
)


# No "Example:" heading: with it the help would not fit a screen of 24 lines.
@click.command(epilog="\b\nmoby-plugins serve shelves:app --name shelf --tcp 127.0.0.1:9000")
@click.argument("app", metavar="MODULE:APP", callback=app_argument)
@click.option("--name", metavar="NAME", help="The plugin's name.  [default: the module's]")
@click.option("--group", metavar="GROUP", help="The group that may use the socket.")
@click.option(
    "--mode", callback=_octal, metavar="MODE", help="The socket's file mode.  [default: 660]"
)
@click.option("--tcp", metavar="HOST:PORT", help="Listen on TCP, and write a spec for it.")
@with_drain
@click.option("--tls-cert", "cert_file", metavar="FILE", help="The certificate for TLS.")
@click.option("--tls-key", "key_file", metavar="FILE", help="The certificate's private key.")
@click.option(
    "--tls-ca", "ca_file", metavar="FILE", help="The CA by which hosts verify the certificate."
)
@click.option(
    "--client-ca",
    "client_ca_file",
    metavar="FILE",
    help="The CA that must have signed a host's certificate.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error", "critical"], case_sensitive=False),
    default="info",
    metavar="LEVEL",
    help="The lowest level that is logged.  [default: info]",
)
@click.option(
    "--observer",
    "observers",
    multiple=True,
    metavar="NAME",
    help="An observer, such as prometheus; repeatable.",
)
@click.option(
    "--metrics",
    metavar="[HOST:]PORT",
    help="Serve /metrics and /health there.",
)
@click.option("--access-log", "logs_calls", is_flag=True, help="Log a line for each call.")
@click.option(
    "--reload",
    "sources",
    is_flag=True,
    is_eager=True,
    callback=watch_for,
    help="Restart when a source file changes.",
)
@with_config
def serve(
    app: tuple[str, Served],
    name: str | None,
    group: str | None,
    mode: int | None,
    tcp: str | None,
    drain: float,
    log_level: str,
    observers: tuple[str, ...],
    metrics: str | None,
    logs_calls: bool,
    sources: Sources | None,
    settings: Settings,
    **tls: str | None,
) -> None:
    """Serve APP (a PluginApp, a subsystem or a function) until SIGTERM or Ctrl-C."""
    module, application = app
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=log_level.upper())
    # The access log is requested by its own option, so the level does not apply to it.
    logging.getLogger("moby_plugins.access").setLevel(logging.INFO)
    what = ", ".join(_implemented(application))
    more: list[str | Observer] = [*observers]
    if metrics is not None:
        more.append("prometheus")
    if logs_calls:
        more.append(AccessLog())
    application = _observed(application, (*settings.observers, *more))
    beside = None if metrics is None else MetricsServer(metrics)
    name = name or module.rpartition(".")[2]
    tls_files = {key: path for key, path in tls.items() if path}
    if tcp is None:
        if tls_files:
            raise click.UsageError("TLS needs --tcp: a UNIX socket is served in plain text")
        server = plugin_server_unix(
            application,
            name,
            sockets_path=settings.sockets_path,
            mode=SOCKET_MODE if mode is None else mode,
            group=group,
            drain=drain,
            metrics=beside,
        )
    else:
        if not (mode is None and group is None):
            raise click.UsageError("--mode and --group are for a UNIX socket, not for --tcp")
        server = plugin_server_tcp(
            application,
            name,
            tcp,
            tls=_server_tls(tls_files),
            specs_path=_specs_path(settings),
            drain=drain,
            metrics=beside,
        )
    _run(server, what, sources)
    if sources is not None and sources.has_reported:
        sources.restart()


def _observed(app: Served, observers: tuple[str | Observer, ...]) -> Served:
    named = Settings(observers=observers)
    if not named.observers:
        return app
    those = observers_of(named, ())
    if is_async_app(app):
        from moby_plugins.app.aio.serving import observed as async_observed

        return async_observed(cast("AsyncApp", app), those)
    return observed(cast("App", app), those)


def _implemented(app: Served) -> tuple[str, ...]:
    manifest = getattr(app, "manifest", None)
    return manifest.implements if isinstance(manifest, Manifest) else ("a function",)


def _run(server: PluginServer, what: str, sources: Sources | None) -> None:
    with stopped_by_signals(server), ExitStack() as stack:
        try:
            stack.enter_context(server)
        except SpecError:
            if not server.stop_requested():
                raise
            return  # asked to stop while it waited for another server's socket
        print(f"serving {what} at {server.addr}", file=sys.stderr, flush=True)
        if sources is not None:
            stack.enter_context(told_of_signals(sources.cancel))
            stack.enter_context(sources.watched(server.request_stop))
        server.run()


def _server_tls(tls_files: dict[str, str]) -> ServerTLS | None:
    if not tls_files:
        return None
    if not tls_files.keys() >= {"cert_file", "key_file"}:
        raise click.UsageError("TLS needs both --tls-cert and --tls-key")
    return ServerTLS(**tls_files)


def _specs_path(settings: Settings) -> str:
    if not settings.specs_paths:
        raise SettingsError(
            "hosts find a plugin on TCP by its spec file, but the setting specs_paths is empty:"
            " add a directory to it"
        )
    return settings.specs_paths[0]
