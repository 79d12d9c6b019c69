"""Dialling by scheme: resolve the host, connect, and shake hands under TLS, each within a time-out.

``dial_for`` is what HTTP engines call. ``ssl_context`` and ``server_context`` translate TLS
options into OpenSSL's terms, for hosts and for plugins.
"""

import os
import socket
import ssl
import stat
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from copy import copy
from ipaddress import ip_address
from typing import Any, Protocol, TypeAlias, runtime_checkable

from moby_plugins.adapters.descriptors import check_descriptors, is_refusal
from moby_plugins.adapters.http.deadline_socket import (
    DeadlineSocket,
    DeadlineSSLSocket,
    OpenSockets,
    RespondedEarlyError,
)
from moby_plugins.adapters.http.unix_socket import UnixSocketDial
from moby_plugins.domain.address import TLS_1_2, Address, ServerTLS, TLSOptions
from moby_plugins.domain.errors import SpecError
from moby_plugins.domain.text import shown

# Takes a host and a port; what ``socket.getaddrinfo`` returns, and raises.
Resolve: TypeAlias = Callable[[str, int], list[Any]]

# Of a file with certificates or a key; those of a whole system have a quarter of it.
MAX_TLS_FILE_BYTES = 1 << 20

Socket: TypeAlias = DeadlineSocket | DeadlineSSLSocket
# Takes a time-out in seconds, and gives a connected socket.
Dial: TypeAlias = Callable[[float | None], Socket]
# Seconds between looks whether to wait on for the system.
_LOOK = 0.05
# Seconds that TLS files are waited for as a client is made: to read them takes a few hundredths.
_SOON = 1.0
# What sending raises where the plugin responds already, or has stopped reading.
STOPPED_READING = (
    BrokenPipeError,
    ConnectionResetError,
    RespondedEarlyError,
    ssl.SSLEOFError,
)


@runtime_checkable
class EndingDial(Protocol):
    """A dial that can be ended: all that ``dial_for`` returns."""

    def __call__(self, timeout: float | None, /) -> Socket:
        """Dial."""
        ...

    def end(self) -> None:
        """End the dials and connections that there are, and those to come. It never waits."""
        ...


@runtime_checkable
class StartingDial(Protocol):
    """A dial that can also be started without a wait."""

    def __call__(self, timeout: float | None, /) -> Socket:
        """Dial."""
        ...

    def start(self) -> tuple[DeadlineSocket, bool] | None:
        """Return a socket and whether it is connected; if not, it is once it can be written to.

        ``None`` where even that would have to wait. Raises ``OSError``.
        """
        ...


def system_addresses(host: str, port: int) -> list[Any]:
    """Every address of ``host`` for a TCP connection; raises ``OSError``, as ``gaierror`` is.

    For want of descriptors the system says one thing or another, and that of ``os.pipe()`` here.
    """
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        try:
            check_descriptors()
        except OSError as refused:
            raise refused from error
        raise


