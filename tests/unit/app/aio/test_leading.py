"""Each activation is led by a task of the registry, which lives as long as a caller waits."""

import asyncio
import random
import threading
from contextvars import ContextVar
from typing import Any

import pytest

from moby_plugins import (
    PluginError,
    PluginNotFoundError,
    RetryPolicy,
    StatusError,
    TransportError,
    WaitCancelledError,
)
from moby_plugins.aio import AsyncRequest
from moby_plugins.domain.plugin import Plugin
from moby_plugins.ports import Cancellation, Discovery
from moby_plugins.testing import (
    FakeTimeLoop,
    MemoryDiscovery,
    drops,
    hangs,
    refused,
    script,
    status,
)
from tests.unit.app.aio.in_tasks import ACTIVE, QUICK_LOOPS, TasksHost, others, turns

SLOW = hangs(7, then=ACTIVE)
ASKER: ContextVar[str] = ContextVar("asker", default="none")


def test_a_time_out_around_get_is_exact_and_leaves_no_task(loop: FakeTimeLoop) -> None:
    """After 5 s ``get`` raises, no task is left, and the client is closed."""
    host = TasksHost({"p": hangs()})

    async def main() -> None:
        for name in ("p", "missing"):
            began = loop.time()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5):
                    await host.registry.get(name)
            assert loop.time() == began + 5
            await turns()
            assert others() == []

    loop.run(main())
    assert (host.made, host.closed) == (["p"], ["p"])


def test_a_callers_time_out_is_not_a_time_out_of_the_plugin(loop: FakeTimeLoop) -> None:
    """``wait_for`` raises the plain ``TimeoutError``; a time-out of the plugin is retried."""
    host = TasksHost({"p": hangs()}, activation_timeout=2)

    async def main() -> None:
        with pytest.raises(TimeoutError) as caught:
            await asyncio.wait_for(host.registry.get("p"), 3.5)
        assert not isinstance(caught.value, TransportError)
        assert host.plugins["p"].calls.times == [0.0, 3.0]

    loop.run(main())


def test_cancelling_the_first_get_does_not_disturb_another_of_the_same_plugin(
    loop: FakeTimeLoop,
) -> None:
    """The other gets the plugin at 3 s, by the same schedule of look-ups."""
    host = TasksHost()
    loop.at(3, lambda: host.add("p", ["A"]))

    async def main() -> None:
        first = asyncio.create_task(host.registry.get("p"))
        second = asyncio.create_task(host.registry.get("p"))
        await asyncio.sleep(0.5)
        first.cancel()
        plugin = await second
        assert (first.cancelled(), plugin.name, loop.time()) == (True, "p", 3.0)

    loop.run(main())
    assert host.discovery.lookups == ["p"] * 3


@pytest.mark.parametrize("seen", [True, False], ids=["after the cancel", "before it is seen"])
def test_a_get_that_follows_a_cancelled_get_of_the_same_plugin_succeeds(
    loop: FakeTimeLoop, *, seen: bool
) -> None:
    """The new ``get`` begins again, or joins if the cancellation was not yet seen."""
    host = TasksHost()

    async def main() -> None:
        task = asyncio.create_task(host.registry.get("p", retry=RetryPolicy(initial=4)))
        await asyncio.sleep(0.5)
        task.cancel()
        if seen:
            await asyncio.sleep(0)
        host.add("p", ["A"])
        plugin = await host.registry.get("p")
        assert plugin.name == "p"
        assert loop.time() == (0.5 if seen else 4.0)

    loop.run(main())


def test_a_task_group_that_fails_does_not_end_a_get_outside_of_it(loop: FakeTimeLoop) -> None:
    """The group cancels its own ``get``, and the other gets the plugin of the same activation."""
    host = TasksHost({"p": SLOW, "bad": hangs(2, then=status(500))})

    async def main() -> None:
        outside = asyncio.create_task(host.registry.get("p"))
        with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012  a group is its block
            async with asyncio.TaskGroup() as group:
                group.create_task(host.registry.get("p"))
                group.create_task(host.registry.get("bad"))
        assert [type(error) for error in caught.value.exceptions] == [StatusError]
        assert loop.time() == 2.0
        assert ((await outside).name, loop.time()) == ("p", 7.0)

    loop.run(main())
    assert host.made.count("p") == 1


