"""The calls of a plugin in memory, as a sequence that can be asked by method."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from moby_plugins.testing import Call, Calls, FakeClock, MemoryTransport, Request


def call(method: str = "M.x", body: bytes = b"", attempt: int = 1, time: float = 0.0) -> Call:
    """A call at one address."""
    return Call(method, body, attempt, time, "memory://plugin")


FIRST, SECOND = call("M.x", b'{"a": 1}'), call("M.y", b'{"b": 2}', 2, 1.0)
THIRD = call("M.x?id=1", b"[3]", 3, 4.5)


@pytest.fixture
def calls() -> Calls:
    """Three calls of two methods."""
    return Calls([FIRST, SECOND, THIRD])


def test_calls_are_a_sequence(calls: Calls) -> None:
    """Length, indices, order and membership are those of a list."""
    assert (len(calls), calls[0], calls[-1]) == (3, FIRST, THIRD)
    assert list(calls) == [FIRST, SECOND, THIRD]
    assert SECOND in calls
    assert repr(calls) == repr([FIRST, SECOND, THIRD])
    with pytest.raises(IndexError):
        _ = calls[3]


def test_calls_equal_what_lists_them_alike(calls: Calls) -> None:
    """A list, a tuple and other calls compare by what they hold, and nothing else does."""
    assert calls == [FIRST, SECOND, THIRD]
    assert calls == (FIRST, SECOND, THIRD)
    assert calls == Calls([FIRST, SECOND, THIRD])
    assert calls != [FIRST, SECOND]
    assert calls != 3


def test_calls_cannot_be_a_key(calls: Calls) -> None:
    """What grows has no hash."""
    with pytest.raises(TypeError, match="unhashable"):
        hash(calls)


def test_a_slice_can_be_asked_the_same(calls: Calls) -> None:
    """A part of the calls is calls again."""
    assert calls[1:].attempts == [2, 3]
    calls[1:].assert_not_called("M.x", {"a": 1})


@pytest.mark.parametrize(
    ("method", "expected"),
    [("M.x", [FIRST, THIRD]), ("M.x?id=1", [THIRD]), ("M.y", [SECOND]), ("M", [])],
)
def test_calls_of_a_method_are_with_and_without_a_query(
    calls: Calls, method: str, expected: list[Call]
) -> None:
    """What follows a question mark is looked at only where it is asked for."""
    assert calls.of(method) == expected


def test_calls_tell_what_each_was(calls: Calls) -> None:
    """Methods, arguments, attempts and times are lists in the order of the calls."""
    assert calls.methods == ["M.x", "M.y", "M.x?id=1"]
    assert calls.arguments == [{"a": 1}, {"b": 2}, [3]]
    assert calls.attempts == [1, 2, 3]
    assert calls.times == [0.0, 1.0, 4.5]


def test_what_was_taken_out_does_not_grow(calls: Calls) -> None:
    """A slice, and the calls of a method, are those until then."""
    part, of_method = calls[:], calls.of("M.x")

    calls.record(FIRST)

    assert (len(calls), len(part), len(of_method)) == (4, 3, 2)


def test_a_long_body_is_cut_where_a_call_is_shown() -> None:
    """A failing comparison of calls fits on the screen."""
    assert len(repr(call(body=b"x" * 10_000))) < 250


def test_the_oldest_calls_are_forgotten() -> None:
    """What is remembered is bounded, and how many are not is told."""
    calls = Calls([FIRST] * 100_000)
    assert calls.forgotten == 0

    calls.record(SECOND)
    calls.record(THIRD)

    assert (len(calls), calls.forgotten) == (100_000, 2)
    assert calls[-2:] == [SECOND, THIRD]
    assert calls.of("M.y").forgotten == 2


@pytest.mark.parametrize(
    "ask",
    [
        lambda calls: calls.assert_not_called("M.z"),
        lambda calls: calls.assert_called("M.y", times=1),
        lambda calls: calls[:5].assert_not_called("M.z"),
    ],
    ids=["not called", "called once", "a part"],
)
def test_what_was_forgotten_is_not_guessed(ask: Any) -> None:
    """A question that only all calls can answer fails once some are forgotten."""
    calls = Calls([SECOND, FIRST], forgotten=7)

    with pytest.raises(AssertionError, match=r"the first 7 calls were not kept$"):
        ask(calls)
    calls.assert_called("M.y")


def test_threads_may_record_while_others_ask() -> None:
    """Every call is on the list once, and no question meets a list that changes."""
    plugin = MemoryTransport({"M.x": 1}, clock=FakeClock())

    def send_and_ask(number: int) -> int:
        plugin.send(Request("M.x", str(number).encode()), None)
        return len(plugin.calls.of("M.x").arguments)

    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(send_and_ask, range(200)))

    assert sorted(plugin.calls.arguments) == list(range(200))
    assert max(seen) == 200
