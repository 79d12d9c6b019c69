"""A client of one plugin: how long it waits for a response, and when it tries again."""

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
def test_the_time_out_is_that_of_the_call_or_else_that_of_the_client(
    way: str, own: float | None, given: float | None, expected: float | None, clock: AnyClock
) -> None:
    """The transport gets this time-out for each attempt; infinity means none."""
    client, line = client_of(1, clock, timeout=own)

    getattr(client, way)("M.x", b"" if way == "send_file" else None, timeout=given)

    assert line.timeouts == [expected]


def test_a_timeout_bounds_each_attempt_and_not_all_of_them(clock: AnyClock) -> None:
    """A plugin that does not respond is tried again, each time with the whole time-out."""
    client, line = client_of(hangs(), clock, timeout=2)

    with pytest.raises(TransportTimeoutError) as caught:
        client.call("M.x")

    assert str(caught.value) == f"plugin 'p' at {TCP}: timed out (tried 5 times in 25 s)"
    assert clock.sleeps == [1, 2, 4, 8]
    assert [request.attempt for request in line.requests] == [1, 2, 3, 4, 5]


def test_a_timeout_while_the_response_comes_is_not_tried_again(clock: AnyClock) -> None:
    """After a status line, a retry might make the plugin act twice."""
    client, line = client_of(drips(b"[1, 2]"), clock)

    with pytest.raises(TransportTimeoutError) as caught:
        client.call("M.x", timeout=3)

    assert (caught.value.answered, caught.value.plugin, caught.value.address) == (True, "p", TCP)
    assert (clock.now(), len(line.requests)) == (3.0, 1)


@pytest.mark.parametrize("timeout", [0, -1, math.nan])
def test_a_timeout_is_a_positive_number(timeout: float, clock: AnyClock) -> None:
    """Zero, a negative number or NaN raises a ValueError, and nothing is sent."""
    client, line = client_of(1, clock)
    said = rf"^a time-out must be a positive number of seconds, not {timeout!r}$"

    with pytest.raises(ValueError, match=said):
        client.call("M.x", timeout=timeout)
    with pytest.raises(ValueError, match=said):
        client_of(1, clock, timeout=timeout)

    assert line.requests == []


def test_a_call_of_a_closed_client_is_an_error(clock: AnyClock) -> None:
    """Leaving the ``with`` block closes the client and its transport."""
    client, line = client_of(1, clock)
    with client as same:
        assert same is client

    for way in (client.call, client.stream):
        with pytest.raises(RuntimeError, match=r"^this client is closed$"):
            way("M.x")
    with pytest.raises(RuntimeError, match=r"^this client is closed$"):
        client.send_file("M.x", b"")

    assert (line.closed, line.requests) == (1, [])


def test_closing_a_client_ends_a_call_that_waits_for_its_next_attempt(clock: AnyClock) -> None:
    """The call raises a WaitCancelledError at that moment, and makes no further attempt."""
    client, line = client_of(refused(), clock)
    clock.at(2, client.close)

    with pytest.raises(WaitCancelledError, match=r"^this client is closed") as caught:
        client.call("M.x")

    assert (len(line.requests), clock.now()) == (2, 2.0)
    assert (caught.value.attempts, caught.value.elapsed) == (2, 2.0)


@pytest.mark.parametrize("reply", [hangs(), drips(b"[1]" + b" " * 99)], ids=["head", "body"])
@pytest.mark.parametrize("way", ["call", "stream", "send_file"])
def test_closing_a_client_ends_a_call_that_waits_for_a_response(
    reply: Fault, way: str, clock: AnyClock
) -> None:
    """The call raises a WaitCancelledError at that moment, and is not tried again."""
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
    """After its client is closed, a read still returns ``b""`` and raises no error."""
    client, _ = client_of(b"[1]", clock)
    stream = client.stream("M.x")
    assert [stream.read(), stream.read()] == [b"[1]", b""]
    client.close()

    assert stream.read() == b""


def test_a_plugin_in_memory_sees_that_its_host_has_ended_the_call() -> None:
    """The event ``hung_up()`` is set, as if a real connection had been closed."""
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
def test_the_retry_policy_is_that_of_the_call_or_else_that_of_the_client(
    way: str, policy: RetryPolicy | None, sleeps: list[float], clock: AnyClock
) -> None:
    """Each attempt sends the whole body, and the error has the number of attempts."""
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
def test_call_stream_and_send_file_take_a_retry_policy_and_a_function_for_retries(
    way: str, data: object, clock: AnyClock
) -> None:
    """The policy replaces that of the client; the function gets the delay before each retry."""
    client, line = client_of(script(refused(), refused(), 1), clock)
    told: list[float] = []
    policy = RetryPolicy(initial=0.5, budget=1.6)

    getattr(client, way)("M.x", data, retry=policy, on_retry=lambda _, delay: told.append(delay))

    assert (told, clock.sleeps, len(line.requests)) == ([0.5, 1.0], [0.5, 1.0], 3)


@pytest.mark.parametrize("timeout", [Decimal("sNaN"), Decimal("NaN"), "1", True])
def test_a_time_out_of_another_type_or_nan_is_refused(timeout: Any, clock: AnyClock) -> None:
    """A string, a bool or a NaN of Decimal raises a ValueError before anything is sent."""
    client, line = client_of(1, clock)
    with pytest.raises(ValueError, match=r"^a time-out must be a positive number of seconds"):
        client.call("M.x", timeout=timeout)
    assert line.requests == []
