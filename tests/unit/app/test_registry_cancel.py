"""Waits in a registry that are ended: by a ``Cancellation``, and by closing the registry."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from moby_plugins import (
    Cancellation,
    PluginNotFoundError,
    Registry,
    RetryPolicy,
    TransportError,
    WaitCancelledError,
)
from moby_plugins.testing import (
    FakeClock,
    MemoryDiscovery,
    MemoryRegistry,
    MemoryTransport,
    drips,
    hangs,
    refused,
    script,
)

IMPLEMENTS = {"Implements": ["A"]}
# What a get may be waiting for, with what answers its handshake.
WAITS: dict[str, Any] = {
    "between two attempts": refused(),
    "for the head": hangs(),
    "for the body": drips(b'{"Implements": ["A"]}' + b" " * 99),
}
ROUNDS = 60


class Host:
    """A registry in memory, and gets of its plugin ``p`` in threads that take turns."""

    def __init__(self, handshake: Any = None) -> None:
        self.registry = MemoryRegistry()
        self.clock = self.registry.clock
        self.met: list[str] = []
        self.registry.handle("A", lambda name, _: self.met.append(name))
        if handshake is not None:
            self.transport = self.registry.add("p", {"Plugin.Activate": handshake})

    def getting(
        self, cancel: Cancellation | None = None, retry: RetryPolicy | None = None
    ) -> Callable[[], tuple[Any, float]]:
        """A get that tells what came of it, and when."""

        def get() -> tuple[Any, float]:
            try:
                return self.registry.get("p", "A", cancel=cancel, retry=retry), self.clock.now()
            except (WaitCancelledError, TransportError, PluginNotFoundError) as error:
                return error, self.clock.now()

        return get

    def run(self, *gets: Callable[[], Any]) -> list[Any]:
        """What each came to."""
        return [future.result() for future in self.clock.run(*gets)]


def left_over(cancel: Cancellation) -> int:
    """How many callbacks it still has."""
    return len(cancel._callbacks)  # noqa: SLF001  the promise is that none is left


@pytest.mark.parametrize("wait", WAITS)
def test_a_get_ends_when_it_is_cancelled(wait: str) -> None:
    """``get`` raises at the moment of ``Cancellation.set``, and no attempt or callback follows."""
    host, cancel = Host(WAITS[wait]), Cancellation()
    host.clock.advance(7)
    host.clock.at(10, cancel.set)

    with pytest.raises(WaitCancelledError, match="the wait was cancelled") as caught:
        host.registry.get("p", "A", cancel=cancel)

    attempts = len(host.transport.calls)
    assert host.clock.now() == 10.0
    assert (caught.value.plugin, caught.value.elapsed) == ("p", 3.0)
    assert caught.value.attempts == attempts
    assert left_over(cancel) == 0
    host.clock.advance(100)
    assert len(host.transport.calls) == attempts
    assert host.met == []


def test_cancelling_a_get_ends_its_wait_for_a_plugin_to_appear() -> None:
    """After the cancellation the plugin is not looked up again."""
    host, cancel = Host(), Cancellation()
    host.clock.at(4, cancel.set)

    with pytest.raises(WaitCancelledError):
        host.registry.get("p", "A", cancel=cancel)

    assert (host.clock.now(), host.registry.discovery.lookups) == (4.0, ["p"] * 3)


def test_a_get_that_is_cancelled_in_a_look_up_sends_nothing() -> None:
    """A look-up cannot be interrupted; when it has returned, no handshake is sent."""
    clock, cancel = FakeClock(), Cancellation()
    transport = MemoryTransport({"Plugin.Activate": IMPLEMENTS}, clock=clock)

    class Slow(MemoryDiscovery):
        def lookup(self, name: str) -> Any:
            clock.advance(5)
            return super().lookup(name)

    registry = Registry(discovery=Slow(["p"]), connect=transport.connect, clock=clock)
    clock.at(1, cancel.set)

    with pytest.raises(WaitCancelledError):
        registry.get("p", "A", cancel=cancel)

    assert (clock.now(), len(transport.calls)) == (5.0, 0)
    assert registry.get("p", "A").name == "p"


def test_a_get_with_a_cancellation_that_is_already_set_raises_at_once() -> None:
    """``get`` raises even for an active plugin; a second ``set`` changes nothing."""
    host, cancel = Host(IMPLEMENTS), Cancellation()
    cancel.set()
    cancel.set()

    for _ in range(2):
        with pytest.raises(WaitCancelledError) as caught:
            host.registry.get("p", "A", cancel=cancel)
        assert (caught.value.plugin, caught.value.attempts) == ("p", 0)
        assert host.registry.get("p", "A").name == "p"


def test_get_refuses_a_threading_event_as_its_cancellation() -> None:
    """A ``threading.Event`` has no callbacks, so ``get`` raises a ``TypeError``."""
    host = Host(IMPLEMENTS)

    with pytest.raises(TypeError, match=r"^cancel takes a Cancellation, not Event$"):
        host.registry.get("p", "A", cancel=cast("Cancellation", threading.Event()))


@pytest.mark.parametrize("wait", WAITS)
def test_cancelling_the_get_that_activates_a_plugin_lets_a_waiting_get_take_over(wait: str) -> None:
    """The other two callers get the same plugin at that moment, from one activation."""
    host, cancel = Host(script(*_until_cancelled(wait), IMPLEMENTS)), Cancellation()
    host.clock.at(3.5, cancel.set)

    leader, *waiters = host.run(host.getting(cancel), host.getting(), host.getting())

    assert (type(leader[0]), leader[1]) == (WaitCancelledError, 3.5)
    assert [(plugin.name, moment) for plugin, moment in waiters] == [("p", 3.5)] * 2
    assert waiters[0][0] is waiters[1][0]
    assert host.met == ["p"]


def _until_cancelled(wait: str) -> list[Any]:
    # Attempts at 0, 1 and 3, where each fails at once.
    return [WAITS[wait]] * (3 if wait == "between two attempts" else 1)


def test_a_get_that_takes_over_an_activation_uses_its_own_policy_and_budget() -> None:
    """The budget counts from the beginning of that ``get``, not from the moment of taking over."""
    host, cancel = Host(refused()), Cancellation()
    host.clock.at(3.5, cancel.set)

    leader, waiter = host.run(
        host.getting(cancel), host.getting(retry=RetryPolicy(factor=1, budget=6))
    )

    assert (type(leader[0]), leader[1]) == (WaitCancelledError, 3.5)
    assert (type(waiter[0]), waiter[1]) == (TransportError, 5.5)
    assert (waiter[0].attempts, waiter[0].elapsed) == (3, 5.5)


def test_cancelling_a_waiting_get_does_not_disturb_the_get_that_activates() -> None:
    """The activation goes on, and every caller that was not cancelled gets the plugin."""
    host, cancel = Host(hangs(5, IMPLEMENTS)), Cancellation()
    host.clock.advance(10)
    host.clock.at(12, cancel.set)

    leader, waiter, other = host.run(host.getting(), host.getting(cancel), host.getting())

    assert (type(waiter[0]), waiter[1], waiter[0].plugin) == (WaitCancelledError, 12.0, "p")
    assert (waiter[0].attempts, waiter[0].elapsed) == (0, 2.0)
    assert [leader[1], other[1]] == [15.0, 15.0]
    assert (leader[0] is other[0], host.met) == (True, ["p"])


def test_a_shared_cancellation_ends_every_get_that_was_given_it() -> None:
    """No caller takes the activation over, and the next ``get`` begins again."""
    host, cancel = Host(script(hangs(), IMPLEMENTS)), Cancellation()
    host.clock.at(2, cancel.set)

    outcomes = host.run(*[host.getting(cancel)] * 4)

    assert [(type(error), moment) for error, moment in outcomes] == [(WaitCancelledError, 2.0)] * 4
    assert len(host.transport.calls) == 1
    assert host.registry.get("p", "A").name == "p"
    assert left_over(cancel) == 0


@pytest.mark.parametrize("wait", WAITS)
def test_closing_the_registry_ends_every_waiting_get_and_get_all(wait: str) -> None:
    """``get`` and ``get_all`` raise at once; a later ``get`` raises a ``RuntimeError``."""
    host = Host(WAITS[wait])
    host.clock.at(3, host.registry.close)

    def get_all() -> tuple[Any, float]:
        try:
            return host.registry.get_all("A"), host.clock.now()
        except WaitCancelledError as error:
            return error, host.clock.now()

    outcomes = host.run(host.getting(), host.getting(), get_all)

    assert [(type(error), moment) for error, moment in outcomes] == [(WaitCancelledError, 3.0)] * 3
    assert {error.reason for error, _ in outcomes} == {"this registry is closed"}
    with pytest.raises(RuntimeError, match=r"^this registry is closed$"):
        host.registry.get("p", "A")


@pytest.mark.parametrize("wait", WAITS)
def test_get_all_raises_when_the_registry_is_closed_while_it_waits(wait: str) -> None:
    """``get_all`` returns no part of the plugins, and none of its threads goes on."""
    host = Host(WAITS[wait])
    for number in range(5):
        host.registry.add(f"q{number}", {"Plugin.Activate": IMPLEMENTS})
    before = threading.active_count()
    host.clock.at(3, host.registry.close)

    with pytest.raises(WaitCancelledError, match="this registry is closed"):
        host.registry.get_all("A")

    assert host.clock.now() == 3.0
    for thread in threading.enumerate():
        if thread.name == "moby-plugins":
            thread.join(10)
    assert threading.active_count() <= before


def test_a_handler_runs_once_although_three_activations_were_cancelled() -> None:
    """Three callers in turn are cancelled while they activate; the fourth activates the plugin."""
    cancels = [Cancellation() for _ in range(3)]
    host = Host(script(hangs(), hangs(), hangs(), hangs(1, IMPLEMENTS)))
    for moment, cancel in enumerate(cancels, 1):
        host.clock.at(moment, cancel.set)

    outcomes = host.run(*(host.getting(cancel) for cancel in cancels), host.getting())

    assert [moment for _, moment in outcomes] == [1.0, 2.0, 3.0, 4.0]
    assert (outcomes[-1][0].name, host.met) == ("p", ["p"])


def test_threads_that_are_cancelled_at_random_leave_one_activation_or_none() -> None:
    """In every order of success and cancellation, a plugin that ``get`` returns can be called."""
    for number in range(ROUNDS):
        registry = MemoryRegistry()
        registry.add("p", {"Plugin.Activate": IMPLEMENTS, "A.x": number})
        met: list[str] = []
        registry.handle("A", lambda name, _, met=met: met.append(name))  # type: ignore[misc]
        cancels = [Cancellation() for _ in range(4)]
        begin = threading.Barrier(5)

        def get(
            cancel: Cancellation,
            registry: MemoryRegistry = registry,
            begin: threading.Barrier = begin,
        ) -> Any:
            begin.wait(10)
            return registry.get("p", "A", cancel=cancel)

        with ThreadPoolExecutor(4) as threads:
            futures = [threads.submit(get, cancel) for cancel in cancels]
            begin.wait(10)
            for cancel in cancels[: number % 5]:
                cancel.set()

        errors = [future.exception(10) for future in futures]
        plugins = [future.result() for future in futures if future.exception() is None]
        assert {type(error) for error in errors} <= {WaitCancelledError, type(None)}
        assert len(met) == 1 if plugins else len(met) <= 1
        for plugin in plugins:
            assert plugin.client.call("A.x") == number
        assert [left_over(cancel) for cancel in cancels] == [0] * 4


def test_a_get_that_is_cancelled_before_it_begins_sends_nothing() -> None:
    """The error has the reason and the name of the plugin, and no handshake is sent."""
    host, cancel = Host(IMPLEMENTS), Cancellation()
    cancel.set()

    with pytest.raises(WaitCancelledError) as caught:
        host.registry.get("p", "A", cancel=cancel)

    assert "the wait was cancelled" in str(caught.value)
    assert (caught.value.plugin, len(host.transport.calls)) == ("p", 0)
