"""The plugin's end: applications of implemented subsystems, and servers for them."""

from moby_plugins.adapters.server.metrics_server import MetricsServer
from moby_plugins.app.hosting import (
    plugin_server_tcp,
    plugin_server_unix,
    serve_tcp,
    serve_unix,
    wsgi,
)
from moby_plugins.app.managed_hosting import serve_managed
from moby_plugins.app.plugin_server import PluginServer, stopped_by_signals
from moby_plugins.app.serving import PluginApp, observed
from moby_plugins.domain.address import ServerTLS
from moby_plugins.domain.http import NoAnswerError
from moby_plugins.ports import hung_up

__all__ = [
    "MetricsServer",
    "NoAnswerError",
    "PluginApp",
    "PluginServer",
    "ServerTLS",
    "hung_up",
    "observed",
    "plugin_server_tcp",
    "plugin_server_unix",
    "serve_managed",
    "serve_tcp",
    "serve_unix",
    "stopped_by_signals",
    "wsgi",
]
