"""A connection to a served asynchronous plugin: requests are answered one after the other.

It is an ``asyncio.BufferedProtocol``, which receives into one reused buffer: for a plain protocol,
asyncio allocates 256 KiB each time, which takes a fifth of a small call. Each call is a task. While
one runs, receiving pauses at ``MAX_AHEAD`` bytes that it has not read. A host that has shut down
its sending still gets a response; ``look`` returns whether it has hung up, as in the threaded
server.
"""

import asyncio
import errno
import select
import socket
from collections.abc import AsyncIterator, Mapping
from contextvars import copy_context
from typing import Protocol, cast

from moby_plugins.adapters.aio.answering import AsyncStartedResponse, answer, read_request
from moby_plugins.adapters.aio.incoming import Head, Incoming
from moby_plugins.adapters.server.answering import (
    SMALL_BYTES,
    Held,
    InFlight,
    failure,
    refuse_origin,
)
from moby_plugins.async_ports import is_cancelled
from moby_plugins.domain.async_http import AsyncApp, AsyncRequest
from moby_plugins.domain.errors import StatusError, WireError, status_line
from moby_plugins.domain.http import CHUNK_BYTES, NoAnswerError
from moby_plugins.failures import log_failure
from moby_plugins.ports import RunningCall

# The most unread bytes that are kept while a call runs.
MAX_AHEAD = 64 << 10
# Bytes of an unread body that are skipped; a longer body closes the connection.
MAX_UNREAD_BYTES = 256 << 20
# Seconds for a host to read the last response and to shut down its sending.
LINGER = 2.0
# Seconds that an idle peer under TLS has to say goodbye when the server stops.
FAREWELL = 0.1
HUNG_UP = "the host hung up"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Owner(Protocol):
    """The interface of a server, as its connections use it."""

    app: AsyncApp
    inflight: InFlight
    stopping: bool
    buffer: memoryview

    def own_lines(self) -> str:
        """Return the headers that the server adds to each response."""

    def opened(self, conn: "AsyncServerConnection", /) -> None:
        """Note that ``conn`` is open until ``closed`` is called."""

    def closed(self, conn: "AsyncServerConnection", /) -> None:
        """Note that ``conn`` was closed."""

    def waiting(self, since: float, /) -> None:
        """Note that a connection has been waiting for its peer since the moment ``since``."""

    def look_soon(self) -> None:
        """Begin to call ``look`` regularly, of all connections that are ``is_blind``."""


