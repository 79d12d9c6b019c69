"""Asynchronous registries and clients over real sockets, in each kind of event loop."""

import asyncio
import threading

import pytest

from moby_plugins import RetryPolicy, Settings, TransportError
from moby_plugins.aio import AsyncVolumeDriver, new_client, new_local_registry
from moby_plugins.subsystems import Volume, VolumeDriver
from moby_plugins.testing import FakeTimeLoop, LivePlugins, PluginDirectory
from moby_plugins.testing.contracts import Run
from tests.integration.descriptors import descriptors, soon


class Shelves(VolumeDriver):
    """A threaded plugin whose calls of ``get`` wait until the test lets them go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def list(self) -> list[Volume]:
        return [Volume("books")]

    def get(self, name: str) -> Volume:
        assert self.go.wait(10)
        return Volume(name)


@pytest.fixture
def settings(plugin_dir: PluginDirectory) -> Settings:
    """Settings that find what the test serves, and try little."""
    found = plugin_dir.settings
    return Settings(
        sockets_path=found.sockets_path,
        specs_paths=found.specs_paths,
        retry=RetryPolicy(initial=0.01, budget=0.05),
    )


def test_a_registry_finds_and_calls_plugins_and_leaves_no_descriptor(
    run: Run, live_plugin: LivePlugins, plugin_dir: PluginDirectory, settings: Settings
) -> None:
    """``get_all`` returns the 12 plugins that respond; ``on_failure`` gets the 5 stale sockets."""
    for number in range(12):
        live_plugin(Shelves(), f"shelf{number:02}")
    for number in range(5):
        plugin_dir.stale_socket(f"stale{number}")
    failed: list[str] = []

    async def main() -> int:
        async with new_local_registry(settings) as registry:
            found = await registry.get_all(
                AsyncVolumeDriver, on_failure=lambda name, _: failed.append(name)
            )
            lists = await asyncio.gather(*(proxy.list() for proxy in found * 5))
            assert {volumes[0].name for volumes in lists} == {"books"}
            with pytest.raises(TransportError):
                await registry.get("stale0")
            return len(lists)

    run(asyncio.sleep(0))  # the first loop of a kind may keep some of its own
    before = descriptors()
    assert run(main()) == 60
    assert sorted(failed) == [f"stale{number}" for number in range(5)]
    assert soon(before) <= before


def test_a_registry_can_be_used_in_one_event_loop_after_another(
    run: Run, live_plugin: LivePlugins, settings: Settings
) -> None:
    """A plugin that was activated in the first loop stays active in the second."""
    live_plugin(Shelves(), "shelf")
    registry = new_local_registry(settings)

    async def main() -> object:
        plugin = await registry.get("shelf")
        assert await plugin.client.call("VolumeDriver.List", {})
        return plugin

    assert run(main()) is run(main())
    run(registry.aclose())


def test_cancelled_calls_mix_up_no_responses(
    run: Run, live_plugin: LivePlugins, settings: Settings
) -> None:
    """When half of the waiting calls are cancelled, the others get their own responses."""
    shelves = Shelves()
    addr = f"unix://{settings.sockets_path}/shelf.sock"
    live_plugin(shelves, "shelf")

    async def main() -> None:
        async with new_client(addr, settings=settings) as client:
            driver = AsyncVolumeDriver(client)
            waiting = [asyncio.create_task(driver.get(f"v{number}")) for number in range(8)]
            await asyncio.sleep(0.05)
            for task in waiting[::2]:
                task.cancel()
            assert [volume.name for volume in await driver.list()] == ["books"]
            shelves.go.set()
            got = await asyncio.gather(*waiting, return_exceptions=True)
            names = [volume.name for volume in got if isinstance(volume, Volume)]
            assert names == [f"v{number}" for number in range(1, 8, 2)]

    run(main())


def test_a_loop_with_fake_time_calls_plugins_on_real_sockets(
    live_plugin: LivePlugins, plugin_dir: PluginDirectory
) -> None:
    """A live plugin responds in no fake time; retries of a dead one take their 15 fake seconds."""
    live_plugin(Shelves(), "shelf")
    plugin_dir.stale_socket("stale")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with new_local_registry(plugin_dir.settings) as registry:
            shelf = await registry.get("shelf", AsyncVolumeDriver)
            assert [volume.name for volume in await shelf.list()] == ["books"]
            assert loop.time() == 0.0
            with pytest.raises(TransportError, match="tried 5 times in 15 s"):
                await registry.get("stale")

    with asyncio.Runner(loop_factory=FakeTimeLoop) as runner:
        runner.run(main())
