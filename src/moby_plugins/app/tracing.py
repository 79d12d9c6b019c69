"""Tracing: stand between hosts and a plugin, pass each call on, and tell an observer of it.

``Trace`` is an app that calls the plugin over a transport. ``interposed`` puts it in the place
of the plugin's socket for a time.
"""

import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeAlias, TypeVar

from attrs import evolve, frozen

from moby_plugins.app.config import connect_by_scheme, new_local_discovery
from moby_plugins.app.hosting import plugin_server_unix
from moby_plugins.app.settings import Settings
from moby_plugins.domain.address import Address, TLSOptions, is_address
from moby_plugins.domain.errors import SpecError, TransportError, WireError
from moby_plugins.domain.http import App, Body, Content, NoAnswerError, Request, Response
from moby_plugins.domain.plugin import Plugin, check_protocol, is_plugin_name, plugin_given
from moby_plugins.domain.recording import RecordedBody, RecordedCall
from moby_plugins.domain.text import shown
from moby_plugins.domain.typed import typed
from moby_plugins.failures import log_failure
from moby_plugins.platforms import check_platform
from moby_plugins.ports import Transport, hung_up

# Of each body, as much is kept to be shown or written down.
KEPT_BYTES = 1 << 20

# What concerns one connection alone (RFC 9110, 7.6.1): each side has its own.
_OF_THE_CONNECTION = {
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}

T = TypeVar("T")
# Both may be called by several threads at once; what they raise is logged.
OnCall: TypeAlias = Callable[[RecordedCall], object]
"""Called with each call once it is over, by several threads at once; what it raises is logged."""
# Seconds that running calls have at the end, before their connections are cut.
DRAIN = 2.0
# Seconds between the moment when hosts dial the plugin again and the end.
SETTLE = 0.2
_OWNERS = 0o600
# Makes the app, given what reaches the plugin: ``Trace`` with what it needs besides.
MakeApp: TypeAlias = Callable[[Transport], App]
"""Makes the app that stands between, given the transport that reaches the plugin."""


@frozen(field_transformer=typed)
class Progress:
    """A body on its way. A frozen value.

    Args:
        method: What was called.
        at: When its call began, by which calls are told apart.
        part: ``"request"`` or ``"answer"``.
        pieces: How many chunks of it have passed so far.
        size: How many bytes.
    """

    method: str
    at: float
    part: str
    pieces: int
    size: int


OnPiece: TypeAlias = Callable[[Progress], object]


def _nobody(_: Progress) -> None:
    """Is told."""


class Trace:
    """An app that passes each call on over a transport, and the response back as it comes.

    At most 1 MiB of each body is kept. Where the plugin gives no response, or no whole one,
    ``NoAnswerError`` has the server give none either. Threads may call it; the transport is closed
    by its maker.

    Args:
        transport: Reaches the plugin.
        now: Returns the time, in seconds.
        on_call: Called with each call once it is over.
        on_piece: Called with each chunk of a body that does not come whole.

    Examples:
        ```python
        import time

        from moby_plugins import Request
        from moby_plugins.testing import MemoryTransport
        from moby_plugins.tracing import Trace

        calls = []
        trace = Trace(MemoryTransport({"Shelf.List": ["books"]}), time.monotonic, calls.append)
        response = trace(Request("Shelf.List", b"{}"))
        while response.body.read(100):
            pass
        assert [(call.method, call.status) for call in calls] == [("Shelf.List", 200)]
        ```
    """

    def __init__(
        self,
        transport: Transport,
        now: Callable[[], float],
        on_call: OnCall,
        on_piece: OnPiece = _nobody,
    ) -> None:
        self._transport = transport
        self._now = now
        self._on_call = on_call
        self._on_piece = on_piece

    def __repr__(self) -> str:
        return f"<Trace of {shown(self._transport)}>"

    def __call__(self, request: Request) -> Response:
        """Pass a call on.

        Args:
            request: The host's.

        Returns:
            The plugin's response, its body unread.

        Raises:
            NoAnswerError: Where the plugin gives none.
        """
        passing = _Passing(request.method, self._now, self._on_call, self._on_piece)
        forwarded = evolve(
            request,
            body=passing.request(request.body),
            headers={
                key: value
                for key, value in request.headers.items()
                if key.lower() not in _OF_THE_CONNECTION
            },
        )
        try:
            response = self._transport.send(forwarded, None)
        except TransportError as error:
            raise passing.broken(error.reason) from error
        except Exception as error:
            # Out of the host's own body, which ended early, or because the host hung up.
            raise passing.left() from error
        return passing.response(response)


