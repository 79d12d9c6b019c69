"""Units of systemd for a plugin: a service, and the socket that systemd opens for it.

The socket exists before the engine starts and while the service restarts, so that no call fails
because the plugin is not running. The units use no options that give the service its own mount
namespace (``PrivateTmp=``, ``ProtectSystem=`` and the like), since a volume driver's mounts would
not be visible outside it.
"""

import math
import re

from attrs import frozen

from moby_plugins.domain.errors import SettingsError
from moby_plugins.domain.plugin import check_plugin_name
from moby_plugins.domain.text import quoted

UNITS_PATH = "/etc/systemd/system"
# The first descriptor that systemd passes to a service, and the variables that say so
# (sd_listen_fds(3)): the process, how many descriptors, and their names.
FIRST_INHERITED = 3
SOCKET_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
# A unit's name without its suffix. "@" is excluded: it separates the name of an instance.
_NAME = re.compile(r"[A-Za-z0-9:_.-]{1,240}")
# Words on a command line that need no quotes.
_PLAIN = re.compile(r"[\w./:@+,=~-]+", re.ASCII)
# How many seconds after the drain time systemd kills the service.
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
    """The values of a plugin's units: its ``name``, its ``command``, and its socket's directory.

    ``directory`` is the working directory of the command, "" for systemd's default. ``drain`` is
    how many seconds running calls have to end once the service is stopped. Raises
    ``InvalidPluginNameError`` for a name that no plugin can have, and ``SettingsError`` for values
    that a unit cannot hold.
    """

    name: str
    command: tuple[str, ...]
    sockets_path: str
    drain: float
    directory: str = ""

    def __attrs_post_init__(self) -> None:
        if not _NAME.fullmatch(check_plugin_name(self.name)):
            raise SettingsError(
                f"{quoted(self.name)} is not a valid unit name: use letters, digits and :_.-;"
                " choose another with --name"
            )
        for text in (*self.command, self.sockets_path, self.directory):
            if not text.isprintable():
                raise SettingsError(f"{quoted(text)} has a character that no systemd unit may have")

    def service(self) -> str:
        """Return the text of the systemd .service unit; a comment in line 1 has its path."""
        directory = f"WorkingDirectory={_escaped(self.directory)}\n" if self.directory else ""
        return _SERVICE.format(
            path=f"{UNITS_PATH}/{self.name}.service",
            name=self.name,
            command=" ".join(map(_word, self.command)),
            directory=directory,
            stop=math.ceil(self.drain) + _GRACE,
        )

    def socket(self) -> str:
        """Return the text of the systemd .socket unit; a comment in line 1 has its path."""
        return _SOCKET.format(
            path=f"{UNITS_PATH}/{self.name}.socket",
            name=self.name,
            socket=_escaped(f"{self.sockets_path.rstrip('/')}/{self.name}.sock"),
        )


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _word(text: str) -> str:
    # A command line has specifiers, variables and quotes, while a path has only specifiers.
    escaped = _escaped(text).replace("$", "$$")
    if _PLAIN.fullmatch(text):
        return escaped
    return '"' + escaped.replace("\\", "\\\\").replace('"', '\\"') + '"'
