"""An app put between a plugin and its hosts, on the plugin's own socket."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Protocol, TypeAlias

from attrs import frozen

from moby_plugins.app.config import connect_by_scheme, new_local_discovery
from moby_plugins.app.hosting import plugin_server_unix
from moby_plugins.app.settings import Settings
from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.domain.errors import SpecError
from moby_plugins.domain.http import App
from moby_plugins.domain.plugin import Plugin
from moby_plugins.domain.recording import RecordedCall, Recording
from moby_plugins.ports import Transport

# Seconds that running calls have at the end, before their connections are cut.
DRAIN = 2.0
_OWNERS = 0o600

# Makes the app, given what reaches the plugin: ``Trace`` with what it needs besides.
MakeApp: TypeAlias = Callable[[Transport], App]


@frozen
class Interposed:
    """An app in its place: it is called at ``addr``, and calls the plugin at ``plugin``.

    ``lost()`` tells whether its socket was removed or replaced since, as a plugin does
    that is started anew: then hosts pass it by, and it is time to end.
    """

    addr: str
    plugin: Address
    lost: Callable[[], bool]


@contextmanager
def interposed(name: str, make_app: MakeApp, settings: Settings) -> Iterator[Interposed]:
    """The app in the place of the plugin ``name``, for hosts that look it up meanwhile.

    The plugin's socket is moved aside and comes back at the end; a plugin that was found
    by a spec is hidden by a socket, which wins over any. What a process left behind that
    was killed in between is put right first. Connections that hosts have open already
    stay the plugin's.

    Raises ``PluginNotFoundError``, ``InvalidPluginNameError``, and ``SpecError`` where
    the plugin cannot be used, where it is traced already, or where files cannot be moved.
    """
    from moby_plugins.adapters.disk.stand_in import SocketStandIn

    discovery = new_local_discovery(settings)
    found = discovery.candidates(name)
    path = found[0].path if found else ""
    if not path.endswith(".sock"):
        path = f"{settings.sockets_path}/{name}.sock"
    with ExitStack() as last, SocketStandIn(path) as place:
        plugin = discovery.lookup(name)
        if place.plugin:
            plugin = Plugin.local(name, Address.of_socket(place.plugin).text)
        transport = connect_by_scheme(settings)(plugin.address, plugin.tls_config)
        last.callback(transport.close)
        server = plugin_server_unix(make_app(transport), place.waiting, mode=_OWNERS, drain=DRAIN)
        last.callback(server.stop)
        server.start()
        place.take()
        yield Interposed(Address.of_socket(path).text, plugin.address, place.lost)


@contextmanager
def interposed_at(
    listen: Address,
    plugin: Address,
    make_app: MakeApp,
    settings: Settings,
    tls: TLSOptions | None = None,
) -> Iterator[Interposed]:
    """The app at the socket ``listen``, for hosts that are told so; nothing else is touched.

    Raises ``SpecError`` where it cannot listen there, or the plugin cannot be reached so.
    """
    if listen.scheme != "unix":
        raise SpecError(f"it can listen at a unix:// address only, not at {listen.text}")
    with ExitStack() as last:
        transport = connect_by_scheme(settings)(plugin, tls)
        last.callback(transport.close)
        server = plugin_server_unix(make_app(transport), listen.path, mode=_OWNERS, drain=DRAIN)
        with server:
            yield Interposed(server.addr, plugin, lambda: False)


class Writer(Protocol):
    """Writes calls down; used by one thread at a time."""

    def add(self, call: RecordedCall) -> None:
        """Write one more call down; raises ``RecordingError``."""
        ...


def open_recording(
    path: str | os.PathLike[str], recording: Recording
) -> AbstractContextManager[Writer]:
    """A file in which calls are written down as they come, for its owner's eyes alone.

    ``recording`` says whose they are. A file that is there is replaced. Raises
    ``RecordingError``.
    """
    from moby_plugins.adapters.disk.recording_file import RecordingFile

    return RecordingFile(path, recording)


def load_recording(path: str | os.PathLike[str]) -> Recording:
    """The recording in the file ``path``; raises ``RecordingError``."""
    from moby_plugins.adapters.disk.recording_file import load_recording as load

    return load(path)