class _Passing:
    """One call on its way."""

    def __init__(
        self, method: str, now: Callable[[], float], on_call: OnCall, on_piece: OnPiece
    ) -> None:
        self._now = now
        self._on_call = on_call
        self._on_piece = on_piece
        self._began = now()
        self._method = method
        self._asked = _Kept()
        self._answered = _Kept()
        self._status = 0
        self._over = False

    def request(self, body: Content) -> Content:
        if isinstance(body, bytes):
            self._asked.add(body)
            return body
        return self._pieces(body)

    def response(self, response: Response) -> Response:
        self._status = response.status
        headers = {
            key: value
            for key, value in response.headers.items()
            if key.lower() == "content-length" or key.lower() not in _OF_THE_CONNECTION
        }
        return Response(response.status, _Answer(response.body, self), headers)

    def answer_piece(self, piece: bytes) -> None:
        if piece:
            self._add(self._answered, piece, "answer")
        else:
            self._end()

    def broken(self, why: str) -> NoAnswerError:
        self._end(broken=why)
        return NoAnswerError(why)

    def left(self) -> NoAnswerError:
        self._end(host_left=True)
        return NoAnswerError("the host left")

    def _pieces(self, body: Iterable[bytes]) -> Iterator[bytes]:
        for piece in body:
            self._add(self._asked, piece, "request")
            yield piece

    def _add(self, kept: "_Kept", piece: bytes, part: str) -> None:
        kept.add(piece)
        progress = Progress(self._method, self._began, part, kept.count, kept.size)
        _tell(self._on_piece, progress)

    def _end(self, *, broken: str = "", host_left: bool = False) -> None:
        if self._over:
            return
        self._over = True
        call = RecordedCall(
            self._method,
            self._asked.body(),
            self._status,
            self._answered.body(),
            broken,
            host_left,
            self._began,
            self._now() - self._began,
        )
        _tell(self._on_call, call)


def _tell(observer: Callable[[T], object], what: T) -> None:
    # The call that is observed goes on, whatever its observer raises.
    try:
        observer(what)
    except BaseException as error:
        log_failure("an observer of calls failed", error)


class _Answer:
    """An answer's body that is seen as it is read."""

    def __init__(self, body: Body, passing: _Passing) -> None:
        self._body = body
        self._passing = passing

    def read(self, size: int, /) -> bytes:
        try:
            piece = self._body.read(size)
        except (TransportError, WireError) as error:
            raise self._passing.broken(error.reason) from error
        except ConnectionAbortedError as error:
            raise self._passing.left() from error
        self._passing.answer_piece(piece)
        return piece

    def close(self) -> None:
        self._body.close()
        # Nothing new, unless its end was not read.
        self._passing.left()


class _Kept:
    """What passed of a body, and its beginning."""

    def __init__(self) -> None:
        self.count = 0
        self.size = 0
        self._pieces: list[bytes] = []
        self._room = KEPT_BYTES

    def add(self, piece: bytes) -> None:
        self.count += 1
        self.size += len(piece)
        if kept := piece[: self._room]:
            self._pieces.append(kept)
            self._room -= len(kept)

    def body(self) -> RecordedBody:
        return RecordedBody(self._pieces, self.size - (KEPT_BYTES - self._room))


def _none_open() -> int:
    return 0


@frozen(field_transformer=typed)
class Interposed:
    """An app in its place. A frozen value.

    Args:
        addr: Where it is called.
        plugin: Where it calls the plugin.
        lost: Returns whether its socket was removed or replaced since, as a plugin does that is
            started again: then hosts pass it by, and it is time to end.
        passed_by: Returns how many of the connections are still open that hosts had open to the
            plugin before: what is called over them is not seen.
    """

    addr: str
    plugin: Address
    lost: Callable[[], bool]
    passed_by: Callable[[], int] = _none_open


def _connect(address: Address, tls: TLSOptions | None, settings: Settings) -> Transport:
    """Return the transport that the settings name, with a connection for each call of a host."""
    from moby_plugins.adapters.http.dialing import dial_for
    from moby_plugins.adapters.http.passing import PassingTransport
    from moby_plugins.adapters.http.pool import PooledTransport

    transport = connect_by_scheme(settings)(address, tls)
    if not isinstance(transport, PooledTransport):
        return transport
    return PassingTransport(address, dial_for(address, tls), transport.engine, hung_up)


