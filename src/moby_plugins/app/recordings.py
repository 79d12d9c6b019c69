"""Recordings as files: written while calls pass, read back, and exported as a trace."""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from moby_plugins.domain.recording import RecordedCall, Recording
from moby_plugins.domain.trace_events import trace_text


class Writer(Protocol):
    """Writes calls down; used by one thread at a time."""

    def add(self, call: RecordedCall) -> None:
        """Write one more call down; raises ``RecordingError``."""
        ...


def open_recording(
    path: str | os.PathLike[str], recording: Recording
) -> AbstractContextManager[Writer]:
    """Open a file in which calls are written down as they come, for its owner's eyes alone.

    Args:
        path: The file's; one that is there is replaced.
        recording: Says whose calls they are.

    Returns:
        A context manager that gives what has ``add(call)``.

    Raises:
        RecordingError: Where it cannot be written.
    """
    from moby_plugins.adapters.disk.recording_file import RecordingFile

    return RecordingFile(path, recording)


def load_recording(path: str | os.PathLike[str]) -> Recording:
    """Read a recording.

    Args:
        path: The file's.

    Returns:
        The recording.

    Raises:
        RecordingError: For a file that cannot be read, or is none.
    """
    from moby_plugins.adapters.disk.recording_file import load_recording as load

    return load(path)


def export_trace(recordings: Sequence[Recording], path: str | os.PathLike[str]) -> None:
    """Write recordings as one trace that Perfetto opens: trace-event JSON, with secrets masked.

    Each recording's plugin and hosts have tracks of their own; all recordings begin at 0. The
    file is for its owner's eyes alone, and takes the place of one that is there once it is whole.

    Args:
        recordings: What to show.
        path: The file's.

    Raises:
        RecordingError: Where it cannot be written.
    """
    from moby_plugins.adapters.disk.recording_file import write_whole

    write_whole(path, trace_text(recordings))