class AsyncServerConnection(asyncio.BufferedProtocol):
    """The server's end of one connection: reads requests, and runs one call at a time.

    ``waits_since`` is the loop's time since which the connection waits for the peer to send or to
    read; ``None`` while code of the plugin runs.
    """

    _transport: asyncio.Transport

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._incoming = Incoming()
        self._context = copy_context()
        self.task: asyncio.Task[None] | None = None
        self.method: str = ""
        self.call: RunningCall | None = None
        self.waits_since: float | None = None
        self._is_cut = False
        self._served = 0
        self._begun = False  # whether part of a head was received
        self._reading = True
        self._is_over = False  # nothing more is sent, and received bytes are dropped
        self._ended = False  # whether the peer has stopped sending
        self._lost = False
        self._room: asyncio.Future[None] | None = None
        self._more_received: asyncio.Future[None] | None = None
        self._unread = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport, and note that the connection is open."""
        self._transport = cast("asyncio.Transport", transport)
        sock = transport.get_extra_info("socket")
        self._is_tls = transport.get_extra_info("sslcontext") is not None
        self.is_unix: bool = sock.family == getattr(socket, "AF_UNIX", None)
        # A host that has only shut down its sending counts as hung up on TCP, not on a UNIX socket.
        self._hang_up_events = 0 if self.is_unix else getattr(select, "POLLRDHUP", 0)
        self._descriptor: int = sock.fileno()
        self._owner.opened(self)
        self._wait()

    def get_buffer(self, _: int) -> memoryview:
        """Return the one buffer of all connections: a loop receives for one of them at a time."""
        return self._owner.buffer

    def buffer_updated(self, size: int) -> None:
        """Copy the received bytes, and wake the task that waits for them."""
        data = bytes(self._owner.buffer[:size])
        if self._is_over:
            self._drop(len(data))
            return
        self._incoming.feed(data)
        if self._more_received is not None:
            self._wake()
        elif self.task is None:
            self._next()
        elif len(self._incoming) > MAX_AHEAD and self._reading:
            self._reading = False
            self._transport.pause_reading()
            self._owner.look_soon()

    def eof_received(self) -> bool:
        """Note that the peer has stopped sending; return whether to stay connected for sending."""
        self._ended = True
        self._wake()
        if self.task is None:
            self._transport.close()
        else:
            self._owner.look_soon()
        # Under TLS the transport cannot stay half open, and would warn that this was asked of it.
        return not self._is_tls

    def connection_lost(self, _: Exception | None) -> None:
        """End all waiting for the peer, and cancel a running call."""
        self._lost = True
        self._wake()
        self.resume_writing()
        self._owner.closed(self)
        self.cut()

    def pause_writing(self) -> None:
        """Make the call wait before it writes more of its response."""
        self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let the call continue to write its response."""
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    @property
    def is_timed(self) -> bool:
        """Whether the connection waits for the peer to send, which has a time limit."""
        is_waiting = self.task is None or self._more_received is not None
        return is_waiting and self.waits_since is not None

    @property
    def is_blind(self) -> bool:
        """Whether a call is running, and no event would show that the peer has hung up."""
        return self.task is not None and (self._ended or not self._reading)

    def look(self) -> bool:
        """Return whether the peer has hung up, or can no longer read."""
        if self._lost or self._descriptor < 0:
            return True
        poll = select.poll()
        poll.register(self._descriptor, self._hang_up_events)
        return bool(poll.poll(0))

    def cut_off(self) -> None:
        """Break the connection off for the server's own reasons; mark a running call as cut off."""
        if self.call is not None:
            self.call.cut_off()
        self.cut()

    def cut(self) -> None:
        """Break the connection off: cancel a running call, and send nothing more."""
        if self._is_cut:
            return
        self._is_cut = True
        if self.call is not None:
            self.call.hang_up()
        if self.task is not None:
            self.task.cancel()
        self._transport.abort()

    def stop(self) -> None:
        """Close the connection, after the request that is being read or answered, if any."""
        if self.task is None and not self._begun:
            closing = self._transport.is_closing()
            is_idle = not (closing or self._transport.get_write_buffer_size())
            self._transport.close()
            # TLS waits for the peer's ``close_notify``, which an idle host does not send.
            if self._is_tls and is_idle:
                self._loop.call_later(FAREWELL, self._transport.abort)

    def time_out(self) -> None:
        """End the wait for a peer that took too long to send; one that reads slowly may go on."""
        if self._more_received is not None and not self._more_received.done():
            self._more_received.set_exception(TimeoutError("timed out"))
        elif self.task is not None:
            return  # a peer may read slowly
        elif self._is_over or (self._served and not self._begun):
            self._transport.abort()
        else:
            self._refuse(StatusError(408, "", "the request was not received in time"))

    def _wait(self) -> None:
        self.waits_since = now = self._loop.time()
        self._owner.waiting(now)

    def _wake(self) -> None:
        if self._more_received is not None and not self._more_received.done():
            self._more_received.set_result(None)

    def _drop(self, size: int) -> None:
        self._unread += size
        if self._unread > MAX_UNREAD_BYTES:
            self._transport.abort()

    def _next(self) -> bool:
        """Begin to answer the next request if its head is complete; return whether it is."""
        if not self._begun:
            if not len(self._incoming):
                return False
            self._begun = True
            self._wait()
        try:
            head = self._incoming.head()
        except StatusError as error:
            self._refuse(error)
            return False
        if head is None:
            if self._ended:
                self._transport.close()
            return False
        self.waits_since = None
        self._begun = False
        self._served += 1
        self.method = head.method.partition("?")[0].removeprefix("/")
        # Not in the context of the request before, whose task may be running this; and not by
        # ``create_task``, as an eager task would begin before ``task`` is set.
        serving = self._serve(head)
        self.task = asyncio.Task(serving, loop=self._loop, context=self._context.copy())
        if self.is_blind:
            self._owner.look_soon()
        return True

    def _refuse(self, error: StatusError) -> None:
        # An invalid request does not reach the app; where its body ends is not known.
        response = failure(error.status, error.message)
        body = response.body.read(CHUNK_BYTES)
        headers = {**response.headers, "Content-Length": str(len(body))}
        self._transport.write(
            _head(error.status, headers, self._owner.own_lines(), is_kept=False, minor=1) + body
        )
        self._finish()

    def _finish(self) -> None:
        """Stop sending, but receive and drop bytes for a while: a reset would lose the response."""
        self._is_over = True
        self._incoming.clear()
        self._resume()
        self._wait()
        if self._ended or not self._transport.can_write_eof():
            self._transport.close()
            return
        self._transport.write_eof()
        self._loop.call_later(LINGER, self._end_linger)

    def _end_linger(self) -> None:
        if self._lost:
            return
        if self._transport.get_write_buffer_size():  # the peer reads slowly; see ``time_out``
            self._loop.call_later(LINGER, self._end_linger)
        else:
            self._transport.abort()

    async def _serve(self, head: Head) -> None:
        self.call = call = _Call()
        held = Held(self._owner.inflight)
        is_kept = False
        body = _Body(self, head)
        try:
            with call:
                is_kept = await self._exchange(head, body, held)
        except BaseException as error:
            self._transport.abort()
            if not (is_cancelled(error) or isinstance(error, (OSError, WireError))):
                log_failure("a connection was interrupted", error)
        finally:
            self.call = self.task = None
            held.release()
        if is_kept and not self._lost:
            self._wait()
            self._resume()
            if not self._next() and (self._owner.stopping or self._ended):
                self.stop()
        elif body.is_over:
            self._transport.close()
        elif not self._transport.is_closing():
            self._finish()

    async def _exchange(self, head: Head, body: "_Body", held: Held) -> bool:
        """Serve one request; return whether the connection is kept."""

        async def read() -> AsyncRequest:
            if not self.is_unix:
                refuse_origin(head.headers, head.method)
            if head.length and (whole := body.take_whole(head.length, held)) is not None:
                return AsyncRequest(head.method, whole, head.headers, head.length)
            return await read_request(head.method, head.headers, head.length, body.chunks, held)

        answered = await answer(self._owner.app, head.verb, read)
        if not answered.is_whole:
            body.ask()  # no later: it cannot be sent in the middle of a response
        try:
            is_kept = await self._send(head, answered)
        finally:
            await answered.aclose()
            # Released before the rest is read, which may take as long as the host likes.
            held.release()
        return is_kept and await body.skip_rest()

    async def _send(self, head: Head, answered: AsyncStartedResponse) -> bool:
        out = answered.head
        headers = out.headers
        is_kept = head.is_kept and not self._owner.stopping
        in_chunks = False
        if not out.has_length:
            if out.status in {204, 205, 304}:
                pass
            elif head.minor and head.verb != "HEAD":
                in_chunks = True
                headers["Transfer-Encoding"] = "chunked"
            else:
                is_kept = False  # it ends with the connection
        top = _head(out.status, headers, self._owner.own_lines(), is_kept=is_kept, minor=head.minor)
        if head.verb == "HEAD":
            self._transport.write(top)
            return is_kept
        if out.is_over:
            if self._room is None and not self._is_cut:
                self._transport.write(top + answered.first)
            else:
                await self._write(top + answered.first)
            return is_kept
        await self._write(top + _framed(answered.first, in_chunks=in_chunks))
        async for chunk in answered.rest():
            await self._write(_framed(chunk, in_chunks=in_chunks))
        if in_chunks:
            await self._write(b"0\r\n\r\n")
        return is_kept

    async def _write(self, data: bytes) -> None:
        if self._lost or self._is_cut or self._transport.is_closing():
            if self.call is not None:
                self.call.hang_up()
            if not self._is_cut:
                # ``connection_lost`` comes a turn later, and cancels this task: here, and not while
                # the plugin's code cleans up.
                await self._loop.create_future()
            raise NoAnswerError(HUNG_UP)
        self._transport.write(data)
        if self._is_tls:
            # A write that fails below TLS is known a turn later.
            await asyncio.sleep(0)
        if self._room is not None:
            # Without a time limit: the reader of a log stream may pause.
            self.waits_since = self._loop.time()
            try:
                await self._room
            finally:
                self.waits_since = None

    async def part(self, size: int) -> bytes:
        """Return the next bytes of the body, ``b""`` at its end.

        Raises ``OSError`` if it is cut off or not received in time, ``ValueError`` for bad chunks.
        """
        while (data := self._incoming.body(size)) is None:
            if self._ended or self._lost:
                if self.call is not None and (not self.is_unix or self.look()):
                    self.call.hang_up()
                raise OSError(errno.ECONNRESET, "it is cut off")
            self._more_received = self._loop.create_future()
            self._wait()
            self._resume()
            try:
                await self._more_received
            finally:
                self._more_received = self.waits_since = None
        return data

    @property
    def received(self) -> int:
        """The number of bytes received but not read."""
        return len(self._incoming)

    def take(self, size: int) -> bytes:
        """Return ``size`` bytes of the body, which must have been received."""
        return self._incoming.body(size) or b""

    def ask_for_body(self) -> None:
        """Send ``100 Continue``, unless some of the body was already received."""
        if not len(self._incoming):
            self._transport.write(_CONTINUE)

    def _resume(self) -> None:
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()


