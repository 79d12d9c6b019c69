"""Dialling by scheme: resolve the host, connect, and do the TLS handshake, within a time-out.

Transports call ``dialer_for``. What needs OpenSSL is in ``tls.py``, imported for the first https
address: most plugins listen on UNIX sockets, and ssl takes longer to import than a call.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Hashable
from contextlib import suppress
from copy import copy
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast, runtime_checkable

from moby_plugins.adapters.http.deadline_socket import (
    DeadlineSocket,
    OpenSockets,
    RespondedEarlyError,
)
from moby_plugins.adapters.http.unix_socket import UnixSocketDialer
from moby_plugins.descriptors import check_descriptors, is_refusal
from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.domain.errors import SpecError
from moby_plugins.domain.text import shown

# Takes a host and a port; returns and raises the same as ``socket.getaddrinfo``.
Resolve: TypeAlias = Callable[[str, int], list[Any]]

if TYPE_CHECKING:  # only https addresses need ssl
    import ssl

    from moby_plugins.adapters.http.tls import DeadlineSSLSocket

Socket: TypeAlias = "DeadlineSocket | DeadlineSSLSocket"
# Takes a time-out in seconds, and returns a connected socket.
Dialer: TypeAlias = Callable[[float | None], Socket]
# Seconds between checks whether the dial was ended, while a look-up runs.
_LOOK = 0.05
# Seconds to wait for TLS files when a client is created; reading them takes a few hundredths.
_SOON = 1.0
# What sending raises if the plugin has already responded or has stopped reading.
STOPPED_READING = (
    BrokenPipeError,
    ConnectionResetError,
    RespondedEarlyError,
)


@runtime_checkable
class EndingDialer(Protocol):
    """A dialer whose dials and connections can be ended; ``dialer_for`` returns only such ones."""

    def __call__(self, timeout: float | None, /) -> Socket:
        """Return a connected socket; raise ``TimeoutError`` after ``timeout`` seconds."""
        ...

    def end(self) -> None:
        """End all dials and connections, current and future, without waiting."""
        ...


@runtime_checkable
class StartingDialer(Protocol):
    """A dialer that can also begin to connect a socket without waiting, with ``start``."""

    def __call__(self, timeout: float | None, /) -> Socket:
        """Return a connected socket; raise ``TimeoutError`` after ``timeout`` seconds."""
        ...

    def start(self) -> tuple[DeadlineSocket, bool] | None:
        """Return a socket and whether it is connected; if not, it will be once it is writable.

        Returns ``None`` if starting would have to wait. Raises ``OSError`` if the dial fails at
        once.
        """
        ...


def system_addresses(host: str, port: int) -> list[Any]:
    """Return the addresses of ``host`` for TCP; raise ``OSError``, of which ``gaierror`` is one.

    If no file descriptor is free, the resolver's error varies between systems; this function then
    raises the error that ``os.pipe()`` raises.
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
    """Blocking look-ups of host names and TLS files, each in a thread so that it can time out.

    Callers that wait for the same look-up share one thread, also if it hangs. Results are not
    cached: after a look-up has ended, the next caller starts another.
    """

    def __init__(self) -> None:
        # The key holds the process id: a forked child does not have its parent's threads.
        self._running: dict[tuple[Hashable, int], Lookup] = {}

    def addresses(
        self,
        resolve: Resolve,
        host: str,
        port: int,
        timeout: float | None,
        sockets: OpenSockets | None = None,
    ) -> list[Any]:
        """Return the addresses of ``host`` from ``resolve``; with a time-out, it runs in a thread.

        Raises what ``resolve`` raises, ``TimeoutError`` after ``timeout`` seconds, and
        ``ClosedHereError`` once ``sockets`` were ended.
        """
        if timeout is None or is_number(host):
            return resolve(host, port)
        return for_port(port, self._result(self.resolving(resolve, host, port), timeout, sockets))

    def context(
        self, tls: TLSOptions, timeout: float | None, sockets: OpenSockets | None = None
    ) -> "ssl.SSLContext":
        """Return ``ssl_context(tls)``; with a time-out, another thread reads the files.

        Raises what ``ssl_context`` raises, ``TimeoutError`` after ``timeout`` seconds, and
        ``ClosedHereError`` once ``sockets`` were ended.
        """
        if timeout is None:
            return _context_of(tls)
        context: ssl.SSLContext = self._result(self.reading(tls), timeout, sockets)
        return context

    def resolving(self, resolve: Resolve, host: str, port: int) -> "Lookup":
        """Return the look-up of ``host`` that is running; start one if there is none.

        Pass its result to ``for_port``: it may have been started for another port.
        """
        # A shared look-up resolves for the port of its first caller.
        late = f"the name {shown(host)} is not resolved"
        lookup = Lookup("resolve", late, lambda: (port, resolve(host, port)))
        return self._begun((resolve, host), lookup)

    def reading(self, tls: TLSOptions) -> "Lookup":
        """Return the look-up that reads the files of ``tls``; start one if none is running.

        Its result is an ``ssl.SSLContext``.
        """
        lookup = Lookup("read", "the TLS files are not read", lambda: _context_of(tls))
        return self._begun(tls, lookup)

    @staticmethod
    def _result(lookup: "Lookup", timeout: float, sockets: OpenSockets | None) -> Any:
        """Return the result of ``lookup``; raise ``TimeoutError`` after ``timeout`` seconds.

        The look-up continues in its thread, and later callers join it. Raises ``ClosedHereError``
        once ``sockets`` were ended.
        """
        ends, left = time.monotonic() + timeout, timeout
        while not lookup.done.wait(min(left, _LOOK)):
            if sockets is not None:
                sockets.check()
            left = ends - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{lookup.late} after {timeout:.3g} s")
        return lookup.result()

    def _begun(self, key: Hashable, new: "Lookup") -> "Lookup":
        """Return the look-up of ``key`` that is already running, or else start ``new``."""
        key = (key, os.getpid())
        lookup = self._running.setdefault(key, new)
        if lookup is new:
            self._start(key, new)
        return lookup

    def _start(self, key: tuple[Hashable, int], lookup: "Lookup") -> None:
        def run_lookup() -> None:
            try:
                lookup.value = lookup.work()
            except Exception as error:  # raised in the threads that wait
                lookup.fail(error)
            finally:
                self._end(key, lookup)

        try:
            name = f"moby-plugins-{lookup.name}"
            threading.Thread(target=run_lookup, name=name, daemon=True).start()
        except RuntimeError as error:
            lookup.fail(OSError(f"no thread could be started to {lookup.name}: {error}"))
            self._end(key, lookup)

    def _end(self, key: tuple[Hashable, int], lookup: "Lookup") -> None:
        del self._running[key]
        lookup.end()


