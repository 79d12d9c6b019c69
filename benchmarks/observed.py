"""The additional cost of a call that is observed with OpenTelemetry's no-op tracer.

The time of OpenTelemetry's API itself, for the same span and metrics, is subtracted. Processor
time is measured, so waiting for the plugin does not count.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from opentelemetry import metrics, propagate, trace
from opentelemetry.trace import SpanKind

from benchmarks.calls import calling, settings
from benchmarks.contest import Bound, Reading
from benchmarks.placement import Placement
from benchmarks.processes import quick_plugins
from moby_plugins import Client, OpenTelemetryObserver, new_client

CALLS, ROUNDS = 200, 60
MICROSECONDS = 5.0
# A profile's events for a function that is called, in Python or in C.
CALLED = ("call", "c_call")
OBSTACLE = (
    "An observed call makes the values of two events, reads the clock twice and counts the bytes "
    "of both bodies, for any observer; a tracer that records nothing needs them too, as its span "
    "is passed to the plugin. The functions of OpenTelemetry's API for the same span and metrics "
    "are the floor, and are subtracted. A call without observers does none of this."
)
_OF = {"http.request.method": "POST", "server.address": "/a", "url.template": "/M.x"}


def observed_readings(directory: Path, placement: Placement) -> Iterator[Reading]:
    """Yield the additional microseconds of a call, by transport."""
    with placement.pinned(), quick_plugins(directory, placement=placement) as path:
        for transport in ("httptools", "urllib3"):
            with ExitStack() as stack:
                plain, observed = (
                    stack.enter_context(
                        new_client(
                            f"unix://{path}", settings=settings(transport), observers=observers
                        )
                    )
                    for observers in ((), (OpenTelemetryObserver(),))
                )
                with_api = instrumented(plain)
                counts = [
                    functions(work)
                    for work in (calling(observed, 1), instrumented(plain, 1), calling(plain, 1))
                ]
                more = difference(calling(observed, CALLS), with_api)
                own = difference(with_api, calling(plain, CALLS))
            yield Reading(
                "microseconds that OpenTelemetry's no-op tracer adds to a small call, besides"
                f" OpenTelemetry's own, transport `{transport}`",
                placement.name,
                more,
                Bound(MICROSECONDS),
                f"{own:.2f} of its own",
                obstacle=OBSTACLE,
                beside=f"{counts[0] - counts[1]} functions of ours, "
                f"{counts[1] - counts[2]} of OpenTelemetry's",
            )


def instrumented(client: Client, calls: int = CALLS) -> Callable[[], None]:
    """Return a function for a round of calls, each with OpenTelemetry's calls before and after."""
    call, begin = calling(client, 1), api()

    def rounds() -> None:
        for _ in range(calls):
            end = begin()
            call()
            end()

    return rounds


def difference(one: Callable[[], None], other: Callable[[], None]) -> float:
    """Return the additional microseconds of ``one`` per call: the median over rounds."""
    rounds = [(seconds(one), seconds(other)) for _ in range(ROUNDS)]
    return statistics.median((took - less) * 1e6 / CALLS for took, less in rounds)


def functions(work: Callable[[], None]) -> int:
    """Return how many functions ``work`` calls, once what is made at first is there."""
    work()
    called = 0

    def count(_: FrameType, event: str, __: object) -> None:
        nonlocal called
        called += event in CALLED

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return called


def seconds(work: Callable[[], None]) -> float:
    """Return the seconds of processor time of ``work``, without waiting for the plugin."""
    began = time.thread_time()
    work()
    return time.thread_time() - began


def api() -> Callable[[], Callable[[], None]]:
    """Return a function that makes only the calls of OpenTelemetry's API for the start of one call.

    It returns a function that makes those for the call's end.
    """
    tracer, meter = trace.get_tracer("bare"), metrics.get_meter("bare")
    seconds, sent, received = (
        meter.create_histogram(name) for name in ("seconds", "sent", "received")
    )
    active = meter.create_up_down_counter("active")

    def begin() -> Callable[[], None]:
        headers: dict[str, str] = {}
        span = tracer.start_span("POST /M.x", None, SpanKind.CLIENT, _OF)
        within = trace.set_span_in_context(span)
        propagate.inject(headers, within)
        span.is_recording()
        active.add(1, _OF)

        def end() -> None:
            active.add(-1, _OF)
            span.end()
            seconds.record(1, _OF, within)
            sent.record(1, _OF, within)
            received.record(1, _OF, within)

        return end

    return begin
