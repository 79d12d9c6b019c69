"""Where the time of one small call goes, by layer, for each transport."""

import cProfile
import pstats
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from benchmarks.calls import CALLS, calling, settings
from benchmarks.contest import timed
from benchmarks.processes import quick_plugins
from moby_plugins import new_client

ROUNDS = 40
TRANSPORTS = ("urllib3", "httptools")

# By what stands in the path of a function's file, first match first.
LAYERS = (
    ("moby_plugins/adapters/", "adapters: our transport"),
    ("moby_plugins/", "domain and app: JSON, types, retrying"),
    ("urllib3/", "urllib3"),
    ("http/client.py", "http.client"),
    ("email/", "email, which parses http.client's headers"),
    ("json/", "json"),
    ("attrs generated", "domain and app: JSON, types, retrying"),
)
WAITING = "the socket: system calls, and waiting for the plugin"
OTHER = "the rest of the standard library"
# File, line and name, as a profile has them.
Function = tuple[str, int, str]
_SOCKET = ("recv", "sendall", "recv_into", "poll")


@frozen
class Share:
    """What a layer takes of a call."""

    seconds: float
    calls: float


@frozen
class Profile:
    """One transport's call: its time without the profiler, and how that divides."""

    transport: str
    seconds: float
    layers: dict[str, Share]


def profiles(directory: Path) -> Iterator[Profile]:
    """A profile for each transport."""
    with quick_plugins(directory) as path:
        for transport in TRANSPORTS:
            with new_client(f"unix://{path}", settings=settings(transport)) as client:
                work = calling(client)
                work()
                seconds = statistics.median(timed(work)() for _ in range(ROUNDS)) / CALLS
                profiler = cProfile.Profile()
                profiler.enable()
                for _ in range(ROUNDS):
                    work()
                profiler.disable()
            yield Profile(transport, seconds, _divided(profiler, seconds))


def table(found: list[Profile]) -> Iterator[str]:
    """All of them side by side, the largest first."""
    heads = " | ".join(f"{p.transport}: {p.seconds * 1e6:,.0f} µs | calls" for p in found)
    yield f"| layer | {heads} |"
    yield "|---" * (1 + 2 * len(found)) + "|"
    names = sorted(
        {name for p in found for name in p.layers},
        key=lambda name: -sum(p.layers.get(name, Share(0, 0)).seconds for p in found),
    )
    for name in names:
        shares = [profile.layers.get(name, Share(0, 0)) for profile in found]
        cells = " | ".join(f"{s.seconds * 1e6:,.1f} µs | {s.calls:,.0f}" for s in shares)
        yield f"| {name} | {cells} |"


def _divided(profiler: cProfile.Profile, seconds: float) -> dict[str, Share]:
    # A profiler makes calls dearer, so it is shares that count, of the time without it.
    times: dict[str, float] = defaultdict(float)
    calls: Counter[str] = Counter()
    stats = pstats.Stats(profiler).stats  # type: ignore[attr-defined]  # the stubs lack it
    for function, (_, count, own, _, callers) in stats.items():
        for layer, part, number in _attributed(function, count, own, callers):
            times[layer] += part
            calls[layer] += number
    whole = sum(times.values())
    rounds = ROUNDS * CALLS
    return {
        layer: Share(seconds * times[layer] / whole, calls[layer] / rounds)
        for layer in times
        if calls[layer] >= rounds / 2
    }


def _attributed(
    function: Function, count: int, own: float, callers: Mapping[Function, Any]
) -> Iterator[tuple[str, float, int]]:
    file, _, name = function
    if file != "~":
        yield _layer(file), own, count
    elif any(f"{verb} " in name or f"'{verb}'" in name for verb in _SOCKET):
        yield WAITING, own, count
    else:  # a function in C is its caller's
        for (caller, _, _), (_, number, part, _) in callers.items():
            yield _layer(caller), part, number


def _layer(file: str) -> str:
    return next((layer for part, layer in LAYERS if part in file), OTHER)
