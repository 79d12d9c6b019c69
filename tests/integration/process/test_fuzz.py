"""The targets of ``make fuzz``, for half a second each: their seeds, and changed seeds."""

import random
import time
from collections.abc import Callable

import pytest

from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS

SECONDS = 0.5
# At least so many, on however slow a machine.
INPUTS = 50

Change = Callable[[bytearray, random.Random, bytes], object]


def _flip(data: bytearray, chance: random.Random, _: bytes) -> None:
    if data:
        data[chance.randrange(len(data))] = chance.randrange(256)


def _cut(data: bytearray, chance: random.Random, _: bytes) -> None:
    del data[chance.randrange(len(data) + 1) :]


def _insert(data: bytearray, chance: random.Random, other: bytes) -> None:
    start, end = sorted(chance.randrange(len(other) + 1) for _ in range(2))
    at = chance.randrange(len(data) + 1)
    data[at:at] = other[start:end]


def _repeat(data: bytearray, chance: random.Random, _: bytes) -> None:
    data *= chance.randrange(1, 4)


CHANGES: tuple[Change, ...] = (_flip, _flip, _cut, _insert, _repeat)


def changed(seeds: tuple[bytes, ...], chance: random.Random) -> bytes:
    """One of the seeds, a few changes later."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.randrange(1, 6)):
        chance.choice(CHANGES)(data, chance, chance.choice(seeds))
    return bytes(data[:4096])


@pytest.mark.parametrize("name", TARGETS)
def test_each_fuzz_target_keeps_its_promise_for_half_a_second(name: str) -> None:
    """Neither the seeds nor changed seeds make a target raise an exception."""
    target, seeds = TARGETS[name], SEEDS[name]
    for seed in (b"", *seeds):
        target(seed)
    chance = random.Random(7)  # noqa: S311  nothing is secret here
    ends, tried = time.monotonic() + SECONDS, 0
    while time.monotonic() < ends or tried < INPUTS:
        data = changed(seeds, chance)
        try:
            target(data)
        except Exception as error:
            raise AssertionError(f"{name} broke at {data!r}") from error
        tried += 1

    assert tried >= INPUTS
