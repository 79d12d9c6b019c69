"""Find, activate and call Docker plugins; write them; test both ends.

Start with ``get("name", "VolumeDriver").client.call("VolumeDriver.List", {})``.
What can go wrong is drawn in ``moby_plugins.domain.errors``; fakes for tests
are in ``moby_plugins.testing``.
"""

from moby_plugins.app.activation import ActivePlugin
from moby_plugins.app.answer import Stream
from moby_plugins.app.client import Client
from moby_plugins.app.config import (
    get,
    get_all,
    handle,
    new_client,
    new_local_registry,
    scan,
)
from moby_plugins.app.registry import Registry
from moby_plugins.app.settings import Settings
from moby_plugins.domain.errors import (
    DriverError,
    InvalidPluginNameError,
    NotImplementedByPluginError,
    PluginError,
    PluginNotFoundError,
    SettingsError,
    SpecError,
    StatusError,
    TransportError,
    TransportTimeoutError,
    WireError,
    is_not_found,
)
from moby_plugins.domain.exchange import Request, Response, __version__
from moby_plugins.domain.plugin import PROTOCOL_SCHEME_HTTP_V1, Manifest, Plugin
from moby_plugins.domain.retry import RetryPolicy
from moby_plugins.domain.tls import TLSOptions

__all__ = [
    "PROTOCOL_SCHEME_HTTP_V1",
    "ActivePlugin",
    "Client",
    "DriverError",
    "InvalidPluginNameError",
    "Manifest",
    "NotImplementedByPluginError",
    "Plugin",
    "PluginError",
    "PluginNotFoundError",
    "Registry",
    "Request",
    "Response",
    "RetryPolicy",
    "Settings",
    "SettingsError",
    "SpecError",
    "StatusError",
    "Stream",
    "TLSOptions",
    "TransportError",
    "TransportTimeoutError",
    "WireError",
    "__version__",
    "get",
    "get_all",
    "handle",
    "is_not_found",
    "new_client",
    "new_local_registry",
    "scan",
]
