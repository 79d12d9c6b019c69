"""Recordings on disk: written as calls come, for their owner's eyes."""

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


def test_a_call_is_there_as_soon_as_it_is_added(tmp_path: Path) -> None:
    """What was seen before a crash can be read after it."""
    path = tmp_path / "calls"

    with open_recording(path, Recording([RecordedCall("M.a")], "shelf")) as file:
        file.add(RecordedCall("M.b", at=1))

        assert load_recording(path).methods == ["M.a", "M.b"]
        assert load_recording(path).plugin == "shelf"


def test_a_recording_is_for_its_owner(tmp_path: Path) -> None:
    """Masks know some secrets, and not all."""
    with open_recording(tmp_path / "calls", Recording()):
        assert (tmp_path / "calls").stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_there_is_replaced(tmp_path: Path) -> None:
    """The last recording counts."""
    (tmp_path / "calls").write_text("something longer than a heading " * 9)

    with open_recording(tmp_path / "calls", Recording()):
        pass

    assert load_recording(tmp_path / "calls") == Recording()


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """Before anything is traced."""
    with (
        pytest.raises(RecordingError, match=r"/calls: cannot be written: No such file"),
        open_recording(tmp_path / "no" / "calls", Recording()),
    ):
        pass


def test_a_full_disk_is_an_error() -> None:
    """The call that does not fit is not lost in silence."""
    with (
        pytest.raises(RecordingError, match=r"/dev/full: cannot be written: No space left"),
        open_recording("/dev/full", Recording()),
    ):
        pass


def test_a_recording_is_a_new_file(tmp_path: Path) -> None:
    """It has neither the mode nor the other names of what it replaces; a link is not followed."""
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


def test_what_cannot_be_replaced_is_left_alone(tmp_path: Path) -> None:
    """A FIFO without a reader would hold up hosts; a directory is none of a recording's."""
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
    """Each is whole or not there, also where the disk is full in the middle of one."""
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
