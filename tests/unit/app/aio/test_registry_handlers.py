"""Asynchronous handlers: what a cancellation and closing the registry do to them."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import pytest

from moby_plugins import WaitCancelledError
from moby_plugins.aio import AsyncClient, AsyncRegistry, AsyncResponse
from moby_plugins.testing import FakeTimeLoop, hangs, refused, script
from tests.unit.app.aio.in_tasks import ACTIVE, TasksHost, others, turns

ASKER: ContextVar[str] = ContextVar("asker", default="none")


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
    """``aclose`` cancels each handler once, waits for it, and ends the callers that wait for it."""

    def test_a_second_aclose_waits_for_the_clean_up_of_a_handler(self, loop: FakeTimeLoop) -> None:
        """The handler that the first ``aclose`` cancelled is not cancelled again."""
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

    def test_aclose_cancels_a_handler_that_cleans_up_after_its_own_time_out(
        self, loop: FakeTimeLoop
    ) -> None:
        """A handler that would go on after its time-out is ended all the same."""
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

    def test_aclose_does_not_cancel_again_an_activation_that_its_caller_cancelled(
        self, loop: FakeTimeLoop
    ) -> None:
        """``aclose`` waits until the transport's clean-up has ended."""
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
    def test_aclose_ends_a_get_or_get_all_that_waits_for_handlers_at_once(
        self, loop: FakeTimeLoop, name: str | None
    ) -> None:
        """The error does not wait for the clean-up of the handlers, and no plugin is returned."""
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
    def test_a_handler_is_cancelled_when_a_task_that_it_started_calls_aclose(
        self, loop: FakeTimeLoop, begin: Callable[..., object]
    ) -> None:
        """Only a handler that calls ``aclose`` itself is not cancelled."""
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

    def test_no_handler_is_called_after_one_that_ignored_its_cancellation(
        self, loop: FakeTimeLoop
    ) -> None:
        """``aclose`` would wait for the next handler without having cancelled it."""
        host = TasksHost({"p": ACTIVE})
        second = Cleaning(loop)

        async def ignores(*_: object) -> None:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

        async def main() -> None:
            await host.registry.handle("A", ignores)
            await host.registry.handle("A", second)
            asker = asyncio.create_task(host.registry.get("p"))
            await asyncio.sleep(1)
            await host.registry.aclose()
            await asyncio.wait([asker])
            assert (second.begun, loop.time(), others()) == ([], 1.0, [])
            with pytest.raises(WaitCancelledError):
                asker.result()

        loop.run(main())

    def test_aclose_cancels_the_handlers_of_an_activation_that_ignored_its_cancellation(
        self, loop: FakeTimeLoop
    ) -> None:
        """The transport ignored it, so the activation went on and called its handlers."""
        handler = Cleaning(loop, seconds=1)

        class Deaf:
            async def send(self, *_: object) -> AsyncResponse:
                with suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()
                return AsyncResponse(200, b'{"Implements": ["A"]}')

            def close(self) -> None:
                """Nothing is open."""

        host = TasksHost({"p": ACTIVE}, connect=lambda *_: Deaf())

        async def main() -> None:
            await host.registry.handle("A", handler)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await host.registry.get("p")
            await asyncio.sleep(1)
            await host.registry.aclose()
            assert (handler.begun, handler.cleaned, others()) == (["p"], [3.0], [])

        loop.run(main())

    def test_a_handler_that_called_aclose_is_cancelled_by_the_next_aclose(
        self, loop: FakeTimeLoop
    ) -> None:
        """A handler's own ``aclose`` does not cancel it, but the next one from outside does."""
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
    """Tasks that are started during an activation may ``get`` its plugin as any other task may."""

    def test_a_task_started_by_a_handler_may_get_the_plugin(self, loop: FakeTimeLoop) -> None:
        """The task may also call ``invalidate``, and then gets a plugin that is activated again."""
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

    def test_a_task_started_by_on_retry_may_get_the_plugin(self, loop: FakeTimeLoop) -> None:
        """The activation goes on, and the task gets the same plugin."""
        host = TasksHost({"p": script(refused(), ACTIVE)})
        asked: list[asyncio.Task[Any]] = []

        def retried(*_: object) -> None:
            asked.append(asyncio.create_task(host.registry.get("p")))

        async def main() -> None:
            plugin = await host.registry.get("p", on_retry=retried)
            assert [await task for task in asked] == [plugin]

        loop.run(main())


