"""Handlers: each meets each activated plugin of its subsystem once, outside every lock."""

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from moby_plugins.app.client import Client
from moby_plugins.app.registry import Registry
from moby_plugins.domain.errors import PluginError, WaitCancelledError
from moby_plugins.testing import hangs, status
from tests.unit.app.in_memory import MemoryHost


class Guestbook:
    """Handlers that write down whom they met, when, and in which thread."""

    def __init__(self, host: MemoryHost) -> None:
        self.met: list[str] = []
        self.threads: list[int] = []
        self._host = host

    def handler(self, label: str = "", seconds: float = 0.0) -> Callable[[str, Client], None]:
        """One that takes some seconds and then writes ``label``, name and moment."""

        def meet(name: str, client: Client) -> None:
            self._host.clock.advance(seconds)
            assert client.call("M.x") == "hello"
            self.met.append(f"{label}{name}@{self._host.clock.now():g}")
            self.threads.append(threading.get_ident())

        return meet


@pytest.fixture
def host() -> MemoryHost:
    """Plugins of two subsystems; ``slow`` takes two seconds to shake hands."""
    slow = hangs(2, then={"Implements": ["A"]})
    return MemoryHost({"a": ["A"], "ab": ["A", "B"], "twice": ["C", "C"], "slow": slow})


@pytest.fixture
def book(host: MemoryHost) -> Guestbook:
    """Who was met."""
    return Guestbook(host)


@pytest.fixture
def registry(host: MemoryHost) -> Registry:
    """The host's registry."""
    return host.registry


def test_a_handler_meets_a_plugin_when_it_is_activated_and_only_then(
    registry: Registry, book: Guestbook
) -> None:
    """It gets the name and a client that works, in the thread that asked; once."""
    registry.handle("A", book.handler())

    for _ in range(3):
        registry.get("a", "A")

    assert book.met == ["a@0"]
    assert book.threads == [threading.get_ident()]


def test_handlers_run_in_the_order_in_which_they_came(registry: Registry, book: Guestbook) -> None:
    """All handlers of all subsystems that the plugin implements, and no others."""
    for interface, label in [("B", "b1 "), ("A", "a1 "), ("C", "c "), ("A", "a2 "), ("a", "x ")]:
        registry.handle(interface, book.handler(label))

    registry.get("ab", "A")

    assert book.met == ["a1 ab@0", "a2 ab@0", "b1 ab@0"]


def test_subsystems_are_met_in_the_order_of_the_manifest() -> None:
    """And not in that of their names."""
    host = MemoryHost({"ba": ["B", "A"]})
    book = Guestbook(host)
    for interface in ("A", "B"):
        host.registry.handle(interface, book.handler(f"{interface} "))

    host.registry.get("ba", "A")

    assert book.met == ["B ba@0", "A ba@0"]


async def coroutine(*_: object) -> None:
    """What no thread awaits."""


@pytest.mark.parametrize(
    ("interface", "handler", "told"),
    [
        (5, print, "interface must be a subsystem's name, not 5"),
        ("A", 5, "handler must be a function of a name and a client, not 5"),
        ("A", coroutine, "handler must not be a coroutine function: <function coroutine"),
    ],
)
def test_what_is_no_handler_is_refused(
    registry: Registry, interface: Any, handler: Any, told: str
) -> None:
    """When it is given."""
    with pytest.raises(TypeError, match=f"^{told}"):
        registry.handle(interface, handler)


def test_a_subsystem_that_is_named_twice_counts_once(registry: Registry, book: Guestbook) -> None:
    """A manifest may repeat itself."""
    registry.handle("C", book.handler())

    registry.get("twice", "C")

    assert book.met == ["twice@0"]


def test_a_handler_meets_plugins_that_are_active_already_at_once(
    registry: Registry, book: Guestbook
) -> None:
    """It runs in the thread that registers it, and not again."""
    registry.get("a", "A")
    registry.get("ab", "A")
    registry.get("twice", "C")

    registry.handle("A", book.handler())
    assert book.met == ["a@0", "ab@0"]

    registry.get("a", "A")
    assert book.met == ["a@0", "ab@0"]


