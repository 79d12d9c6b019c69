"""Units of systemd for a plugin: a service, and the socket that systemd opens for it.

The socket is there before the engine starts and while the service is restarted, so no call meets
a plugin that is missing. Nothing here gives the service a mount namespace of its own
(``PrivateTmp=``, ``ProtectSystem=`` and the like): a volume driver's mounts would be lost in it.
"""

import math
import re

from attrs import frozen

from moby_plugins.domain.errors import SettingsError
from moby_plugins.domain.plugin import check_plugin_name
from moby_plugins.domain.text import quoted

UNITS_PATH = "/etc/systemd/system"
# What a unit may be called, but for "@", which begins an instance; and less ".service".
_NAME = re.compile(r"[A-Za-z0-9:_.-]{1,240}")
# Of a word on a command line, what stands for itself.
_PLAIN = re.compile(r"[\w./:@+,=~-]+", re.ASCII)
# Seconds more than running calls have, for systemd to wait before it kills.
_GRACE = 5

_SERVICE = """\
# {path}
[Unit]
Description=Docker plugin {name}
Requires={name}.socket
After={name}.socket
Before=docker.service

[Service]
Type=notify
ExecStart={command}
{directory}TimeoutStopSec={stop}
Restart=on-failure

[Install]
WantedBy=multi-user.target
Also={name}.socket
"""
_SOCKET = """\
# {path}
[Unit]
Description=Socket of the Docker plugin {name}
Before=docker.service

[Socket]
ListenStream={socket}
SocketMode=0660
RemoveOnStop=yes

[Install]
WantedBy=sockets.target
"""


@frozen(kw_only=True)
class Unit:
    """What a plugin's units say: its ``name``, its ``command``, and where its socket is.

    ``directory`` is where the command is run, "" for nowhere in particular; ``drain`` how many
    seconds running calls have once the service is stopped. Raises ``InvalidPluginNameError``,
    and ``SettingsError`` for what no unit can hold.
    """

    name: str
    command: tuple[str, ...]
    sockets_path: str
    drain: float
    directory: str = ""

    def __attrs_post_init__(self) -> None:
        if not _NAME.fullmatch(check_plugin_name(self.name)):
            raise SettingsError(
                f"{quoted(self.name)} is no name of a unit: letters, digits and :_.- are;"
                " choose another with --name"
            )
        for text in (*self.command, self.sockets_path, self.directory):
            if not text.isprintable():
                raise SettingsError(f"{quoted(text)} holds what no unit can hold")

    def service(self) -> str:
        """The unit that runs the plugin, after a line with its path."""
        directory = f"WorkingDirectory={_escaped(self.directory)}\n" if self.directory else ""
        return _SERVICE.format(
            path=f"{UNITS_PATH}/{self.name}.service",
            name=self.name,
            command=" ".join(map(_word, self.command)),
            directory=directory,
            stop=math.ceil(self.drain) + _GRACE,
        )

    def socket(self) -> str:
        """The unit of its socket, after a line with its path."""
        return _SOCKET.format(
            path=f"{UNITS_PATH}/{self.name}.socket",
            name=self.name,
            socket=_escaped(f"{self.sockets_path.rstrip('/')}/{self.name}.sock"),
        )


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _word(text: str) -> str:
    # A command line has specifiers, variables and quotes; a path has the first alone.
    escaped = _escaped(text).replace("$", "$$")
    if _PLAIN.fullmatch(text):
        return escaped
    return '"' + escaped.replace("\\", "\\\\").replace('"', '\\"') + '"'
