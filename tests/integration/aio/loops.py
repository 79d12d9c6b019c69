"""Run coroutines in an event loop of a given kind."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from tests.integration.loops import loop_factory

T = TypeVar("T")


def run(kind: str, main: Coroutine[Any, Any, T]) -> T:
    """What ``main`` returns, in a loop of that kind."""
    try:
        factory = loop_factory(kind)
    except BaseException:
        main.close()
        raise
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)
