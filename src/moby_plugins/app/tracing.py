"""Tracing: a proxy between hosts and a plugin that forwards each call and reports it.

``Trace`` is an app that forwards calls to the plugin over a transport. ``tracing_proxy`` puts an
app in the place of the plugin's socket for a time.
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

# The most bytes of each body that are kept, to be shown or recorded.
KEPT_BYTES = 1 << 20

# Headers that apply to one connection only (RFC 9110, 7.6.1), and are not forwarded.
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
OnCall: TypeAlias = Callable[[RecordedCall], object]
"""Called with each call once it has ended, by several threads; an exception is logged."""
# Seconds that running calls have at the end, before their connections are cut.
DRAIN = 2.0
# Seconds for which the proxy still serves after the plugin's socket is back in its place.
SETTLE = 0.2
_OWNERS = 0o600
MakeApp: TypeAlias = Callable[[Transport], App]
"""Makes the proxy's app, such as a ``Trace``, given a transport to the plugin."""


@frozen(field_transformer=typed)
class Progress:
    """The progress of a body that is being forwarded. A frozen value.

    Args:
        method: The method that was called.
        at: The time at which the call began, which identifies the call.
        part: ``"request"`` or ``"answer"`` (the response).
        pieces: The number of chunks forwarded so far.
        size: The number of bytes forwarded so far.
    """

    method: str
    at: float
    part: str
    pieces: int
    size: int


# Called by several threads; an exception is logged, as for ``OnCall``.
OnPiece: TypeAlias = Callable[[Progress], object]


def _ignore(_: Progress) -> None:
    """Do nothing: the default of ``on_piece``."""


