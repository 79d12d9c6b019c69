"""Count calls, errors and latencies by method, in memory that does not grow with the calls.

Latencies are counted in buckets that are 5 % wide, and a bucket stands for its middle: percentiles
are accurate to 2.5 %, for latencies of a microsecond or more.
"""

import math
import re
from typing import Any

from attrs import define, field, frozen

from moby_plugins.domain.http import OK
from moby_plugins.domain.json import first_value, fold_keys
from moby_plugins.domain.recording import RecordedCall

WIDTH = 1.05
# In seconds; shorter latencies count as this one.
SHORTEST = 1e-6
# Hosts may call any method; those beyond this number are counted together.
MAX_METHODS = 200
MAX_METHOD_LENGTH = 100
OTHER = "(other methods)"

_ERR = re.compile(rb'"err"\s*:\s*"[^"]', re.IGNORECASE)


@frozen
class MethodSummary:
    """Counts and latency percentiles of the calls of ``method``; latencies are in seconds."""

    method: str
    calls: int
    errors: int
    p50: float
    p95: float
    p99: float


@define
class Latencies:
    """A histogram of latencies; each bucket is ``WIDTH`` times as wide as the one before."""

    _counts: dict[int, int] = field(factory=dict, init=False)
    total: int = field(default=0, init=False)

    def add(self, seconds: float) -> None:
        """Count a latency of ``seconds``."""
        bucket = math.floor(math.log(max(seconds, SHORTEST) / SHORTEST, WIDTH))
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self.total += 1

    def percentile(self, percent: float) -> float:
        """Return the percentile in seconds, by nearest rank; 0 if nothing was counted."""
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
    """A counter of calls, errors and latencies by method. Used by one thread at a time."""

    _methods: dict[str, _Method] = field(factory=dict, init=False)

    def add(self, call: RecordedCall) -> None:
        """Count ``call`` under its method, without the query."""
        name = call.method.partition("?")[0][:MAX_METHOD_LENGTH]
        if name not in self._methods and len(self._methods) >= MAX_METHODS:
            name = OTHER
        method = self._methods.setdefault(name, _Method())
        method.latencies.add(call.took)
        method.errors += is_error(call)

    def methods(self) -> list[MethodSummary]:
        """Return a summary of the calls of each method, sorted by the method's name."""
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
    """Return whether the call failed because of the plugin.

    It failed without a complete response, with a status other than 200, or with a non-empty
    ``Err``. A host that closed the connection early is not an error of the plugin.
    """
    if call.broken:
        return True
    if not call.status:
        return not call.host_left
    return call.status != OK or _has_err(call.answer.data)


def _has_err(body: bytes) -> bool:
    # Search first: errors are rare, and decoding a large response takes long.
    if not _ERR.search(body):
        return False
    try:
        value: Any = first_value(body)
    except ValueError:
        return False
    return isinstance(value, dict) and bool(fold_keys(value).get("err"))