def test_a_get_outlives_the_get_all_that_it_joined(loop: FakeTimeLoop) -> None:
    """The activation that ``get`` waits for goes on, and the other is ended."""
    host = TasksHost({"p": SLOW, "q": SLOW})

    async def main() -> None:
        everything = asyncio.create_task(host.registry.get_all())
        await asyncio.sleep(1)
        one = asyncio.create_task(host.registry.get("p"))
        await asyncio.sleep(1)
        everything.cancel()
        await turns()
        assert host.closed == ["q"]
        assert ((await one).name, loop.time()) == ("p", 7.0)

    loop.run(main())
    assert sorted(host.made) == ["p", "q"]


def test_a_get_all_that_is_cancelled_leaves_no_task(loop: FakeTimeLoop) -> None:
    """All its activations end, and their clients are closed."""
    host = TasksHost({f"p{number}": hangs() for number in range(5)})

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await host.registry.get_all()
        await turns()
        assert others() == []

    loop.run(main())
    assert (len(host.made), sorted(host.closed)) == (5, sorted(host.made))


def test_an_activation_does_not_see_the_context_variables_of_its_caller(loop: FakeTimeLoop) -> None:
    """Look-up, plugin and handler see none; a handler that ``handle`` itself calls does."""
    seen: list[str] = []

    class Noting(MemoryDiscovery):
        def lookup(self, name: str) -> Plugin:
            seen.append(ASKER.get())
            return super().lookup(name)

    def reply(_: object) -> Any:
        seen.append(ASKER.get())
        return ACTIVE

    host = TasksHost({"p": reply}, discovery=Noting(["p"]))

    async def main() -> None:
        ASKER.set("the first")
        await host.registry.handle("A", lambda *_: seen.append(ASKER.get()))
        await host.registry.get("p")
        await host.registry.handle("A", lambda *_: seen.append(ASKER.get()))

    loop.run(main())
    assert seen == ["none"] * 3 + ["the first"]


def test_the_on_retry_of_a_cancelled_get_is_no_longer_called(loop: FakeTimeLoop) -> None:
    """The activation goes on for another caller, who gave no ``on_retry``."""
    host = TasksHost()
    told: list[float] = []

    async def main() -> None:
        options: dict[str, Any] = {"on_retry": lambda *_: told.append(loop.time())}
        first = asyncio.create_task(host.registry.get("p", **options))
        second = asyncio.create_task(host.registry.get("p"))
        await asyncio.sleep(2)
        first.cancel()
        with pytest.raises(PluginNotFoundError):
            await second

    loop.run(main())
    assert told == [0.0, 1.0]


@pytest.mark.parametrize("others_too", [False, True], ids=["alone", "with others"])
def test_a_failure_that_no_caller_waits_for_is_not_logged_by_asyncio(
    loop: FakeTimeLoop, *, others_too: bool
) -> None:
    """All callers are cancelled as the activation fails; no exception is "never retrieved"."""
    host = TasksHost({"p": hangs(2, then=status(500))})

    async def main() -> None:
        askers = [asyncio.create_task(host.registry.get("p")) for _ in range(1 + others_too)]
        await asyncio.sleep(2)
        for asker in askers:
            asker.cancel()
        await asyncio.wait(askers)
        await turns()
        assert others() == []

    loop.run(main())


def test_an_activation_whose_task_other_code_cancels_is_begun_again(loop: FakeTimeLoop) -> None:
    """Code that cancels tasks by their names ends no ``get`` or ``get_all``."""
    host = TasksHost({"p": script(SLOW, ACTIVE), "q": script(SLOW, ACTIVE)})

    async def main() -> None:
        asked: list[asyncio.Task[Any]] = [
            asyncio.create_task(host.registry.get("p")),
            asyncio.create_task(host.registry.get("p")),
            asyncio.create_task(host.registry.get_all()),
        ]
        await asyncio.sleep(1)
        for task in asyncio.all_tasks():
            if task.get_name().startswith("moby-plugins activates"):
                task.cancel()
        one, two = await asked[0], await asked[1]
        everything = await asked[2]
        assert one is two is everything[0]
        assert loop.time() == 1.0

    loop.run(main())


class StopTestError(BaseException):
    """What a test's framework raises to end a test: no ``Exception``."""


def test_an_exception_that_ends_a_test_is_raised_to_the_first_caller(loop: FakeTimeLoop) -> None:
    """The exception is a ``BaseException``; the other caller activates the plugin instead."""
    host = TasksHost({"p": script(hangs(1, then=StopTestError("mine")), ACTIVE)})

    async def main() -> None:
        first = asyncio.create_task(host.registry.get("p"))
        second = asyncio.create_task(host.registry.get("p"))
        with pytest.raises(StopTestError, match="mine"):
            await first
        assert (await second).name == "p"

    loop.run(main())


