"""NaN is refused as a number of seconds: such a wait would end at once, or never."""

import asyncio
import math
import threading
from collections.abc import Callable
from typing import Any

import pytest

from moby_plugins import Registry, RetryPolicy, Settings, SettingsError, new_client
from moby_plugins.adapters.clock import SystemClock
from moby_plugins.aio import AsyncClient, AsyncPluginApp, AsyncRegistry, serve_tcp, serve_unix
from moby_plugins.aio import new_client as new_async_client
from moby_plugins.diagnosis import diagnose
from moby_plugins.ports import WakeEvent
from moby_plugins.serving import PluginApp, plugin_server_tcp, plugin_server_unix
from moby_plugins.testing import (
    AsyncMemoryTransport,
    FakeClock,
    FakeTimeLoop,
    MemoryDiscovery,
    MemoryTransport,
    drips,
    hangs,
)

NAN, INF = math.nan, math.inf
SETTINGS = Settings(transports={"unix": MemoryTransport({"M.x": {}}).connect})
ADDR = "unix:///s.sock"


def client() -> Any:
    """A client of a plugin in memory."""
    return new_client(ADDR, settings=SETTINGS, clock=FakeClock())


def awaited(work: Callable[[AsyncClient], Any]) -> object:
    """What ``work`` with an asynchronous client gives."""

    async def main() -> object:
        connect = AsyncMemoryTransport({"M.x": {}}).connect
        async with new_async_client(ADDR, connect=connect) as made:
            return await work(made)

    return asyncio.run(main())


async def streamed(made: AsyncClient) -> None:
    """A stream with a time-out that is no number."""
    async with made.stream("M.x", timeout=NAN):
        pass


def registry(kind: Any, argument: str) -> object:
    """A registry of that class with an argument that is no number."""
    clock = {"clock": FakeClock()} if kind is Registry else {}
    return kind(discovery=MemoryDiscovery(), connect=print, **clock, **{argument: NAN})


def served(serve: Any, **where: str) -> object:
    """Serve with a drain that is no number."""
    return asyncio.run(serve(AsyncPluginApp(), "s", drain=NAN, **where))


def looped(work: Callable[[FakeTimeLoop], object]) -> None:
    """Do it with a loop that is closed."""
    loop = FakeTimeLoop()
    try:
        work(loop)
    finally:
        loop.close()


REFUSED: dict[str, Callable[[], object]] = {
    **{
        f"RetryPolicy({name})": lambda name=name: RetryPolicy(**{name: NAN})  # type: ignore[misc]
        for name in ("initial", "factor", "max_delay", "budget", "jitter")
    },
    "Settings.timeout": lambda: Settings(timeout=NAN),
    "Settings.activation_timeout": lambda: Settings(activation_timeout=NAN),
    "environment": lambda: Settings.from_env({"MOBY_PLUGINS_TIMEOUT": "nan"}),
    "new_client": lambda: new_client(ADDR, settings=SETTINGS, timeout=NAN),
    "call": lambda: client().call("M.x", timeout=NAN),
    "stream": lambda: client().stream("M.x", timeout=NAN),
    "send_file": lambda: client().send_file("M.x", b"", timeout=NAN),
    "aio.new_client": lambda: new_async_client(ADDR, timeout=NAN),
    "aio.call": lambda: awaited(lambda made: made.call("M.x", timeout=NAN)),
    "aio.send_file": lambda: awaited(lambda made: made.send_file("M.x", b"", timeout=NAN)),
    "aio.stream": lambda: awaited(streamed),
    **{
        f"Registry({name})": lambda name=name: registry(Registry, name)  # type: ignore[misc]
        for name in ("timeout", "activation_timeout")
    },
    **{
        f"AsyncRegistry({name})": lambda name=name: registry(AsyncRegistry, name)  # type: ignore[misc]
        for name in ("timeout", "activation_timeout")
    },
    "plugin_server_unix": lambda: plugin_server_unix(PluginApp(), "s", drain=NAN),
    "plugin_server_tcp": lambda: plugin_server_tcp(PluginApp(), "s", drain=NAN),
    "aio.serve_unix": lambda: served(serve_unix),
    "aio.serve_tcp": lambda: served(serve_tcp),
    "diagnose": lambda: diagnose(SETTINGS, timeout=NAN),
    "hangs": lambda: hangs(NAN),
    "drips": lambda: drips(b"x", NAN),
    "SystemClock.sleep": lambda: SystemClock().sleep(NAN),
    "SystemClock.wait": lambda: SystemClock().wait(threading.Event(), NAN),
    "WakeEvent.wait": lambda: WakeEvent().wait(NAN),
    "FakeClock(watchdog)": lambda: FakeClock(watchdog=NAN),
    "FakeClock.sleep": lambda: FakeClock().sleep(NAN),
    "FakeClock.advance": lambda: FakeClock().advance(NAN),
    "FakeClock.wait": lambda: FakeClock().wait(threading.Event(), NAN),
    "FakeTimeLoop(watchdog)": lambda: FakeTimeLoop(watchdog=NAN),
    "FakeTimeLoop.call_at": lambda: looped(lambda loop: loop.call_at(NAN, print)),
    "FakeTimeLoop.call_later": lambda: looped(lambda loop: loop.call_later(NAN, print)),
}


@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED)
def test_nan_is_refused_as_a_number_of_seconds(refused: Callable[[], object]) -> None:
    """Each public function that takes seconds raises an error at once."""
    with pytest.raises((ValueError, SettingsError, TypeError), match="nan"):
        refused()


@pytest.mark.parametrize("moment", [NAN, INF, -INF])
def test_a_moment_of_a_fake_clock_that_is_not_finite_is_refused(moment: float) -> None:
    """A script at such a moment would never run, and a clock that begins there never advance."""
    clock = FakeClock()
    with pytest.raises(ValueError, match="moment must be a finite number of seconds"):
        clock.at(moment, print)
    with pytest.raises(ValueError, match="start must be a finite number of seconds"):
        FakeClock(moment)
    with pytest.raises(ValueError, match="start must be a finite number of seconds"):
        FakeTimeLoop(moment)
    with pytest.raises(ValueError, match="moment must be a finite number of seconds"):
        looped(lambda loop: loop.at(moment, print))

    clock.at(2, lambda: None)
    clock.sleep(3)
    assert clock.now() == 3