def test_one_more_handler_does_not_make_the_others_run_again(
    registry: Registry, book: Guestbook
) -> None:
    """Those that have met a plugin are done with it."""
    registry.handle("A", book.handler("first "))
    registry.get("a", "A")

    registry.handle("A", book.handler("second "))
    registry.get("a", "A")

    assert book.met == ["first a@0", "second a@0"]


def test_a_handler_that_comes_during_an_activation_meets_the_plugin_after_it(
    host: MemoryHost, registry: Registry, book: Guestbook
) -> None:
    """Registered at 1 s, it runs at 2 s, in the thread that activates, and once."""
    host.clock.at(1, lambda: registry.handle("A", book.handler()))

    registry.get("slow", "A")
    registry.get("slow", "A")

    assert book.met == ["slow@2"]


def test_a_plugin_that_is_found_anew_is_met_anew(registry: Registry, book: Guestbook) -> None:
    """After ``invalidate`` it is another activated plugin."""
    registry.handle("A", book.handler())
    registry.get("a", "A")

    registry.invalidate("a")
    registry.get("a", "A")

    assert book.met == ["a@0", "a@0"]


def test_a_handler_that_fails_is_logged_and_the_others_run(
    registry: Registry, book: Guestbook, caplog: pytest.LogCaptureFixture
) -> None:
    """The plugin is active all the same, and ``get`` succeeds."""
    error = ZeroDivisionError("mine")

    def fail(_: str, __: Client) -> None:
        raise error

    registry.handle("A", fail)
    registry.handle("A", book.handler())

    assert registry.get("a", "A").name == "a"

    assert book.met == ["a@0"]
    [record] = caplog.records
    assert (record.name, record.levelno) == ("moby_plugins", logging.ERROR)
    assert record.getMessage() == f"the handler {fail!r} failed for plugin 'a'"
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_a_handler_that_fails_at_registration_is_logged_too(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    """``handle`` does not raise what a handler raises."""
    registry.get("a", "A")

    registry.handle("A", lambda *_: [].pop())

    assert len(caplog.records) == 1


def test_an_interrupt_in_a_handler_passes(registry: Registry) -> None:
    """Only ``Exception`` is a handler's failure; the plugin stays active."""

    def interrupt(_: str, __: Client) -> None:
        raise KeyboardInterrupt

    registry.handle("A", interrupt)

    with pytest.raises(KeyboardInterrupt):
        registry.get("a", "A")
    assert registry.get("a", "A").name == "a"


def test_a_handler_may_ask_for_its_own_plugin_and_for_others(
    host: MemoryHost, registry: Registry
) -> None:
    """``get`` and ``get_all`` work within a handler: no lock is held, no plugin activated twice."""
    answers: list[list[str]] = []

    def ask(name: str, _: Client) -> None:
        own = registry.get(name, "A")
        other = registry.get("twice", "C")
        answers.append([own.name, other.name, *[plugin.name for plugin in registry.get_all("B")]])

    registry.handle("B", ask)
    registry.get("ab", "A")

    assert answers == [["ab", "twice", "ab"]]
    assert len([crossing for crossing in host.crossings if crossing.startswith("send")]) == 4


def test_a_handler_may_register_handlers(registry: Registry, book: Guestbook) -> None:
    """The new one meets the plugin at once, and plugins to come when they come."""
    registry.handle("B", lambda *_: registry.handle("A", book.handler("new ")))

    registry.get("ab", "B")
    assert book.met == ["new ab@0"]

    registry.get("a", "A")
    assert book.met == ["new ab@0", "new a@0"]


def test_a_handler_may_forget_its_plugin_and_close_the_registry(registry: Registry) -> None:
    """The caller has a plugin that was forgotten, and is told that the registry was closed."""
    registry.handle("A", lambda name, _: registry.invalidate(name))
    assert registry.get("a", "A").name == "a"

    registry.handle("A", lambda *_: registry.close())
    with pytest.raises(WaitCancelledError, match="this registry is closed"):
        registry.get("a", "A")
    with pytest.raises(RuntimeError):
        registry.get("a", "A")


def test_get_all_runs_handlers_in_its_own_thread(
    host: MemoryHost, registry: Registry, book: Guestbook
) -> None:
    """Each plugin is met as soon as it is active, while others are still loading."""
    registry.handle("A", book.handler())

    registry.get_all("A")

    assert book.met == ["a@0", "ab@0", "slow@2"]
    assert set(book.threads) == {threading.get_ident()}


def test_a_handler_may_wait_for_what_get_all_is_loading(
    host: MemoryHost, registry: Registry
) -> None:
    """Loading goes on while a handler runs, so that it may ask for any of them."""
    waited: list[tuple[str, float]] = []

    def wait(_: str, __: Client) -> None:
        waited.append((registry.get("slow", "A").name, host.clock.now()))

    registry.handle("B", wait)

    assert [plugin.name for plugin in registry.get_all("A")] == ["a", "ab", "slow"]
    assert waited == [("slow", 2.0)]


def test_a_get_all_that_is_cut_short_does_not_rob_plugins_of_their_handlers(
    host: MemoryHost, registry: Registry, book: Guestbook
) -> None:
    """What was activated while a handler took its time is met, although the caller gave up."""
    host.add("bad", hangs(1, then=status(500)))
    host.add("good", hangs(1, then={"Implements": ["A"]}))
    registry.handle("A", book.handler(seconds=5))

    def give_up(_: str, error: PluginError) -> None:
        raise error

    with pytest.raises(PluginError):
        registry.get_all("A", on_failure=give_up)
    for name in ("a", "ab", "good", "slow"):
        registry.get(name, "A")

    assert sorted(met.partition("@")[0] for met in book.met) == ["a", "ab", "good", "slow"]


class Unusual(BaseException):
    """What a library raises that is not meant to be caught."""


def breaking(error: BaseException) -> Callable[[str, Client], None]:
    """A handler that raises ``error``."""

    def meet(_: str, __: Client) -> None:
        raise error

    return meet


# Each way in which handlers come to run, for the plugins "a" and "ab".
RUNS: dict[str, Callable[[Registry], object]] = {
    "get": lambda registry: (registry.get("a", "A"), registry.get("ab", "A")),
    "get_all": lambda registry: registry.get_all("A"),
}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("error", [SystemExit("bad"), GeneratorExit(), Unusual()], ids=repr)
def test_whatever_a_handler_raises_the_others_run(
    run: Callable[[Registry], object],
    error: BaseException,
    registry: Registry,
    book: Guestbook,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged, for it is about this handler alone."""
    registry.handle("A", breaking(error))
    registry.handle("A", book.handler())

    run(registry)

    assert {met.partition("@")[0] for met in book.met} >= {"a", "ab"}
    assert caplog.text.count("failed for plugin") == len(book.met)


def test_an_interrupt_in_a_handler_passes_once_the_others_ran(
    registry: Registry, book: Guestbook
) -> None:
    """It is the caller's own; the plugin is active, and was met by all the same."""
    registry.handle("A", breaking(KeyboardInterrupt()))
    registry.handle("A", book.handler())

    with pytest.raises(KeyboardInterrupt):
        registry.get("a", "A")

    assert book.met == ["a@0"]
    assert registry.get("a", "A").name == "a"


def test_an_interrupt_in_a_handler_of_what_is_active_passes_once_all_were_met(
    registry: Registry,
) -> None:
    """One plugin after the other is met by the handler that was interrupted."""
    met = []

    def interrupted(name: str, _: Client) -> None:
        met.append(name)
        raise KeyboardInterrupt

    registry.get("a", "A")
    registry.get("ab", "A")
    with pytest.raises(KeyboardInterrupt):
        registry.handle("A", interrupted)

    assert sorted(met) == ["a", "ab"]


def test_an_interrupt_in_a_handler_of_get_all_robs_no_plugin_of_its_handlers(
    host: MemoryHost, registry: Registry, book: Guestbook
) -> None:
    """Those that were activated by then are met, although each meeting is interrupted."""
    met = []

    def interrupted(name: str, _: Client) -> None:
        host.clock.advance(5)
        met.append(name)
        raise KeyboardInterrupt

    registry.handle("A", interrupted)
    registry.handle("A", book.handler())
    with pytest.raises(KeyboardInterrupt):
        registry.get_all("A")

    for name in ("a", "ab", "slow"):
        if name not in met:
            with pytest.raises(KeyboardInterrupt):
                registry.get(name, "A")
    assert sorted(met) == ["a", "ab", "slow"]
    assert sorted(each.partition("@")[0] for each in book.met) == ["a", "ab", "slow"]