def test_an_activation_that_gets_its_own_plugin_raises_instead_of_waiting(
    loop: FakeTimeLoop,
) -> None:
    """The ``RuntimeError`` says that the call would wait for itself for ever."""
    made: list[TasksHost] = []

    async def reply(_: AsyncRequest) -> Any:
        await made[0].registry.get("p")

    host = TasksHost({"p": reply})
    made.append(host)

    with pytest.raises(
        RuntimeError,
        match=r"^activating 'p' runs code that asks the registry for 'p': the call would wait for "
        "itself for ever$",
    ):
        loop.run(host.registry.get("p"))


@pytest.mark.parametrize("loop", QUICK_LOOPS, indirect=True)
def test_no_more_than_64_handshakes_run_at_once(loop: FakeTimeLoop) -> None:
    """Of 130 handshakes of 2 s each, 64 begin at 0 s, 64 at 2 s and two at 4 s."""
    host = TasksHost({f"p{number:03}": hangs(2, then=ACTIVE) for number in range(130)})

    found = loop.run(host.registry.get_all())

    begun = sorted(plugin.calls.times[0] for plugin in host.plugins.values())
    assert begun == [0.0] * 64 + [2.0] * 64 + [4.0] * 2
    assert (len(found), loop.time()) == (130, 6.0)


@pytest.mark.parametrize("loop", QUICK_LOOPS, indirect=True)
def test_a_wait_between_two_attempts_does_not_count_as_a_running_handshake(
    loop: FakeTimeLoop,
) -> None:
    """64 plugins that refuse do not delay the 65th, and cost other plugins no retry budget."""
    plugins = {f"dead{number:03}": refused() for number in range(64)}
    host = TasksHost({**plugins, "live": ACTIVE, "slow": script(drops(), drops(), ACTIVE)})

    async def main() -> None:
        everything = asyncio.create_task(host.registry.get_all())
        await asyncio.sleep(0.5)
        assert host.plugins["live"].calls.times == [0.0]
        assert [plugin.name for plugin in await everything] == ["live", "slow"]
        assert loop.time() == 15.0

    loop.run(main())


@pytest.mark.parametrize("loop", ["plain"], indirect=True)
def test_300_plugins_that_refuse_and_300_that_work_take_15_seconds(loop: FakeTimeLoop) -> None:
    """Each plugin that refuses is tried five times, each other one once: 1,800 handshakes."""
    host = TasksHost({f"p{n:03}": refused() if n % 2 else ACTIVE for n in range(600)})
    failed: list[tuple[str, float]] = []

    async def main() -> int:
        found = await host.registry.get_all(
            on_failure=lambda name, _: failed.append((name, loop.time()))
        )
        return len(found)

    assert loop.run(main()) == 300
    assert {moment for _, moment in failed} == {15.0}
    assert len(failed) == 300
    assert sum(len(plugin.calls) for plugin in host.plugins.values()) == 300 + 5 * 300
    assert len(host.discovery.lookups) == 600
    assert loop.time() == 15.0


class Remote:
    """A discovery that asks others, and is told when its asker has left."""

    def __init__(self, threads: list[int], left: Cancellation | None = None) -> None:
        self._threads = threads
        self._left = left or Cancellation()

    def ended_by(self, cancel: Cancellation) -> Discovery:
        return Remote(self._threads, cancel)

    def scan(self) -> list[str]:
        self._threads.append(threading.get_ident())
        return ["p", "slow"]

    def lookup(self, name: str) -> Plugin:
        self._threads.append(threading.get_ident())
        if name == "slow":
            assert self._left.event.wait(10)
        return Plugin.local(name, f"memory://{name}")


def test_a_discovery_that_may_block_is_called_in_a_thread(loop: FakeTimeLoop) -> None:
    """The event loop goes on, and a look-up whose caller was cancelled ends at once."""
    threads: list[int] = []
    host = TasksHost({"p": ACTIVE, "slow": ACTIVE}, discovery=Remote(threads))

    async def main() -> None:
        assert await host.registry.scan() == ["p", "slow"]
        assert (await host.registry.lookup("p")).name == "p"
        assert (await host.registry.get("p")).name == "p"
        task = asyncio.create_task(host.registry.get("slow"))
        while len(threads) < 4:  # noqa: ASYNC110  the thread tells nothing else
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    loop.run(main())
    assert threading.get_ident() not in threads


