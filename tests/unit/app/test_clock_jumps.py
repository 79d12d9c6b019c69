"""Clocks that jump or stand still; and the machine's date, on which no wait depends."""

import ast
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Event

import pytest

import moby_plugins
from moby_plugins import Registry, RetryPolicy, TransportError
from moby_plugins.testing import FakeClock, MemoryDiscovery, MemoryTransport, refused

SOURCES = Path(moby_plugins.__file__).parent
DAY = 86_400.0

# These tell the date, and not how long something took.
DATES = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "time.localtime"}
# They show people when a call came, and when a plugin became active.
SHOWS_DATES = {"adapters/observing/opentelemetry.py", "cli/trace.py"}
# It compares the date with the dates of files.
COMPARES_DATES = {"cli/reloading.py"}


class Odd:
    """A clock whose ``now`` is a function, ``odd``, of a fake clock's time."""

    def __init__(self, odd: Callable[[float], float]) -> None:
        self.fake = FakeClock()
        self._odd = odd

    def now(self) -> float:
        return self._odd(self.fake.now())

    def sleep(self, seconds: float) -> None:
        self.fake.sleep(seconds)

    def wait(self, event: Event, timeout: float | None = None) -> bool:
        return self.fake.wait(event, timeout)

    def working(self) -> AbstractContextManager[None]:
        return self.fake.working()


@pytest.mark.parametrize(
    ("odd", "attempts", "sleeps"),
    [
        (lambda now: now, 5, [1, 2, 4, 8]),
        (lambda now: now + (DAY if now > 2 else 0), 3, [1, 2]),
        (lambda now: now + DAY, 5, [1, 2, 4, 8]),
        # Where no time passes, the delays alone come to an end.
        (lambda _: 0.0, 6, [1, 2, 4, 8, 16]),
    ],
    ids=["well", "jumps by a day", "is a day ahead", "stands still"],
)
def test_a_wait_ends_even_if_the_clock_jumps_or_stands_still(
    odd: Callable[[float], float], attempts: int, sleeps: list[float]
) -> None:
    """``get`` may give up after more or fewer attempts, but never waits without end."""
    clock = Odd(odd)
    plugin = MemoryTransport({"Plugin.Activate": refused()}, clock=clock.fake)
    registry = Registry(
        discovery=MemoryDiscovery("p"), connect=plugin.connect, clock=clock, retry=RetryPolicy()
    )

    with pytest.raises(TransportError) as caught:
        registry.get("p", "A")

    assert caught.value.attempts == attempts
    assert clock.fake.sleeps == sleeps


def test_time_outs_and_waits_do_not_depend_on_the_date() -> None:
    """Three modules read the date, to show it or compare dates; setting it changes no wait."""
    names = {date.rpartition(".")[2] for date in DATES}
    asked = {
        str(path.relative_to(SOURCES))
        for path in SOURCES.rglob("*.py")
        if any(date in (text := path.read_text()) for date in DATES)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute) and node.attr in names and ast.unparse(node) in DATES
    }

    assert asked == SHOWS_DATES | COMPARES_DATES