class Lookups:
    """Asks the system within a time-out; what hangs has one thread, however many wait for it.

    Nothing is remembered: once a thread has ended, the next to ask has another.
    """

    def __init__(self) -> None:
        # By process too: the threads of its parent do not run in a child.
        self._running: dict[tuple[Hashable, int], Lookup] = {}

    def addresses(
        self,
        resolve: Resolve,
        host: str,
        port: int,
        timeout: float | None,
        sockets: OpenSockets | None = None,
    ) -> list[Any]:
        """What ``resolve`` returns or raises; else as ``result``."""
        if timeout is None or is_number(host):
            return resolve(host, port)
        return for_port(port, self._result(self.resolving(resolve, host, port), timeout, sockets))

    def context(
        self, tls: TLSOptions, timeout: float | None, sockets: OpenSockets | None = None
    ) -> ssl.SSLContext:
        """What ``ssl_context`` returns or raises, which reads files; else as ``result``."""
        if timeout is None:
            return ssl_context(tls)
        context: ssl.SSLContext = self._result(self.reading(tls), timeout, sockets)
        return context

    def resolving(self, resolve: Resolve, host: str, port: int) -> "Lookup":
        """What resolves ``host``, begun or under way; its result is for ``for_port``."""
        # For the port of the first to ask.
        late = f"the name {shown(host)} is not resolved"
        asked = Lookup("resolve", late, lambda: (port, resolve(host, port)))
        return self._begun((resolve, host), asked)

    def reading(self, tls: TLSOptions) -> "Lookup":
        """What reads the files of ``tls``, begun or under way; its result is an ``SSLContext``."""
        asked = Lookup("read", "the TLS files are not read", lambda: ssl_context(tls))
        return self._begun(tls, asked)

    @staticmethod
    def _result(lookup: "Lookup", timeout: float, sockets: OpenSockets | None) -> Any:
        """What ``lookup`` comes to; ``TimeoutError`` if that takes ``timeout`` seconds.

        What takes longer goes on in its thread, and the next to ask waits for the same. Where
        ``sockets`` were ended, this ends too.
        """
        ends, left = time.monotonic() + timeout, timeout
        while not lookup.done.wait(min(left, _LOOK)):
            if sockets is not None:
                sockets.check()
            left = ends - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{lookup.late} after {timeout:.3g} s")
        return lookup.result()

    def _begun(self, key: Hashable, mine: "Lookup") -> "Lookup":
        """The lookup of ``key`` that runs already, or else ``mine``."""
        key = (key, os.getpid())
        lookup = self._running.setdefault(key, mine)
        if lookup is mine:
            self._start(key, mine)
        return lookup

    def _start(self, key: tuple[Hashable, int], lookup: "Lookup") -> None:
        def ask() -> None:
            try:
                lookup.found = lookup.ask()
            except Exception as error:  # of those who ask
                lookup.fail(error)
            finally:
                self._end(key, lookup)

        try:
            name = f"moby-plugins-{lookup.name}"
            threading.Thread(target=ask, name=name, daemon=True).start()
        except RuntimeError as error:
            lookup.fail(OSError(f"no thread to {lookup.name} in: {error}"))
            self._end(key, lookup)

    def _end(self, key: tuple[Hashable, int], lookup: "Lookup") -> None:
        del self._running[key]
        lookup.end()


class Lookup:
    """What the system is being asked: ``name`` says it of the thread, ``late`` of a time-out."""

    def __init__(self, name: str, late: str, ask: Callable[[], Any]) -> None:
        self.name = name
        self.late = late
        self.ask = ask
        # Called once it is done, in its thread: those who cannot wait for ``done``.
        self._watchers: dict[object, Callable[[], object]] = {}
        self.done: threading.Event = threading.Event()
        self.found: Any = None
        self.error: Exception | None = None
        self.cause: BaseException | None = None

    def fail(self, error: Exception) -> None:
        """End in ``error``, and its cause: without tracebacks, which would refer back to this."""
        self.error, self.cause = error.with_traceback(None), error.__cause__
        error.__context__ = None
        if self.cause is not None:
            self.cause.__traceback__ = self.cause.__context__ = None

    def end(self) -> None:
        """Have those who wait go on."""
        self.done.set()
        for tell in tuple(self._watchers.values()):
            tell()

    def watch(self, who: object, tell: Callable[[], object]) -> None:
        """Call ``tell`` once it is done, in whichever thread, unless ``unwatch`` comes first."""
        self._watchers[who] = tell
        if self.done.is_set():  # since the caller looked
            tell()

    def unwatch(self, who: object) -> None:
        """Call nothing for ``who``."""
        self._watchers.pop(who, None)

    def result(self) -> Any:
        """What was found, once it is done; raises what failed."""
        if self.error is not None:
            raise copy(self.error) from self.cause  # no two threads share a traceback
        return self.found


def for_port(port: int, resolved: tuple[int, list[Any]]) -> list[Any]:
    """The addresses that were ``resolved`` for one port, with ``port``."""
    resolved_for, found = resolved
    if resolved_for == port:
        return list(found)
    return [(*each[:4], (each[4][0], port, *each[4][2:])) for each in found]


def share(left: float, untried: int) -> float:
    """Seconds of those ``left`` that one of the ``untried`` addresses of a name may take."""
    return max(left / untried, 1e-3)


def is_number(host: str) -> bool:
    """Whether ``host`` is an address, which needs no resolving."""
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


