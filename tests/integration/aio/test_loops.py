"""One transport in several event loops, threads and processes, also after its loop has ended."""

import asyncio
import contextvars
import gc
import os
import signal
import sys
import time
import warnings
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from moby_plugins.domain.errors import TransportError
from moby_plugins.testing.contracts import Run
from tests.dummy_plugin import Conversation
from tests.integration.aio.calls import called, echoes, failed, hangs, request
from tests.integration.aio.conftest import Reach
from tests.integration.descriptors import descriptors, soon
from tests.integration.loops import LoopFactory


def test_a_transport_dials_again_in_a_second_event_loop(reach: Reach, run: Run) -> None:
    """A connection that was open when its loop was closed is closed, without a warning."""

    async def test() -> None:
        assert await called(reached.transport, b"a", 5.0) == b"a"

    run(asyncio.sleep(0))  # what a kind of loop keeps open for good
    with reach(echoes) as reached:
        before = descriptors()
        run(test())
        run(test())
        assert reached.plugin.connections == 2
        reached.transport.close()
        assert soon(before) <= before


def test_a_closed_event_loop_leaves_no_descriptor_and_no_warning(
    reach: Reach, new_loop: LoopFactory
) -> None:
    """The transport closes an idle connection and an unread body of the closed loop."""

    async def test() -> None:
        assert await called(reached.transport, b"a") == b"a"
        response = await reached.transport.send(request(b"x" * 400_000), None)
        assert await response.body.read(1) == b"x"
        kept.append(response)

    kept: list[Any] = []
    with reach(echoes) as reached:
        before = descriptors()
        loop = new_loop()
        loop.run_until_complete(test())
        loop.close()
        kept.clear()
        reached.transport.close()
        gc.collect()
        assert soon(before) <= before


def test_loops_in_threads_share_a_transport(reach: Reach, new_loop: LoopFactory) -> None:
    """Each thread's loop has a connection of its own, and each call its own response."""

    def calls(number: int) -> None:
        async def test() -> None:
            for count in range(200):
                body = b"%d-%d" % (number, count)
                assert await called(reached.transport, body, 5.0) == body

        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(test())

    with reach(echoes) as reached, ThreadPoolExecutor(3) as threads:
        for done in [threads.submit(calls, number) for number in range(3)]:
            done.result()
        assert reached.plugin.connections == 3


def test_closing_a_transport_from_another_thread_ends_its_calls_at_once(
    reach: Reach, run: Run
) -> None:
    """Calls that wait for a response and reads of a body raise; ``close`` waits for none."""

    def behave(conversation: Conversation) -> None:
        if conversation.read_request().endswith(b"stream"):
            conversation.send(b"HTTP/1.1 200 OK\r\n\r\n")
        conversation.hang()

    async def test() -> None:
        stream = await reached.transport.send(request(b"stream"), None)
        waiting = [asyncio.create_task(failed(called(reached.transport))) for _ in range(70)]
        waiting.append(asyncio.create_task(failed(stream.body.read(10))))
        await asyncio.sleep(0.1)
        took = await asyncio.to_thread(timed, reached.transport.close)
        began = time.monotonic()
        errors = await asyncio.gather(*waiting)
        assert took < 0.1
        assert time.monotonic() - began < 0.5
        assert {type(error) for error in errors} == {TransportError}
        assert type(await failed(called(reached.transport))) is TransportError
        stream.body.close()

    with reach(behave) as reached:
        before = descriptors()
        run(test())
        assert soon(before) <= before


def timed(do: Callable[[], object]) -> float:
    """How many seconds it takes."""
    began = time.monotonic()
    do()
    return time.monotonic() - began


def test_a_transport_can_be_closed_while_its_loop_does_not_run(
    reach: Reach, new_loop: LoopFactory
) -> None:
    """Idle connections of a loop that is between two runs are closed at once."""

    async def test() -> None:
        assert await called(reached.transport, b"a", 5.0) == b"a"

    with reach(echoes) as reached:
        before = descriptors()
        loop = new_loop()
        with_loop = descriptors() - before
        loop.run_until_complete(test())
        reached.transport.close()
        assert soon(before + with_loop) <= before + with_loop
        loop.close()


