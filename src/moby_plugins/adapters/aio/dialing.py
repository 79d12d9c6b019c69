"""Dialling in an event loop, with the rules and checks of ``adapters/http/dialing.py``.

``loop.create_unix_connection`` and the like are not used: if a plugin's queue is full, asyncio
takes an unconnected UNIX socket for a connected one.
"""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, Protocol, TypeVar

from moby_plugins.adapters.aio.links import Link, TLSLink
from moby_plugins.adapters.aio.pool import Call, timed_out
from moby_plugins.adapters.http.dialing import (
    Lookup,
    Lookups,
    TCPDialer,
    TLSDialer,
    dialer_for,
    for_port,
    is_number,
    share,
)
from moby_plugins.adapters.http.unix_socket import UnixSocketDialer, check_refusal
from moby_plugins.domain.address import Address, TLSOptions

T = TypeVar("T")

# First and longest pause in seconds between attempts to connect to a plugin with a full queue:
# the system does not report when there is a place.
_FIRST_PAUSE, _LONGEST_PAUSE = 1e-3, 0.05
# The most bytes that the system buffers for a plugin that does not read; the default is megabytes.
_MOST_UNSENT = 256 << 10
_UNDER_WAY = (errno.EINPROGRESS, errno.EALREADY)
_CONNECTED = (0, errno.EISCONN)


class AsyncDialer(Protocol):
    """A dialer for one address: call it to get a connected link."""

    async def __call__(self, call: Call, until: float) -> Link:
        """Return a connected link for ``call``.

        Raises ``OSError`` if the dial fails, ``TimeoutError`` at the loop's time ``until``, and
        ``SpecError`` for TLS files that cannot be used.
        """
        ...


class AsyncUnixDialer:
    """A dialer for the UNIX socket at ``path``: call it to get a connected link."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def __call__(self, call: Call, until: float) -> Link:
        """Return a connected link; raise ``OSError``, ``TimeoutError`` at the time ``until``.

        While the plugin's queue of new connections is full, this tries repeatedly.
        """
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            pause = _FIRST_PAUSE
            while True:
                try:
                    sock.connect(self._path)
                except BlockingIOError as error:
                    now = loop.time()
                    if now >= until:
                        refusal = "the plugin does not accept connections: its queue is full"
                        raise TimeoutError(errno.ETIMEDOUT, refusal) from error
                    await call.wait_until(min(now + pause, until))
                    pause = min(2 * pause, _LONGEST_PAUSE)
                else:
                    return Link(loop, sock)
        except BaseException as error:
            sock.close()
            check_refusal(error, self._path)
            raise


class AsyncTCPDialer:
    """An asynchronous version of ``dialer``, which tries the host's addresses in turn."""

    def __init__(self, dialer: TCPDialer) -> None:
        self._dialer = dialer

    async def __call__(self, call: Call, until: float) -> Link:
        """Return a connected link; raise ``OSError``, ``TimeoutError`` at the time ``until``.

        The host's addresses are tried in turn, each for its share of the time that is left.
        """
        return Link(asyncio.get_running_loop(), await self.connected(call, until))

    async def connected(self, call: Call, until: float) -> socket.socket:
        """Return a connected socket; raise ``OSError``, ``TimeoutError`` at the time ``until``."""
        loop = asyncio.get_running_loop()
        failure: OSError | None = None
        addresses = await self._addresses(call, until)
        for tried, (family, kind, protocol, _, where) in enumerate(addresses):
            now = loop.time()
            ends = now + share(until - now, len(addresses) - tried)
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if hasattr(socket, "TCP_NOTSENT_LOWAT"):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _MOST_UNSENT)
                await _connect(sock, where, call, ends)
            except OSError as error:
                sock.close()
                call.check()
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

    async def _addresses(self, call: Call, until: float) -> list[Any]:
        dialer = self._dialer
        host, port = dialer.where
        if is_number(host):
            return dialer.resolve(host, port)
        lookup = dialer.lookups.resolving(dialer.resolve, host, port)
        return for_port(port, await _result(lookup, call, until))


