"""Directories that are huge, have files that are not specs, or change while they are read."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from moby_plugins import PluginNotFoundError, SpecError
from moby_plugins.adapters.disk.discovery import FilesystemDiscovery
from moby_plugins.domain.plugin import is_plugin_name
from tests.integration.hostile.bounds import MIB, ROUNDS, bounded

ROOT = Path(__file__).parents[3]

BECOMES = {
    "nothing": "PluginNotFoundError",
    "a fifo": "PluginNotFoundError",
    "a directory": "SpecError",
    "a socket": "SpecError",
    "a link in a circle": "PluginNotFoundError",
    "a link to nothing": "PluginNotFoundError",
    "a link to a device": "PluginNotFoundError",
    "a link to a fifo": "PluginNotFoundError",
    "a terminal": "PluginNotFoundError",
    "ten gigabytes": "SpecError",
    "a file that grows": "SpecError",
    "another address": "tcp://other:2",
}


def run(directory: Path, kind: str) -> str:
    """What ``directory_race`` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.hostile.directory_race", str(directory), kind],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60 * ROUNDS,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.parametrize("kind", BECOMES)
def test_a_spec_that_is_replaced_while_it_is_opened_does_not_block_the_look_up(
    kind: str, tmp_path: Path
) -> None:
    """A spec that becomes a FIFO, a device or a link just before it is opened is not waited for."""
    assert run(tmp_path, kind) == BECOMES[kind]


def test_a_directory_that_changes_all_the_time_can_be_read(short_path: Path) -> None:
    """However quickly a spec is replaced, each look-up gives a plugin or a documented error."""
    came = run(short_path, "all in turn").split()

    assert set(came) <= {"PluginNotFoundError", "SpecError", "tcp://first:1", "tcp://other:2"}
    assert len(came) > 1


@pytest.mark.parametrize("suffix", [".spec", ".json"])
def test_a_spec_of_ten_gigabytes_is_an_error_at_once(suffix: str, tmp_path: Path) -> None:
    """At most a megabyte of a spec is read, however large the file is."""
    path = tmp_path / f"x{suffix}"
    path.touch()
    os.truncate(path, 10 << 30)
    discovery = FilesystemDiscovery(tmp_path / "run", (tmp_path,))

    with bounded(seconds=2, memory=4 * MIB), pytest.raises(SpecError, match="larger than 1048576"):
        discovery.lookup("x")


def test_a_hundred_thousand_entries_are_scanned(tmp_path: Path) -> None:
    """The scan finds all plugins within seconds, and a look-up takes little time and memory."""
    for number in range(100_000):
        os.close(os.open(f"{tmp_path}/{number}.spec", os.O_CREAT))
    discovery = FilesystemDiscovery(tmp_path / "run", (tmp_path,))

    began = time.monotonic()
    names = discovery.scan()
    took = time.monotonic() - began

    assert len(names) == 100_000
    assert took < 10
    with bounded(seconds=1, memory=4 * MIB), pytest.raises(SpecError):
        discovery.lookup("99999")


def test_directories_are_searched_for_specs_only_one_level_deep(tmp_path: Path) -> None:
    """Each of thousands of subdirectories is tried once; specs at deeper levels are not found."""
    for number in range(5_000):
        os.mkdir(f"{tmp_path}/{number}")
    deep = tmp_path / "deep"
    for _ in range(200):
        deep.mkdir()
        (deep / "deep.spec").write_text("tcp://h:1")
        deep /= "deep"
    (tmp_path / "self").symlink_to(tmp_path)
    discovery = FilesystemDiscovery(tmp_path / "run", (tmp_path,))

    with bounded(seconds=10, memory=16 * MIB):
        names = discovery.scan()

    assert names == ["deep"]
    with pytest.raises(PluginNotFoundError):
        discovery.lookup("self")


def test_a_plugin_name_may_have_any_bytes_that_a_file_name_may_have(tmp_path: Path) -> None:
    """Each byte, alone and doubled, is listed and found unchanged, unless the name is invalid."""
    directory = os.fsencode(tmp_path)
    names = [bytes([byte]) for byte in range(1, 256) if byte not in b"/"]
    names += [bytes([byte]) * 2 for byte in range(1, 256) if byte not in b"/"]
    for name in names:
        with open(directory + b"/" + name + b".spec", "wb") as file:
            file.write(b"tcp://h:1")
    discovery = FilesystemDiscovery(tmp_path / "run", (tmp_path,))

    scanned = discovery.scan()

    assert scanned == sorted(name for name in map(os.fsdecode, names) if is_plugin_name(name))
    assert [discovery.lookup(name).name for name in scanned] == scanned
    assert len(scanned) >= len(names) - 4