def test_a_transport_that_was_never_closed_leaves_no_connection(reach: Reach, run: Run) -> None:
    """Connections end with the last reference to their transport, while the loop runs on."""

    async def test() -> None:
        before = descriptors()
        transport = reached.renewed()
        assert await called(transport, b"a", 5.0) == b"a"
        gone = weakref.ref(transport)
        del transport
        gc.collect()
        assert gone() is None
        assert await asyncio.to_thread(soon, before) <= before

    with reach(echoes) as reached:
        run(test())


def test_a_connection_keeps_no_reference_to_the_context_of_its_caller(
    reach_unix: Reach, run: Run
) -> None:
    """The value of a caller's context variable is freed while the connection stays open."""

    class Held:
        """What a context variable refers to."""

    variable: contextvars.ContextVar[Held] = contextvars.ContextVar("held")

    async def holding() -> "weakref.ref[Held]":
        held = Held()
        variable.set(held)
        assert await called(reached.transport, b"a", 5.0) == b"a"
        return weakref.ref(held)

    async def test() -> None:
        gone = await asyncio.create_task(holding())
        await asyncio.sleep(0)
        gc.collect()
        assert gone() is None
        assert await called(reached.transport, b"b") == b"b"
        assert reached.plugin.connections == 1

    with reach_unix(echoes) as reached:
        run(test())


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_dials_a_connection_of_its_own(reach: Reach, run: Run) -> None:
    """The parent's connections, calls and event loop are not affected."""

    async def in_the_child() -> None:
        assert await called(reached.transport, b"child", 5.0) == b"child"

    async def test() -> None:
        for answer in await asyncio.gather(*(called(reached.transport, b"a", 5.0) for _ in "12")):
            assert answer == b"a"
        waiting = asyncio.create_task(called(reached.transport, b"slow" * 100_000, 10.0))
        await asyncio.sleep(0)
        process = os.fork()
        if not process:
            status = 1
            try:
                signal.alarm(20)
                before = descriptors()
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    run(in_the_child())
                    reached.transport.close()
                    gc.collect()
                # Its copies of both connections of its parent are closed.
                assert descriptors() == before - 2
                status = 0
            finally:
                os._exit(status)
        assert (await asyncio.to_thread(os.waitpid, process, 0))[1] == 0
        assert await waiting == b"slow" * 100_000
        assert await called(reached.transport, b"b", 5.0) == b"b"

    with reach(echoes) as reached:
        run(test())
        # The parent's idle one, that of the call under way, and the child's.
        assert reached.plugin.connections <= 3


def test_a_transport_keeps_no_connections_of_closed_event_loops(
    reach_unix: Reach, new_loop: LoopFactory
) -> None:
    """After twenty loops in turn, only the connection of the last loop is open."""

    async def test() -> None:
        assert await called(reached.transport, b"a", 5.0) == b"a"

    with reach_unix(echoes) as reached:
        before = descriptors()
        for _ in range(20):
            with asyncio.Runner(loop_factory=new_loop) as runner:
                runner.run(test())
        # The last one's, at both ends.
        assert soon(before + 2) <= before + 2


def test_a_failed_call_keeps_no_reference_to_its_transport(reach: Reach, run: Run) -> None:
    """The transport is freed with its last reference, without the garbage collector."""

    async def test() -> None:
        transport = reached.renewed()
        await failed(called(transport, timeout=0.1))
        gone = weakref.ref(transport)
        transport.close()
        del transport
        assert gone() is None

    gc.collect()
    gc.disable()
    try:
        with reach(hangs) as reached:
            run(test())
    finally:
        gc.enable()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="there are no eager tasks before 3.12")
def test_eager_tasks_can_call_and_be_cancelled(reach: Reach) -> None:
    """Tasks that begin before they are scheduled get their own responses, as other tasks do."""
    # In asyncio's own loop: uvloop does not know eager tasks yet.

    async def test() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009  not in 3.11
        for turns in range(12):
            bodies = [b"%d" % number * 3000 for number in range(100)]
            tasks = [asyncio.create_task(called(reached.transport, each, 9.0)) for each in bodies]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks[::3]:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            for answer, body in zip(ended, bodies, strict=True):
                assert answer == body or isinstance(answer, asyncio.CancelledError)

    with reach(echoes) as reached:
        asyncio.run(test())
