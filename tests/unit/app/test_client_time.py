"""A client of one plugin: how long it waits for an answer, and when it tries again."""

import math
from decimal import Decimal
from typing import Any

import pytest

from moby_plugins.domain.errors import TransportError, TransportTimeoutError, WaitCancelledError
from moby_plugins.domain.retry import RetryPolicy
from moby_plugins.serving import hung_up
from moby_plugins.testing import FakeClock, Fault, Request, drips, hangs, refused, script
from tests.unit.app.hosts import AnyClock, client_of
from tests.unit.app.in_memory import TCP


@pytest.mark.parametrize(
    ("own", "given", "expected"),
    [(None, None, None), (3.0, None, 3.0), (3.0, 1, 1.0), (None, 2, 2.0), (3.0, math.inf, None)],
)
@pytest.mark.parametrize("way", ["call", "stream", "send_file"])
def test_a_timeout_is_the_calls_or_else_the_clients(
    way: str, own: float | None, given: float | None, expected: float | None, clock: AnyClock
) -> None:
    """The transport is told the bound of each attempt; infinity is none."""
    client, line = client_of(1, clock, timeout=own)

    getattr(client, way)("M.x", b"" if way == "send_file" else None, timeout=given)

    assert line.timeouts == [expected]


def test_a_timeout_bounds_each_attempt_and_not_all_of_them(clock: AnyClock) -> None:
    """A plugin that hangs is tried again, each time for as long."""
    client, line = client_of(hangs(), clock, timeout=2)

    with pytest.raises(TransportTimeoutError) as caught:
        client.call("M.x")

    assert str(caught.value) == f"plugin 'p' at {TCP}: timed out (tried 5 times in 25 s)"
    assert clock.sleeps == [1, 2, 4, 8]
    assert [request.attempt for request in line.requests] == [1, 2, 3, 4, 5]


def test_a_timeout_while_the_response_comes_is_not_tried_again(clock: AnyClock) -> None:
    """Once there is a status line, a retry might do a thing twice."""
    client, line = client_of(drips(b"[1, 2]"), clock)

    with pytest.raises(TransportTimeoutError) as caught:
        client.call("M.x", timeout=3)

    assert (caught.value.answered, caught.value.plugin, caught.value.address) == (True, "p", TCP)
    assert (clock.now(), len(line.requests)) == (3.0, 1)


@pytest.mark.parametrize("timeout", [0, -1, math.nan])
def test_a_timeout_is_a_positive_number(timeout: float, clock: AnyClock) -> None:
    """No time at all is a mistake: the error says what was given, and nothing is sent."""
    client, line = client_of(1, clock)
    said = rf"^a time-out must be a positive number of seconds, not {timeout!r}$"

    with pytest.raises(ValueError, match=said):
        client.call("M.x", timeout=timeout)
    with pytest.raises(ValueError, match=said):
        client_of(1, clock, timeout=timeout)

    assert line.requests == []


def test_a_closed_client_calls_no_more(clock: AnyClock) -> None:
    """Leaving the ``with`` block closes the transport; a later call is an error."""
    client, line = client_of(1, clock)
    with client as same:
        assert same is client

    for way in (client.call, client.stream):
        with pytest.raises(RuntimeError, match=r"^this client is closed$"):
            way("M.x")
    with pytest.raises(RuntimeError, match=r"^this client is closed$"):
        client.send_file("M.x", b"")

    assert (line.closed, line.requests) == (1, [])


def test_a_client_that_is_closed_between_two_attempts_stops(clock: AnyClock) -> None:
    """At once: the retry that was waited for is not made."""
    client, line = client_of(refused(), clock)
    clock.at(2, client.close)

    with pytest.raises(WaitCancelledError, match=r"^this client is closed") as caught:
        client.call("M.x")

    assert (len(line.requests), clock.now()) == (2, 2.0)
    assert (caught.value.attempts, caught.value.elapsed) == (2, 2.0)


