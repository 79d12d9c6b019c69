"""Find, activate and call Docker plugins; write plugins; test hosts and plugins.

Start with ``get("name", "VolumeDriver").client.call("VolumeDriver.List", {})``. All errors of the
library derive from ``PluginError``; an invalid argument raises ``ValueError`` or ``TypeError``, and
the use of a closed object raises ``RuntimeError``. Fakes for tests are in ``moby_plugins.testing``.
The public modules are this one and ``.ports``, ``.subsystems``, ``.serving``, ``.aio``,
``.tracing``, ``.diagnosis``, ``.checks`` and ``.testing``; all others may change without notice.
"""

from typing import TYPE_CHECKING

from moby_plugins.deferred_names import deferred_names
from moby_plugins.domain import __version__

if TYPE_CHECKING:  # a test compares these imports with ``__all__``
    from moby_plugins.adapters.engine import EngineDiscovery
    from moby_plugins.adapters.first_of import FirstOf
    from moby_plugins.adapters.observing.logging import LoggingObserver
    from moby_plugins.adapters.observing.opentelemetry import OpenTelemetryObserver
    from moby_plugins.adapters.observing.prometheus import PrometheusObserver
    from moby_plugins.adapters.static import StaticDiscovery
    from moby_plugins.app.activation import ActivePlugin
    from moby_plugins.app.client import Client, Stream
    from moby_plugins.app.config import (
        connect_by_name,
        connect_by_requests,
        connect_by_scheme,
        new_client,
        new_local_discovery,
        new_local_registry,
    )
    from moby_plugins.app.default_registry import get, get_all, handle, scan, using_registry
    from moby_plugins.app.registry import Registry
    from moby_plugins.app.settings import Settings
    from moby_plugins.domain.address import TLSOptions
    from moby_plugins.domain.errors import (
        DriverError,
        InvalidPluginNameError,
        NotImplementedByPluginError,
        PluginDisabledError,
        PluginError,
        PluginNotFoundError,
        RecordingError,
        SettingsError,
        SpecError,
        StatusError,
        TransportError,
        TransportTimeoutError,
        WaitCancelledError,
        WireError,
        is_not_found,
    )
    from moby_plugins.domain.http import Request, Response
    from moby_plugins.domain.observer import Observer
    from moby_plugins.domain.plugin import (
        PROTOCOL_SCHEME_HTTP_V1,
        Candidate,
        IgnoredFile,
        Manifest,
        Plugin,
    )
    from moby_plugins.domain.retry import RetryPolicy
    from moby_plugins.ports import Cancellation

__all__ = [
    "PROTOCOL_SCHEME_HTTP_V1",
    "ActivePlugin",
    "Cancellation",
    "Candidate",
    "Client",
    "DriverError",
    "EngineDiscovery",
    "FirstOf",
    "IgnoredFile",
    "InvalidPluginNameError",
    "LoggingObserver",
    "Manifest",
    "NotImplementedByPluginError",
    "Observer",
    "OpenTelemetryObserver",
    "Plugin",
    "PluginDisabledError",
    "PluginError",
    "PluginNotFoundError",
    "PrometheusObserver",
    "RecordingError",
    "Registry",
    "Request",
    "Response",
    "RetryPolicy",
    "Settings",
    "SettingsError",
    "SpecError",
    "StaticDiscovery",
    "StatusError",
    "Stream",
    "TLSOptions",
    "TransportError",
    "TransportTimeoutError",
    "WaitCancelledError",
    "WireError",
    "__version__",
    "connect_by_name",
    "connect_by_requests",
    "connect_by_scheme",
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

if not TYPE_CHECKING:  # a type checker would accept any name because of ``__getattr__``
    __getattr__, __dir__ = deferred_names(
        __name__,
        __all__,
        homes=(
            "domain.errors",
            "domain.address",
            "domain.plugin",
            "domain.http",
            "domain.retry",
            "domain.observer",
            "ports",
            "app.client",
            "app.activation",
            "app.registry",
            "app.settings",
            "app.config",
            "app.default_registry",
            "adapters.static",
            "adapters.first_of",
            "adapters.engine",
            "adapters.observing.logging",
            "adapters.observing.opentelemetry",
            "adapters.observing.prometheus",
        ),
    )
