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


def test_calls_equal_a_list_or_a_tuple_of_the_same_calls(calls: Calls) -> None:
    """They equal other ``Calls`` that hold the same, and nothing else."""
    assert calls == [FIRST, SECOND, THIRD]
    assert calls == (FIRST, SECOND, THIRD)
    assert calls == Calls([FIRST, SECOND, THIRD])
    assert calls != [FIRST, SECOND]
    assert calls != 3


def test_calls_are_not_hashable(calls: Calls) -> None:
    """They grow, and so cannot be the key of a dictionary."""
    with pytest.raises(TypeError, match="unhashable"):
        hash(calls)


def test_a_slice_of_calls_has_the_same_methods(calls: Calls) -> None:
    """It is a ``Calls`` again, and not a list."""
    assert calls[1:].attempts == [2, 3]
    calls[1:].assert_not_called("M.x", {"a": 1})


@pytest.mark.parametrize(
    ("method", "expected"),
    [("M.x", [FIRST, THIRD]), ("M.x?id=1", [THIRD]), ("M.y", [SECOND]), ("M", [])],
)
def test_calls_of_a_method_include_those_with_a_query(
    calls: Calls, method: str, expected: list[Call]
) -> None:
    """The query of a call counts only if the given method has one."""
    assert calls.of(method) == expected


def test_calls_list_their_methods_arguments_attempts_and_times(calls: Calls) -> None:
    """Each of these lists is in the order of the calls."""
    assert calls.methods == ["M.x", "M.y", "M.x?id=1"]
    assert calls.arguments == [{"a": 1}, {"b": 2}, [3]]
    assert calls.attempts == [1, 2, 3]
    assert calls.times == [0.0, 1.0, 4.5]


def test_a_slice_of_calls_does_not_grow(calls: Calls) -> None:
    """It has only calls that were made before, and so have the calls of a method."""
    part, of_method = calls[:], calls.of("M.x")

    calls.record(FIRST)

    assert (len(calls), len(part), len(of_method)) == (4, 3, 2)


def test_the_repr_of_a_call_shows_only_a_part_of_a_long_body() -> None:
    """So the failure of a comparison of calls fits on the screen."""
    assert len(repr(call(body=b"x" * 10_000))) < 250


def test_the_oldest_of_more_than_100_000_calls_are_forgotten() -> None:
    """``forgotten`` is their number."""
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
def test_an_assertion_that_depends_on_forgotten_calls_fails(ask: Any) -> None:
    """One that the calls that were kept can decide still passes."""
    calls = Calls([SECOND, FIRST], forgotten=7)

    with pytest.raises(AssertionError, match=r"the first 7 calls were not kept$"):
        ask(calls)
    calls.assert_called("M.y")


def test_threads_may_record_calls_while_others_read_them() -> None:
    """Every call is listed once, and no reader meets a list that changes."""
    plugin = MemoryTransport({"M.x": 1}, clock=FakeClock())

    def send_and_ask(number: int) -> int:
        plugin.send(Request("M.x", str(number).encode()), None)
        return len(plugin.calls.of("M.x").arguments)

    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(send_and_ask, range(200)))

    assert sorted(plugin.calls.arguments) == list(range(200))
    assert max(seen) == 200
