"""The process of a managed plugin, which an engine runs in a container.

``moby-plugins package`` writes a program that calls ``serve_managed``. It also runs that program
with an environment variable that makes it print a description of the plugin.
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

# The most bytes of an app's response to the handshake.
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

    The socket is ``/run/docker/plugins/NAME.sock``, as in ``config.json``. The length of printed
    and logged lines is limited, because an engine stops reading at a long line. If logging is not
    configured, the log goes to standard output, and warnings and errors to standard error. If this
    process has the id 1, it reaps orphaned processes, and serves in a child process: call this
    function before starting threads. Otherwise it serves in this process. In both cases it returns
    after SIGTERM, SIGINT or SIGHUP, when running calls have ended or ``drain`` seconds have passed.
    When ``moby-plugins package`` asks for a description of the plugin, this function prints it to
    standard output and returns.

    Args:
        app: An app, an implementation of a subsystem, or the class of one.
        name: The name of the socket without ``.sock``, at most 17 bytes.
        drain: Seconds to wait for running calls after the signal; after that they are cut off.
        max_request_bytes: The most bytes of a body that the app reads whole, with ``read()``.
        max_inflight_bytes: The most bytes that the bodies of all running requests may have
            together.
        metrics: A server of ``/metrics`` and ``/health`` at an address of its own. It can be
            reached from outside the container only with ``--host-network``.

    Raises:
        SettingsError: If the name is too long for an engine, or a required library is not
            installed.
        InvalidPluginNameError: If ``name`` is not a valid name.
        TypeError: If ``app`` cannot be served.
        SpecError: If the server cannot listen at the socket.
        ValueError: If ``drain`` or a number of bytes is out of range.
        PluginError: If the server ended by itself.

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
        server_maker(served, max_request_bytes, max_inflight_bytes)  # its library is there
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

        manifest = asyncio.run(_awaited_handshake(cast("AsyncApp", app)))
    else:
        response = cast("App", app)(Request("Plugin.Activate"))
        try:
            manifest = response.body.read(MAX_MANIFEST_BYTES)
        finally:
            response.body.close()
    try:
        return Manifest(fold_keys(first_value(manifest))["implements"]).implements
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise SettingsError(
            f"the app's response to Plugin.Activate does not say what it implements: {shown(error)}"
        ) from error


async def _awaited_handshake(app: AsyncApp) -> bytes:
    response = await app(AsyncRequest("Plugin.Activate"))
    try:
        return await response.body.read(MAX_MANIFEST_BYTES)
    finally:
        await response.aclose()
