"""A call that is observed with OpenTelemetry's no-op tracer, over the same call without observers.

What the API of OpenTelemetry takes itself, for the same span and metrics, is taken off.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from opentelemetry import metrics, propagate, trace
from opentelemetry.trace import SpanKind

from benchmarks.calls import calling, settings
from benchmarks.contest import Bound, Reading
from benchmarks.placement import Placement
from benchmarks.processes import quick_plugins
from moby_plugins import OpenTelemetryObserver, new_client

CALLS, ROUNDS = 200, 60
MICROSECONDS = 5.0
_OF = {"http.request.method": "POST", "server.address": "/a", "url.template": "/M.x"}


def observed_readings(directory: Path, placement: Placement) -> Iterator[Reading]:
    """Microseconds that a call takes more, by transport."""
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
                sides = (calling(observed, CALLS), calling(plain, CALLS), bare())
                more, own = differences(*sides)
            yield Reading(
                "microseconds that OpenTelemetry's no-op tracer adds to a small call, besides"
                f" OpenTelemetry's own, transport `{transport}`",
                placement.name,
                more,
                Bound(MICROSECONDS),
                f"{own:.2f} of its own",
            )


def differences(
    observed: Callable[[], None], plain: Callable[[], None], own: Callable[[], None]
) -> tuple[float, float]:
    """Medians over rounds, in microseconds for one call: ours, and OpenTelemetry's."""
    rounds = [[seconds(side) for side in (observed, plain, own)] for _ in range(ROUNDS)]
    each = 1e6 / CALLS
    return (
        statistics.median((seen - bare - api) * each for seen, bare, api in rounds),
        statistics.median(api * each for _, _, api in rounds),
    )


def seconds(work: Callable[[], None]) -> float:
    """How much of the processor it takes: the wait for the plugin is no part of it."""
    began = time.thread_time()
    work()
    return time.thread_time() - began


def bare() -> Callable[[], None]:
    """The calls of the API for as many calls, and nothing else."""
    tracer, meter = trace.get_tracer("bare"), metrics.get_meter("bare")
    histograms = [meter.create_histogram(name) for name in ("seconds", "sent", "received")]
    active = meter.create_up_down_counter("active")

    def rounds() -> None:
        for _ in range(CALLS):
            headers: dict[str, str] = {}
            span = tracer.start_span("POST /M.x", None, SpanKind.CLIENT, _OF)
            within = trace.set_span_in_context(span)
            propagate.inject(headers, within)
            active.add(1, _OF)
            active.add(-1, _OF)
            span.is_recording()
            span.is_recording()
            span.end()
            for histogram in histograms:
                histogram.record(1, _OF, within)

    return rounds
