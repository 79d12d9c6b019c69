"""Many that ask for one plugin: one activation, one outcome, and none that is left waiting.

Each holds for threads, and for tasks of one event loop, unless it says otherwise.
"""

import pytest

from moby_plugins.domain.errors import (
    NotImplementedByPluginError,
    PluginNotFoundError,
    StatusError,
    TransportError,
    WaitCancelledError,
)
from moby_plugins.domain.observing import ActivationFailed
from moby_plugins.domain.retry import RetryPolicy
from moby_plugins.testing import (
    UnexpectedCallError,
    drops,
    hangs,
    refused,
    script,
    status,
)
from tests.observers import Notes
from tests.unit.app.hosts import Answer, Ask, NewHost, ThreadsHost

ACTIVE = {"Implements": ["A"]}
SLOW = hangs(2, then=ACTIVE)


def raised(answers: list[Answer]) -> list[BaseException]:
    """What came out of each."""
    return [answer.error for answer in answers if answer.error is not None]


def test_eight_that_ask_share_one_activation(new_host: NewHost) -> None:
    """One looks up and shakes hands; all get the same plugin at the same moment."""
    host = new_host({"p": SLOW})

    answers = host.ask(*[Ask()] * 8)

    assert {(id(it.value), it.moment) for it in answers} == {(id(answers[0].value), 2.0)}
    assert host.crossings == ["look up p", "send p Plugin.Activate"]


def test_eight_that_ask_share_one_failure_and_no_traceback(new_host: NewHost) -> None:
    """Each gets the leader's error with its cause and count, as an exception of its own."""
    host = new_host({"p": refused()})

    errors = raised(host.ask(*[Ask()] * 8))

    assert [str(error) for error in errors] == [str(errors[0])] * 8
    assert str(errors[0]).endswith("(tried 5 times in 15 s)")
    assert {type(error.__cause__) for error in errors} == {ConnectionRefusedError}
    assert len({id(error) for error in errors}) == 8
    assert len({id(error.__traceback__) for error in errors}) == 8
    assert host.crossings == ["look up p", *["send p Plugin.Activate"] * 5]
    assert (host.clock.now(), host.clock.sleeps) == (15.0, [1, 2, 4, 8])


def test_a_plugin_that_is_missing_is_missing_for_all(new_host: NewHost) -> None:
    """Those who wait share a failed look-up too, with the places that were searched."""
    host = new_host()

    errors = raised(host.ask(*[Ask()] * 3))

    assert {type(error) for error in errors} == {PluginNotFoundError}
    assert {getattr(error, "searched", None) for error in errors} == {("memory://p",)}
    assert host.crossings == ["look up p"] * 5


def test_an_error_of_the_test_reaches_all_who_wait(new_host: NewHost) -> None:
    """A mistake in a plugin of the test does not leave any of them behind."""
    host = new_host({"p": hangs(1, then=UnexpectedCallError("mine"))})

    errors = raised(host.ask(*[Ask()] * 3))

    assert [(type(error), str(error)) for error in errors] == [(UnexpectedCallError, "mine")] * 3


def test_who_waits_has_the_leaders_retries_and_own_wishes(new_host: NewHost) -> None:
    """A caller shares the running activation whatever its policy, and asks for its subsystem."""
    host = new_host({"p": script(drops(), drops(), ACTIVE)})

    leader, waiter, other = host.ask(
        Ask(), Ask(options={"retry": RetryPolicy.never()}), Ask(implements="B")
    )

    assert leader.value is waiter.value
    assert isinstance(other.error, NotImplementedByPluginError)
    assert host.clock.now() == 3.0


def test_a_failure_is_not_shared_with_those_who_come_later(new_host: NewHost) -> None:
    """The next to ask begins again, and its outcome is its own."""
    host = new_host({"p": script(hangs(1, then=status(500, "no")), ACTIVE)})

    first, second, later = host.ask(Ask(), Ask(), Ask(after=2))

    assert {type(error) for error in raised([first, second])} == {StatusError}
    assert later.value.name == "p"


def test_plugins_do_not_wait_for_each_other(new_host: NewHost) -> None:
    """One that hangs keeps none from another."""
    host = new_host({"hung": hangs(20, then=ACTIVE), "p": ACTIVE})

    hung, quick = host.ask(Ask("hung"), Ask())

    assert (hung.moment, quick.moment) == (20.0, 0.0)


