"""Find, activate and call Docker plugins; write them; test both ends.

Start with ``get("name", "VolumeDriver").client.call("VolumeDriver.List", {})``.
What can go wrong is drawn in ``moby_plugins.domain.errors``; fakes for tests
are in ``moby_plugins.testing``.
"""

from typing import TYPE_CHECKING

from moby_plugins.deferred_names import deferred_names
from moby_plugins.domain.version import __version__

if TYPE_CHECKING:  # what each name is, for type checkers; ``_HOMES`` is what happens
    from moby_plugins.app.activation import ActivePlugin
    from moby_plugins.app.answer import Stream
    from moby_plugins.app.client import Client
    from moby_plugins.app.config import (
        get,
        get_all,
        handle,
        new_client,
        new_local_discovery,
        new_local_registry,
        scan,
        using_registry,
    )
    from moby_plugins.app.registry import Registry
    from moby_plugins.app.settings import Settings
    from moby_plugins.domain.errors import (
        DriverError,
        InvalidPluginNameError,
        NotImplementedByPluginError,
        PluginError,
        PluginNotFoundError,
        RecordingError,
        SettingsError,
        SpecError,
        StatusError,
        TransportError,
        TransportTimeoutError,
        WireError,
        is_not_found,
    )
    from moby_plugins.domain.exchange import Request, Response
    from moby_plugins.domain.plugin import PROTOCOL_SCHEME_HTTP_V1, Manifest, Plugin
    from moby_plugins.domain.retry import RetryPolicy
    from moby_plugins.domain.sightings import Candidate, Stray
    from moby_plugins.domain.tls import TLSOptions

__all__ = [
    "PROTOCOL_SCHEME_HTTP_V1",
    "ActivePlugin",
    "Candidate",
    "Client",
    "DriverError",
    "InvalidPluginNameError",
    "Manifest",
    "NotImplementedByPluginError",
    "Plugin",
    "PluginError",
    "PluginNotFoundError",
    "RecordingError",
    "Registry",
    "Request",
    "Response",
    "RetryPolicy",
    "Settings",
    "SettingsError",
    "SpecError",
    "StatusError",
    "Stray",
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
    "new_local_discovery",
    "new_local_registry",
    "scan",
    "using_registry",
]

# Where each name lives: a module is imported with the first use of one of its names.
_HOMES = {
    "app.activation": ("ActivePlugin",),
    "app.answer": ("Stream",),
    "app.client": ("Client",),
    "app.config": (
        "get",
        "get_all",
        "handle",
        "new_client",
        "new_local_discovery",
        "new_local_registry",
        "scan",
        "using_registry",
    ),
    "app.registry": ("Registry",),
    "app.settings": ("Settings",),
    "domain.errors": (
        "DriverError",
        "InvalidPluginNameError",
        "NotImplementedByPluginError",
        "PluginError",
        "PluginNotFoundError",
        "RecordingError",
        "SettingsError",
        "SpecError",
        "StatusError",
        "TransportError",
        "TransportTimeoutError",
        "WireError",
        "is_not_found",
    ),
    "domain.exchange": (
        "Request",
        "Response",
    ),
    "domain.plugin": (
        "PROTOCOL_SCHEME_HTTP_V1",
        "Manifest",
        "Plugin",
    ),
    "domain.retry": ("RetryPolicy",),
    "domain.sightings": ("Candidate", "Stray"),
    "domain.tls": ("TLSOptions",),
}
if not TYPE_CHECKING:  # else any name would pass
    __getattr__, __dir__ = deferred_names(__name__, _HOMES)
