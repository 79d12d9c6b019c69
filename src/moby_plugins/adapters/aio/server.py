"""The server behind a served asynchronous plugin, on a socket that is given to it.

uvicorn closes a connection whose host has ended its sending, so that its answer is lost; it gives
a head neither a bound nor a time (decision 0046). Here connections are ``Connection``, and what
the threaded end bounds by its threads is bounded by ``MAX_CONNECTIONS``.
"""

import asyncio
import errno
import math
import os
import select
import socket
import ssl
from email.utils import formatdate

from moby_plugins.adapters.aio.server_connection import Connection
from moby_plugins.adapters.server.answering import InFlight
from moby_plugins.domain.async_http import AsyncApp
from moby_plugins.domain.http import USER_AGENT
from moby_plugins.domain.text import shown
from moby_plugins.failures import log_failure, logger

BACKLOG = 128
# Received at once.
RECEIVED_BYTES = 128 << 10
MAX_CONNECTIONS = 1024
IDLE_TIMEOUT = 60.0
# Seconds that calls have to notice that their connection was cut off.
CUT = 0.5
# Seconds between looks at whether hosts have hung up; a call is looked at from the second on.
LOOK = 0.25
# Seconds after which a call is logged that goes on although its host hung up.
PATIENCE = 10.0
# Seconds before the next attempt to accept a connection, where the machine has run out.
PAUSE = 0.1
# What ``accept`` raises where the process, or the machine, has run out.
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
# And for a connection that has gone already.
_GONE = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR, errno.ECONNABORTED, errno.EPROTO}