@contextmanager
def interposed(name: str, make_app: MakeApp, settings: Settings) -> Iterator[Interposed]:
    """Put an app in the place of a plugin, for hosts that look it up inside the block.

    The plugin's socket is moved aside and comes back at the end; a plugin that was found by a spec
    is hidden by a socket, which wins over any. What a process left behind that was killed in
    between is put right first. Connections that hosts have open already stay the plugin's.

    Args:
        name: The plugin's, or an address, ``unix:///PATH``.
        make_app: Makes the app.
        settings: Where plugins are, and how they are reached.

    Yields:
        Where the app is.

    Raises:
        PluginNotFoundError: Where there is no such plugin.
        InvalidPluginNameError: For what cannot be a name.
        TransportError: Where there is no socket at an address.
        SpecError: Where the plugin cannot be used, is traced already, or files cannot be moved.
    """
    check_platform("tracing")
    from moby_plugins.adapters.disk.stand_in import SocketStandIn
    from moby_plugins.adapters.http.errors import not_reached
    from moby_plugins.adapters.http.unix_socket import open_connections

    path, find = _by_address(name) if is_address(name) else _by_name(name, settings)
    with ExitStack() as last, SocketStandIn(path) as place:
        plugin = find()
        before = plugin.address
        if place.plugin:
            plugin = evolve(plugin, addr=Address.of_socket(place.plugin).text)
            before = Address.of_socket(os.path.realpath(path))
        elif before.scheme == "unix" and os.path.abspath(before.path) == path:
            # Gone since it was looked for: calls would go on to what stands in.
            raise not_reached(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)), before)
        transport = _connect(plugin.address, plugin.tls_config, settings)
        last.callback(transport.close)
        server = plugin_server_unix(make_app(transport), place.waiting, mode=_OWNERS, drain=DRAIN)
        last.callback(server.stop)
        server.start()
        is_socket = before.scheme == "unix"
        opened = open_connections(before.path) if is_socket else frozenset()
        # Hosts that dialled just before the socket came back are still served.
        last.callback(threading.Event().wait, SETTLE)
        place.take()
        yield Interposed(
            Address.of_socket(path).text,
            plugin.address,
            place.lost,
            lambda: len(opened & open_connections(before.path)) if opened else 0,
        )


def _by_name(name: str, settings: Settings) -> tuple[str, Callable[[], Plugin]]:
    if name in settings.plugins:
        # Hosts of these settings dial what stands there, whatever is in a directory.
        return _by_address(plugin_given(name, settings.plugins[name]).address.text)
    discovery = new_local_discovery(settings)
    found = discovery.candidates(name)
    first = found[0] if found else None
    if (first is not None and first.managed is not None) or not is_plugin_name(name):
        # Its socket is where its engine dials; without one, the look-up says why.
        plugin = first.plugin if first is not None else None
        plugin = plugin or discovery.lookup(name)
        path, _ = _by_address(plugin.address.text)
        return path, lambda: check_protocol(discovery.lookup(name))
    path = first.path if first is not None else ""
    if not path.endswith(".sock"):
        path = f"{settings.sockets_path}/{name}.sock"
    return path, lambda: discovery.lookup(name)


def _by_address(text: str) -> tuple[str, Callable[[], Plugin]]:
    from moby_plugins.adapters.http.errors import not_reached
    from moby_plugins.adapters.http.unix_socket import probe_socket

    address = Address(text)
    if address.scheme != "unix":
        raise SpecError(f"only a socket can be stood in for: unix://, not {address.text}")
    refusal = probe_socket(address.path)
    if refusal is not None and not isinstance(refusal, ConnectionRefusedError):
        raise not_reached(refusal, address) from refusal
    path = os.path.abspath(address.path)
    name = os.path.basename(path).removesuffix(".sock")
    return path, lambda: Plugin.local(name, address.text)


@contextmanager
def interposed_at(
    listen: Address,
    plugin: Address,
    make_app: MakeApp,
    settings: Settings,
    tls: TLSOptions | None = None,
) -> Iterator[Interposed]:
    """Serve an app at a socket of its own, for hosts that are told so; nothing else is touched.

    Args:
        listen: Where to listen: ``unix://``.
        plugin: Where the plugin is.
        make_app: Makes the app.
        settings: How the plugin is reached.
        tls: How to speak TLS with it.

    Yields:
        Where the app is.

    Raises:
        SpecError: Where it cannot listen there, or the plugin cannot be reached so.
    """
    if listen.scheme != "unix":
        raise SpecError(f"it can listen at a unix:// address only, not at {shown(listen.text)}")
    with ExitStack() as last:
        transport = _connect(plugin, tls, settings)
        last.callback(transport.close)
        server = plugin_server_unix(make_app(transport), listen.path, mode=_OWNERS, drain=DRAIN)
        with server:
            yield Interposed(server.addr, plugin, lambda: False)