class Lookup:
    """One blocking look-up of a host name or of TLS files, which ``work`` does in a thread.

    ``name`` is a verb for the thread's name and for errors. ``late`` is the beginning of a
    time-out's message.
    """

    def __init__(self, name: str, late: str, work: Callable[[], Any]) -> None:
        self.name = name
        self.late = late
        self.work = work
        # Called in its thread once it is done, for callers that cannot block on ``done``.
        self._watchers: dict[object, Callable[[], object]] = {}
        self.done: threading.Event = threading.Event()
        self.value: Any = None
        self.error: Exception | None = None
        self.cause: BaseException | None = None

    def fail(self, error: Exception) -> None:
        """Store ``error`` and its cause, without tracebacks: these refer to this object."""
        self.error, self.cause = error.with_traceback(None), error.__cause__
        error.__context__ = None
        if self.cause is not None:
            self.cause.__traceback__ = self.cause.__context__ = None

    def end(self) -> None:
        """Wake all callers that wait for this look-up."""
        self.done.set()
        for who in tuple(self._watchers):
            self._notify(who)

    def watch(self, who: object, notify: Callable[[], object]) -> None:
        """Call ``notify`` once, when the look-up is done, in any thread.

        ``who`` is the key for ``unwatch``: if that is called first, ``notify`` is not called.
        """
        self._watchers[who] = notify
        if self.done.is_set():  # perhaps it ended before ``notify`` was listed
            self._notify(who)

    def unwatch(self, who: object) -> None:
        """Remove the callback that ``who`` passed to ``watch``."""
        self._watchers.pop(who, None)

    def _notify(self, who: object) -> None:
        notify = self._watchers.pop(who, None)  # in one step: two threads may be here
        if notify is not None:
            notify()

    def result(self) -> Any:
        """Return the result of the look-up, or raise its error; call this only once it is done."""
        if self.error is not None:
            raise copy(self.error) from self.cause  # no two threads share a traceback
        return self.value


def for_port(port: int, resolved: tuple[int, list[Any]]) -> list[Any]:
    """Return addresses that were ``resolved`` for one port, with ``port`` in its place."""
    resolved_for, addresses = resolved
    if resolved_for == port:
        return list(addresses)
    return [(*each[:4], (each[4][0], port, *each[4][2:])) for each in addresses]


def share(left: float, untried: int) -> float:
    """Return how many of the seconds ``left`` to spend on the next of ``untried`` addresses."""
    return max(left / untried, 1e-3)


def is_number(host: str) -> bool:
    """Return whether ``host`` is an IP address, which needs no resolving."""
    from ipaddress import ip_address

    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


