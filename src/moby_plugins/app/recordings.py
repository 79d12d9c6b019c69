"""Files of recorded calls: written during tracing, read back, and exported as a trace.

The report of ``check --junit`` is written here too: it replaces an earlier file in the same way.
"""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from moby_plugins.domain.recording import RecordedCall, Recording
from moby_plugins.domain.trace_events import trace_text


class Writer(Protocol):
    """A writer of recorded calls; for one thread at a time."""

    def add(self, call: RecordedCall) -> None:
        """Write a call to the recording; raise ``RecordingError`` if that fails."""
        ...


def open_recording(
    path: str | os.PathLike[str], recording: Recording
) -> AbstractContextManager[Writer]:
    """Open a file to which calls are written one by one; only the owner may read the file.

    Args:
        path: The path of the file; an existing file is replaced.
        recording: Describes the plugin whose calls are recorded.

    Returns:
        A context manager that gives a writer with the method ``add(call)``.

    Raises:
        RecordingError: If the file cannot be written.
    """
    from moby_plugins.adapters.disk.recording_file import RecordingFile

    return RecordingFile(path, recording)


def load_recording(path: str | os.PathLike[str]) -> Recording:
    """Read a recording.

    Args:
        path: The path of the file.

    Returns:
        The recording.

    Raises:
        RecordingError: If the file cannot be read, or is not a recording.
    """
    from moby_plugins.adapters.disk.recording_file import load_recording as load

    return load(path)


def load_whole_calls(path: str | os.PathLike[str]) -> tuple[Recording, bool]:
    """Return the recording, without a last line that is cut off, and whether the file was whole.

    Raises ``RecordingError`` as ``load_recording`` does.
    """
    from moby_plugins.adapters.disk.recording_file import load_whole_calls as load

    return load(path)


def write_text(path: str, text: str) -> None:
    """Write a file that everybody may read; after a failure an existing file is unchanged.

    Raises ``RecordingError`` if it cannot be written.
    """
    from moby_plugins.adapters.disk.recording_file import write_whole

    write_whole(path, [text], mode=0o644)


def export_trace(recordings: Sequence[Recording], path: str | os.PathLike[str]) -> None:
    """Write recordings as one trace that Perfetto opens: trace-event JSON, with secrets masked.

    Each recording's plugin and hosts have tracks of their own; all recordings begin at 0. Only the
    file's owner may read the file. An existing file is replaced once the new one is complete.

    Args:
        recordings: The recordings to export.
        path: The path of the file.

    Raises:
        RecordingError: If the file cannot be written.
    """
    from moby_plugins.adapters.disk.recording_file import write_whole

    write_whole(path, trace_text(recordings))
