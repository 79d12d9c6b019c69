"""Fixtures for pytest: clocks, event loops, plugins in memory and on sockets, and registries.

Installed with the library, without effect until used: it has no options and no hooks, and a
fixture imports what it needs when a test first uses it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from moby_plugins.testing import (
        AsyncLivePlugins,
        AsyncMemoryRegistry,
        AsyncMemoryTransports,
        FakeClock,
        FakeTimeLoop,
        LivePlugins,
        MemoryRegistry,
        MemoryTransports,
        PluginDirectory,
    )

# The contract suites use plain assert statements.
pytest.register_assert_rewrite("moby_plugins.testing.contracts")


@pytest.fixture
def fake_clock() -> FakeClock:
    """Provide a fake clock: waits take no real time, and end exactly when they are due.

    Returns:
        A ``FakeClock``.

    Examples:
        ```python
        def test_a_sleep_takes_no_time(fake_clock):
            fake_clock.sleep(3600)
            assert fake_clock.now() == 3600
        ```
    """
    from moby_plugins.testing import FakeClock

    return FakeClock()


@pytest.fixture
def memory_transport(fake_clock: FakeClock) -> Iterator[MemoryTransports]:
    """Create plugins in memory, with the time of ``fake_clock``.

    ``memory_transport({method: reply})`` creates a transport to a plugin that gives these replies;
    ``memory_transport.strict({…})``, one whose replies must all be used by the test's end.

    Yields:
        A ``MemoryTransports``.

    Examples:
        ```python
        from moby_plugins import Settings, new_client


        def test_a_client_asks_once(memory_transport, fake_clock):
            plugin = memory_transport.strict({"Shelf.List": ["books"]})
            settings = Settings(transports={"unix": plugin.connect})
            with new_client("unix:///a.sock", settings=settings, clock=fake_clock) as client:
                assert client.call("Shelf.List") == ["books"]
        ```
    """
    from moby_plugins.testing import MemoryTransports

    transports = MemoryTransports(fake_clock)
    yield transports
    transports.assert_used_up()


@pytest.fixture
def plugin_registry(fake_clock: FakeClock) -> Iterator[MemoryRegistry]:
    """Provide a registry in memory with the time of ``fake_clock``; closed at the test's end.

    Yields:
        A ``MemoryRegistry``: ``plugin_registry.add(name, plugin)``.

    Examples:
        ```python
        def test_a_plugin_that_comes_late(plugin_registry, fake_clock):
            fake_clock.at(3, lambda: plugin_registry.add("shelf", {"VolumeDriver.List": {}}))
            assert plugin_registry.get("shelf", "VolumeDriver").name == "shelf"
            assert fake_clock.now() == 3
        ```
    """
    from moby_plugins.testing import MemoryRegistry

    with MemoryRegistry(clock=fake_clock) as registry:
        yield registry


@pytest.fixture
def default_registry(plugin_registry: MemoryRegistry) -> Iterator[MemoryRegistry]:
    """Use ``plugin_registry`` for ``moby_plugins.get``, ``get_all``, ``scan`` and ``handle``.

    Yields:
        The same ``MemoryRegistry``.

    Examples:
        ```python
        import moby_plugins


        def test_a_program_finds_its_plugins(default_registry):
            default_registry.add("shelf", {"VolumeDriver.List": {}})
            assert moby_plugins.scan() == ["shelf"]
        ```
    """
    from moby_plugins import using_registry

    with using_registry(plugin_registry):
        yield plugin_registry


@pytest.fixture
def plugin_dir() -> Iterator[PluginDirectory]:
    """Create directories for real sockets, specs and links; removed at the test's end.

    Yields:
        A ``PluginDirectory``, with ``settings``.

    Examples:
        ```python
        from moby_plugins import new_local_discovery


        def test_a_spec_is_found(plugin_dir):
            plugin_dir.spec("shelf", "tcp://127.0.0.1:7000")
            assert new_local_discovery(plugin_dir.settings).scan() == ["shelf"]
        ```
    """
    from moby_plugins.testing import PluginDirectory

    with (
        tempfile.TemporaryDirectory(prefix="mp-") as path,
        PluginDirectory(Path(path)) as directory,
    ):
        yield directory


@pytest.fixture
def live_plugin(plugin_dir: PluginDirectory) -> Iterator[LivePlugins]:
    """Serve plugins on real UNIX sockets in ``plugin_dir``; they are stopped at the test's end.

    Yields:
        A ``LivePlugins``: ``live_plugin(app).client``.

    Examples:
        ```python
        from moby_plugins.subsystems import VolumeDriver


        class Shelf(VolumeDriver):
            def list(self):
                return []


        def test_a_plugin_over_a_socket(live_plugin):
            assert VolumeDriver(live_plugin(Shelf()).client).list() == ()
        ```
    """
    from moby_plugins.testing import LivePlugins

    with LivePlugins(plugin_dir.sockets) as plugins:
        yield plugins


@pytest.fixture
def async_live_plugin(plugin_dir: PluginDirectory) -> Iterator[AsyncLivePlugins]:
    """Serve asynchronous plugins on real UNIX sockets in ``plugin_dir``; stopped at the test's end.

    Yields:
        An ``AsyncLivePlugins``: ``async_live_plugin(app).client``, for tasks in any loop.

    Examples:
        ```python
        import asyncio

        from moby_plugins.aio import AsyncVolumeDriver


        class Shelf(AsyncVolumeDriver):
            async def list(self):
                return []


        def test_a_plugin_over_a_socket(async_live_plugin):
            driver = AsyncVolumeDriver(async_live_plugin(Shelf()).client)
            assert asyncio.run(driver.list()) == ()
        ```
    """
    from moby_plugins.testing import AsyncLivePlugins

    with AsyncLivePlugins(plugin_dir.sockets) as plugins:
        yield plugins


@pytest.fixture
def fake_loop(request: pytest.FixtureRequest) -> Iterator[FakeTimeLoop]:
    """Provide an event loop on which waiting takes no real time; closed at the test's end.

    With pytest-asyncio, it is the loop in which the test runs if the loop factory is
    ``FakeTimeLoop``; with anyio, if the fixture ``anyio_backend`` returns
    ``("asyncio", {"loop_factory": lambda: fake_loop})``.

    Yields:
        A ``FakeTimeLoop``.

    Examples:
        ```python
        import asyncio


        def test_a_sleep_takes_no_time(fake_loop):
            fake_loop.run(asyncio.sleep(3600))
            assert fake_loop.time() == 3600
        ```
    """
    from contextlib import closing, nullcontext

    from moby_plugins.testing import FakeTimeLoop

    # pytest-asyncio creates the loop of a test in a fixture that it appends to those of the test.
    runners = [name for name in request.fixturenames if name.endswith("_scoped_runner")]
    loops = [request.getfixturevalue(name).get_loop() for name in runners]
    its = next((loop for loop in loops if isinstance(loop, FakeTimeLoop)), None)
    with closing(FakeTimeLoop()) if its is None else nullcontext(its) as loop:
        yield loop


@pytest.fixture
def async_memory_transport() -> Iterator[AsyncMemoryTransports]:
    """Create plugins in memory, for asyncio: ``async_memory_transport({method: reply})``.

    ``async_memory_transport.strict({…})`` creates one whose replies must all be used by the
    test's end.

    Yields:
        An ``AsyncMemoryTransports``.

    Examples:
        ```python
        from moby_plugins.aio import new_client


        def test_a_client_asks_once(async_memory_transport, fake_loop):
            plugin = async_memory_transport.strict({"Shelf.List": ["books"]})
            client = new_client("unix:///a.sock", connect=plugin.connect)
            assert fake_loop.run(client.call("Shelf.List")) == ["books"]
        ```
    """
    from moby_plugins.testing import AsyncMemoryTransports

    transports = AsyncMemoryTransports()
    yield transports
    transports.assert_used_up()


@pytest.fixture
def async_registry() -> Iterator[AsyncMemoryRegistry]:
    """Provide an asynchronous registry of plugins in memory; closed at the test's end.

    Yields:
        An ``AsyncMemoryRegistry``: ``async_registry.add(name, plugin)``.

    Examples:
        ```python
        def test_a_plugin_that_comes_late(async_registry, fake_loop):
            fake_loop.at(3, lambda: async_registry.add("shelf", {"VolumeDriver.List": {}}))
            plugin = fake_loop.run(async_registry.get("shelf", "VolumeDriver"))
            assert (plugin.name, fake_loop.time()) == ("shelf", 3)
        ```
    """
    from contextlib import closing

    from moby_plugins.testing import AsyncMemoryRegistry, FakeTimeLoop

    registry = AsyncMemoryRegistry()
    yield registry
    # A loop of its own, as that of the test may already be closed.
    with closing(FakeTimeLoop()) as loop:
        loop.run(registry.aclose())