class Trace:
    """An app that forwards each call over a transport, and streams the response back.

    At most 1 MiB of each body is kept. If the plugin sends no complete response, the app raises
    ``NoAnswerError``, and the server closes the host's connection without one. Several threads may
    call the app. The app does not close the transport.

    Args:
        transport: The transport to the plugin.
        now: Returns the time in seconds.
        on_call: Called with each call once it has ended.
        on_piece: Called with the progress after each chunk of a streamed body.

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
        on_piece: OnPiece = _ignore,
    ) -> None:
        self._transport = transport
        self._now = now
        self._on_call = on_call
        self._on_piece = on_piece

    def __repr__(self) -> str:
        return f"<Trace of {shown(self._transport)}>"

    def __call__(self, request: Request) -> Response:
        """Forward a call to the plugin.

        Args:
            request: The host's request.

        Returns:
            The plugin's response, with its body unread.

        Raises:
            NoAnswerError: If the plugin sends no response, or the host ends its request early.
        """
        forwarded_call = _ForwardedCall(request.method, self._now, self._on_call, self._on_piece)
        forwarded = evolve(
            request,
            body=forwarded_call.request(request.body),
            headers={
                key: value
                for key, value in request.headers.items()
                if key.lower() not in _OF_THE_CONNECTION
            },
        )
        try:
            response = self._transport.send(forwarded, None)
        except TransportError as error:
            raise forwarded_call.broken(error.reason) from error
        except Exception as error:
            # Raised by reading the host's body: it ended early, or the host hung up.
            raise forwarded_call.host_hung_up() from error
        return forwarded_call.response(response)


class _ForwardedCall:
    """One call that is being forwarded; its ``RecordedCall`` is reported when it has ended."""

    def __init__(
        self, method: str, now: Callable[[], float], on_call: OnCall, on_piece: OnPiece
    ) -> None:
        self._now = now
        self._on_call = on_call
        self._on_piece = on_piece
        self._began = now()
        self._method = method
        self._request_body = _KeptBytes()
        self._response_body = _KeptBytes()
        self._status = 0
        self._is_over = False

    def request(self, body: Content) -> Content:
        if isinstance(body, bytes):
            self._request_body.add(body)
            return body
        return self._pieces(body)

    def response(self, response: Response) -> Response:
        self._status = response.status
        headers = {
            key: value
            for key, value in response.headers.items()
            if key.lower() == "content-length" or key.lower() not in _OF_THE_CONNECTION
        }
        return Response(response.status, _ForwardedBody(response.body, self), headers)

    def response_piece(self, piece: bytes) -> None:
        if piece:
            self._add(self._response_body, piece, "answer")
        else:
            self._end()

    def broken(self, why: str) -> NoAnswerError:
        self._end(broken=why)
        return NoAnswerError(why)

    def host_hung_up(self) -> NoAnswerError:
        self._end(host_left=True)
        return NoAnswerError("the host hung up")

    def _pieces(self, body: Iterable[bytes]) -> Iterator[bytes]:
        for piece in body:
            self._add(self._request_body, piece, "request")
            yield piece

    def _add(self, kept: "_KeptBytes", piece: bytes, part: str) -> None:
        kept.add(piece)
        progress = Progress(self._method, self._began, part, kept.count, kept.size)
        _report(self._on_piece, progress)

    def _end(self, *, broken: str = "", host_left: bool = False) -> None:
        if self._is_over:
            return
        self._is_over = True
        call = RecordedCall(
            self._method,
            self._request_body.body(),
            self._status,
            self._response_body.body(),
            broken,
            host_left,
            self._began,
            self._now() - self._began,
        )
        _report(self._on_call, call)


def _report(observer: Callable[[T], object], what: T) -> None:
    # An exception of a callback must not end the call.
    try:
        observer(what)
    except BaseException as error:
        log_failure("an observer of calls failed", error)


class _ForwardedBody:
    """The body of a response, whose chunks are recorded while they are read."""

    def __init__(self, body: Body, forwarded_call: _ForwardedCall) -> None:
        self._body = body
        self._call = forwarded_call

    def read(self, size: int, /) -> bytes:
        try:
            piece = self._body.read(size)
        except (TransportError, WireError) as error:
            raise self._call.broken(error.reason) from error
        except ConnectionAbortedError as error:
            raise self._call.host_hung_up() from error
        self._call.response_piece(piece)
        return piece

    def close(self) -> None:
        try:
            self._body.close()
        finally:  # this has an effect only if the body was not read to its end
            self._call.host_hung_up()


class _KeptBytes:
    """The number of chunks and bytes of a body, and its first ``KEPT_BYTES`` bytes."""

    def __init__(self) -> None:
        self.count = 0
        self.size = 0
        self._pieces: list[bytes] = []
        self._room = KEPT_BYTES

    def add(self, piece: bytes) -> None:
        self.count += 1
        self.size += len(piece)
        if start := piece[: self._room]:
            self._pieces.append(start)
            self._room -= len(start)

    def body(self) -> RecordedBody:
        return RecordedBody(self._pieces, self.size - (KEPT_BYTES - self._room))


def _none_open() -> int:
    return 0


@frozen(field_transformer=typed)
class TracingProxy:
    """A running proxy of a plugin. A frozen value.

    Args:
        addr: The address at which hosts call the proxy.
        plugin: The address at which the proxy calls the plugin.
        lost: Returns whether the proxy's socket was removed or replaced, for example by a restarted
            plugin. Hosts then no longer call the proxy, and tracing should end.
        passed_by: Returns how many connections that hosts had opened to the plugin before are still
            open. Calls over these connections bypass the proxy.
    """

    addr: str
    plugin: Address
    lost: Callable[[], bool]
    passed_by: Callable[[], int] = _none_open


def _connect(address: Address, tls: TLSOptions | None, settings: Settings) -> Transport:
    """Return a transport to the plugin, made as the settings say.

    In place of a built-in one, return one that opens a connection for each call of a host, and
    passes hang-ups on.
    """
    from moby_plugins.adapters.http.dialing import dialer_for
    from moby_plugins.adapters.http.passing import PassingTransport
    from moby_plugins.adapters.http.pool import PooledTransport

    transport = connect_by_scheme(settings)(address, tls)
    if not isinstance(transport, PooledTransport):
        return transport
    return PassingTransport(address, dialer_for(address, tls), transport.connection_class, hung_up)


@contextmanager
def tracing_proxy(name: str, make_app: MakeApp, settings: Settings) -> Iterator[TracingProxy]:
    """Put an app in the place of a plugin, for hosts that look the plugin up inside the block.

    The plugin's socket is moved aside, and moved back when the block ends. A plugin with a spec
    file is hidden by a socket of the same name, because hosts prefer a socket. Files that a killed
    process left behind are restored first. Connections that hosts have already opened still lead to
    the plugin.

    Args:
        name: The plugin's name, or an address, ``unix:///PATH``.
        make_app: Makes the app.
        settings: The settings with which the plugin is found and reached.

    Yields:
        The running proxy.

    Raises:
        PluginNotFoundError: If there is no such plugin.
        InvalidPluginNameError: If ``name`` is not a valid name.
        TransportError: If there is no socket at the address.
        SpecError: If the plugin cannot be used, is already traced, or files cannot be moved.
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
            # The socket vanished after the look-up: calls would be forwarded to the proxy itself.
            raise not_reached(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)), before)
        transport = _connect(plugin.address, plugin.tls_config, settings)
        last.callback(transport.close)
        server = plugin_server_unix(make_app(transport), place.waiting, mode=_OWNERS, drain=DRAIN)
        last.callback(server.stop)
        server.start()
        is_socket = before.scheme == "unix"
        opened = open_connections(before.path) if is_socket else frozenset()
        # Still serve hosts that connected just before the plugin's socket was moved back.
        last.callback(threading.Event().wait, SETTLE)
        place.take()
        yield TracingProxy(
            Address.of_socket(path).text,
            plugin.address,
            place.lost,
            lambda: len(opened & open_connections(before.path)) if opened else 0,
        )