class TestCancelledHandle:
    """A ``handle`` that is cancelled ends at once; its handler is still called for each plugin."""

    @staticmethod
    def of_three(loop: FakeTimeLoop, host: TasksHost) -> AsyncRegistry:
        """A registry in which p, q and r are active."""
        assert len(loop.run(host.registry.get_all())) == 3
        return host.registry

    def test_the_handler_is_still_called_for_the_other_plugins(self, loop: FakeTimeLoop) -> None:
        """A task of the registry calls the handler, with the context variables of the caller."""
        registry = self.of_three(loop, TasksHost({"p": ACTIVE, "q": ACTIVE, "r": ACTIVE}))
        met: list[tuple[str, float]] = []

        async def handler(name: str, _: AsyncClient) -> None:
            assert ASKER.get() == "me"
            met.append((name, loop.time()))
            await (asyncio.sleep(1) if name == "q" else asyncio.Event().wait())

        async def main() -> None:
            ASKER.set("me")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(2):
                    await registry.handle("A", handler)
            assert loop.time() == 2.0
            await asyncio.sleep(5)
            assert met == [("p", 0.0), ("q", 2.0), ("r", 3.0)]
            await registry.aclose()
            assert others() == []

        loop.run(main())

    def test_the_handler_is_not_called_for_other_plugins_of_a_closed_registry(
        self, loop: FakeTimeLoop
    ) -> None:
        """The clients of those plugins are closed."""
        registry = self.of_three(loop, TasksHost({"p": ACTIVE, "q": ACTIVE, "r": ACTIVE}))
        handler = Cleaning(loop)

        async def main() -> None:
            handling = asyncio.create_task(registry.handle("A", handler))
            await asyncio.sleep(1)
            await registry.aclose()
            handling.cancel()
            await asyncio.wait([handling])
            await turns()
            assert (handler.begun, others()) == (["p"], [])

        loop.run(main())

    def test_other_handlers_run_when_the_task_of_an_activation_is_cancelled(
        self, loop: FakeTimeLoop
    ) -> None:
        """Other code cancels that task, and ``get`` still returns the plugin."""
        host = TasksHost({"p": ACTIVE})
        met: list[str] = []
        activating: list[asyncio.Task[Any] | None] = []

        async def first(*_: object) -> None:
            activating.append(asyncio.current_task())
            await asyncio.Event().wait()

        async def main() -> None:
            await host.registry.handle("A", first)
            await host.registry.handle("A", lambda name, _: met.append(name))
            asker = asyncio.create_task(host.registry.get("p"))
            await asyncio.sleep(1)
            assert activating[0] is not None
            activating[0].cancel()
            assert (await asker).name == "p"
            await turns()
            assert (met, others()) == (["p"], [])

        loop.run(main())


def test_an_aclose_awaited_by_a_task_of_a_handler_does_not_hang(loop: FakeTimeLoop) -> None:
    """The handler, which waits for the task that closes the registry, is cancelled."""
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


def test_a_cancelled_error_that_a_handler_causes_itself_is_logged_as_its_failure(
    loop: FakeTimeLoop, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the failure even if the caller of ``handle`` was cancelled before."""
    host = TasksHost({"p": ACTIVE})

    async def fails(*_: object) -> None:
        never = asyncio.get_running_loop().create_future()
        never.cancel()
        await never

    async def asker() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(5)
        await host.registry.handle("A", fails)

    async def main() -> None:
        await host.registry.get("p")
        task = asyncio.create_task(asker())
        await asyncio.sleep(1)
        task.cancel()
        await task

    loop.run(main())
    assert [line.partition(" <")[0] for line in caplog.messages] == ["the handler"]