@pytest.mark.parametrize("reply", [hangs(), drips(b"[1]" + b" " * 99)], ids=["head", "body"])
@pytest.mark.parametrize("way", ["call", "stream", "send_file"])
def test_a_client_that_is_closed_ends_its_calls(reply: Fault, way: str, clock: AnyClock) -> None:
    """At that moment, with what is known; nothing is tried again."""
    client, line = client_of(reply, clock)
    clock.at(2.5, client.close)

    def ask() -> None:
        asked = getattr(client, way)("M.x", b"[1]")
        while way == "stream" and asked.read():
            pass

    with pytest.raises(WaitCancelledError, match=r"^this client is closed") as caught:
        ask()

    assert (len(line.requests), clock.now()) == (1, 2.5)
    assert (caught.value.plugin, caught.value.address) == ("p", TCP)
    assert caught.value.attempts == 1
    assert str(caught.value) == f"this client is closed (plugin 'p' at {TCP}; tried once)"


def test_a_stream_that_was_read_to_its_end_stays_at_its_end(clock: AnyClock) -> None:
    """Closing its client afterwards takes nothing away."""
    client, _ = client_of(b"[1]", clock)
    stream = client.stream("M.x")
    assert [stream.read(), stream.read()] == [b"[1]", b""]
    client.close()

    assert stream.read() == b""


def test_a_plugin_in_memory_sees_that_its_call_was_ended() -> None:
    """Over a real connection it would see the hang-up."""
    clock = FakeClock()
    seen: list[float] = []

    def plugin(_: Request) -> bytes:
        clock.wait(hung_up())
        seen.append(clock.now())
        return b"1"

    client, _ = client_of(plugin, clock)
    clock.at(2, client.close)

    with pytest.raises(WaitCancelledError):
        client.call("M.x")

    assert (seen, clock.now()) == ([2.0], 2.0)


@pytest.mark.parametrize(
    ("policy", "sleeps"), [(None, [5, 5]), (RetryPolicy.never(), []), (RetryPolicy(), [1, 2, 4, 8])]
)
@pytest.mark.parametrize("way", ["call", "stream", "send_file"])
def test_a_retry_policy_is_the_calls_or_else_the_clients(
    way: str, policy: RetryPolicy | None, sleeps: list[float], clock: AnyClock
) -> None:
    """The whole body goes with every attempt, and the error says how many there were."""
    client, line = client_of(refused(), clock, retry=RetryPolicy(initial=5, factor=1, budget=15))
    data = b"[1]\n" if way == "send_file" else [1]

    with pytest.raises(TransportError) as caught:
        getattr(client, way)("M.x", data, retry=policy)

    assert clock.sleeps == sleeps
    assert [request.body for request in line.requests] == [b"[1]\n"] * (len(sleeps) + 1)
    assert caught.value.attempts == len(sleeps) + 1
    assert str(caught.value).startswith(f"plugin 'p' at {TCP}: connection refused")


@pytest.mark.parametrize(
    ("way", "data"), [("call", None), ("stream", None), ("send_file", b"x"), ("send_file", [b"x"])]
)
def test_each_way_to_call_takes_a_policy_and_a_function_for_retries(
    way: str, data: object, clock: AnyClock
) -> None:
    """Of the call: they stand in for those of the client."""
    client, line = client_of(script(refused(), refused(), 1), clock)
    told: list[float] = []
    policy = RetryPolicy(initial=0.5, budget=1.6)

    getattr(client, way)("M.x", data, retry=policy, on_retry=lambda _, delay: told.append(delay))

    assert (told, clock.sleeps, len(line.requests)) == ([0.5, 1.0], [0.5, 1.0], 3)


@pytest.mark.parametrize("timeout", [Decimal("sNaN"), Decimal("NaN"), "1", True])
def test_what_is_no_number_of_a_float_is_no_timeout(timeout: Any, clock: AnyClock) -> None:
    """It is refused before anything is sent."""
    client, line = client_of(1, clock)
    with pytest.raises(ValueError, match=r"^a time-out must be a positive number of seconds"):
        client.call("M.x", timeout=timeout)
    assert line.requests == []
