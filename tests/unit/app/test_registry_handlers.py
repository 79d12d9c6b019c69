"""Handlers: each is called once for each activated plugin of its subsystem, outside locks."""

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


def test_a_handler_is_called_once_when_a_plugin_is_activated(
    registry: Registry, book: Guestbook
) -> None:
    """The handler gets the name and a working client, in the thread that called ``get``."""
    registry.handle("A", book.handler())

    for _ in range(3):
        registry.get("a", "A")

    assert book.met == ["a@0"]
    assert book.threads == [threading.get_ident()]


def test_handlers_of_a_subsystem_run_in_the_order_of_their_registration(
    registry: Registry, book: Guestbook
) -> None:
    """The handlers of all subsystems that the plugin implements run, and no others."""
    for interface, label in [("B", "b1 "), ("A", "a1 "), ("C", "c "), ("A", "a2 "), ("a", "x ")]:
        registry.handle(interface, book.handler(label))

    registry.get("ab", "A")

    assert book.met == ["a1 ab@0", "a2 ab@0", "b1 ab@0"]


def test_handlers_of_several_subsystems_run_in_the_order_of_the_manifest() -> None:
    """The handler of B runs before that of A, since the manifest lists B first."""
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
def test_handle_refuses_a_wrong_interface_or_handler_at_once(
    registry: Registry, interface: Any, handler: Any, told: str
) -> None:
    """The interface must be a name, and the handler a function that is not a coroutine function."""
    with pytest.raises(TypeError, match=f"^{told}"):
        registry.handle(interface, handler)


def test_a_subsystem_listed_twice_in_a_manifest_runs_its_handler_once(
    registry: Registry, book: Guestbook
) -> None:
    """A plugin's manifest may repeat a subsystem."""
    registry.handle("C", book.handler())

    registry.get("twice", "C")

    assert book.met == ["twice@0"]


def test_a_new_handler_is_called_at_once_for_plugins_that_are_already_active(
    registry: Registry, book: Guestbook
) -> None:
    """The handler runs in the thread that registers it, and not again on a later ``get``."""
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
    """Each handler is called once for an active plugin, whenever others are registered."""
    registry.handle("A", book.handler("first "))
    registry.get("a", "A")

    registry.handle("A", book.handler("second "))
    registry.get("a", "A")

    assert book.met == ["first a@0", "second a@0"]


def test_a_handler_registered_during_an_activation_runs_once_after_it(
    host: MemoryHost, registry: Registry, book: Guestbook
) -> None:
    """Registered at 1 s, the handler runs at 2 s, when the plugin is active."""
    host.clock.at(1, lambda: registry.handle("A", book.handler()))

    registry.get("slow", "A")
    registry.get("slow", "A")

    assert book.met == ["slow@2"]


def test_a_handler_is_called_again_for_a_plugin_that_is_activated_again(
    registry: Registry, book: Guestbook
) -> None:
    """After ``invalidate`` the next ``get`` activates the plugin, and its handlers run."""
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


def test_a_keyboard_interrupt_in_a_handler_is_raised_by_get(registry: Registry) -> None:
    """An interrupt is not a failure of the handler; the plugin stays active."""

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
    """The new handler is called for the active plugin at once, and later for other plugins."""
    registry.handle("B", lambda *_: registry.handle("A", book.handler("new ")))

    registry.get("ab", "B")
    assert book.met == ["new ab@0"]

    registry.get("a", "A")
    assert book.met == ["new ab@0", "new a@0"]


def test_a_handler_may_forget_its_plugin_and_close_the_registry(registry: Registry) -> None:
    """After ``invalidate`` the caller still gets the plugin; after ``close``, an error."""
    registry.handle("A", lambda name, _: registry.invalidate(name))
    assert registry.get("a", "A").name == "a"

    registry.handle("A", lambda *_: registry.close())
    with pytest.raises(WaitCancelledError, match="this registry is closed"):
        registry.get("a", "A")
    with pytest.raises(RuntimeError):
        registry.get("a", "A")


def test_get_all_runs_handlers_in_the_thread_that_called_it(
    host: MemoryHost, registry: Registry, book: Guestbook
) -> None:
    """A plugin's handlers run as soon as it is active, while other plugins are still loading."""
    registry.handle("A", book.handler())

    registry.get_all("A")

    assert book.met == ["a@0", "ab@0", "slow@2"]
    assert set(book.threads) == {threading.get_ident()}


def test_a_handler_may_wait_for_what_get_all_is_loading(
    host: MemoryHost, registry: Registry
) -> None:
    """Loading goes on while a handler runs, so a handler may wait for any plugin."""
    waited: list[tuple[str, float]] = []

    def wait(_: str, __: Client) -> None:
        waited.append((registry.get("slow", "A").name, host.clock.now()))

    registry.handle("B", wait)

    assert [plugin.name for plugin in registry.get_all("A")] == ["a", "ab", "slow"]
    assert waited == [("slow", 2.0)]


def test_each_plugin_has_its_handler_called_although_get_all_raised(
    host: MemoryHost, registry: Registry, book: Guestbook
) -> None:
    """Plugins that became active while another handler was running are not left out."""
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
def test_other_handlers_run_although_one_raises_a_base_exception(
    run: Callable[[Registry], object],
    error: BaseException,
    registry: Registry,
    book: Guestbook,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """``SystemExit`` and the like are logged as a failure of that handler alone."""
    registry.handle("A", breaking(error))
    registry.handle("A", book.handler())

    run(registry)

    assert {met.partition("@")[0] for met in book.met} >= {"a", "ab"}
    assert caplog.text.count("failed for plugin") == len(book.met)


def test_a_keyboard_interrupt_in_a_handler_is_raised_after_other_handlers_ran(
    registry: Registry, book: Guestbook
) -> None:
    """``get`` raises the interrupt when all handlers have run, and the plugin is active."""
    registry.handle("A", breaking(KeyboardInterrupt()))
    registry.handle("A", book.handler())

    with pytest.raises(KeyboardInterrupt):
        registry.get("a", "A")

    assert book.met == ["a@0"]
    assert registry.get("a", "A").name == "a"


def test_handle_calls_the_handler_for_all_active_plugins_before_raising_its_interrupt(
    registry: Registry,
) -> None:
    """A handler that raises ``KeyboardInterrupt`` for one plugin is still called for the other."""
    met = []

    def interrupted(name: str, _: Client) -> None:
        met.append(name)
        raise KeyboardInterrupt

    registry.get("a", "A")
    registry.get("ab", "A")
    with pytest.raises(KeyboardInterrupt):
        registry.handle("A", interrupted)

    assert sorted(met) == ["a", "ab"]


def test_each_plugin_has_its_handlers_called_although_one_interrupts_get_all(
    host: MemoryHost, registry: Registry, book: Guestbook
) -> None:
    """The other handler runs for each plugin, although the first one interrupts each time."""
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
