"""Clients, registries and plugins for programs that use asyncio.

The functions that wait in ``moby_plugins`` are coroutines here; errors, settings and values are the
same.
"""

from typing import TYPE_CHECKING

from moby_plugins.deferred_names import deferred_names

if TYPE_CHECKING:  # a test compares these imports with ``__all__``
    from moby_plugins.app.aio.client import AsyncClient, AsyncStream
    from moby_plugins.app.aio.config import new_client, new_local_registry
    from moby_plugins.app.aio.hosting import asgi, serve_tcp, serve_unix
    from moby_plugins.app.aio.lead import AsyncActivePlugin
    from moby_plugins.app.aio.registry import AsyncRegistry
    from moby_plugins.app.aio.serving import AsyncPluginApp, observed
    from moby_plugins.app.aio.subsystem import AsyncSubsystem, awaited, streamed
    from moby_plugins.app.aio.subsystems import (
        AsyncAuthZPlugin,
        AsyncGraphDriver,
        AsyncIpamDriver,
        AsyncLogDriver,
        AsyncMetricsCollector,
        AsyncNetworkDriver,
        AsyncSecretProvider,
        AsyncVolumeDriver,
    )
    from moby_plugins.async_ports import AsyncConnect, AsyncTransport
    from moby_plugins.domain.async_http import AsyncBody, AsyncRequest, AsyncResponse

__all__ = [
    "AsyncActivePlugin",
    "AsyncAuthZPlugin",
    "AsyncBody",
    "AsyncClient",
    "AsyncConnect",
    "AsyncGraphDriver",
    "AsyncIpamDriver",
    "AsyncLogDriver",
    "AsyncMetricsCollector",
    "AsyncNetworkDriver",
    "AsyncPluginApp",
    "AsyncRegistry",
    "AsyncRequest",
    "AsyncResponse",
    "AsyncSecretProvider",
    "AsyncStream",
    "AsyncSubsystem",
    "AsyncTransport",
    "AsyncVolumeDriver",
    "asgi",
    "awaited",
    "new_client",
    "new_local_registry",
    "observed",
    "serve_tcp",
    "serve_unix",
    "streamed",
]

if not TYPE_CHECKING:  # a type checker would accept any name because of ``__getattr__``
    __getattr__, __dir__ = deferred_names(
        __name__,
        __all__,
        homes=(
            "domain.async_http",
            "async_ports",
            "app.aio.client",
            "app.aio.lead",
            "app.aio.registry",
            "app.aio.config",
            "app.aio.subsystem",
            "app.aio.subsystems",
            "app.aio.serving",
            "app.aio.hosting",
        ),
    )