class TCPDial:
    """Dials ``address.host`` and ``.port``, in plain text; ``resolve`` knows the host's name."""

    def __init__(
        self,
        address: Address,
        resolve: Resolve = system_addresses,
        lookups: Lookups | None = None,
    ) -> None:
        self.where: tuple[str, int] = (address.host, address.port)
        self.resolve = resolve
        self.lookups: Lookups = lookups or Lookups()
        self.sockets: OpenSockets = OpenSockets()

    def __call__(self, timeout: float | None) -> DeadlineSocket:
        """A connected socket; raises ``OSError``, ``TimeoutError`` after ``timeout`` seconds.

        The name's addresses are tried in turn, each for its share of the time that is left.
        Resolving the name takes part of the time.
        """
        ends = None if timeout is None else time.monotonic() + timeout
        failure: OSError | None = None
        found = self.lookups.addresses(self.resolve, *self.where, timeout, self.sockets)
        for tried, (family, kind, protocol, _, where) in enumerate(found):
            sock = DeadlineSocket(family, kind, protocol)
            try:
                self.sockets.add(sock)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if ends is not None:
                    left = ends - time.monotonic()
                    sock.settimeout(share(left, len(found) - tried))
                sock.connect(where)
            except OSError as error:
                sock.close()
                failure = error
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise failure or OSError("the host name has no address")

    def start(self) -> tuple[DeadlineSocket, bool] | None:
        """Begin to dial; ``None`` for a name, which has to be resolved. Raises ``OSError``."""
        if not is_number(self.where[0]):
            return None
        family, kind, protocol, _, where = self.resolve(*self.where)[0]
        sock = DeadlineSocket(family, kind, protocol)
        try:
            self.sockets.add(sock)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
            with suppress(BlockingIOError):
                sock.connect(where)
            sock.setblocking(True)
        except BaseException:
            sock.close()
            raise
        return sock, False

    def end(self) -> None:
        """End the dials and connections that there are, and those to come."""
        self.sockets.end()


class TLSDial:
    """Dials TCP and shakes hands under ``context``, whose sockets must keep deadlines.

    Options in its place are read at the first dial, or before.
    """

    def __init__(
        self,
        address: Address,
        context: ssl.SSLContext | TLSOptions,
        lookups: Lookups | None = None,
    ) -> None:
        self._lookups = lookups or Lookups()
        self.tcp: TCPDial = TCPDial(address, lookups=self._lookups)
        self.host: str = address.host
        # Options until their files were read.
        self.context: ssl.SSLContext | TLSOptions = context

    def __call__(self, timeout: float | None) -> DeadlineSSLSocket:
        """A connected socket; raises as ``TCPDial`` and ``read`` do, and ``ssl.SSLError``."""
        ends = None if timeout is None else time.monotonic() + timeout
        context = self.read(timeout)
        sock = self.tcp(None if ends is None else max(ends - time.monotonic(), 1e-3))
        try:
            wrapped = context.wrap_socket(
                sock,
                server_hostname=self.host,
                suppress_ragged_eofs=False,
                do_handshake_on_connect=False,
            )
        except BaseException:
            sock.close()
            raise
        assert isinstance(wrapped, DeadlineSSLSocket)  # noqa: S101  tells mypy what the context makes
        try:
            # The descriptor is this one's now, and no longer that of ``sock``.
            self.tcp.sockets.add(wrapped)
            if ends is not None:
                socket.socket.settimeout(wrapped, max(ends - time.monotonic(), 1e-3))
            wrapped.do_handshake()
        except BaseException:
            wrapped.close()
            raise
        return wrapped

    def read(self, timeout: float | None) -> ssl.SSLContext:
        """The context, once its files are read.

        Raises ``SpecError`` for one that cannot be used, and ``TimeoutError`` after ``timeout``
        seconds, as on a file system that has gone away.
        """
        if isinstance(self.context, TLSOptions):
            self.context = self._lookups.context(self.context, timeout, self.tcp.sockets)
        return self.context

    def end(self) -> None:
        """End the dials and connections that there are, and those to come."""
        self.tcp.end()


