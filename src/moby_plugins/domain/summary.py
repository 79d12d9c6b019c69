"""Calls, errors and latencies by method, in a memory that does not grow with the calls.

A latency is counted in a bucket that is 5 % wide, and read back as its middle: percentiles are
right within 2.5 %, from a microsecond on.
"""

import math
import re
from typing import Any

from attrs import define, field, frozen

from moby_plugins.domain.http import OK
from moby_plugins.domain.json import first_value, fold_keys
from moby_plugins.domain.recording import RecordedCall

WIDTH = 1.05
# Seconds; what is shorter counts as this.
SHORTEST = 1e-6
# A host may call what it likes; the methods beyond these are counted together.
MAX_METHODS = 200
MAX_METHOD_LENGTH = 100
OTHER = "(other methods)"

_ERR = re.compile(rb'"err"\s*:\s*"[^"]', re.IGNORECASE)


@frozen
class MethodSummary:
    """What came of the calls of ``method``; ``p50``, ``p95`` and ``p99`` are in seconds."""

    method: str
    calls: int
    errors: int
    p50: float
    p95: float
    p99: float


@define
class Latencies:
    """A histogram of seconds, whose buckets grow by ``WIDTH``."""

    _counts: dict[int, int] = field(factory=dict, init=False)
    total: int = field(default=0, init=False)

    def add(self, seconds: float) -> None:
        """Count one."""
        bucket = math.floor(math.log(max(seconds, SHORTEST) / SHORTEST, WIDTH))
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self.total += 1

    def percentile(self, percent: float) -> float:
        """Return the latency that ``percent`` of all do not exceed, by nearest rank; 0 of none."""
        rank = max(math.ceil(self.total * percent / 100), 1)
        for bucket in sorted(self._counts):
            rank -= self._counts[bucket]
            if rank <= 0:
                return float(SHORTEST * WIDTH ** (bucket + 0.5))
        return 0.0


@define
class _Method:
    errors: int = 0
    latencies: Latencies = field(factory=Latencies)


@define
class Summary:
    """Counts calls by method, without what follows a ``?``. Used by one thread at a time."""

    _methods: dict[str, _Method] = field(factory=dict, init=False)

    def add(self, call: RecordedCall) -> None:
        """Count one call."""
        name = call.method.partition("?")[0][:MAX_METHOD_LENGTH]
        if name not in self._methods and len(self._methods) >= MAX_METHODS:
            name = OTHER
        method = self._methods.setdefault(name, _Method())
        method.latencies.add(call.took)
        method.errors += is_error(call)

    def methods(self) -> list[MethodSummary]:
        """Return what was counted, sorted by method."""
        return [
            MethodSummary(
                name,
                method.latencies.total,
                method.errors,
                *map(method.latencies.percentile, (50, 95, 99)),
            )
            for name, method in sorted(self._methods.items())
        ]


def is_error(call: RecordedCall) -> bool:
    """Return whether the plugin gave no whole response, a status but 200, or an ``Err`` in a 200.

    A host that did not wait for the end is no error of the plugin's.
    """
    if call.broken:
        return True
    if not call.status:
        return not call.host_left
    return call.status != OK or _has_err(call.answer.data)


def _has_err(body: bytes) -> bool:
    # Reading all of a large response takes too long for what is rarely there.
    if not _ERR.search(body):
        return False
    try:
        value: Any = first_value(body)
    except ValueError:
        return False
    return isinstance(value, dict) and bool(fold_keys(value).get("err"))