class TCPDialer:
    """A dialer over plain TCP to ``address.host`` and ``.port``; ``resolve`` looks the host up."""

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
        """Return a connected socket; raise ``OSError``, ``TimeoutError`` after ``timeout`` seconds.

        The host name is resolved first. Its addresses are then tried one after the other, each for
        its share of the time that is left.
        """
        ends = None if timeout is None else time.monotonic() + timeout
        failure: OSError | None = None
        addresses = self.lookups.addresses(self.resolve, *self.where, timeout, self.sockets)
        for tried, (family, kind, protocol, _, where) in enumerate(addresses):
            sock = DeadlineSocket(family, kind, protocol)
            try:
                self.sockets.add(sock)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if ends is not None:
                    left = ends - time.monotonic()
                    sock.settimeout(share(left, len(addresses) - tried))
                sock.connect(where)
            except OSError as error:
                sock.close()
                failure = error
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        try:
            raise failure or OSError("the host name has no address")
        finally:
            del failure  # its traceback holds this frame, which would hold it

    def start(self) -> tuple[DeadlineSocket, bool] | None:
        """Start to dial; return a socket that is being connected, and false.

        Returns ``None`` for a host name, which would have to be resolved. Raises ``OSError`` if the
        dial fails at once.
        """
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
        """End all dials and connections, current and future."""
        self.sockets.end()


class TLSDialer:
    """A dialer over TCP with a TLS handshake.

    ``context`` is one from ``ssl_context``, whose sockets have deadlines, or the options for it:
    then the first dial, or ``read``, reads their files.
    """

    def __init__(
        self,
        address: Address,
        context: "ssl.SSLContext | TLSOptions",
        lookups: Lookups | None = None,
    ) -> None:
        self._lookups = lookups or Lookups()
        self.tcp: TCPDialer = TCPDialer(address, lookups=self._lookups)
        self.host: str = address.host
        # The options, until their files have been read.
        self.context: ssl.SSLContext | TLSOptions = context

    def __call__(self, timeout: float | None) -> "DeadlineSSLSocket":
        """Return a connected socket after the TLS handshake.

        Raises ``OSError``, of which ``ssl.SSLError`` is one, ``TimeoutError`` after ``timeout``
        seconds, and ``SpecError`` for a TLS file that cannot be used.
        """
        ends = None if timeout is None else time.monotonic() + timeout
        context = self.read(timeout)
        sock = self.tcp(None if ends is None else max(ends - time.monotonic(), 1e-3))
        try:
            wrapped = cast(
                "DeadlineSSLSocket",  # the class that the context has for its sockets
                context.wrap_socket(
                    sock,
                    server_hostname=self.host,
                    suppress_ragged_eofs=False,
                    do_handshake_on_connect=False,
                ),
            )
        except BaseException:
            sock.close()
            raise
        try:
            # The descriptor now belongs to ``wrapped``, no longer to ``sock``.
            self.tcp.sockets.add(wrapped)
            if ends is not None:
                socket.socket.settimeout(wrapped, max(ends - time.monotonic(), 1e-3))
            wrapped.do_handshake()
        except BaseException:
            wrapped.close()
            raise
        return wrapped

    def read(self, timeout: float | None) -> "ssl.SSLContext":
        """Return the TLS context, after reading its files if that was not done yet.

        Raises ``SpecError`` for a file that cannot be used, and ``TimeoutError`` after ``timeout``
        seconds, for example on a network file system that does not respond.
        """
        if isinstance(self.context, TLSOptions):
            self.context = self._lookups.context(self.context, timeout, self.tcp.sockets)
        return self.context

    def end(self) -> None:
        """End all dials and connections, current and future."""
        self.tcp.end()


def _context_of(tls: TLSOptions) -> "ssl.SSLContext":
    from moby_plugins.adapters.http.tls import ssl_context

    return ssl_context(tls)


def _tls_dialer(address: Address, tls: TLSOptions | None, lookups: Lookups | None) -> TLSDialer:
    dialer = TLSDialer(address, tls or TLSOptions(), lookups)
    # If this takes longer, or lacks a thread or a descriptor, the first dial reads the files: it
    # has its own time-out, and idle connections can be closed for it.
    try:
        dialer.read(_SOON)
    except OSError:
        pass
    except (SpecError, ImportError) as error:
        if not is_refusal(error):
            raise
    return dialer


_DIALERS: dict[str, Callable[[Address, TLSOptions | None, Lookups | None], Dialer]] = {
    "unix": lambda address, _, __: UnixSocketDialer(address),
    "tcp": lambda address, _, lookups: TCPDialer(address, lookups=lookups),
    "http": lambda address, _, lookups: TCPDialer(address, lookups=lookups),
    "https": _tls_dialer,
}


def dialer_for(address: Address, tls: TLSOptions | None, lookups: Lookups | None = None) -> Dialer:
    """Return a dialer for ``address``; for an ``https`` address, read the TLS files.

    ``lookups`` resolves the host and reads the files, and may be shared by dialers; ``None`` makes
    one for this dialer. Reading is left to the first dial if it takes longer than a second, or if
    this process can open no more files or start no thread. Raises ``SpecError`` for a scheme, a
    path or a file that cannot be used.
    """
    if address.scheme not in _DIALERS:
        known = ", ".join(sorted(_DIALERS))
        raise SpecError(
            f"{shown(address.scheme)}:// cannot be dialled; the schemes that can be are {known}"
        )
    return _DIALERS[address.scheme](address, tls, lookups)
