"""Recordings on disk."""

import os
from typing import BinaryIO, Self

from moby_plugins.domain.errors import RecordingError
from moby_plugins.domain.recording import (
    MAX_RECORDING_BYTES,
    RecordedCall,
    Recording,
    call_line,
    heading_line,
    read_recording,
)
from moby_plugins.domain.text import shown


def load_recording(path: str | os.PathLike[str]) -> Recording:
    """The recording in the file ``path``; raises ``RecordingError``."""
    file = os.fspath(path)
    try:
        with open(file, "rb") as opened:
            data = opened.read(MAX_RECORDING_BYTES + 1)
    except OSError as error:
        raise RecordingError(f"cannot be read: {shown(error.strerror or error)}", file) from error
    return read_recording(data, file)


class RecordingFile:
    """Writes calls down as they come, each whole or not at all; for its owner's eyes alone.

    ``recording`` says whose calls they are. A file that is there is replaced.
    Raises ``RecordingError``. Used by one thread at a time; a context manager that closes it.
    """

    def __init__(self, path: str | os.PathLike[str], recording: Recording) -> None:
        self._path = os.fspath(path)
        try:
            # Buffered no more than a line: what was seen is there after a crash too.
            self._file: BinaryIO = open(  # noqa: SIM115  closed by close()
                self._path, "wb", buffering=0, opener=_for_the_owner
            )
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            self._write(heading_line(recording))
            for call in recording.calls:
                self.add(call)
        except BaseException:
            self.close()
            raise

    def add(self, call: RecordedCall) -> None:
        """Write one more call down."""
        self._write(call_line(call))

    def close(self) -> None:
        """Nothing more will be written."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, line: str) -> None:
        try:
            self._file.write(line.encode())
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> RecordingError:
        return RecordingError(f"cannot be written: {shown(error.strerror or error)}", self._path)


def _for_the_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