class _Call(RunningCall):
    hangs_up_first = True


class _Body:
    """The body of one request, read from the bytes that the connection receives."""

    def __init__(self, conn: AsyncServerConnection, head: Head) -> None:
        self._conn = conn
        self._is_awaited = head.expects_continue
        self.is_over: bool = head.length == 0
        self._is_bad = False

    def take_whole(self, length: int, held: Held) -> bytes | None:
        """Return a small body that was already received, as most are; else ``None``."""
        if length > min(SMALL_BYTES, self._conn.received, held.max_request_bytes):
            return None
        held.hold(length)
        self.is_over = True
        return self._conn.take(length)

    def ask(self) -> None:
        """Send ``100 Continue`` if the host waits for it."""
        if self._is_awaited and not self.is_over:
            self._is_awaited = False
            self._conn.ask_for_body()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body's chunks; raise ``WireError`` if the body is cut off or badly chunked."""
        self.ask()
        while chunk := await self._next():
            yield chunk

    async def _next(self) -> bytes:
        if self.is_over:
            return b""
        try:
            chunk = await self._conn.part(CHUNK_BYTES)
        except (OSError, ValueError) as error:
            self._is_bad = True
            why = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise WireError(f"the request's body cannot be read: {why}") from error
        self.is_over = not chunk
        return chunk

    async def skip_rest(self) -> bool:
        """Read to the end of the body; return whether another request can follow."""
        if self._is_awaited and not self.is_over:
            return False  # the host may send the body or not
        skipped = 0
        try:
            while not self._is_bad and (chunk := await self._next()):
                skipped += len(chunk)
                if skipped > MAX_UNREAD_BYTES:
                    return False
        except WireError:
            return False
        return not self._is_bad


def _framed(chunk: bytes, *, in_chunks: bool) -> bytes:
    return b"%x\r\n%b\r\n" % (len(chunk), chunk) if in_chunks and chunk else chunk


def _head(status: int, headers: Mapping[str, str], own: str, *, is_kept: bool, minor: int) -> bytes:
    lines = [f"HTTP/1.1 {status_line(status)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines.append(own)
    if not is_kept:
        lines.append("Connection: close")
    elif not minor:
        lines.append("Connection: Keep-Alive")
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1")
