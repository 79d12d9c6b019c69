"""The example volume driver under the calls of a real engine, as ``trace`` recorded them.

Docker 20.10 made a volume, ran a container with it, listed, inspected and removed it. The
directory of the volumes, another each time, was written as ``/var/lib/shelf``.
"""

from pathlib import Path

import pytest

from examples.volume_plugin import Shelf
from moby_plugins import Settings, new_client
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import Volume, VolumeDriver
from moby_plugins.testing import MemoryTransport, assert_replayed, replay_calls

RECORDING = Path(__file__).parents[2] / "recordings" / "volume_driver.jsonl"
ROOT = b"/var/lib/shelf"


def test_the_driver_repeats_its_recorded_responses_to_a_real_engine(tmp_path: Path) -> None:
    """Every response is the recorded one, in this directory, and no volume is left at the end."""
    app = PluginApp(Shelf(tmp_path))

    assert_replayed(RECORDING, app, lambda body: body.replace(ROOT, bytes(tmp_path)))

    assert list(tmp_path.iterdir()) == []


def test_a_replay_fails_for_a_driver_that_does_not_find_its_volume(tmp_path: Path) -> None:
    """The message shows the recorded response of ``VolumeDriver.Get`` as the expected one."""

    class Forgetful(Shelf):
        def get(self, name: str) -> Volume | None:
            return None

    with pytest.raises(AssertionError, match=r"VolumeDriver\.Get .*\n.*\['Volume'\]: expected"):
        assert_replayed(
            RECORDING,
            PluginApp(Forgetful(tmp_path)),
            lambda body: body.replace(ROOT, bytes(tmp_path)),
        )


def test_the_engine_made_the_calls_that_the_protocol_describes(tmp_path: Path) -> None:
    """First comes Activate, then the calls of each action (protocol.md B2)."""
    app = PluginApp(Shelf(tmp_path))
    replayed = replay_calls(RECORDING, app, lambda body: body.replace(ROOT, bytes(tmp_path)))

    methods = [each.recorded.method.partition(".")[2] for each in replayed]
    assert [name for name in methods if name != "Capabilities"] == [
        "Activate",
        *("Get", "Create"),
        *("Get", "Get", "Mount", "Get", "Unmount"),
        "List",
        "Get",
        *("Get", "Get", "Remove"),
    ]


def test_the_recording_can_stand_in_for_the_driver() -> None:
    """The same file used the other way round: a host gets the responses that Docker got."""
    plugin = MemoryTransport.replay(RECORDING)
    settings = Settings(transports={"unix": plugin.connect})
    with new_client("unix:///shelf.sock", settings=settings) as client:
        driver = VolumeDriver(client)

        assert driver.get("books") is None
        driver.create("books", {"size": "1M"})
        assert driver.list() == (Volume("books", "/var/lib/shelf/books/data"),)
        assert driver.capabilities().scope == "local"