class AsyncTLSDialer:
    """An asynchronous version of ``dialer``, with the TLS handshake."""

    def __init__(self, dialer: TLSDialer) -> None:
        self._dialer = dialer
        self._tcp = AsyncTCPDialer(dialer.tcp)

    async def __call__(self, call: Call, until: float) -> Link:
        """Return a link after the TLS handshake; raise ``OSError``, ``TimeoutError`` at ``until``.

        Raises ``SpecError`` for a TLS file that cannot be used.
        """
        loop = asyncio.get_running_loop()
        context = await self._context(call, until)
        sock = await self._tcp.connected(call, until)
        try:
            link = TLSLink(loop, sock, context, self._dialer.host)
        except BaseException:
            sock.close()
            raise
        try:
            link.start(call.wake)
            while not link.shake_hands():
                await _ready(link, call, until)
            link.pause()
        except BaseException:
            link.close()
            raise
        return link

    async def _context(self, call: Call, until: float) -> ssl.SSLContext:
        dialer = self._dialer
        if isinstance(dialer.context, TLSOptions):
            lookup = dialer.tcp.lookups.reading(dialer.context)
            context: ssl.SSLContext = await _result(lookup, call, until)
            dialer.context = context
            return context
        return dialer.context


async def _connect(sock: socket.socket, where: Any, call: Call, until: float) -> None:
    """Connect ``sock``; raise ``OSError``, ``TimeoutError`` at the loop's time ``until``."""
    loop = asyncio.get_running_loop()
    sock.setblocking(False)
    number = sock.connect_ex(where)
    if number in _UNDER_WAY:
        loop.add_writer(sock, call.wake)
        try:
            while (number := sock.connect_ex(where)) in _UNDER_WAY:
                if loop.time() >= until:
                    raise timed_out()
                await call.wait_until(until)
        finally:
            loop.remove_writer(sock)
    if number not in _CONNECTED:
        raise OSError(number, os.strerror(number))


async def _ready(link: TLSLink, call: Call, until: float) -> None:
    """Wait until the handshake of ``link`` can continue; raise ``TimeoutError`` at ``until``."""
    if link.loop.time() >= until:
        raise timed_out()
    if link.is_broken():
        return
    if not link.flush():
        link.watch_room(call.wake)
    try:
        await call.wait_until(until)
    finally:
        link.unwatch_room()


class _Joined(Executor):
    """An executor that runs its jobs in the thread of ``lookup``, when this look-up has ended."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    def submit(self, fn: Callable[..., T], /, *args: Any, **options: Any) -> Future[T]:
        """Run ``fn``, which must not raise, when the look-up has ended; return its future."""
        job: Future[T] = Future()

        def run() -> None:
            if job.set_running_or_notify_cancel():
                job.set_result(fn(*args, **options))

        job.add_done_callback(self._lookup.unwatch)
        self._lookup.watch(job, run)
        return job


async def _result(lookup: Lookup, call: Call, until: float) -> Any:
    """Wait for ``lookup``, and return its result: the addresses of a host, or a TLS context.

    Raises the error of the look-up, or of ``call`` if that fails first, and ``TimeoutError`` at the
    time ``until``.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    # As a job of the loop, so that a loop with fake time sees the thread work.
    done = loop.run_in_executor(_Joined(lookup), lookup.done.is_set)
    done.add_done_callback(lambda _: call.wake())
    try:
        while not done.done():
            if loop.time() >= until:
                raise TimeoutError(f"{lookup.late} after {until - began:.3g} s")
            await call.wait_until(until)
    finally:
        done.cancel()
    return lookup.result()


def async_dialer_for(
    address: Address, tls: TLSOptions | None, lookups: Lookups | None
) -> AsyncDialer:
    """Return a dialer for ``address`` in an event loop; for ``https``, read the TLS files.

    Raises ``SpecError`` for a scheme, a socket's path or a TLS file that cannot be used.
    """
    dialer = dialer_for(address, tls, lookups)
    if isinstance(dialer, UnixSocketDialer):
        return AsyncUnixDialer(dialer.path)
    if isinstance(dialer, TLSDialer):
        return AsyncTLSDialer(dialer)
    assert isinstance(dialer, TCPDialer)  # noqa: S101  the only other kind
    return AsyncTCPDialer(dialer)