class AsyncServer:
    """Serves ``app`` on ``sock``, which is bound and becomes the server's own, in the running loop.

    Under TLS where a ``context`` is given. Where ``most`` connections are open, the one that has
    waited for its peer for longest makes room; calls that run are let run, and further hosts wait.
    A peer may be silent for ``idle`` seconds, and may take as long for a head. A call that goes on
    ``patience`` seconds after its host hung up is logged. To be started and stopped once.
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
        # Not the listener's own class, whose ``accept`` pauses its thread.
        self._sock = socket.socket(fileno=sock.detach())
        self._inode = os.fstat(self._sock.fileno())
        self._accepting = False
        self._dated, self._lines = -math.inf, ""
        self._exhausted = self._was_exhausted = False
        self._connections: set[Connection] = set()
        # Those that are not connections yet, the oldest first.
        self._shaking: dict[asyncio.Task[None], socket.socket] = {}
        # Looked at once, and those whose hosts have gone although their calls go on.
        self._seen: set[asyncio.Task[None]] = set()
        self._gone: dict[asyncio.Task[None], tuple[float, str]] = {}
        self._timer: asyncio.TimerHandle | None = None
        # Set once all connections are closed of a server that stops.
        self._empty: asyncio.Future[None] = self._loop.create_future()
        # Set to an error once the socket listens no more.
        self.ended: asyncio.Future[None] = self._loop.create_future()

    def start(self) -> None:
        """Take connections; raises ``OSError`` where the socket cannot listen."""
        try:
            self._sock.setblocking(False)
            self._sock.listen(BACKLOG)
            self._accept_more()
        except BaseException:
            self._sock.close()
            raise
        self._timer = self._loop.call_later(LOOK, self._look)

    async def stop(self, drain: float) -> None:
        """Take no more connections, give running calls ``drain`` seconds, then cut them off.

        Where its task is cancelled they are cut off at once.
        """
        self.stopping = True
        self._accept_no_more()
        if self._is_there():
            self._sock.close()
        else:
            self._sock.detach()  # its descriptor may be another's by now
        for task in list(self._shaking):
            task.cancel()
        for conn in list(self._connections):
            conn.stop()
        self._told_empty()
        try:
            await asyncio.wait([self._empty], timeout=drain)
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
            conn.cut()
        _, late = await asyncio.wait([self._empty, *running, *self._gone], timeout=CUT)
        if late - {self._empty}:
            logger.warning("a call goes on although its connection was cut off")

    def _told_empty(self) -> None:
        if self.stopping and not (self._connections or self._empty.done()):
            self._empty.set_result(None)

    def own_lines(self) -> str:
        """The headers that the server adds to each response; the date is a second's."""
        now = self._loop.time()
        if now - self._dated >= 1.0:
            self._dated = now
            self._lines = f"Server: {USER_AGENT}\r\nDate: {formatdate(usegmt=True)}"
        return self._lines

    def opened(self, conn: Connection) -> None:
        """``conn`` was accepted, and is open until ``closed``."""
        self._connections.add(conn)
        if self.stopping:
            conn.stop()

    def closed(self, conn: Connection) -> None:
        """``conn`` holds nothing any more, but maybe a call that goes on."""
        if conn.task is not None and not conn.task.done():
            self._gone.setdefault(conn.task, (self._loop.time(), conn.method))
        self._connections.discard(conn)
        self._told_empty()
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
            logger.warning("connections have to wait: %s", shown(error.strerror))
            self._was_exhausted = True
        self._exhausted = True
        self._loop.call_later(PAUSE, self._accept_again)

    def _accept_again(self) -> None:
        self._exhausted = False
        self._accept_more()

    def _has_room(self) -> bool:
        if len(self._connections) + len(self._shaking) < self._most:
            return True
        # A crowd of peers that are silent, slow or deaf must not keep others out.
        slow = [conn for conn in self._connections if conn.waits_since is not None]
        if slow:
            conn = min(slow, key=lambda conn: conn.waits_since or 0.0)
            self._connections.discard(conn)
            conn.cut()
        elif self._context is not None and self._shaking:
            next(iter(self._shaking)).cancel()
        else:
            return False
        logger.info("a slow connection was cut off, for all places are taken")
        return True

    async def _take(self, sock: socket.socket) -> None:
        try:
            if sock.family != getattr(socket, "AF_UNIX", None):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(
                lambda: Connection(self), sock, ssl=self._context
            )
        except Exception as error:  # a handshake that failed, say
            sock.close()
            logger.info("a connection was lost: %s", shown(error))

    def _taken(self, task: asyncio.Task[None]) -> None:
        sock = self._shaking.pop(task)
        if task.cancelled():  # maybe before it began
            sock.close()
        self._accept_more()

    def _look(self) -> None:
        self._timer = self._loop.call_later(LOOK, self._look)
        try:
            self._look_after(self._loop.time())
            if not self.stopping and not self._listens():
                self._end()
            # A call may have ended, so that its connection could make room.
            self._accept_more()
        except Exception as error:  # out of a handler of the log
            log_failure("looking after connections failed", error)

    def _look_after(self, now: float) -> None:
        running = set()
        for conn in list(self._connections):
            if conn.waits_since is not None and now - conn.waits_since >= self._idle:
                conn.time_out()
            if conn.task is not None:
                running.add(conn.task)
                if conn.task in self._seen and conn.look():
                    conn.cut()
        self._seen = running
        for task, (since, method) in list(self._gone.items()):
            if task.done():
                del self._gone[task]
            elif now - since >= self._patience:
                del self._gone[task]
                logger.warning(
                    "%s goes on %g s after its host hung up", shown(method), self._patience
                )

    def _is_there(self) -> bool:
        # Whether its descriptor still is this socket.
        try:
            return os.path.samestat(os.fstat(self._sock.fileno()), self._inode)
        except OSError:
            return False

    def _listens(self) -> bool:
        if not self._is_there():
            return False
        poll = select.poll()
        poll.register(self._sock, getattr(select, "POLLRDHUP", 0))  # on Linux alone
        try:
            listens = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError:
            return False
        return bool(listens) and not poll.poll(0)  # polled, it tells that it was shut down

    def _end(self) -> None:
        if not self.ended.done() and not self.stopping:
            self.ended.set_exception(OSError("its socket listens no more"))
