"""The ways in which a plugin in memory fails: each gives the error of a real transport."""

import errno
import os
from typing import Any

import pytest

from moby_plugins.adapters.memory.replies import reply_to
from moby_plugins.domain.errors import (
    PluginError,
    TransportError,
    TransportTimeoutError,
    WireError,
)
from moby_plugins.testing import (
    ClockStuckError,
    FakeClock,
    Fault,
    MemoryTransport,
    Request,
    Response,
    UnexpectedCallError,
    denied,
    drips,
    drops,
    drops_mid_body,
    hangs,
    malformed,
    missing_socket,
    not_json,
    refused,
    script,
    status,
)

SOCKET = "unix:///run/p.sock"


@pytest.fixture
def clock() -> FakeClock:
    """The time of a test."""
    return FakeClock()


def send(
    fault: Any, clock: FakeClock, timeout: float | None = None, addr: str = SOCKET
) -> Response:
    """The response of a plugin at ``addr`` that fails in this way."""
    transport = MemoryTransport({"M.x": fault}, clock=clock, addr=addr)
    return transport.send(Request("M.x", b"{}"), timeout)


def read(response: Response) -> bytes:
    """The rest of a response's body."""
    return b"".join(iter(lambda: response.body.read(1 << 16), b""))


@pytest.mark.parametrize(
    ("fault", "addr", "said", "number"),
    [
        (missing_socket(), SOCKET, "no socket there; is the plugin running?", errno.ENOENT),
        (
            refused(),
            SOCKET,
            "stale socket: it exists, but no process listens on it",
            errno.ECONNREFUSED,
        ),
        (
            refused(),
            "tcp://host:80",
            "connection refused: no process listens there",
            errno.ECONNREFUSED,
        ),
        (denied(), SOCKET, "no permission to connect to the socket", errno.EACCES),
        (denied(), "tcp://host:80", os.strerror(errno.EACCES), errno.EACCES),
    ],
)
def test_the_error_for_an_unreachable_plugin_says_why(
    fault: Fault, addr: str, said: str, number: int, clock: FakeClock
) -> None:
    """A failed dial is a ``TransportError``, unanswered, caused by the system's own error."""
    with pytest.raises(TransportError) as caught:
        send(fault, clock, addr=addr)

    error = caught.value
    assert type(error) is TransportError
    assert str(error) == f"{addr}: {said} (tried once)"
    assert (error.address, error.answered) == (addr, False)
    assert isinstance(error.__cause__, OSError)
    assert error.__cause__.errno == number


@pytest.mark.parametrize("fault", [missing_socket(), refused(), denied()])
def test_a_plugin_that_cannot_be_reached_reads_nothing_of_a_streamed_body(
    fault: Fault, clock: FakeClock
) -> None:
    """The attempt is listed, and the next attempt can send the whole body."""
    body = iter([b"one", b"two"])
    transport = MemoryTransport({"M.x": script(fault, 1)}, clock=clock)

    with pytest.raises(TransportError):
        transport.send(Request("M.x", body), None)
    transport.send(Request("M.x", body, attempt=2), None)

    assert [call.body for call in transport.calls] == [b"", b"onetwo"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (drops(), "the plugin closed the connection without a response"),
        (malformed(), "malformed response"),
    ],
)
def test_the_error_for_a_plugin_that_gives_no_valid_response_says_so(
    fault: Fault, said: str, clock: FakeClock
) -> None:
    """The plugin got the request, but the call counts as not answered."""
    transport = MemoryTransport({"M.x": fault}, clock=clock, addr=SOCKET)

    with pytest.raises(TransportError) as caught:
        transport.send(Request("M.x", iter([b"{", b"}"])), None)

    assert type(caught.value) is TransportError
    assert str(caught.value) == f"{SOCKET}: {said} (tried once)"
    assert (caught.value.answered, caught.value.__cause__) == (False, None)
    assert [call.body for call in transport.calls] == [b"{}"]


@pytest.mark.parametrize("seconds", [float("inf"), 3600, 5.0])
def test_a_plugin_that_hangs_uses_up_the_timeout(seconds: float, clock: FakeClock) -> None:
    """The call ends exactly at its time-out, and counts as not answered."""
    with pytest.raises(TransportTimeoutError) as caught:
        send(hangs(seconds), clock, timeout=5.0)

    assert str(caught.value) == f"{SOCKET}: timed out (tried once)"
    assert (caught.value.answered, clock.now()) == (False, 5.0)


