"""Event loops for asynchronous tests, and synchronous hosts over asynchronous transports."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import pytest

from moby_plugins import Settings
from moby_plugins.adapters.aio.transport import connect
from moby_plugins.app.settings import BUILT_IN
from moby_plugins.testing.contracts.bridge import BridgedConnect, LoopThread

LoopFactory: TypeAlias = Callable[[], asyncio.AbstractEventLoop]

# Event loops, by the modules that have them; "eager" is asyncio's, whose tasks begin at once.
LOOPS = ("asyncio", "uvloop", *(["eager"] if sys.version_info >= (3, 12) else []))
# Transports of synchronous hosts: those that are built in, and the asynchronous one in each loop.
TRANSPORTS = (*sorted(BUILT_IN), *LOOPS)


def loop_factory(name: str) -> LoopFactory:
    """What makes the event loops called ``name``; skips the test where they are not installed."""
    if name == "eager":
        return _eager
    made: LoopFactory = pytest.importorskip(name).new_event_loop
    return made


def _eager() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    if sys.version_info >= (3, 12):
        loop.set_task_factory(asyncio.eager_task_factory)
    return loop


@contextmanager
def settings_over(transport: str) -> Iterator[Settings]:
    """All defaults, but ``transport`` for every scheme."""
    schemes = Settings().transports
    if transport in BUILT_IN:
        yield Settings(transports=dict.fromkeys(schemes, transport))
        return
    with LoopThread(loop_factory(transport)) as thread:
        yield Settings(transports=dict.fromkeys(schemes, BridgedConnect(connect, thread)))