def test_who_waits_returns_after_the_handshake_and_the_leader_after_the_handlers() -> None:
    """A handler that takes its time holds up the thread that activates, and no other."""
    host = ThreadsHost({"p": SLOW})
    host.registry.handle("A", lambda *_: host.clock.advance(5))

    leader, *waiters = host.ask(*[Ask()] * 3)

    assert leader.moment == 7.0
    assert [waiter.moment for waiter in waiters] == [2.0, 2.0]


def test_a_leader_that_is_interrupted_leaves_the_lead_to_a_waiter() -> None:
    """The interrupt is the leader's own; the others get the plugin from one of theirs."""
    host = ThreadsHost({"p": script(hangs(1, then=KeyboardInterrupt()), SLOW)})

    leader, *waiters = host.ask(*[Ask()] * 4)

    assert isinstance(leader.error, KeyboardInterrupt)
    assert {waiter.moment for waiter in waiters} == {3.0}
    assert len({id(waiter.value) for waiter in waiters}) == 1
    assert host.crossings == ["look up p", "send p Plugin.Activate"] * 2
    assert host.closed() == [1, 0]


def test_a_plugin_that_is_forgotten_while_it_is_activated_is_activated_again(
    new_host: NewHost,
) -> None:
    """Those who waited still get the outcome; who comes later gets another."""
    host = new_host({"p": SLOW})
    forgetting = host.registry.invalidate
    host.clock.at(1, lambda: forgetting("p"))

    first, second, later = host.ask(Ask(), Ask(), Ask(after=1.5))

    assert first.value is second.value
    assert (first.moment, second.moment, later.moment) == (2.0, 2.0, 3.5)
    assert later.value is not first.value
    assert host.registry.get("p", "A") is later.value


def test_a_registry_that_is_closed_while_a_plugin_is_activated_gives_none_of_them_a_plugin(
    new_host: NewHost,
) -> None:
    """Leader and waiters are told; the client that was made is closed."""
    host = new_host({"p": SLOW})
    met: list[str] = []
    host.registry.handle("A", lambda name, _: met.append(name))
    host.clock.at(1, host.close)

    errors = raised(host.ask(*[Ask()] * 3, Ask(None)))

    assert [(type(error), str(error)[:23]) for error in errors] == [
        (WaitCancelledError, "this registry is closed")
    ] * 4
    assert host.clock.now() == 1.0
    assert (met, host.closed()) == ([], [1])


def test_who_waits_gets_the_error_with_all_it_carries(new_host: NewHost) -> None:
    """A copy has the plugin, the address and the counts of the leader's own."""
    host = new_host({"p": drops()})

    errors = raised(host.ask(*[Ask()] * 2))

    assert {type(error) for error in errors} == {TransportError}
    assert vars(errors[0]) == vars(errors[1])
    assert vars(errors[1])["plugin"] == "p"


def test_what_the_policy_of_one_raises_is_its_own(new_host: NewHost) -> None:
    """No plugin has failed, and who waits for it goes on by a policy of its own."""

    class Careless(RetryPolicy):
        def next_delay(self, retries: int, elapsed: float) -> float | None:
            raise LookupError("mine")

    notes = Notes()
    host = new_host({"p": script(refused(), refused(), ACTIVE)}, observers=[notes])

    first, second = host.ask(Ask(options={"retry": Careless()}), Ask())
    assert (type(first.error), second.value.name) == (LookupError, "p")
    assert notes.of(ActivationFailed) == []

    host = new_host({"p": refused()}, retry=Careless(), observers=[notes])
    (everything,) = host.ask(Ask(None))
    assert type(everything.error) is LookupError
    assert notes.of(ActivationFailed) == []


@pytest.mark.parametrize(
    "error", [ValueError("mine"), StatusError(500, "A.B", "mine"), SystemExit("mine")]
)
def test_what_the_on_retry_of_one_raises_is_its_own(
    new_host: NewHost, error: BaseException
) -> None:
    """Those that wait for the same plugin go on without it."""
    host = new_host({"p": script(refused(), ACTIVE)})

    def give_up(*_: object) -> None:
        raise error

    first, second = host.ask(Ask(options={"on_retry": give_up}), Ask())

    assert type(first.error) is type(error)
    assert second.value.name == "p"