def test_a_plugin_may_respond_after_it_has_hung(clock: FakeClock) -> None:
    """Within the time-out, or without one, the argument ``then`` is the reply."""
    assert read(send(hangs(4, then={"A": 1}), clock, timeout=5.0)) == b'{"A": 1}\n'
    assert send(hangs(4, then=status(503)), clock).status == 503
    assert clock.now() == 8.0


def test_hanging_for_ever_without_a_timeout_is_an_error_of_the_fake_clock(clock: FakeClock) -> None:
    """A test that would never end fails at once instead."""
    with pytest.raises(ClockStuckError, match="MainThread waits for an event"):
        send(hangs(), clock)


def test_a_plugin_that_hangs_adds_nothing_to_the_sleeps_of_the_clock(clock: FakeClock) -> None:
    """``clock.sleeps`` stays the list of what the library slept."""
    send(hangs(4), clock)

    assert (clock.now(), clock.sleeps) == (4.0, [])


@pytest.mark.parametrize(("code", "sent"), [(200, b'{"Volu'), (500, b"oh n")])
def test_a_body_that_is_cut_off_gives_what_came_first(
    code: int, sent: bytes, clock: FakeClock
) -> None:
    """The response has its status; reading raises after the bytes that were sent."""
    response = send(drops_mid_body(sent, code), clock)

    assert (response.status, response.body.read(100)) == (code, sent)
    with pytest.raises(WireError) as caught:
        response.body.read(100)
    assert str(caught.value) == f"{SOCKET}: the response's body is cut off or badly chunked"


def test_a_body_that_drips_comes_byte_by_byte(clock: FakeClock) -> None:
    """Each byte takes the given seconds of the clock."""
    response = send(drips(b"abc", every=2, status=500), clock)

    assert response.status == 500
    assert [(response.body.read(9), clock.now()) for _ in range(3)] == [
        (b"a", 2.0),
        (b"b", 4.0),
        (b"c", 6.0),
    ]
    assert response.body.read(9) == b""


def test_a_body_that_drips_runs_into_the_timeout(clock: FakeClock) -> None:
    """The time-out bounds the whole exchange, which counts as answered by then."""
    response = send(drips(b"abcdef"), clock, timeout=2.5)

    assert [response.body.read(9), response.body.read(9)] == [b"a", b"b"]
    with pytest.raises(TransportTimeoutError) as caught:
        response.body.read(9)
    assert (caught.value.answered, clock.now()) == (True, 2.5)


def test_the_fault_not_json_is_a_web_page_with_status_200(clock: FakeClock) -> None:
    """Another server at the plugin's address might send it."""
    response = send(not_json(), clock)

    assert response.status == 200
    assert read(response).startswith(b"<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (status(404, "no such volume"), (404, b'{"Err": "no such volume"}')),
        (status(500), (500, b'{"Err": ""}')),
    ],
)
def test_the_fault_status_has_its_message_in_the_body(
    fault: Fault, expected: tuple[int, bytes], clock: FakeClock
) -> None:
    """The message is in ``Err``, as plugins write it."""
    response = send(fault, clock)

    assert (response.status, read(response)) == expected


@pytest.mark.parametrize("fault", [refused(), hangs(0), drops(), drops_mid_body(), drips(b"a")])
def test_a_fault_may_happen_any_number_of_times(fault: Fault, clock: FakeClock) -> None:
    """A fault is a value: the second time it does the same as the first."""
    transport = MemoryTransport({"M.x": fault}, clock=clock)

    def happen() -> str:
        try:
            return repr(read(transport.send(Request("M.x"), 9)))
        except PluginError as error:
            return str(error)

    assert happen() == happen()


def test_the_error_for_an_unexpected_call_has_a_bounded_length() -> None:
    """This holds for a very long name of the method, and for a thousand known methods."""
    plugin = {f"A.{'b' * 50}{number}": None for number in range(1000)}

    with pytest.raises(UnexpectedCallError) as caught:
        reply_to("A." + "b" * 100_000, plugin)

    assert len(str(caught.value)) < 700
