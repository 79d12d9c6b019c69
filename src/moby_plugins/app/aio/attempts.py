"""The retry loop for tasks: make an attempt, ask the policy, sleep, make the next attempt."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TypeAlias, TypeVar

from moby_plugins.app.retrying import Ending, OnRetry, delay_after
from moby_plugins.domain.errors import PluginError
from moby_plugins.domain.retry import Tries

T = TypeVar("T")
# Takes the number of the attempt, from 1.
AsyncAttempt: TypeAlias = Callable[[int], Awaitable[T]]


async def retry(
    attempt: AsyncAttempt[T], tries: Tries, on_retry: OnRetry | None = None, *, ending: Ending
) -> T:
    """Await ``attempt`` as often as ``tries`` allow, and return its result.

    Raise the first ``PluginError`` that is not retryable, or else the last one, with the number of
    attempts and the time they took. Raise ``WaitCancelledError`` if ``ending`` ends during a wait.
    A cancelled task ends at once, during an attempt or between two attempts.
    """
    while True:
        try:
            return await attempt(tries.number)
        except PluginError as error:
            try:
                delay = delay_after(error, tries, asyncio.get_running_loop().time(), on_retry)
            except BaseException:
                ending.left = True
                raise
            if delay is None:
                raise
        await pause(ending, tries, delay)


async def pause(ending: Ending, tries: Tries, delay: float) -> None:
    """Sleep until the next attempt; raise ``WaitCancelledError`` if ``ending`` ends the sleep."""
    await sleep(ending, delay)
    if ending.reason:
        elapsed = asyncio.get_running_loop().time() - tries.started
        raise ending.error(tries.number - 1, elapsed)


async def sleep(ending: Ending, seconds: float) -> None:
    """Return after ``seconds`` of the event loop's time, or at once if ``ending`` has ended.

    Any thread may call ``ending.end`` during the sleep. The caller then reads ``ending.reason``.
    """
    loop = asyncio.get_running_loop()
    woken: asyncio.Future[None] = loop.create_future()
    timer = loop.call_later(seconds, _wake, woken)
    try:
        with ending.cancellation.calling(partial(_wake_safely, loop, woken)):
            await woken
    finally:
        timer.cancel()


def _wake_safely(loop: asyncio.AbstractEventLoop, woken: "asyncio.Future[None]") -> None:
    with suppress(RuntimeError):  # in a closed loop no task sleeps
        loop.call_soon_threadsafe(_wake, woken)


def _wake(woken: "asyncio.Future[None]") -> None:
    if not woken.done():
        woken.set_result(None)
