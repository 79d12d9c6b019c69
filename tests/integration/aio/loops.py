"""The event loops that the asynchronous ends run on."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

LOOPS = ("asyncio", "uvloop")


def loop_factory(kind: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes a loop of that kind; skips where uvloop is not installed."""
    if kind == "asyncio":
        return asyncio.SelectorEventLoop
    uvloop = pytest.importorskip("uvloop")
    made: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return made


def run(kind: str, main: Coroutine[Any, Any, T]) -> T:
    """What ``main`` returns, in a loop of that kind."""
    try:
        factory = loop_factory(kind)
    except BaseException:
        main.close()
        raise
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)
