"""Handlers of tasks: what a cancellation and a closing registry do to them, and they to it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from moby_plugins import WaitCancelledError
from moby_plugins.aio import AsyncClient
from moby_plugins.testing import FakeTimeLoop, hangs, refused, script
from tests.unit.app.aio.in_tasks import ACTIVE, TasksHost, others, turns


class Cleaning:
    """A handler that runs until it is cancelled, and then cleans up for ``seconds``."""

    def __init__(self, loop: FakeTimeLoop, seconds: float = 5) -> None:
        self.begun: list[str] = []
        self.cleaned: list[float] = []
        self._loop = loop
        self._seconds = seconds

    async def __call__(self, name: str, _: AsyncClient) -> None:
        self.begun.append(name)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(self._seconds)
            self.cleaned.append(self._loop.time())


class TestClosing:
    """``aclose`` cancels each handler once, waits for it, and ends those that wait for it."""

    def test_a_second_one_lets_a_handler_clean_up(self, loop: FakeTimeLoop) -> None:
        """It waits for what the first has cancelled; so does a third at the same time."""
        host = TasksHost({"p": ACTIVE})
        handler = Cleaning(loop)

        async def main() -> None:
            await host.registry.handle("A", handler)
            asker = asyncio.create_task(host.registry.get("p"))
            await asyncio.sleep(1)
            first = asyncio.create_task(host.registry.aclose())
            await asyncio.sleep(1)
            first.cancel()
            await asyncio.gather(host.registry.aclose(), host.registry.aclose())
            assert (handler.cleaned, loop.time(), others()) == ([6.0], 6.0, [])
            with pytest.raises(WaitCancelledError):
                await asker

        loop.run(main())

    def test_a_time_out_of_the_handler_is_no_reason_to_leave_it_be(
        self, loop: FakeTimeLoop
    ) -> None:
        """One that cleans up for its own time-out, and would go on, is cancelled all the same."""
        host = TasksHost({"p": ACTIVE})

        async def persists(*_: object) -> None:
            while True:
                try:
                    async with asyncio.timeout(1):
                        try:
                            await asyncio.Event().wait()
                        finally:
                            await asyncio.sleep(1)
                except TimeoutError:
                    continue

        async def main() -> None:
            await host.registry.handle("A", persists)
            asker = asyncio.create_task(host.registry.get("p"))
            await asyncio.sleep(1.5)
            await host.registry.aclose()
            assert others() == []
            with pytest.raises(WaitCancelledError):
                await asker

        loop.run(main())

    def test_an_activation_that_was_left_ends_as_it_wants(self, loop: FakeTimeLoop) -> None:
        """The last that waited has cancelled it; the closing registry does not do so again."""
        ended: list[float] = []

        class Slow:
            async def send(self, *_: object) -> Any:
                try:
                    await asyncio.Event().wait()
                finally:
                    await asyncio.sleep(3)
                    ended.append(loop.time())

            def close(self) -> None:
                """Nothing is open."""

        host = TasksHost({"p": ACTIVE}, connect=lambda *_: Slow())

        async def main() -> None:
            async with host.registry as registry:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(2):
                        await registry.get("p")
                await asyncio.sleep(1)
            assert (ended, others()) == ([5.0], [])

        loop.run(main())

    @pytest.mark.parametrize("name", ["p", None], ids=["get", "get_all"])
    def test_who_waits_for_handlers_is_told_at_once(
        self, loop: FakeTimeLoop, name: str | None
    ) -> None:
        """Not when they have cleaned up; and has no plugin whose client is closed."""
        host = TasksHost({"p": ACTIVE})

        async def asks() -> float:
            with pytest.raises(WaitCancelledError, match=r"^this registry is closed"):
                await (host.registry.get_all() if name is None else host.registry.get(name))
            return loop.time()

        async def main() -> None:
            await host.registry.handle("A", Cleaning(loop))
            asker = asyncio.create_task(asks())
            await asyncio.sleep(1)
            await host.registry.aclose()
            assert (await asker, loop.time()) == (1.0, 6.0)

        loop.run(main())

    @pytest.mark.parametrize(
        "begin",
        [
            lambda closing: asyncio.create_task(closing()),
            lambda closing: asyncio.get_running_loop().call_soon(asyncio.ensure_future, closing()),
        ],
        ids=["a task", "a callback that makes one"],
    )
    def test_a_task_that_a_handler_started_ends_the_handler(
        self, loop: FakeTimeLoop, begin: Callable[..., object]
    ) -> None:
        """Only a handler that closes the registry itself is not cancelled."""
        host = TasksHost({"p": ACTIVE})
        seen: list[str] = []
        started: list[object] = []

        async def starts(*_: object) -> None:
            started.append(begin(host.registry.aclose))
            try:
                await asyncio.Event().wait()
            finally:
                seen.append("cancelled")

        async def main() -> None:
            await host.registry.handle("A", starts)
            with pytest.raises(WaitCancelledError):
                await host.registry.get("p")
            await turns(5)
            assert (seen, others()) == (["cancelled"], [])

        loop.run(main())

    def test_a_handler_that_has_closed_it_is_ended_by_another(self, loop: FakeTimeLoop) -> None:
        """It is cancelled once it is another that closes the registry."""
        host = TasksHost({"p": ACTIVE})
        ended: list[float] = []

        async def closes(*_: object) -> None:
            await host.registry.aclose()
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(loop.time())

        async def main() -> None:
            await host.registry.handle("A", closes)
            with pytest.raises(WaitCancelledError):
                await host.registry.get("p")
            await asyncio.sleep(1)
            await host.registry.aclose()
            assert (ended, others()) == ([1.0], [])

        loop.run(main())


class TestStarted:
    """Tasks that are started during an activation ask for its plugin as any other task does."""

    def test_by_a_handler(self, loop: FakeTimeLoop) -> None:
        """Also once the plugin was forgotten, and is being activated again."""
        host = TasksHost({"p": hangs(1, then=ACTIVE)})
        found: list[Any] = []

        async def asks() -> None:
            host.registry.invalidate("p")
            found.extend(await asyncio.gather(*(host.registry.get("p") for _ in range(2))))

        async def starts(*_: object) -> None:
            if not found:
                found.append(asyncio.create_task(asks()))

        async def main() -> None:
            await host.registry.handle("A", starts)
            first = await host.registry.get("p")
            await found[0]
            assert found[1] is found[2]
            assert found[1] is not first

        loop.run(main())

    def test_by_an_on_retry(self, loop: FakeTimeLoop) -> None:
        """The activation goes on, and the task gets what comes of it."""
        host = TasksHost({"p": script(refused(), ACTIVE)})
        asked: list[asyncio.Task[Any]] = []

        def retried(*_: object) -> None:
            asked.append(asyncio.create_task(host.registry.get("p")))

        async def main() -> None:
            plugin = await host.registry.get("p", on_retry=retried)
            assert [await task for task in asked] == [plugin]

        loop.run(main())


def test_a_closing_awaited_within_a_task_of_a_handler_ends(loop: FakeTimeLoop) -> None:
    """A handler that waits for a task that closes the registry is cancelled, and no one hangs."""
    host = TasksHost({"p": ACTIVE})

    async def grouped(closing: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(closing())

    async def main() -> None:
        await host.registry.handle("A", lambda *_: grouped(host.registry.aclose))
        with pytest.raises(WaitCancelledError):
            await host.registry.get("p")
        await turns(9)
        assert (others(), host.closed) == ([], ["p"])

    loop.run(main())
