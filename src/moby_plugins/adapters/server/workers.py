"""The threads that serve connections, one each, and their replacement when a host hangs up.

cheroot's own pool bounds the number of busy threads. Here a thread that is still in the plugin's
code after its host has hung up is *abandoned*: it is no longer one of that number, so that another
can be started, and it ends with its call. Lock rule: the one lock guards which connections have or
await a thread and which threads are counted; while it is held, sockets are polled without waiting,
and nothing is called that could block. A connection leaves ``_present`` before its own thread
closes it, so all sockets that are polled under the lock are open.
"""

import logging
import select
import threading
from collections.abc import Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue

from moby_plugins.adapters.server.cheroot_connection import ServerConnection
from moby_plugins.domain.text import shown
from moby_plugins.failures import log_failure, log_line

MIN_THREADS, MAX_THREADS = 8, 256
# The most abandoned threads, besides those that count.
MAX_ABANDONED = 1024
# Seconds that a thread beyond ``MIN_THREADS`` stays idle before it ends.
IDLE = 1.0
# Seconds after which a call whose host hung up is logged.
PATIENCE = 10.0


class Workers:
    """The threads that serve connections, in place of cheroot's thread pool.

    cheroot calls ``start`` once, and ``put`` when a connection is accepted or has another request.
    There are ``MIN_THREADS`` threads, and up to ``MAX_THREADS`` while all are busy. If
    ``MAX_THREADS`` are busy, the connection that has waited longest for its peer to send or to read
    is closed for a new one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: SimpleQueue[ServerConnection | None] = SimpleQueue()
        self._threads: set[threading.Thread] = set()
        self._counted = 0
        self._stopping = False
        # All connections that have or await a thread, and those of them whose threads count.
        self._present: set[ServerConnection] = set()
        self._busy: set[ServerConnection] = set()
        self._abandoned: set[ServerConnection] = set()
        # Cut off to make room. Each keeps its thread until it notices: it may run a call by now.
        self._cut: set[ServerConnection] = set()
        self._logged: set[ServerConnection] = set()

    @property
    def qsize(self) -> int:
        """The number of connections that await a thread."""
        return self._queue.qsize()

    def start(self) -> None:
        """Start the first threads; raise ``RuntimeError`` if no thread can be started."""
        with self._lock:
            for _ in range(MIN_THREADS):
                self._start_thread()

    def put(self, conn: ServerConnection) -> None:
        """Serve ``conn`` in an idle thread, or in a new one, as running streams may never end."""
        with self._lock:
            self._present.add(conn)
            self._busy.add(conn)
            closed = self._make_room()
            self._grow()
        self._queue.put(conn)
        _log_closed(closed)

    def stop(self, _: object = None) -> None:
        """Stop, and return once all threads have ended, abandoned ones included."""
        with self._lock:
            self._stopping = True
            counted = self._counted
        for _ in range(counted):
            self._queue.put(None)
        while True:
            with self._lock:
                thread = next(iter(self._threads), None)
            if thread is None:
                return
            thread.join()

    def cut(self) -> None:
        """Cut off the connections of running calls, so that their next read or write fails."""
        with self._lock:
            present = list(self._present)
        for conn in present:
            conn.cut()

    def look(self, now: float) -> None:
        """Check which hosts hung up, and replace the threads that still run calls of these hosts.

        Call this a few times a second. Each running call is checked from the second time on, so
        that a short call is answered even if its host has shut down its sending. A replaced thread
        finishes its call, but no longer counts towards the most threads, so that another can be
        started. ``now`` is monotonic time.
        """
        with self._lock:
            hung_up = list(self._hung_up())
        for conn in hung_up:
            conn.hang_up()
        with self._lock:
            late = [name for conn in self._present for name in self._let_go(conn, now)]
            # Others may wait for their peers only now, or a thread could not be started earlier.
            closed = self._make_room()
            self._grow()
        _log_closed(closed)
        for name in late:
            message = "%s is still running %g s after its host hung up"
            log_line(logging.WARNING, message, shown(name), PATIENCE)

    def _hung_up(self) -> Iterator[ServerConnection]:
        poll = select.poll()
        polled: dict[int, ServerConnection] = {}
        for conn in self._present:
            call = conn.call
            if call is None or conn.hung_up_since is not None:
                continue
            if call.watched:
                polled[conn.socket.fileno()] = conn
                poll.register(conn.socket, conn.hang_up_events)
            call.watched = True
        for descriptor, _ in poll.poll(0) if polled else ():
            yield polled[descriptor]

    def _let_go(self, conn: ServerConnection, now: float) -> Iterator[str]:
        # Return the method's name if the call has to be logged now.
        since, call = conn.hung_up_since, conn.call
        if since is None:
            return
        if conn not in self._abandoned and len(self._abandoned) < MAX_ABANDONED:
            self._abandoned.add(conn)
            self._busy.discard(conn)
            self._counted -= 1
            self._grow()
        late = now - since >= PATIENCE
        if late and call is not None and conn not in self._logged:
            self._logged.add(conn)
            yield call.method

    def _work(self) -> None:
        counts = True
        while counts and (conn := self._take()) is not None:
            keep = False
            try:
                keep = conn.communicate()
            except BaseException as error:  # the thread has to serve other connections
                log_failure("a connection was interrupted", error)
            counts = self._done(conn)
            try:
                if keep:
                    conn.server.put_conn(conn)
                else:
                    conn.close()
            except BaseException as error:
                log_failure("a connection could not be kept or closed", error)
            del conn
        with self._lock:
            self._threads.discard(threading.current_thread())

    def _done(self, conn: ServerConnection) -> bool:
        # Return whether the thread that served it still counts.
        with self._lock:
            counts = conn not in self._abandoned
            for each in (self._present, self._busy, self._abandoned, self._cut, self._logged):
                each.discard(conn)
        return counts

    def _grow(self) -> None:
        if self._counted < min(len(self._busy), MAX_THREADS):
            with suppress(RuntimeError):  # no thread can be started now
                self._start_thread()

    def _take(self) -> ServerConnection | None:
        # Return the next connection; ``None`` if the thread has to end, and no longer counts.
        while True:
            spare = self._counted > MIN_THREADS or self._stopping
            with suppress(Empty):
                conn = self._queue.get(timeout=IDLE if spare else None)
                if conn is not None:
                    return conn
            with self._lock:
                if self._stopping or self._counted > max(MIN_THREADS, len(self._busy)):
                    self._counted -= 1
                    return None

    def _start_thread(self) -> None:
        # A daemon, so that a hung call does not block exit.
        thread = threading.Thread(target=self._work, name="plugin worker", daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        except BaseException:
            self._threads.discard(thread)
            raise
        self._counted += 1

    def _make_room(self) -> int:
        """Cut off the slowest connections for those that await a thread; return how many.

        Many peers that neither send nor read must not keep others out.
        """
        if len(self._busy) <= MAX_THREADS:  # almost always
            return 0
        waits = {conn: conn.waits_since for conn in self._busy - self._cut}
        slow = [(since, id(conn), conn) for conn, since in waits.items() if since is not None]
        slowest = [conn for *_, conn in sorted(slow)[: max(len(waits) - MAX_THREADS, 0)]]
        for conn in slowest:
            self._cut.add(conn)
            conn.cut()
        return len(slowest)


def _log_closed(number: int) -> None:
    for _ in range(number):
        log_line(logging.INFO, "a slow connection was closed: all threads are busy")
