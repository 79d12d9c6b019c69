"""Many threads and one plugin: one activation, one outcome, and nobody left waiting."""

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

import pytest

from moby_plugins.app.activation import ActivePlugin
from moby_plugins.domain.errors import (
    NotImplementedByPluginError,
    PluginNotFoundError,
    StatusError,
    TransportError,
    WaitCancelledError,
)
from moby_plugins.domain.retry import RetryPolicy
from moby_plugins.testing import (
    UnexpectedCallError,
    drops,
    hangs,
    refused,
    script,
    status,
)
from tests.unit.app.in_memory import MemoryHost

ACTIVE = {"Implements": ["A"]}
SLOW = hangs(2, then=ACTIVE)


def timed(host: MemoryHost, do: Callable[[], Any]) -> Callable[[], Any]:
    """What ``do`` gives, and when."""
    return lambda: (do(), host.clock.now())


def get(host: MemoryHost, name: str = "p") -> Callable[[], Any]:
    """Somebody who asks for a plugin."""
    return partial(host.registry.get, name, "A")


def raised(futures: "list[Future[Any]]") -> list[BaseException]:
    """What came out of each."""
    errors = [future.exception() for future in futures]
    return [error for error in errors if error is not None]


def test_eight_threads_share_one_activation() -> None:
    """One looks up and shakes hands; all get the same plugin at the same moment."""
    host = MemoryHost({"p": SLOW})

    results = [future.result() for future in host.clock.run(*[timed(host, get(host))] * 8)]

    assert {(id(plugin), moment) for plugin, moment in results} == {(id(results[0][0]), 2.0)}
    assert host.crossings == ["look up p", "send p Plugin.Activate"]


def test_eight_threads_share_one_failure_and_no_traceback() -> None:
    """Each gets the leader's error with its cause and count, as an exception of its own."""
    host = MemoryHost({"p": refused()})

    errors = raised(host.clock.run(*[get(host)] * 8))

    assert [str(error) for error in errors] == [str(errors[0])] * 8
    assert str(errors[0]).endswith("(tried 5 times in 15 s)")
    assert {type(error.__cause__) for error in errors} == {ConnectionRefusedError}
    assert len({id(error) for error in errors}) == 8
    assert len({id(error.__traceback__) for error in errors}) == 8
    assert host.crossings == ["look up p", *["send p Plugin.Activate"] * 5]
    assert (host.clock.now(), host.clock.sleeps) == (15.0, [1, 2, 4, 8])


def test_a_plugin_that_is_missing_is_missing_for_all() -> None:
    """Those who wait share a failed look-up too, with the places that were searched."""
    host = MemoryHost()

    errors = raised(host.clock.run(*[get(host)] * 3))

    assert {type(error) for error in errors} == {PluginNotFoundError}
    assert {getattr(error, "searched", None) for error in errors} == {("memory://p",)}
    assert host.crossings == ["look up p"] * 5


def test_an_error_of_the_test_reaches_all_who_wait() -> None:
    """A mistake in a plugin of the test does not leave anybody behind."""
    host = MemoryHost({"p": hangs(1, then=UnexpectedCallError("mine"))})

    errors = raised(host.clock.run(*[get(host)] * 3))

    assert [(type(error), str(error)) for error in errors] == [(UnexpectedCallError, "mine")] * 3


def test_who_waits_has_the_leaders_retries_and_own_wishes() -> None:
    """A caller shares the running activation whatever its policy, and asks for its subsystem."""
    host = MemoryHost({"p": script(drops(), drops(), ACTIVE)})

    leader, waiter, other = host.clock.run(
        get(host),
        lambda: host.registry.get("p", "A", retry=RetryPolicy.never()),
        lambda: host.registry.get("p", "B"),
    )

    assert leader.result() is waiter.result()
    assert isinstance(other.exception(), NotImplementedByPluginError)
    assert host.clock.now() == 3.0


def test_a_failure_is_not_shared_with_those_who_come_later() -> None:
    """The next to ask begins anew, and its outcome is its own."""
    host = MemoryHost({"p": script(hangs(1, then=status(500, "no")), ACTIVE)})

    def come_later() -> Any:
        host.clock.advance(2)
        return get(host)()

    first, second, later = host.clock.run(get(host), get(host), come_later)

    assert {type(error) for error in raised([first, second])} == {StatusError}
    assert later.result().name == "p"


