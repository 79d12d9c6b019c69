"""Recordings on disk: written as calls come, for their owner's eyes."""

from pathlib import Path

import pytest

from moby_plugins.domain.errors import RecordingError
from moby_plugins.tracing import RecordedCall, Recording, load_recording, open_recording


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
