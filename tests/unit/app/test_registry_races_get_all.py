"""Concurrent ``get``, ``get_all`` and handlers: what they share, and what they wait for."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from moby_plugins.domain.errors import StatusError
from moby_plugins.ports import ActivationFailed
from moby_plugins.testing import drops, hangs, refused, script, status
from tests.observers import Notes
from tests.unit.app.hosts import Ask, NewHost
from tests.unit.app.in_memory import MemoryHost

ACTIVE = {"Implements": ["A"]}
SLOW = hangs(2, then=ACTIVE)


def get(host: MemoryHost, name: str = "p") -> Callable[[], Any]:
    """A caller that asks for a plugin."""
    return partial(host.registry.get, name, "A")


def get_all(host: MemoryHost) -> Callable[[], Any]:
    """A caller that asks for all."""
    return partial(host.registry.get_all, "A")


def test_handlers_registered_by_many_threads_are_each_called_once_for_a_plugin() -> None:
    """The threads register them before, during and after the plugin's activation."""
    host = MemoryHost({"p": SLOW})
    met: list[list[str]] = [[] for _ in range(6)]

    def come(number: int) -> None:
        host.clock.advance(number - 1)
        host.registry.handle("A", lambda name, _: met[number].append(name))
        get(host)()

    host.clock.run(*[partial(come, number) for number in range(6)])

    assert met == [["p"]] * 6


def test_a_handler_registered_while_others_run_is_called_without_waiting_for_them() -> None:
    """A plugin is active before its handlers have run, so the new handler is called at once."""
    host = MemoryHost({"a": ACTIVE, "p": hangs(1, then=ACTIVE)})
    host.registry.handle("A", lambda *_: host.clock.advance(10))
    met: list[str] = []

    def come_later() -> float:
        host.clock.advance(5)
        host.registry.handle("A", lambda name, _: met.append(name))
        assert sorted(met) == ["a", "p"]
        return host.clock.now()

    everything, later = host.clock.run(get_all(host), come_later)

    assert [plugin.name for plugin in everything.result()] == ["a", "p"]
    assert (later.result(), host.clock.now()) == (5.0, 20.0)
    assert sorted(met) == ["a", "p"]


def test_two_get_all_at_once_share_every_activation(new_host: NewHost) -> None:
    """Each plugin is sent one handshake, and both calls return the same plugins."""
    host = new_host({f"p{i}": hangs(i % 3, then=ACTIVE) for i in range(10)})

    one, two = host.ask(*[Ask(None)] * 2)

    assert [id(plugin) for plugin in one.value] == [id(plugin) for plugin in two.value]
    assert len(one.value) == 10
    assert (len(host.crossings), host.clock.now()) == (2 + 10 + 10, 2.0)


@pytest.mark.parametrize("get_first", [True, False], ids=["get first", "get_all first"])
def test_get_and_get_all_share_an_activation(new_host: NewHost, get_first: Any) -> None:
    """In either order both return the same plugin, and both get the failure of another one."""
    host = new_host({"p": SLOW, "bad": hangs(1, then=status(500, "no"))})
    told: list[str] = []
    gets = [Ask(), Ask("bad")]
    everything = Ask(None, options={"on_failure": lambda name, _: told.append(name)})

    answers = host.ask(*([*gets, everything] if get_first else [everything, *gets]))
    plugin, bad, all_of_them = answers if get_first else [*answers[1:], answers[0]]

    assert all_of_them.value == [plugin.value]
    assert all_of_them.value[0] is plugin.value
    assert isinstance(bad.error, StatusError)
    assert told == ["bad"]
    assert len(host.crossings) == 1 + 2 + 2


def test_get_all_takes_over_an_activation_whose_thread_was_interrupted() -> None:
    """The plugin that the interrupted ``get`` was loading is activated by ``get_all``."""
    host = MemoryHost({"a": ACTIVE, "p": script(hangs(1, then=SystemExit()), SLOW)})

    leader, everything = host.clock.run(get(host), get_all(host))

    assert isinstance(leader.exception(), SystemExit)
    assert [plugin.name for plugin in everything.result()] == ["a", "p"]
    assert host.clock.now() == 3.0


def test_a_waiting_get_takes_over_an_activation_of_a_get_all_that_raised() -> None:
    """The waiting ``get`` activates the plugin itself, instead of waiting for ever."""
    host = MemoryHost({"bad": hangs(1, then=status(500)), "p": script(refused(), drops(), ACTIVE)})

    def give_up(_: str, error: Exception) -> None:
        raise error

    cut, waiter = host.clock.run(lambda: host.registry.get_all("A", on_failure=give_up), get(host))

    assert isinstance(cut.exception(), StatusError)
    assert waiter.result().name == "p"


@pytest.mark.parametrize(
    "error", [ValueError("mine"), StatusError(500, "A.B", "mine"), SystemExit("mine")], ids=repr
)
def test_an_exception_of_on_retry_in_get_all_is_raised_to_its_caller_alone(
    new_host: NewHost, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """No plugin is reported as failed, and a ``get`` that waits for one of them goes on."""
    raised = [error]
    left_out: list[str] = []

    def give_up(*_: object) -> None:
        if raised:
            raise raised.pop()

    notes = Notes()
    replies = {"p": script(refused(), refused(), ACTIVE), "q": script(refused(), refused(), ACTIVE)}
    host = new_host(replies, on_retry=give_up, observers=[notes])

    everything, *ones = host.ask(
        Ask(None, options={"on_failure": lambda name, _: left_out.append(name)}),
        Ask("p", after=0.5),
        Ask("q", after=0.5),
    )

    assert everything.error is error
    assert [one.value.name for one in ones] == ["p", "q"]
    assert left_out == []
    assert notes.of(ActivationFailed) == []
    assert not [text for text in caplog.messages if "left out" in text]
