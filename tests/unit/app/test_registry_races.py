"""Many callers that ask for one plugin share one activation and its outcome; none waits for ever.

Each test holds for threads, and for tasks of one event loop, unless it says otherwise.
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


def test_eight_callers_of_get_share_one_activation(new_host: NewHost) -> None:
    """One caller looks up and shakes hands, and all get the same plugin at the same moment."""
    host = new_host({"p": SLOW})

    answers = host.ask(*[Ask()] * 8)

    assert {(id(it.value), it.moment) for it in answers} == {(id(answers[0].value), 2.0)}
    assert host.crossings == ["look up p", "send p Plugin.Activate"]


def test_eight_callers_of_get_share_one_failure_and_each_raise_a_copy_of_the_error(
    new_host: NewHost,
) -> None:
    """Each copy has the cause and the counts of the first, but a traceback of its own."""
    host = new_host({"p": refused()})

    errors = raised(host.ask(*[Ask()] * 8))

    assert [str(error) for error in errors] == [str(errors[0])] * 8
    assert str(errors[0]).endswith("(tried 5 times in 15 s)")
    assert {type(error.__cause__) for error in errors} == {ConnectionRefusedError}
    assert len({id(error) for error in errors}) == 8
    assert len({id(error.__traceback__) for error in errors}) == 8
    assert host.crossings == ["look up p", *["send p Plugin.Activate"] * 5]
    assert (host.clock.now(), host.clock.sleeps) == (15.0, [1, 2, 4, 8])


def test_callers_that_wait_share_a_failed_look_up(new_host: NewHost) -> None:
    """All raise ``PluginNotFoundError`` with the places searched, after five look-ups in all."""
    host = new_host()

    errors = raised(host.ask(*[Ask()] * 3))

    assert {type(error) for error in errors} == {PluginNotFoundError}
    assert {getattr(error, "searched", None) for error in errors} == {("memory://p",)}
    assert host.crossings == ["look up p"] * 5


def test_a_mistake_in_a_fake_plugin_is_raised_to_every_waiting_caller(new_host: NewHost) -> None:
    """An ``UnexpectedCallError`` of the testing tools leaves no caller waiting."""
    host = new_host({"p": hangs(1, then=UnexpectedCallError("mine"))})

    errors = raised(host.ask(*[Ask()] * 3))

    assert [(type(error), str(error)) for error in errors] == [(UnexpectedCallError, "mine")] * 3


def test_a_waiting_caller_shares_the_retries_but_has_its_own_subsystem_checked(
    new_host: NewHost,
) -> None:
    """The second policy is ignored; a subsystem that the plugin lacks is its caller's error."""
    host = new_host({"p": script(drops(), drops(), ACTIVE)})

    leader, waiter, other = host.ask(
        Ask(), Ask(options={"retry": RetryPolicy.never()}), Ask(implements="B")
    )

    assert leader.value is waiter.value
    assert isinstance(other.error, NotImplementedByPluginError)
    assert host.clock.now() == 3.0


def test_a_failure_is_not_shared_with_later_callers(new_host: NewHost) -> None:
    """A caller that comes after the failure begins a new activation."""
    host = new_host({"p": script(hangs(1, then=status(500, "no")), ACTIVE)})

    first, second, later = host.ask(Ask(), Ask(), Ask(after=2))

    assert {type(error) for error in raised([first, second])} == {StatusError}
    assert later.value.name == "p"


def test_plugins_do_not_wait_for_each_other(new_host: NewHost) -> None:
    """One plugin is returned at once while another hangs for 20 s."""
    host = new_host({"hung": hangs(20, then=ACTIVE), "p": ACTIVE})

    hung, quick = host.ask(Ask("hung"), Ask())

    assert (hung.moment, quick.moment) == (20.0, 0.0)


def test_only_the_thread_that_activates_waits_for_the_handlers() -> None:
    """A handler takes 5 s; the other callers return when the handshake has ended."""
    host = ThreadsHost({"p": SLOW})
    host.registry.handle("A", lambda *_: host.clock.advance(5))

    leader, *waiters = host.ask(*[Ask()] * 3)

    assert leader.moment == 7.0
    assert [waiter.moment for waiter in waiters] == [2.0, 2.0]


def test_a_waiting_thread_takes_over_when_the_activating_thread_is_interrupted() -> None:
    """The interrupt is raised in that thread alone; the other threads get the plugin."""
    host = ThreadsHost({"p": script(hangs(1, then=KeyboardInterrupt()), SLOW)})

    leader, *waiters = host.ask(*[Ask()] * 4)

    assert isinstance(leader.error, KeyboardInterrupt)
    assert {waiter.moment for waiter in waiters} == {3.0}
    assert len({id(waiter.value) for waiter in waiters}) == 1
    assert host.crossings == ["look up p", "send p Plugin.Activate"] * 2
    assert host.closed() == [1, 0]


def test_a_plugin_invalidated_during_its_activation_is_activated_again_for_later_callers(
    new_host: NewHost,
) -> None:
    """Callers that waited before still get the first plugin."""
    host = new_host({"p": SLOW})
    forgetting = host.registry.invalidate
    host.clock.at(1, lambda: forgetting("p"))

    first, second, later = host.ask(Ask(), Ask(), Ask(after=1.5))

    assert first.value is second.value
    assert (first.moment, second.moment, later.moment) == (2.0, 2.0, 3.5)
    assert later.value is not first.value
    assert host.registry.get("p", "A") is later.value


def test_closing_the_registry_during_an_activation_raises_in_every_caller(
    new_host: NewHost,
) -> None:
    """All callers of ``get`` and ``get_all`` raise at once, and the new client is closed."""
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


def test_a_waiting_caller_gets_a_copy_of_the_error_with_all_its_attributes(
    new_host: NewHost,
) -> None:
    """The copy has the plugin, the address and the counts of the first caller's error."""
    host = new_host({"p": drops()})

    errors = raised(host.ask(*[Ask()] * 2))

    assert {type(error) for error in errors} == {TransportError}
    assert vars(errors[0]) == vars(errors[1])
    assert vars(errors[1])["plugin"] == "p"


def test_an_exception_of_a_callers_retry_policy_is_raised_to_that_caller_alone(
    new_host: NewHost,
) -> None:
    """No failed activation is reported, and a waiting caller goes on with its own policy."""

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
def test_an_exception_of_a_callers_on_retry_is_raised_to_that_caller_alone(
    new_host: NewHost, error: BaseException
) -> None:
    """Other callers that wait for the same plugin go on and get the plugin."""
    host = new_host({"p": script(refused(), ACTIVE)})

    def give_up(*_: object) -> None:
        raise error

    first, second = host.ask(Ask(options={"on_retry": give_up}), Ask())

    assert type(first.error) is type(error)
    assert second.value.name == "p"
