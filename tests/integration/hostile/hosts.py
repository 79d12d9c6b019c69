"""A served plugin and the raw connections of hostile hosts, over UNIX sockets and TCP."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from moby_plugins import RetryPolicy, Settings, new_client
from moby_plugins.aio import AsyncPluginApp
from moby_plugins.serving import PluginApp, PluginServer, plugin_server_tcp, plugin_server_unix
from tests.integration.hostile.bounds import SOON
from tests.integration.serving.async_plugins import AsyncEchoes, AsyncLayers, AsyncVolumes
from tests.integration.serving.plugins import Echo, Layers, Volumes

# The threaded end and the one on an event loop, on each kind of socket.
KINDS = ("unix", "tcp", "async unix", "async tcp")
ONCE = Settings(retry=RetryPolicy.never())


class Echoes(Echo):
    """Remembers what it was asked to say."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def say(self, text: str) -> str:
        self.said.append(text)
        return text


class Served:
    """A plugin that is served, and what hostile hosts do to it."""

    def __init__(
        self,
        server: PluginServer,
        echoes: Echoes | AsyncEchoes,
        volumes: Volumes | AsyncVolumes,
    ) -> None:
        self.server = server
        self.echoes = echoes
        self.volumes = volumes
        self._hosts = ExitStack()

    def dial(self, timeout: float = SOON) -> socket.socket:
        """A raw connection, closed at the end."""
        address = self.server.addr
        family = socket.AF_UNIX if address.startswith("unix") else socket.AF_INET
        sock = self._hosts.enter_context(socket.socket(family))
        # A host that does not read takes little before the plugin notices.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 10)
        # Under a time-out a full backlog of a UNIX socket is an error at once.
        if family == socket.AF_UNIX:
            sock.connect(address.removeprefix("unix://"))
        else:
            host, _, port = address.removeprefix("tcp://").rpartition(":")
            sock.connect((host, int(port)))
        sock.settimeout(timeout)
        return sock

    def close(self) -> None:
        """Stop the plugin, and hang up."""
        self._hosts.close()
        self.server.stop()

    def told(self, sent: bytes) -> bytes:
        """All that comes back for ``sent`` until the plugin hangs up, on a connection of its own.

        Nothing more is sent, and the plugin is told so.
        """
        with self.dial() as sock:
            with suppress(OSError):  # it may have had enough of us already
                sock.sendall(sent)
                sock.shutdown(socket.SHUT_WR)
            answer = b""
            with suppress(ConnectionError):
                while more := sock.recv(1 << 16):
                    answer += more
        return answer

    def assert_answers_others(self, seconds: float = SOON) -> None:
        """Another host, which behaves, is answered in time."""
        with new_client(self.server.addr, settings=ONCE) as client:
            said = client.call("Echo.Say", {"Text": "well?"}, timeout=seconds)
        assert said == {"Said": "well?"}
        self.echoes.said.remove("well?")


@contextmanager
def serve(kind: str, directory: Path) -> Iterator[Served]:
    """A plugin that is being served; calls still running at the end are cut off soon."""
    echoes: Echoes | AsyncEchoes
    volumes: Volumes | AsyncVolumes
    app: PluginApp | AsyncPluginApp
    if kind.startswith("async"):
        echoes, volumes = AsyncEchoes(), AsyncVolumes()
        app = AsyncPluginApp(echoes, AsyncLayers(), volumes, max_request_bytes=1 << 20)
    else:
        echoes, volumes = Echoes(), Volumes()
        app = PluginApp(echoes, Layers(), volumes, max_request_bytes=1 << 20)
    volumes.may_end.set()
    if kind.endswith("unix"):
        server = plugin_server_unix(app, "p", sockets_path=str(directory), drain=0.2)
    else:
        server = plugin_server_tcp(app, "p", specs_path=str(directory), drain=0.2)
    with server, closing(Served(server, echoes, volumes)) as served:
        yield served