def test_plugins_do_not_wait_for_each_other() -> None:
    """One that hangs keeps nobody from another."""
    host = MemoryHost({"hung": hangs(20, then=ACTIVE), "p": ACTIVE})

    hung, quick = host.clock.run(timed(host, get(host, "hung")), timed(host, get(host)))

    assert (hung.result()[1], quick.result()[1]) == (20.0, 0.0)


def test_who_waits_returns_after_the_handshake_and_the_leader_after_the_handlers() -> None:
    """A handler that takes its time holds up the thread that activates, and no other."""
    host = MemoryHost({"p": SLOW})
    host.registry.handle("A", lambda *_: host.clock.advance(5))

    leader, *waiters = host.clock.run(*[timed(host, get(host))] * 3)

    assert leader.result()[1] == 7.0
    assert [waiter.result()[1] for waiter in waiters] == [2.0, 2.0]


def test_a_leader_that_is_interrupted_leaves_the_lead_to_a_waiter() -> None:
    """The interrupt is the leader's own; the others get the plugin from one of theirs."""
    host = MemoryHost({"p": script(hangs(1, then=KeyboardInterrupt()), SLOW)})

    leader, *waiters = host.clock.run(*[timed(host, get(host))] * 4)

    assert isinstance(leader.exception(), KeyboardInterrupt)
    assert {future.result()[1] for future in waiters} == {3.0}
    assert len({id(future.result()[0]) for future in waiters}) == 1
    assert host.crossings == ["look up p", "send p Plugin.Activate"] * 2
    assert host.closed() == [1, 0]


def test_a_plugin_that_is_forgotten_while_it_is_activated_is_activated_anew() -> None:
    """Those who waited still get the outcome; who comes later gets another."""
    host = MemoryHost({"p": SLOW})
    host.clock.at(1, lambda: host.registry.invalidate("p"))

    def come_later() -> tuple[ActivePlugin, float]:
        host.clock.advance(1.5)
        return get(host)(), host.clock.now()

    first, second, later = host.clock.run(
        timed(host, get(host)), timed(host, get(host)), come_later
    )

    assert first.result() == second.result()
    assert (first.result()[1], later.result()[1]) == (2.0, 3.5)
    assert later.result()[0] is not first.result()[0]
    assert host.registry.get("p", "A") is later.result()[0]


def test_a_registry_that_is_closed_while_a_plugin_is_activated_gives_nobody_a_plugin() -> None:
    """Leader and waiters are told; the client that was made is closed."""
    host = MemoryHost({"p": SLOW})
    met: list[str] = []
    host.registry.handle("A", lambda name, _: met.append(name))
    host.clock.at(1, host.registry.close)

    errors = raised(host.clock.run(*[get(host)] * 3, partial(host.registry.get_all, "A")))

    assert [(type(error), str(error)[:23]) for error in errors] == [
        (WaitCancelledError, "this registry is closed")
    ] * 4
    assert host.clock.now() == 1.0
    assert (met, host.closed()) == ([], [1])


def test_who_waits_gets_the_error_with_all_it_carries() -> None:
    """A copy has the plugin, the address and the counts of the leader's own."""
    host = MemoryHost({"p": drops()})

    errors = raised(host.clock.run(*[get(host)] * 2))

    assert {type(error) for error in errors} == {TransportError}
    assert vars(errors[0]) == vars(errors[1])
    assert vars(errors[1])["plugin"] == "p"


@pytest.mark.parametrize(
    "error", [ValueError("mine"), StatusError(500, "A.B", "mine"), SystemExit("mine")]
)
def test_what_the_on_retry_of_one_raises_is_its_own(error: BaseException) -> None:
    """Those that wait for the same plugin go on: one of them leads, with its own policy."""
    host = MemoryHost({"p": script(refused(), ACTIVE)})

    def give_up(*_: object) -> None:
        raise error

    first, second = host.clock.run(
        partial(host.registry.get, "p", "A", on_retry=give_up), timed(host, get(host))
    )

    assert type(first.exception()) is type(error)
    plugin, _ = second.result()
    assert plugin.name == "p"
