"""Profiles of a small call and of an activation: the time by layer, for each transport."""

import cProfile
import pstats
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from benchmarks.calls import CALLS, calling, settings
from benchmarks.contest import Side, timed
from benchmarks.discovery import PLUGINS, activating, one_by_one
from benchmarks.placement import Placement
from benchmarks.processes import quick_plugins
from moby_plugins import new_client

CALL_ROUNDS, ACTIVATION_ROUNDS = 40, 10
TRANSPORTS = ("urllib3", "httptools")

# Layers by a part of the path of a function's file; the first match counts.
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
_SOCKET = ("recv", "sendall", "recv_into", "poll", "connect")


@frozen
class Share:
    """The share of a layer in a call."""

    seconds: float
    calls: float


@frozen
class Profile:
    """A call or activation with one transport: its time without a profiler, and its shares."""

    transport: str
    seconds: float
    layers: dict[str, Share]


def call_profiles(directory: Path, placement: Placement) -> Iterator[Profile]:
    """Yield the profile of a call, for each transport."""
    with placement.pinned(), quick_plugins(directory, placement=placement) as path:
        for transport in TRANSPORTS:
            with new_client(f"unix://{path}", settings=settings(transport)) as client:
                yield profiled(transport, timed(calling(client)), CALL_ROUNDS, CALLS)


def activation_profiles(directory: Path, placement: Placement) -> Iterator[Profile]:
    """Yield the profile of an activation, for each transport, by ``get`` of several plugins."""
    with placement.pinned(), quick_plugins(directory, PLUGINS, placement):
        (directory / "closing.sock").unlink()
        for transport in TRANSPORTS:
            side = activating(directory, transport, one_by_one)
            yield profiled(transport, side, ACTIVATION_ROUNDS, PLUGINS)


def profiled(transport: str, side: Side, rounds: int, units: int) -> Profile:
    """Return the profile of one unit of ``side``, which does ``units`` at a time."""
    side()
    seconds = statistics.median(side() for _ in range(rounds)) / units
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(rounds):
        side()
    profiler.disable()
    return Profile(transport, seconds, _divided(profiler, seconds, rounds * units))


def table(found: list[Profile]) -> Iterator[str]:
    """Yield a table of all profiles side by side, with the largest layers first."""
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


def _divided(profiler: cProfile.Profile, seconds: float, units: int) -> dict[str, Share]:
    # Profiling slows calls down, so its shares are applied to the time without a profiler.
    times: dict[str, float] = defaultdict(float)
    calls: Counter[str] = Counter()
    stats = pstats.Stats(profiler).stats  # type: ignore[attr-defined]  # the stubs lack it
    for function, (_, count, own, _, callers) in stats.items():
        for layer, part, number in _attributed(function, count, own, callers):
            times[layer] += part
            calls[layer] += number
    whole = sum(times.values())
    return {
        layer: Share(seconds * times[layer] / whole, calls[layer] / units)
        for layer in times
        if calls[layer] >= units / 2
    }


def _attributed(
    function: Function, count: int, own: float, callers: Mapping[Function, Any]
) -> Iterator[tuple[str, float, int]]:
    file, _, name = function
    if file != "~":
        yield _layer(file), own, count
    elif any(f"{verb} " in name or f"'{verb}'" in name for verb in _SOCKET):
        yield WAITING, own, count
    else:  # a function in C counts for its caller
        for (caller, _, _), (_, number, part, _) in callers.items():
            yield _layer(caller), part, number


def _layer(file: str) -> str:
    return next((layer for part, layer in LAYERS if part in file), OTHER)
