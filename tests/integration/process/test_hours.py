"""Hours on a fake clock: threads use one registry at once, while plugins start and stop."""

import os
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import count

import pytest

from moby_plugins import Client, PluginError, Registry, RetryPolicy
from moby_plugins.testing import FakeClock
from tests.integration.process.wild_plugins import FORGOTTEN, KEPT, KIND, Wilderness

SEEDS = range(2 * int(os.environ.get("HARDNESS_ROUNDS", "1")))
HOURS = 3
THREADS = 8
HANDLERS = 20
END = HOURS * 3600.0


class Host:
    """A registry, the threads that use it, and what they saw go wrong."""

    def __init__(self, seed: int) -> None:
        self.clock = FakeClock()
        self.chance = random.Random(seed)  # noqa: S311  nothing is secret here
        self.wild = Wilderness(self.clock, self.chance)
        self.registry = Registry(
            discovery=self.wild, connect=self.wild.connect, clock=self.clock, retry=RetryPolicy()
        )
        self.wrong: list[str] = []
        self.done: Counter[str] = Counter()
        self.meetings: Counter[tuple[int, Client]] = Counter()
        # Those that were called, and the handlers that each must have met.
        self.called: dict[Client, int] = {}
        self._numbers = count()
        self._deeds: tuple[Callable[[], None], ...] = (
            self.call,
            self.call,
            self.get,
            self.get_all,
            self.handle,
            self.invalidate,
        )

    def work(self) -> None:
        """Do this and that until the end."""
        while self.clock.now() < END:
            deed = self.chance.choice(self._deeds)
            with suppress(PluginError):
                deed()
                self.done[deed.__name__] += 1
            self.clock.sleep(self.chance.choice((0, 1, 20, 60)))

    def get(self) -> None:
        """Any plugin."""
        name = self.chance.choice(KEPT + FORGOTTEN)
        if self.registry.get(name, KIND).name != name:
            self.wrong.append(f"{name} is another")

    def call(self) -> None:
        """Any plugin, and be answered by that and no other."""
        name, number = self.chance.choice(KEPT + FORGOTTEN), self.chance.randrange(1 << 30)
        client = self.registry.get(name, KIND).client
        answer = client.call("A.x", {"Number": number})
        self.called[client] = answer["Handlers"]
        if (answer["Plugin"], answer["Number"]) != (name, number):
            self.wrong.append(f"{name}, asked {number}, said {answer}")

    def get_all(self) -> None:
        """All there are."""
        names = [plugin.name for plugin in self.registry.get_all(KIND)]
        if names != sorted(set(names)):
            self.wrong.append(f"got all: {names}")

    def handle(self) -> None:
        """Be told of plugins; a handler may ask for its own."""
        number = next(self._numbers)
        if number >= HANDLERS:
            return

        def handler(name: str, client: Client) -> None:
            self.meetings[number, client] += 1
            with suppress(PluginError):
                self.registry.get(name, KIND)

        self.registry.handle(KIND, handler)
        self.wild.handlers += 1

    def invalidate(self) -> None:
        """Forget one of those that may be forgotten."""
        self.registry.invalidate(self.chance.choice(FORGOTTEN))


@pytest.mark.parametrize("seed", SEEDS)
def test_threads_can_share_a_registry_for_hours_while_plugins_start_and_stop(seed: int) -> None:
    """Handshakes do not overlap, each handler runs once a plugin, and no response is crossed."""
    host = Host(seed)
    for minute in range(HOURS * 60):
        host.clock.at(minute * 60.0 + host.chance.random() * 60, host.wild.disturb)

    for future in host.clock.run(*[host.work] * THREADS):
        future.result()
    active = [plugin for plugin in host.registry.get_all(KIND) if plugin.name in KEPT]
    host.registry.close()

    assert host.wrong + host.wild.wrong == []
    assert host.clock.now() >= END
    # All of it happened, and not just once.
    assert min(host.done[deed] for deed in ("call", "get", "get_all", "handle", "invalidate")) > 9
    assert host.wild.handshakes["lost1"] > 5
    assert set(host.meetings.values()) == {1}
    assert sum(handlers == HANDLERS for handlers in host.called.values()) > 5
    host.called |= {plugin.client: HANDLERS for plugin in active}
    met = Counter(client for _, client in host.meetings)
    assert {met[client] >= handlers for client, handlers in host.called.items()} == {True}
    # Those of plugins that stayed known are closed, and so is what never became one.
    assert [line.name for line in host.wild.lines if line.name in KEPT and not line.closed] == []
