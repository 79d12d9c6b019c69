"""The server behind a served asynchronous plugin, on a given socket.

uvicorn is not used (decision 0046): it closes a connection whose host has shut down its sending,
and so loses the response, and it bounds neither the size nor the time of a head.
``AsyncServerConnection`` sends such a response, and bounds size and time of a head.
``MAX_CONNECTIONS`` bounds the connections, as the number of threads does in the threaded server.
"""

import asyncio
import errno
import logging
import math
import os
import select
import socket
import ssl
from contextvars import Context
from email.utils import formatdate

from moby_plugins.adapters.aio.server_connection import AsyncServerConnection
from moby_plugins.adapters.server.answering import STOPPED_LISTENING, InFlight
from moby_plugins.domain.async_http import AsyncApp
from moby_plugins.domain.http import USER_AGENT
from moby_plugins.domain.text import shown
from moby_plugins.failures import log_failure, log_line

BACKLOG = 128
# The most bytes per receive.
RECEIVED_BYTES = 128 << 10
MAX_CONNECTIONS = 1024
IDLE_TIMEOUT = 60.0
# Seconds for calls to notice that their connection was cut off.
CUT = 0.5
# Seconds that calls take to end before it is said that they are waited for.
TOLD = 1.0
# Seconds between checks of what no event tells; a call is checked from its second one on.
LOOK = 0.25
# Seconds after which a call that continues although its host hung up is logged.
PATIENCE = 10.0
# Seconds before the next attempt to accept a connection if no descriptor is left.
PAUSE = 0.1
# Errors of ``accept`` if the process, or the machine, has run out of descriptors or memory.
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
# Errors of ``accept`` for a connection that has already ended.
_GONE = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR, errno.ECONNABORTED, errno.EPROTO}


