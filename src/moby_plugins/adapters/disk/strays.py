"""Files that no look-up finds, though somebody seems to have meant them to be found."""

import os
import stat
from collections.abc import Iterator, Sequence

from attrs import frozen

from moby_plugins.domain.plugin import Stray, is_plugin_name


@frozen
class Place:
    """A directory where files with one of ``suffixes`` are found: sockets, or else regular files.

    ``foreign`` are the suffixes of what is found in other directories only.
    """

    directory: str
    suffixes: tuple[str, ...]
    sockets: bool
    foreign: tuple[str, ...]

    def strays(self) -> Iterator[Stray]:
        """What lies here in vain; nothing for a directory that cannot be read."""
        for path in _files(self.directory):
            reason = self._why_not_found(path)
            if reason:
                yield Stray(path, reason)

    def _why_not_found(self, path: str) -> str:
        stem, dot, ending = os.path.basename(path).rpartition(".")
        suffix = dot + ending
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            told = f"it cannot be looked at: {error.strerror}"
            return told if suffix in self.suffixes else ""
        if suffix not in self.suffixes:
            return self._why_no_suffix(mode, suffix)
        if not (stat.S_ISSOCK(mode) if self.sockets else stat.S_ISREG(mode)):
            return "it is no socket" if self.sockets else "it is no regular file"
        folder = os.path.relpath(os.path.dirname(path), self.directory)
        if folder not in {".", stem}:
            return f"in the directory {folder} it would have to be called {folder}{suffix}"
        return "" if is_plugin_name(stem) else f"{stem!r} cannot be a plugin's name"

    def _why_no_suffix(self, mode: int, suffix: str) -> str:
        if suffix in self.foreign:
            return f"*{suffix} is not looked for in this directory"
        is_socket = self.sockets and stat.S_ISSOCK(mode)
        return "a socket's name has to end in .sock" if is_socket else ""


def _files(directory: str) -> Iterator[str]:
    # As deep as a look-up goes: a plugin may have a directory of its own.
    for path in _entries(directory):
        yield path
        if os.path.isdir(path):
            yield from _entries(path)


def _entries(directory: str) -> Sequence[str]:
    try:
        return [f"{directory}/{name}" for name in sorted(os.listdir(directory))]
    except OSError:
        return ()
