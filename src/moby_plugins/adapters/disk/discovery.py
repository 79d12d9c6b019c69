"""Discovery of plugins on disk: sockets and specs that look-ups find, files that they ignore.

Source: protocol.md A1.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from attrs import evolve, field, frozen

from moby_plugins.domain.address import of_path
from moby_plugins.domain.errors import PluginNotFoundError, SpecError
from moby_plugins.domain.plugin import (
    MAX_SPEC_BYTES,
    SOCKETS_PATH,
    SPECS_PATHS,
    Candidate,
    IgnoredFile,
    Plugin,
    check_plugin_name,
    is_plugin_name,
    read_spec,
)
from moby_plugins.domain.text import VERY_NEAR, nearest, quoted, shown
from moby_plugins.failures import logger
from moby_plugins.platforms import open_at_once

SOCKET_SUFFIXES = (".sock",)
SPEC_SUFFIXES = (".spec", ".json")
# The length of all suffixes, so that a scan does not have to search for the dot.
_SUFFIX_LENGTH = 5
# The kernel's map of user ids: a single line for all ids, unless in a user namespace.
UID_MAP = "/proc/self/uid_map"
_WHOLE_RANGE = ["0", "0", "4294967295"]
# A test of ``stat``, such as ``S_ISSOCK``, for the kind of file that counts in a directory.
_IsKind: TypeAlias = Callable[[int], bool]
# Stems that are not names: those of files such as ``.sock`` or ``..sock``.
_DOTS = {"", ".", ".."}
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}


class SearchedDirectory(NamedTuple):
    """A directory in which look-ups find files with one of ``suffixes``.

    They find only sockets if ``sockets`` is true, else only regular files. ``foreign`` are the
    suffixes of files that they find only in other directories.
    """

    directory: str
    suffixes: tuple[str, ...]
    sockets: bool
    foreign: tuple[str, ...]

    def ignored(self) -> Iterator[IgnoredFile]:
        """Yield files that seem to be meant for look-ups, but that look-ups ignore.

        Yields nothing for a directory that cannot be read.
        """
        for path in _files(self.directory):
            reason = self._why_not_found(path)
            if reason:
                stem = meant_for(os.path.basename(path), (*self.suffixes, *self.foreign))[0]
                yield IgnoredFile(path, reason, stem)

    def _why_not_found(self, path: str) -> str:
        stem, dot, ending = os.path.basename(path).rpartition(".")
        suffix = dot + ending
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            reason = f"it cannot be looked at: {shown(error.strerror)}"
            return reason if suffix in self.suffixes else ""
        if suffix not in self.suffixes:
            return self._why_no_suffix(mode, os.path.basename(path), suffix)
        if not (stat.S_ISSOCK(mode) if self.sockets else stat.S_ISREG(mode)):
            return "it is not a socket" if self.sockets else "it is not a regular file"
        folder = os.path.relpath(os.path.dirname(path), self.directory)
        if folder not in {".", stem}:
            name = shown(folder + suffix)
            return f"in the directory {shown(folder)} it would have to be called {name}"
        return "" if is_plugin_name(stem) else f"{quoted(stem)} cannot be a plugin's name"

    def _why_no_suffix(self, mode: int, name: str, suffix: str) -> str:
        if suffix in self.foreign:
            return f"*{shown(suffix)} is not looked for in this directory"
        if stat.S_ISSOCK(mode):
            own_rule = "a socket's name has to end in .sock"
            return own_rule if self.sockets else "sockets are not looked for in this directory"
        if stat.S_ISDIR(mode):
            return ""
        # A file may be a misnamed spec, or a copy of a file in this directory.
        meant = meant_for(name, SPEC_SUFFIXES)[1] or _with_more(name, self.suffixes)[1]
        if meant in self.foreign:
            reason = f"*{shown(meant)} is not looked for in this directory"
            return f"{reason}, if that was meant by its ending"
        return f"its name has to end in {meant}" if meant else ""


def meant_for(name: str, suffixes: tuple[str, ...]) -> tuple[str, str]:
    """Return the stem of ``name`` and the one of ``suffixes`` that was probably intended.

    A suffix is recognized in another case of letters, with a typing error or two, and before
    another ending, as copies have it. Both results are "" if no suffix is similar.
    """
    stem, dot, ending = name.rpartition(".")
    # Suffixes are short: with a lower limit, .js would be similar to .json.
    near = nearest(ending, [suffix[1:] for suffix in suffixes], VERY_NEAR) if dot else ""
    if near:
        return stem, f".{near}"
    return _with_more(name, suffixes)


def _with_more(name: str, suffixes: tuple[str, ...]) -> tuple[str, str]:
    for suffix in suffixes:
        stem, match, more = name.casefold().rpartition(suffix)
        # Files that begin with a dot are those of editors, or are still being written.
        if match and stem and not stem.startswith(".") and not more[:1].isalnum():
            return name[: len(stem)], suffix
    return "", ""


def _files(directory: str) -> Iterator[str]:
    # One level deep, as look-ups go: a plugin may have its own directory.
    for path in _entries(directory):
        yield path
        if os.path.isdir(path):
            yield from _entries(path)


def _entries(directory: str) -> Sequence[str]:
    try:
        return [f"{directory}/{name}" for name in sorted(os.listdir(directory))]
    except OSError:
        return ()


def _path(value: str | os.PathLike[str]) -> str:
    return os.fspath(value)


def _paths(values: Iterable[str | os.PathLike[str]]) -> tuple[str, ...]:
    return tuple(map(_path, values))


@frozen
class FilesystemDiscovery:
    """A discovery of plugins by sockets in one directory, then by specs in several.

    A look-up uses the first file that it finds. Every call reads the directories again, and follows
    symbolic links. Threads may share it. ``uid_map`` is the path of the kernel's file that shows
    whether this process is in a user namespace: there, what this process may not read is skipped.
    """

    sockets_path: str = field(default=SOCKETS_PATH, converter=_path)
    specs_paths: tuple[str, ...] = field(
        default=SPECS_PATHS,
        converter=_paths,
    )
    uid_map: str = UID_MAP

    @property
    def is_local(self) -> bool:
        """True, because look-ups only read local files."""
        return True

    def scan(self) -> list[str]:
        """Return the names that ``lookup`` finds, sorted and without duplicates.

        Raises ``SpecError`` for a directory that exists but cannot be read.
        """
        names: set[str] = set()
        for directory, suffixes, is_kind in self._places():
            try:
                names.update(_names(directory, suffixes, is_kind))
            except OSError as error:
                self._pass_over(error, directory)
        return sorted(names)

    def lookup(self, name: str) -> Plugin:
        """Return the plugin ``name``: that of a socket, else that of the first spec.

        Raises ``InvalidPluginNameError`` for an invalid name, before any path is built,
        ``PluginNotFoundError`` with the paths that were searched, and
        ``SpecError`` for a spec or a directory that cannot be read or used.
        """
        check_plugin_name(name)
        searched = []
        for path, is_kind in self._paths_of(name):
            searched.append(path)
            plugin = self._read(name, path, is_kind)
            if plugin is not None:
                return _without_credentials(plugin, path)
        raise PluginNotFoundError(name, searched)

    def candidates(self, name: str) -> list[Candidate]:
        """Return all files for ``name``; ``lookup`` uses the first, or raises its error.

        Raises only ``InvalidPluginNameError``.
        """
        check_plugin_name(name)
        candidates = (self._candidate(name, *place) for place in self._paths_of(name))
        return [candidate for candidate in candidates if candidate is not None]

    def ignored(self) -> list[IgnoredFile]:
        """Return files that seem to be meant for ``lookup``, but that ``lookup`` ignores."""
        sockets = SearchedDirectory(
            self.sockets_path, SOCKET_SUFFIXES, sockets=True, foreign=SPEC_SUFFIXES
        )
        specs = (
            SearchedDirectory(path, SPEC_SUFFIXES, sockets=False, foreign=SOCKET_SUFFIXES)
            for path in self.specs_paths
        )
        return [ignored for place in (sockets, *specs) for ignored in place.ignored()]

    def _places(self) -> Iterator[tuple[str, tuple[str, ...], _IsKind]]:
        yield self.sockets_path, SOCKET_SUFFIXES, stat.S_ISSOCK
        for directory in self.specs_paths:
            yield directory, SPEC_SUFFIXES, stat.S_ISREG

    def _paths_of(self, name: str) -> Iterator[tuple[str, _IsKind]]:
        for directory, suffixes, is_kind in self._places():
            for suffix in suffixes:
                yield f"{directory}/{name}{suffix}", is_kind
                yield f"{directory}/{name}/{name}{suffix}", is_kind

    def _candidate(self, name: str, path: str, is_kind: _IsKind) -> Candidate | None:
        try:
            plugin = self._read(name, path, is_kind)
        except SpecError as error:
            return Candidate(path, error=error)
        return None if plugin is None else Candidate(path, plugin)

    def _read(self, name: str, path: str, is_kind: _IsKind) -> Plugin | None:
        try:
            if not is_kind(os.stat(path).st_mode):
                return None
            if is_kind is stat.S_ISSOCK:
                return Plugin.local(name, of_path(path))
            data = spec_content(path)
        except OSError as error:
            self._pass_over(error, path)
            return None
        except UnicodeEncodeError:
            # An unpaired surrogate: no file can have such a name.
            return None
        return None if data is None else read_spec(name, path, data)

    def _pass_over(self, error: OSError, path: str) -> None:
        if error.errno in _ABSENT:
            return
        if isinstance(error, PermissionError) and self._in_user_namespace():
            return
        raise SpecError(f"cannot be read: {shown(error.strerror)}", path) from error

    def _in_user_namespace(self) -> bool:
        try:
            with open(self.uid_map, encoding="ascii") as file:
                return file.readline().split() != _WHOLE_RANGE
        except OSError:
            return False


def _without_credentials(plugin: Plugin, path: str) -> Plugin:
    concern = plugin.address.concern
    if not concern:
        return plugin
    logger.warning("%s: %s", shown(path), concern)
    # A copy, whose address has no credentials, so that connecting to it does not warn again.
    return evolve(plugin)


def _names(directory: str, suffixes: tuple[str, ...], is_kind: _IsKind) -> Iterable[str]:
    names = []
    with os.scandir(directory) as entries:
        for entry in entries:
            name = entry.name
            try:
                # The directory entry tells a regular file without another system call.
                if name.endswith(suffixes) and (
                    entry.is_file() if is_kind is stat.S_ISREG else _stat_is(entry.path, is_kind)
                ):
                    names.append(name[:-_SUFFIX_LENGTH])
                elif entry.is_dir() and _has_nested(directory, name, suffixes, is_kind):
                    names.append(name)
            except OSError:
                # A link in a cycle, or into an unreadable directory; ``lookup`` gives the error.
                continue
    # Checking each name takes a tenth of the scan, and hardly any directory has an invalid one.
    odd = "\\" in "".join(names) or not _DOTS.isdisjoint(names)
    return filter(is_plugin_name, names) if odd else names


def _has_nested(directory: str, name: str, suffixes: Iterable[str], is_kind: _IsKind) -> bool:
    return any(_stat_is(f"{directory}/{name}/{name}{suffix}", is_kind) for suffix in suffixes)


def _stat_is(path: str, is_kind: _IsKind) -> bool:
    try:
        return is_kind(os.stat(path).st_mode)
    except OSError:
        # A file that cannot be examined is not listed; ``lookup`` gives the error.
        return False


def spec_content(path: str) -> bytes | None:
    """Return the content of a spec file, ``None`` if it is no regular file.

    Of a file that is too large, more than ``MAX_SPEC_BYTES`` are returned. Raises ``OSError``.
    """
    # Since stat() it may have been replaced by a FIFO or a terminal.
    with open(path, "rb", opener=open_at_once) as file:
        regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        return file.read(MAX_SPEC_BYTES + 1) if regular else None
