"""Threads that serve connections, and calls that go on after their hosts hung up."""

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from moby_plugins.adapters.server.workers import MAX_THREADS, PATIENCE, Workers

WAIT = 5.0


class Unwatched:
    """A call that always seems new, so that its connection is never polled."""

    def __init__(self, method: str) -> None:
        self.method = method

    watched = property(lambda _: False, lambda _, __: None)


class Stuck:
    """A connection whose call goes on until the test says so."""

    def __init__(self, method: str = "LogDriver.ReadLogs") -> None:
        self.call = Unwatched(method)
        self.hung_up_since: float | None = None
        self.waits_since: float | None = None
        self.runs, self.may_end, self.ended = (threading.Event() for _ in range(3))

    def communicate(self) -> bool:
        self.runs.set()
        self.may_end.wait(4 * WAIT)
        return False

    def close(self) -> None:
        self.ended.set()

    def cut(self) -> None:
        self.may_end.set()


class Quick(Stuck):
    """A connection that takes no time."""

    def communicate(self) -> bool:
        self.runs.set()
        return False


@pytest.fixture
def workers() -> Iterator[Workers]:
    """Threads, and their end."""
    made = Workers()
    made.start()
    yield made
    made.stop()


def fill(workers: Workers, places: int = MAX_THREADS) -> list[Any]:
    """A call that runs for each place."""
    conns: list[Any] = [Stuck() for _ in range(places)]
    for conn in conns:
        workers.put(conn)
    for conn in conns:
        assert conn.runs.wait(WAIT)
    return conns


def test_a_call_whose_host_hung_up_gives_its_place_to_a_waiting_connection(
    workers: Workers,
) -> None:
    """This happens at the next ``look``; a call whose host is still there keeps its place."""
    conns, waiting = fill(workers), Quick()
    workers.put(waiting)  # type: ignore[arg-type]
    workers.look(0.0)
    assert not waiting.runs.is_set()

    conns[0].hung_up_since = 0.0
    workers.look(0.25)

    assert waiting.ended.wait(WAIT)
    for conn in conns:
        conn.may_end.set()


def test_a_call_that_goes_on_after_its_host_hung_up_is_logged_once(
    workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning comes after ten seconds and names the method, for the plugin's author."""
    conn: Any = Stuck()
    workers.put(conn)
    assert conn.runs.wait(WAIT)
    conn.hung_up_since = 100.0

    with caplog.at_level(logging.WARNING):
        for later in (0.0, PATIENCE - 0.1, PATIENCE, PATIENCE + 0.25, 2 * PATIENCE):
            workers.look(100.0 + later)

    assert caplog.messages == ["LogDriver.ReadLogs is still running 10 s after its host hung up"]
    conn.may_end.set()


def test_an_exception_of_a_connection_ends_no_worker_thread(
    workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even ``SystemExit`` does; it is logged, and the thread serves the next connection."""

    class Broken(Stuck):
        def communicate(self) -> bool:
            raise SystemExit("bad")

    threads = threading.active_count()
    for _ in range(20):
        broken: Any = Broken()
        workers.put(broken)
        assert broken.ended.wait(WAIT)

    assert threading.active_count() == threads
    assert caplog.messages == ["a connection was interrupted"] * 20


def test_the_slowest_waiting_peer_is_cut_off_to_make_room_for_another(workers: Workers) -> None:
    """It is the connection that has waited longest for its peer; no running call is cut off."""
    conns, another = fill(workers), Quick()
    conns[3].waits_since, conns[7].waits_since = 2.0, 1.0

    workers.put(another)  # type: ignore[arg-type]

    assert another.ended.wait(WAIT)
    assert [number for number, conn in enumerate(conns) if conn.may_end.is_set()] == [7]
    for conn in conns:
        conn.may_end.set()


def test_a_connection_that_is_cut_off_but_runs_on_does_not_hold_up_others(workers: Workers) -> None:
    """It keeps its thread, so the next place that becomes free goes to a waiting connection."""

    class Deaf(Stuck):
        def cut(self) -> None:
            self.was_cut = True

    cut_off: Any = Deaf()
    workers.put(cut_off)
    conns, another = fill(workers, MAX_THREADS - 1), Quick()
    cut_off.waits_since = 1.0
    workers.put(another)  # type: ignore[arg-type]
    assert cut_off.was_cut

    conns[0].hung_up_since = 0.0
    workers.look(0.25)

    assert another.ended.wait(WAIT)
    for conn in [cut_off, *conns]:
        conn.may_end.set()


def test_a_peer_that_becomes_slow_later_makes_room_for_a_waiting_connection(
    workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    """If all threads were busy when the connection came, the next ``look`` cuts off the slowest."""
    conns, another = fill(workers), Quick()
    workers.put(another)  # type: ignore[arg-type]
    workers.look(0.0)
    assert not another.runs.is_set()
    for number, conn in enumerate(conns):
        conn.waits_since = 1000.0 - number

    with caplog.at_level(logging.INFO):
        workers.look(0.25)

    assert another.ended.wait(WAIT)
    assert [conn for conn in conns if conn.may_end.is_set()] == [conns[-1]]
    assert caplog.messages == ["a slow connection was closed: all threads are busy"]
    for conn in conns:
        conn.may_end.set()


def test_a_log_handler_that_fails_does_not_lose_a_connection(workers: Workers) -> None:
    """Log handlers are the user's code, and run in the thread that accepts connections."""

    class Failing(logging.Handler):
        def emit(self, _: logging.LogRecord) -> None:
            raise ValueError("cannot log")

    log, failing = logging.getLogger("moby_plugins"), Failing()
    before = log.level
    log.addHandler(failing)
    log.setLevel(logging.INFO)
    try:
        conns, another = fill(workers), Quick()
        conns[0].waits_since = 1.0
        workers.put(another)  # type: ignore[arg-type]
        assert another.ended.wait(WAIT)
        conns[1].hung_up_since = 0.0
        workers.look(2 * PATIENCE)
    finally:
        log.removeHandler(failing)
        log.setLevel(before)
        for conn in conns:
            conn.may_end.set()
