"""The host's and the plugin's end for programs that run on asyncio."""

from moby_plugins.app.aio.serving import AsyncPluginApp
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
from moby_plugins.domain.async_http import AsyncRequest, AsyncResponse

__all__ = [
    "AsyncAuthZPlugin",
    "AsyncGraphDriver",
    "AsyncIpamDriver",
    "AsyncLogDriver",
    "AsyncMetricsCollector",
    "AsyncNetworkDriver",
    "AsyncPluginApp",
    "AsyncRequest",
    "AsyncResponse",
    "AsyncSecretProvider",
    "AsyncSubsystem",
    "AsyncVolumeDriver",
    "awaited",
    "streamed",
]