def ssl_context(tls: TLSOptions) -> ssl.SSLContext:
    """The context that ``tls`` describes; raises ``SpecError`` for a file that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = DeadlineSSLSocket
    # An end without close_notify is an error and no end; and a plugin starts no handshake again.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.minimum_version = ssl.TLSVersion(tls.min_version or TLS_1_2)
    _trust(context, tls)
    if tls.cert_file or tls.key_file:
        _identify(context, tls)
    # Last, since it takes longest. OpenSSL does not tell that it could not open the system's roots.
    if not (tls.insecure_skip_verify or tls.exclusive_root_pools):
        check_descriptors()
        context.load_default_certs()
    return context


def server_context(tls: ServerTLS) -> ssl.SSLContext:
    """What a plugin serves with; raises ``SpecError`` for a file that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion(TLS_1_2)
    # No host resumes a session; and one that has not read its tickets yet, because it uploads,
    # loses a response that comes early, once the connection is reset.
    context.num_tickets = 0
    _identify(context, tls)
    if tls.client_ca_file:
        _trust_file(context, tls.client_ca_file)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _trust(context: ssl.SSLContext, tls: TLSOptions) -> None:
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return
    if tls.exclusive_root_pools and not tls.ca_file:
        raise SpecError("ExclusiveRootPools without a CAFile trusts nobody")
    if tls.ca_file:
        _trust_file(context, tls.ca_file)


def _trust_file(context: ssl.SSLContext, ca_file: str) -> None:
    try:
        with _regular(ca_file) as path:
            context.load_verify_locations(cafile=path)
    except (OSError, ValueError) as error:
        raise SpecError(f"CAFile cannot be used: {_reason(error)}", ca_file) from error


def _identify(context: ssl.SSLContext, tls: TLSOptions | ServerTLS) -> None:
    if not (tls.cert_file and tls.key_file):
        raise SpecError("CertFile and KeyFile go together", tls.cert_file or tls.key_file)
    try:
        with _regular(tls.cert_file) as cert_path, _regular(tls.key_file) as key_path:
            # Without a password of ours OpenSSL would ask for one on the terminal.
            context.load_cert_chain(cert_path, key_path, password=tls.passphrase)
    except (OSError, ValueError) as error:
        raise SpecError(
            f"CertFile and KeyFile {shown(tls.key_file)} cannot be used: {_reason(error)}",
            tls.cert_file,
        ) from error


@contextmanager
def _regular(path: str) -> Iterator[str]:
    """A path at which OpenSSL reads the file at ``path`` without waiting for it.

    Raises ``OSError`` for what is no regular file, a FIFO say, or is too large.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("not a regular file")
        if status.st_size > MAX_TLS_FILE_BYTES:
            raise OSError(f"larger than {MAX_TLS_FILE_BYTES} bytes")
        # The same file, whatever has come to be at the path since.
        opened = f"/dev/fd/{descriptor}"
        yield opened if os.path.exists(opened) else path
    finally:
        os.close(descriptor)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not a PEM file").replace("_", " ").lower()
    return shown(getattr(error, "strerror", None) or error)


def _tls_dial(address: Address, tls: TLSOptions | None, lookups: Lookups | None) -> TLSDial:
    dial = TLSDial(address, tls or TLSOptions(), lookups)
    # What takes longer, or lacks a thread or a descriptor, is left to the first dial: it has time
    # of its own, and may have others make room.
    try:
        dial.read(_SOON)
    except OSError:
        pass
    except SpecError as error:
        if not is_refusal(error):
            raise
    return dial


_DIALS: dict[str, Callable[[Address, TLSOptions | None, Lookups | None], Dial]] = {
    "unix": lambda address, _, __: UnixSocketDial(address),
    "tcp": lambda address, _, lookups: TCPDial(address, lookups=lookups),
    "http": lambda address, _, lookups: TCPDial(address, lookups=lookups),
    "https": _tls_dial,
}


def dial_for(address: Address, tls: TLSOptions | None, lookups: Lookups | None = None) -> Dial:
    """How to dial ``address``, whose host ``lookups`` resolve; reads the TLS files.

    Raises ``SpecError`` for a scheme, a path or a file that cannot be used. Files that take
    longer than a second, or for which there is no descriptor, are read by the first dial.
    """
    if address.scheme not in _DIALS:
        known = ", ".join(sorted(_DIALS))
        raise SpecError(f"no way to dial {shown(address.scheme)}://; there are {known}")
    return _DIALS[address.scheme](address, tls, lookups)