def test_closing_the_registry_ends_a_get_all_that_is_still_scanning(loop: FakeTimeLoop) -> None:
    """``get_all`` raises without waiting for the scan's thread."""
    scanning, left = threading.Event(), threading.Event()

    class Hanging(Remote):
        def ended_by(self, cancel: Cancellation) -> Discovery:
            return Hanging([], cancel)

        def scan(self) -> list[str]:
            scanning.set()
            assert self._left.event.wait(10)
            left.set()
            return []

    host = TasksHost(discovery=Hanging([]))

    async def main() -> None:
        task = asyncio.create_task(host.registry.get_all())
        await asyncio.to_thread(scanning.wait)
        await host.registry.aclose()
        with pytest.raises(WaitCancelledError, match=r"^this registry is closed"):
            await task
        await asyncio.to_thread(left.wait)

    loop.run(main())


def test_a_discovery_of_files_is_asked_in_the_loop(loop: FakeTimeLoop) -> None:
    """Reading a directory takes microseconds, less than another thread costs."""
    threads: list[int] = []

    class Here(MemoryDiscovery):
        def lookup(self, name: str) -> Plugin:
            threads.append(threading.get_ident())
            return super().lookup(name)

        def scan(self) -> list[str]:
            threads.append(threading.get_ident())
            return super().scan()

    host = TasksHost({"p": ACTIVE}, discovery=Here(["p"]))

    async def main() -> None:
        await host.registry.get_all()
        await host.registry.scan()
        await host.registry.lookup("p")

    loop.run(main())
    assert threads == [threading.get_ident()] * 4


def test_a_registry_has_an_on_retry_of_its_own(loop: FakeTimeLoop) -> None:
    """The registry's callback is called in ``get`` and ``get_all``, unless ``get`` has its own."""
    told: list[str] = []
    host = TasksHost({"p": refused()}, on_retry=lambda error, _: told.append(type(error).__name__))

    async def main() -> None:
        with pytest.raises(TransportError):
            await host.registry.get("p")
        with pytest.raises(TransportError):
            await host.registry.get("p", on_retry=lambda *_: None)
        assert await host.registry.get_all() == []

    loop.run(main())
    assert told == ["TransportError"] * 8


def test_what_on_retry_raises_ends_a_get_all(loop: FakeTimeLoop) -> None:
    """``get_all`` raises the exception at once, and no task is left."""

    def give_up(*_: object) -> None:
        raise LookupError("mine")

    host = TasksHost({"p": refused(), "q": hangs()}, on_retry=give_up)

    async def main() -> None:
        with pytest.raises(LookupError, match="mine"):
            await host.registry.get_all()
        await turns()
        assert (others(), loop.time()) == ([], 0.0)

    loop.run(main())


@pytest.mark.parametrize(
    ("loop", "seed"),
    [("debug", 0), *((kind, seed) for kind in QUICK_LOOPS for seed in range(4))],
    indirect=["loop"],
)
def test_callers_that_come_and_are_cancelled_at_random_leave_no_task(
    loop: FakeTimeLoop, seed: int
) -> None:
    """80 callers have random time-outs and cancellations, with ``invalidate`` in between."""
    chance = random.Random(seed)  # noqa: S311  the same each time
    host = TasksHost()
    for number in range(6):
        host.add(f"p{number}", chance.choice([ACTIVE, SLOW, hangs(), refused(), status(500)]))
    outcomes: list[str] = []

    async def asker() -> None:
        await asyncio.sleep(chance.choice([0, 0.5, 1, 2, 7]))
        try:
            async with asyncio.timeout(chance.choice([0, 1, 3, 7, 20])):
                if chance.random() < 0.2:
                    await host.registry.get_all()
                else:
                    await host.registry.get(f"p{chance.randrange(6)}")
        except (PluginError, TimeoutError) as error:
            outcomes.append(type(error).__name__)
        else:
            outcomes.append("active")

    async def main() -> None:
        tasks = [asyncio.create_task(asker()) for _ in range(80)]
        for task in chance.sample(tasks, 30):
            await asyncio.sleep(chance.choice([0, 0, 0.5]))
            if chance.random() < 0.3:
                host.registry.invalidate(f"p{chance.randrange(6)}")
            task.cancel()
        await asyncio.wait(tasks)
        await turns()
        assert others() == []
        await host.registry.aclose()

    loop.run(main())
    assert len(outcomes) >= 50
