"""Recordings of calls in files."""

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterable
from typing import Self

from moby_plugins.domain.errors import RecordingError
from moby_plugins.domain.recording import (
    MAX_RECORDING_BYTES,
    RecordedCall,
    Recording,
    call_line,
    heading_line,
    read_recording,
    whole_lines,
)
from moby_plugins.domain.text import shown


def load_recording(path: str | os.PathLike[str]) -> Recording:
    """Return the recording in ``path``; raise ``RecordingError`` if it cannot be read."""
    return read_recording(_read(path), os.fspath(path))


def load_whole_calls(path: str | os.PathLike[str]) -> tuple[Recording, bool]:
    """Return the recording without a last line that is cut off, and true if no line is cut off.

    Raises ``RecordingError`` if it cannot be read.
    """
    data, file = _read(path), os.fspath(path)
    try:
        return read_recording(data, file), True
    except RecordingError:
        whole = whole_lines(data)
        if whole in {b"", data} or len(data) > MAX_RECORDING_BYTES:
            raise
        return read_recording(whole, file), False


def _read(path: str | os.PathLike[str]) -> bytes:
    file = os.fspath(path)
    try:
        with open(file, "rb") as opened:
            return opened.read(MAX_RECORDING_BYTES + 1)
    except OSError as error:
        raise RecordingError(f"cannot be read: {shown(error.strerror or error)}", file) from error


def write_whole(path: str | os.PathLike[str], text: Iterable[str], *, mode: int = 0o600) -> None:
    """Write ``text`` to the file ``path`` atomically: after a failure the file is unchanged.

    ``mode`` is the file's mode. Raises ``RecordingError`` if it cannot be written.
    """
    file = os.fspath(path)
    try:
        descriptor, beside = _opened(file)
        try:
            with open(descriptor, "w", encoding="utf-8") as opened:
                opened.writelines(text)
            if beside:
                os.chmod(beside, mode)
                os.rename(beside, file)
        except BaseException:
            if beside:
                os.unlink(beside)
            raise
    except OSError as error:
        raise RecordingError(
            f"cannot be written: {shown(error.strerror or error)}", file
        ) from error


class RecordingFile:
    """A file to which calls are written as they happen, each completely or not at all.

    ``recording`` is written first: its plugin in the first line, then the calls that it has. The
    file is a new one of mode 0600, which then replaces the file or link at ``path``; a link is
    not followed. A character device such as ``/dev/null`` is not replaced, but written to.

    Raises ``RecordingError`` if the file cannot be written. For one thread at a time; a context
    manager that closes it.
    """

    def __init__(self, path: str | os.PathLike[str], recording: Recording) -> None:
        self._path = os.fspath(path)
        try:
            self._file, beside = _opened(self._path)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            self._write(heading_line(recording))
            for call in recording.calls:
                self.add(call)
            if beside:
                self._put_in_place(beside)
        except BaseException:
            self.close()
            if beside:
                with contextlib.suppress(OSError):
                    os.unlink(beside)
            raise

    def add(self, call: RecordedCall) -> None:
        """Append ``call`` to the file; raise ``RecordingError`` if that fails."""
        self._write(call_line(call))

    def close(self) -> None:
        """Close the file; may be called twice."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _put_in_place(self, beside: str) -> None:
        try:
            os.rename(beside, self._path)
        except OSError as error:
            raise self._unwritable(error) from error

    def _write(self, line: str) -> None:
        # Unbuffered, so that calls before a crash are in the file.
        left = memoryview(line.encode())
        whole = len(left)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError as error:
            with contextlib.suppress(OSError):  # a device cannot be truncated
                os.ftruncate(self._file, os.fstat(self._file).st_size - (whole - len(left)))
                os.lseek(self._file, 0, os.SEEK_END)
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> RecordingError:
        return RecordingError(f"cannot be written: {shown(error.strerror or error)}", self._path)


def _opened(path: str) -> tuple[int, str]:
    """Return a descriptor, and the path of the new file that will replace ``path``; "" if none."""
    directory = os.path.dirname(path) or "."
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG
    if stat.S_ISCHR(mode):
        return os.open(path, os.O_WRONLY | os.O_NOCTTY), ""
    # The reader of a FIFO could block hosts; and /dev/stdout must not be replaced.
    if not stat.S_ISREG(mode) or _is_the_systems(directory):
        raise OSError("the path is not that of a regular file that can be created or replaced")
    return tempfile.mkstemp(prefix=".recording-", dir=directory)


def _is_the_systems(directory: str) -> bool:
    real = os.path.realpath(directory)
    return real == "/dev" or real.startswith("/proc/")
