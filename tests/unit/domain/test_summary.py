"""Calls counted by method: what is an error, and how exact the percentiles are."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moby_plugins.domain.recording import RecordedBody, RecordedCall
from moby_plugins.domain.summary import MAX_METHODS, OTHER, Latencies, Summary, is_error


@given(st.lists(st.floats(1e-6, 1e5), min_size=1, max_size=200), st.sampled_from([50, 95, 99]))
def test_percentiles_are_accurate_to_a_fortieth(seconds: list[float], percent: int) -> None:
    """Latencies from a microsecond to a day are off by at most 2.5 %, by nearest rank."""
    latencies = Latencies()
    for each in seconds:
        latencies.add(each)
    exact = sorted(seconds)[math.ceil(len(seconds) * percent / 100) - 1]

    assert latencies.percentile(percent) == pytest.approx(exact, rel=0.0251)


def test_the_percentile_of_no_calls_is_zero() -> None:
    """A call that took no time counts as a microsecond."""
    latencies = Latencies()
    assert latencies.percentile(50) == 0
    latencies.add(0)
    assert latencies.percentile(99) == pytest.approx(1e-6, rel=0.03)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (RecordedCall("M.x", status=200, answer=RecordedBody([b'{"Err":""}'])), False),
        (RecordedCall("M.x", status=200, answer=RecordedBody([b'{"err": "no"}'])), True),
        (RecordedCall("M.x", status=200, answer=RecordedBody([b'[{"Err":"no"}]'])), False),
        (RecordedCall("M.x", status=200, answer=RecordedBody([b'{"Err":"no'])), False),
        (RecordedCall("M.x", status=500), True),
        (RecordedCall("M.x", status=200, broken="cut off"), True),
        (RecordedCall("M.x"), True),
        (RecordedCall("M.x", host_left=True), False),
        (RecordedCall("M.x", status=200, host_left=True), False),
    ],
)
def test_failed_calls_count_as_errors(call: RecordedCall, *, error: bool) -> None:
    """A bad status, an ``Err`` and half a response are errors; a host that left early is not."""
    assert is_error(call) is error


def test_calls_are_counted_by_method() -> None:
    """Queries are ignored; methods are sorted, and each has its own number of errors."""
    summary = Summary()
    for number, took in enumerate([0.1, 0.2, 0.3, 5.0]):
        summary.add(RecordedCall(f"B.x?id={number}", status=200 if number else 500, took=took))
    summary.add(RecordedCall("A.y", status=200, took=1))

    first, second = summary.methods()

    assert (first.method, first.calls, first.errors) == ("A.y", 1, 0)
    assert (second.method, second.calls, second.errors) == ("B.x", 4, 1)
    assert second.p50 == pytest.approx(0.2, rel=0.025)
    assert [second.p95, second.p99] == pytest.approx([5, 5], rel=0.025)


def test_the_memory_of_a_summary_is_bounded() -> None:
    """Methods beyond the first 200 are counted together, and long names are cut."""
    summary = Summary()
    for number in range(3 * MAX_METHODS):
        summary.add(
            RecordedCall(f"M{number}." + "x" * 1000, status=200, took=min(number**4 / 7, 1e9))
        )

    methods = summary.methods()

    assert len(methods) == MAX_METHODS + 1
    assert {method.method: method.calls for method in methods}[OTHER] == 2 * MAX_METHODS
    assert max(len(method.method) for method in methods) == 100


def test_the_percentiles_are_the_50th_the_95th_and_the_99th() -> None:
    """The latencies of 1000 calls grow tenfold right after each of these ranks."""
    summary = Summary()
    for number in range(1, 1001):
        took = 10.0 ** sum(number > rank for rank in (500, 950, 990))
        summary.add(RecordedCall("M.x", status=200, took=took))

    (method,) = summary.methods()
    assert [method.p50, method.p95, method.p99] == pytest.approx([1.0, 10.0, 100.0], rel=0.026)


def test_the_99th_percentile_of_1000_latencies_is_the_990th() -> None:
    """The rank of a percentile is rounded up to a whole number."""
    latencies = Latencies()
    for number in range(1, 1001):
        latencies.add(1.0 if number < 990 else 10.0)

    assert latencies.percentile(99) == pytest.approx(10.0, rel=0.026)
