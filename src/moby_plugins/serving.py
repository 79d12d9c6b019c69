"""The plugin's end: implementations of subsystems, answered for and served."""

from moby_plugins.app.hosting import (
    plugin_server_tcp,
    plugin_server_unix,
    serve_tcp,
    serve_unix,
    wsgi,
)
from moby_plugins.app.plugin_server import PluginServer
from moby_plugins.app.serving import PluginApp
from moby_plugins.domain.tls import ServerTLS

__all__ = [
    "PluginApp",
    "PluginServer",
    "ServerTLS",
    "plugin_server_tcp",
    "plugin_server_unix",
    "serve_tcp",
    "serve_unix",
    "wsgi",
]