def _by_name(name: str, settings: Settings) -> tuple[str, Callable[[], Plugin]]:
    if name in settings.plugins:
        # Hosts with these settings use this address, even if a directory has the plugin too.
        return _by_address(plugin_given(name, settings.plugins[name]).address.text)
    discovery = new_local_discovery(settings)
    candidates = discovery.candidates(name)
    first = candidates[0] if candidates else None
    if (first is not None and first.managed is not None) or not is_plugin_name(name):
        # The proxy takes the place of the socket that its engine uses; without a candidate, the
        # look-up raises the reason.
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
        raise SpecError(f"only a plugin at unix:// can be traced, not one at {address.text}")
    refusal = probe_socket(address.path)
    if refusal is not None and not isinstance(refusal, ConnectionRefusedError):
        raise not_reached(refusal, address) from refusal
    path = os.path.abspath(address.path)
    name = os.path.basename(path).removesuffix(".sock")
    return path, lambda: Plugin.local(name, address.text)


@contextmanager
def tracing_proxy_at(
    listen: Address,
    plugin: Address,
    make_app: MakeApp,
    settings: Settings,
    tls: TLSOptions | None = None,
) -> Iterator[TracingProxy]:
    """Serve an app at a separate socket, for hosts that are configured to use that socket.

    The plugin's socket and spec file are not changed.

    Args:
        listen: The ``unix://`` address to listen at.
        plugin: The address of the plugin.
        make_app: Makes the app.
        settings: The settings with which the plugin is reached.
        tls: The TLS options for the plugin.

    Yields:
        The running proxy.

    Raises:
        SpecError: If the proxy cannot listen at ``listen``, the plugin's address cannot be used, or
            both are the same socket.
    """
    if listen.scheme != "unix":
        raise SpecError(
            f"a tracing proxy can listen at a unix:// address only, not at {shown(listen.text)}"
        )
    if plugin.scheme == "unix" and os.path.realpath(plugin.path) == os.path.realpath(listen.path):
        raise SpecError("this is the plugin's own address: listen at another one", listen.path)
    with ExitStack() as last:
        transport = _connect(plugin, tls, settings)
        last.callback(transport.close)
        server = plugin_server_unix(make_app(transport), listen.path, mode=_OWNERS, drain=DRAIN)
        with server:
            yield TracingProxy(server.addr, plugin, lambda: False)