class AsyncServer:
    """A server of ``app`` on ``sock``, which must be bound and which it then owns.

    The server runs in the running event loop, and serves TLS if ``context`` is given. If ``most``
    connections are open, the one that has waited longest for its peer to send or to read is closed
    for a new one. A connection whose call does not wait for its peer is never closed for this: if
    there are only such connections, new ones wait. A peer may be silent for ``idle`` seconds, and
    may take as long for a head. A call that still runs ``patience`` seconds after its host hung up
    is logged. Start and stop the server once.
    """

    def __init__(
        self,
        sock: socket.socket,
        app: AsyncApp,
        context: ssl.SSLContext | None = None,
        inflight: InFlight | None = None,
        *,
        idle: float = IDLE_TIMEOUT,
        patience: float = PATIENCE,
        most: int = MAX_CONNECTIONS,
    ) -> None:
        self.app: AsyncApp = app
        self.inflight: InFlight = InFlight() if inflight is None else inflight
        self.stopping: bool = False
        self.buffer: memoryview = memoryview(bytearray(RECEIVED_BYTES))
        self._loop = asyncio.get_running_loop()
        self._context = context
        self._idle = idle
        self._patience = patience
        self._most = most
        # Not a ``ListeningSocket``, whose ``accept`` blocks its thread for a while.
        self._sock = socket.socket(fileno=sock.detach())
        self._inode = os.fstat(self._sock.fileno())
        self._accepting = False
        self._dated, self._lines = -math.inf, ""
        self._exhausted = self._was_exhausted = False
        self._connections: set[AsyncServerConnection] = set()
        # Sockets in their TLS handshake, oldest first.
        self._shaking: dict[asyncio.Task[None], socket.socket] = {}
        # Calls that were checked once, and running calls whose hosts hung up.
        self._seen: set[asyncio.Task[None]] = set()
        self._gone: dict[asyncio.Task[None], tuple[float, str]] = {}
        self._timer: asyncio.TimerHandle | None = None
        # Set once a stopping server has closed all connections.
        self._empty: asyncio.Future[None] = self._loop.create_future()
        # Set to an error once the socket no longer listens.
        self.ended: asyncio.Future[None] = self._loop.create_future()

    def start(self) -> None:
        """Start to accept connections; raise ``OSError`` if the socket cannot listen."""
        try:
            self._sock.setblocking(False)
            self._sock.listen(BACKLOG)
            self._accept_more()
        except BaseException:
            self._sock.close()
            raise

    async def stop(self, drain: float) -> None:
        """Accept no more connections; cut off calls that still run after ``drain`` seconds.

        If the task is cancelled, the calls are cut off at once.
        """
        self.stopping = True
        self._accept_no_more()
        if self._is_there():
            self._sock.close()
        else:
            self._sock.detach()  # the descriptor may have been closed and reused
        for task in list(self._shaking):
            task.cancel()
        for conn in list(self._connections):
            conn.stop()
        self._notify_empty()
        try:
            _, running = await asyncio.wait([self._empty], timeout=min(drain, TOLD))
            if running and drain > TOLD:
                left = drain - TOLD
                log_line(logging.INFO, "calls are still running: they have %g s to end", left)
                await asyncio.wait(running, timeout=left)
        finally:
            try:
                await self._cut()
            finally:
                if self._timer is not None:
                    self._timer.cancel()
                self.ended.cancel()

    async def _cut(self) -> None:
        running = [conn.task for conn in self._connections if conn.task is not None]
        for conn in list(self._connections):
            conn.cut_off()
        _, late = await asyncio.wait([self._empty, *running, *self._gone], timeout=CUT)
        if late - {self._empty}:
            log_line(logging.WARNING, "a call is still running although its connection was closed")

    def _notify_empty(self) -> None:
        if self.stopping and not (self._connections or self._empty.done()):
            self._empty.set_result(None)

    def own_lines(self) -> str:
        """Return the headers that the server adds to each response, cached for a second."""
        now = self._loop.time()
        if now - self._dated >= 1.0:
            self._dated = now
            self._lines = f"Server: {USER_AGENT}\r\nDate: {formatdate(usegmt=True)}"
        return self._lines

    def opened(self, conn: AsyncServerConnection) -> None:
        """Note that ``conn`` was accepted; it is open until ``closed`` is called."""
        self._connections.add(conn)
        if self.stopping:
            conn.stop()

    def closed(self, conn: AsyncServerConnection) -> None:
        """Note that ``conn`` was closed; its call may still be running."""
        if conn.task is not None and not conn.task.done():
            self._gone.setdefault(conn.task, (self._loop.time(), conn.method))
            self._look_at(self._loop.time() + self._patience)
        self._connections.discard(conn)
        self._notify_empty()
        self._accept_more()

    def _accept_more(self) -> None:
        if not (self._accepting or self.stopping or self._exhausted):
            self._accepting = True
            self._loop.add_reader(self._sock.fileno(), self._accept)

    def _accept_no_more(self) -> None:
        if self._accepting:
            self._accepting = False
            self._loop.remove_reader(self._sock.fileno())

    def _accept(self) -> None:
        for _ in range(BACKLOG):
            if not self._has_room():
                self._accept_no_more()
                self.look_soon()  # a call may end, whose connection can be closed for another
                return
            try:
                sock, _address = self._sock.accept()
            except OSError as error:
                self._not_accepted(error)
                return
            self._was_exhausted = False
            sock.setblocking(False)
            task = self._loop.create_task(self._take(sock))
            self._shaking[task] = sock
            task.add_done_callback(self._taken)

    def _not_accepted(self, error: OSError) -> None:
        if error.errno in _GONE and self._listens():
            return
        self._accept_no_more()
        if error.errno not in _EXHAUSTED:
            self._end()
            return
        if not self._was_exhausted:
            log_line(logging.WARNING, "connections have to wait: %s", shown(error.strerror))
            self._was_exhausted = True
        self._exhausted = True
        self._loop.call_later(PAUSE, self._accept_again)

    def _accept_again(self) -> None:
        self._exhausted = False
        self._accept_more()

    def _has_room(self) -> bool:
        if len(self._connections) + len(self._shaking) < self._most:
            return True
        # Many peers that neither send nor read must not keep others out.
        slow = [conn for conn in self._connections if conn.waits_since is not None]
        if slow:
            conn = min(slow, key=lambda conn: conn.waits_since or 0.0)
            self._connections.discard(conn)
            conn.cut_off()
        elif self._context is not None and self._shaking:
            next(iter(self._shaking)).cancel()
        else:
            return False
        log_line(logging.INFO, "a slow connection was closed: all connection slots are taken")
        return True

    async def _take(self, sock: socket.socket) -> None:
        try:
            if sock.family != getattr(socket, "AF_UNIX", None):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(
                lambda: AsyncServerConnection(self), sock, ssl=self._context
            )
        except Exception as error:  # for example a failed handshake
            sock.close()
            log_line(logging.INFO, "a connection was lost: %s", shown(error))

    def _taken(self, task: asyncio.Task[None]) -> None:
        sock = self._shaking.pop(task)
        if task.cancelled():  # perhaps before it started
            sock.close()
        self._accept_more()

    def waiting(self, since: float) -> None:
        """Note that a connection has been waiting for its peer since the moment ``since``."""
        self._look_at(since + self._idle)

    def look_soon(self) -> None:
        """Check the connections soon: no event would show that the host of one has hung up."""
        self._look_at(self._loop.time() + LOOK)

    def check_listening(self) -> None:
        """Set ``ended`` to an ``OSError`` if the socket no longer listens."""
        if not self.stopping and not self._listens():
            self._end()

    def _look_at(self, due: float) -> None:
        if self._timer is not None:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._look, context=Context())

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        try:
            self._look_after(now)
            self.check_listening()
            self._accept_more()
        except Exception as error:  # raised by a log handler
            log_failure("checking the connections failed", error)
        # Without anything to look after, there is no timer: fake time can stop with the tasks.
        due = self._next_due(now)
        if due < math.inf:
            self._look_at(max(due, now + LOOK))

    def _next_due(self, now: float) -> float:
        dues = [since + self._patience for since, _ in self._gone.values()]
        for conn in self._connections:
            if conn.is_blind:
                dues.append(now)
            if conn.is_timed:
                dues.append((conn.waits_since or 0.0) + self._idle)
        if not (self._accepting or self._exhausted or self.stopping or self.ended.done()):
            dues.append(now)
        return min(dues, default=math.inf)

    def _look_after(self, now: float) -> None:
        blind = set()
        for conn in list(self._connections):
            if conn.waits_since is not None and now >= conn.waits_since + self._idle:
                conn.time_out()
            if conn.task is not None and conn.is_blind:
                blind.add(conn.task)
                if conn.task in self._seen and conn.look():
                    conn.cut()
        self._seen = blind
        for task, (since, method) in list(self._gone.items()):
            if task.done():
                del self._gone[task]
            elif now - since >= self._patience:
                del self._gone[task]
                log_line(
                    logging.WARNING,
                    "%s is still running %g s after its host hung up",
                    shown(method),
                    self._patience,
                )

    def _is_there(self) -> bool:
        # Return whether the descriptor still refers to this socket.
        try:
            return os.path.samestat(os.fstat(self._sock.fileno()), self._inode)
        except OSError:
            return False

    def _listens(self) -> bool:
        if not self._is_there():
            return False
        poll = select.poll()
        poll.register(self._sock, getattr(select, "POLLRDHUP", 0))  # only on Linux
        try:
            listens = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError:
            return False
        return bool(listens) and not poll.poll(0)  # polling shows a shutdown

    def _end(self) -> None:
        if not self.ended.done() and not self.stopping:
            self.ended.set_exception(OSError(STOPPED_LISTENING))
