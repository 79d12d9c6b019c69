"""The life of a managed plugin: the process that an engine runs in a container.

``moby-plugins package`` writes a program that ends in ``serve_managed``, and asks it what the
plugin is, by a variable of its environment.
"""

import logging
import os
from typing import cast

from moby_plugins.adapters.server import managed_process
from moby_plugins.app.hosting import serve_unix, server_maker
from moby_plugins.app.parts import Part
from moby_plugins.app.plugin_server import DRAIN, Metrics
from moby_plugins.app.serving import as_app, is_async_app
from moby_plugins.domain.async_http import AsyncApp, AsyncRequest
from moby_plugins.domain.errors import SettingsError
from moby_plugins.domain.http import MAX_INFLIGHT_BYTES, MAX_REQUEST_BYTES, App, Request
from moby_plugins.domain.json import first_value, fold_keys
from moby_plugins.domain.plugin import Manifest, check_plugin_name
from moby_plugins.domain.plugin_config import DESCRIBE, SOCKETS, Description, socket_concern
from moby_plugins.domain.text import shown
from moby_plugins.platforms import check_platform

# Of an app's answer to the handshake.
MAX_MANIFEST_BYTES = 1 << 20


def serve_managed(
    app: App | AsyncApp | Part | type[Part],
    name: str = "plugin",
    *,
    drain: float = DRAIN,
    max_request_bytes: int = MAX_REQUEST_BYTES,
    max_inflight_bytes: int = MAX_INFLIGHT_BYTES,
    metrics: Metrics | None = None,
) -> None:
    """Serve ``app`` as a managed plugin, in the container that its engine runs, until a signal.

    The socket is ``/run/docker/plugins/NAME.sock``, as ``config.json`` has it. Lines of what is
    printed and logged are bounded, because an engine stops reading at a long one; without
    handlers of its own the log goes to standard output, warnings and errors to standard error.
    Where this is process 1, it waits for processes whose parents ended, and goes on in a child:
    call it before threads are started. Otherwise it serves as ``serve_unix`` does. Asked by
    ``moby-plugins package`` what the plugin is, it says so on standard output and returns.

    Args:
        app: What answers: an app, an implementation of a subsystem, or its class.
        name: What the socket is called, without ``.sock``: 17 bytes at most.
        drain: Seconds that running calls have to end.
        max_request_bytes: How much of one request is read at once.
        max_inflight_bytes: How much all requests keep together.
        metrics: Answers ``/metrics`` and ``/health`` at an address of its own; hosts see that of a
            container only with ``--host-network``.

    Raises:
        SettingsError: For a name that is too long for an engine, and a missing library.
        InvalidPluginNameError: For a name that is none.
        TypeError: For what is no app.
        SpecError: Where it cannot listen there.

    Examples:
        ```text
        from moby_plugins.serving import serve_managed

        serve_managed(Shelves(), "shelf")
        ```
    """
    served, socket = as_app(app), f"{check_plugin_name(name)}.sock"
    if concern := socket_concern(socket):
        raise SettingsError(f"no engine can reach the plugin's socket: {concern}")
    if os.environ.get(DESCRIBE):
        server_maker(served, max_request_bytes, max_inflight_bytes)  # it is there, too
        print(Description(_implemented(served), socket).line(), flush=True)  # noqa: T201
        return
    check_platform("a managed plugin's process")
    managed_process.log_to_engine(logging.INFO)
    managed_process.leave_reaping_to_process_one()
    serve_unix(
        served,
        name,
        sockets_path=SOCKETS,
        drain=drain,
        max_request_bytes=max_request_bytes,
        max_inflight_bytes=max_inflight_bytes,
        metrics=metrics,
    )


def _implemented(app: App | AsyncApp) -> tuple[str, ...]:
    if is_async_app(app):
        import asyncio

        told = asyncio.run(_awaited_handshake(cast("AsyncApp", app)))
    else:
        response = cast("App", app)(Request("Plugin.Activate"))
        try:
            told = response.body.read(MAX_MANIFEST_BYTES)
        finally:
            response.body.close()
    try:
        return Manifest(fold_keys(first_value(told))["implements"]).implements
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise SettingsError(
            f"the app does not answer Plugin.Activate with what it implements: {shown(error)}"
        ) from error


async def _awaited_handshake(app: AsyncApp) -> bytes:
    response = await app(AsyncRequest("Plugin.Activate"))
    try:
        return await response.body.read(MAX_MANIFEST_BYTES)
    finally:
        await response.aclose()
