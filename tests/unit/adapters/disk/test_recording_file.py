"""Recordings on disk: written as calls come, and readable by their owner alone."""

import os
import resource
import signal
import stat
from pathlib import Path

import pytest

from moby_plugins.domain.errors import RecordingError
from moby_plugins.tracing import (
    RecordedBody,
    RecordedCall,
    Recording,
    load_recording,
    open_recording,
)


def test_a_call_is_in_the_file_as_soon_as_it_is_added(tmp_path: Path) -> None:
    """Calls that were recorded before a crash can be read after it."""
    path = tmp_path / "calls"

    with open_recording(path, Recording([RecordedCall("M.a")], "shelf")) as file:
        file.add(RecordedCall("M.b", at=1))

        assert load_recording(path).methods == ["M.a", "M.b"]
        assert load_recording(path).plugin == "shelf"


def test_a_recording_can_be_read_by_its_owner_alone(tmp_path: Path) -> None:
    """Masking finds some secrets, and not all."""
    with open_recording(tmp_path / "calls", Recording()):
        assert (tmp_path / "calls").stat().st_mode & 0o777 == 0o600


def test_an_existing_file_is_replaced_by_the_new_recording(tmp_path: Path) -> None:
    """Nothing of its content is left."""
    (tmp_path / "calls").write_text("something longer than a heading " * 9)

    with open_recording(tmp_path / "calls", Recording()):
        pass

    assert load_recording(tmp_path / "calls") == Recording()


def test_a_recording_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """``open_recording`` raises it, before any call is traced."""
    with (
        pytest.raises(RecordingError, match=r"/calls: cannot be written: No such file"),
        open_recording(tmp_path / "no" / "calls", Recording()),
    ):
        pass


def test_a_full_disk_is_an_error() -> None:
    """Otherwise calls that do not fit would be lost silently."""
    with (
        pytest.raises(RecordingError, match=r"/dev/full: cannot be written: No space left"),
        open_recording("/dev/full", Recording()),
    ):
        pass


def test_a_recording_is_always_a_new_file(tmp_path: Path) -> None:
    """It has neither mode nor hard links of the file that it replaces, and follows no link."""
    before, linked = tmp_path / "calls", tmp_path / "linked"
    before.write_text("before")
    before.chmod(0o666)
    (tmp_path / "link").symlink_to(linked)
    linked.write_text("elsewhere")
    (tmp_path / "second name").hardlink_to(before)

    for path in (before, tmp_path / "link"):
        with open_recording(path, Recording()):
            found = path.lstat()
            assert (stat.S_ISREG(found.st_mode), stat.S_IMODE(found.st_mode)) == (True, 0o600)
            assert found.st_nlink == 1

    assert (tmp_path / "second name").read_text() == "before"
    assert linked.read_text() == "elsewhere"
    assert {path.name for path in tmp_path.iterdir()} == {"calls", "second name", "link", "linked"}


def test_a_recording_does_not_replace_a_fifo_or_a_directory(tmp_path: Path) -> None:
    """Writing to a FIFO without a reader would also hold up the hosts that are traced."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "directory").mkdir()

    for path in (tmp_path / "fifo", tmp_path / "directory", "/dev/no", "/dev/fd/no"):
        with (
            pytest.raises(RecordingError, match="cannot be written: the path is not that of a"),
            open_recording(path, Recording()),
        ):
            pass
    assert {path.name for path in tmp_path.iterdir()} == {"fifo", "directory"}


def test_a_call_that_does_not_fit_is_not_written_in_part(tmp_path: Path) -> None:
    """Even if the disk becomes full within it, a call is in the file whole or not at all."""
    path = tmp_path / "calls"
    long = RecordedCall("M.long", RecordedBody([b"x" * 5000]))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with open_recording(path, Recording([RecordedCall("M.a")])) as file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        try:
            with pytest.raises(RecordingError, match="File too large"):
                file.add(long)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, before)
        file.add(RecordedCall("M.b", at=1))

    assert load_recording(path).methods == ["M.a", "M.b"]
