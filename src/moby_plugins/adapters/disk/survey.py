"""Collect facts about a machine's plugins for a diagnosis: files, and sockets that listen.

Nothing here blocks: paths are examined with ``lstat`` before anything is opened or connected to,
files are opened without waiting, and connections to UNIX sockets are not waited for.
"""

import errno
import grp
import os
import pwd
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping

from attrs import define, field

from moby_plugins.adapters.disk.discovery import UID_MAP
from moby_plugins.adapters.disk.stand_in import DIRECTORY, abandoned_sockets
from moby_plugins.adapters.http.unix_socket import probe_socket
from moby_plugins.domain import permissions
from moby_plugins.domain.diagnosis import Observations, tls_files
from moby_plugins.domain.errors import PluginError, SpecError
from moby_plugins.domain.handshake import HandshakeOutcome
from moby_plugins.domain.permissions import FOR_GROUP_TO_WRITE, ROOT
from moby_plugins.domain.plugin import Candidate, is_plugin_name
from moby_plugins.platforms import open_at_once
from moby_plugins.ports import Survey

# The most links that the kernel follows in one path.
MAX_LINKS = 40
# The id that users outside of a user namespace have inside it.
OVERFLOW_UID = "/proc/sys/kernel/overflowuid"

_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISSOCK, permissions.SOCKET),
    (stat.S_ISDIR, permissions.DIRECTORY),
    (stat.S_ISREG, permissions.FILE),
    (stat.S_ISLNK, permissions.LINK),
    (stat.S_ISFIFO, permissions.FIFO),
)


def observe(
    discovery: Survey,
    sockets_path: str,
    specs_paths: tuple[str, ...],
    ask: Callable[[Mapping[str, Candidate]], Mapping[str, HandshakeOutcome]],
) -> Observations:
    """Return what can be observed of the plugins' sockets, specs and directories on this machine.

    Each socket is connected to for a moment, and nothing is changed.

    ``ask`` takes the socket or spec that a host would use for each name, and returns what the
    plugin there responds to the handshake.
    """
    unreadable: tuple[str, ...] = ()
    engine_errors: tuple[str, ...] = ()
    plugins: dict[str, tuple[Candidate, ...]] = {}
    try:
        plugins = {name: tuple(discovery.candidates(name)) for name in discovery.scan()}
    except SpecError as error:
        unreadable = (str(error),)
    except PluginError as error:  # raised by an engine
        engine_errors = (str(error),)
    # Leave out plugins that were removed between the scan and the look-up.
    plugins = {name: candidates for name, candidates in plugins.items() if candidates}
    directories = (sockets_path, *specs_paths)
    nested = tuple(each for directory in directories for each in _directories_in(directory))
    # Plugins that the settings describe have no file.
    inside = tuple(f"{directory}/" for directory in directories)
    paths = (candidates[0].path for candidates in plugins.values())
    files = (path for path in paths if path.startswith(inside))
    sockets = [*_sockets(plugins.values())]
    named = tls_files(plugins)
    look = _Look(_trusted())
    for path in (*directories, *nested, *files, *sockets, *named):
        look.at(path)
    return Observations(
        sockets_path=sockets_path,
        specs_paths=specs_paths,
        plugins=plugins,
        ignored_files=tuple(
            each for each in discovery.ignored() if f"/{DIRECTORY}/" not in each.path
        ),
        failures=look.failures
        | dict(_failures(_open, look.of_kind(named, permissions.FILE)))
        | dict(_failures(_connect, look.of_kind(sockets, permissions.SOCKET))),
        unreadable=unreadable,
        engine_errors=engine_errors,
        abandoned_sockets=tuple(
            path for directory in _homes(sockets_path) for path in abandoned_sockets(directory)
        ),
        nested=nested,
        ways=look.ways,
        kinds={path: _kind(status) for path, status in look.statuses.items()},
        modes={path: stat.S_IMODE(status.st_mode) for path, status in look.statuses.items()},
        owners={path: status.st_uid for path, status in look.statuses.items()},
        members=look.members(),
        trusted=look.trusted,
        users=look.users(),
        handshakes=ask({name: candidates[0] for name, candidates in plugins.items()}),
    )


@define
class _Look:
    """The statuses and errors of paths: ``at`` adds those of one path and its components."""

    trusted: frozenset[int]
    ways: dict[str, tuple[str, ...]] = field(factory=dict)
    failures: dict[str, int] = field(factory=dict)
    statuses: dict[str, os.stat_result] = field(factory=dict)

    def at(self, path: str) -> None:
        """Follow ``path``; store the status of each component, and the first error, if any."""
        way: list[str] = []
        try:
            for component in _components(path):
                way.append(component)
                self.statuses[component] = os.lstat(component)
        except OSError as error:
            self.failures[path] = error.errno or errno.EIO
        except ValueError:  # a NUL or an unpaired surrogate: no file can have such a name
            self.failures[path] = errno.ENOENT
        self.ways[path] = tuple(way) or (path,)

    def of_kind(self, paths: Iterable[str], kind: str) -> Iterator[str]:
        """Yield those of ``paths`` that lead to a file of this kind."""
        for path in paths:
            if path not in self.failures and _kind(self.statuses[self.ways[path][-1]]) == kind:
                yield path

    def users(self) -> dict[int, str]:
        """Return the names of the owners of all files examined, by their ids."""
        return {owner: _user(owner) for owner in {each.st_uid for each in self.statuses.values()}}

    def members(self) -> dict[str, tuple[str, ...]]:
        """Return the untrusted users in groups that may write to the files examined, by path."""
        writable = {
            path: status.st_gid
            for path, status in self.statuses.items()
            if status.st_mode & FOR_GROUP_TO_WRITE
        }
        entries = pwd.getpwall() if writable else []
        trusted = {_user(number) for number in self.trusted}
        by_group = {
            group: {entry.pw_name for entry in entries if entry.pw_gid == group} | _listed(group)
            for group in {*writable.values()}
        }
        return {path: tuple(sorted(by_group[group] - trusted)) for path, group in writable.items()}


def _kind(status: os.stat_result) -> str:
    kinds = (kind for is_kind, kind in _KINDS if is_kind(status.st_mode))
    return next(kinds, permissions.DEVICE)


def _listed(group: int) -> set[str]:
    try:
        return {*grp.getgrgid(group).gr_mem}
    except (KeyError, OverflowError):
        return set()


def _components(path: str) -> Iterator[str]:
    """Yield each component of ``path`` from ``/`` on, and after a link those of its target.

    The last component may not exist. Raises ``OSError`` if a link cannot be followed.
    """
    directory, links = "/", 0
    yield directory
    # Only for a relative path, because the working directory may have been removed.
    start = "" if path.startswith("/") else os.getcwd()
    left = [*reversed(os.path.join(start, path).split("/"))]
    while left:
        name = left.pop()
        if name in {"", "."}:
            continue
        if name == "..":
            directory = os.path.dirname(directory)
            continue
        there = os.path.join(directory, name)
        yield there
        if not stat.S_ISLNK(os.lstat(there).st_mode):
            directory = there
            continue
        links += 1
        if links > MAX_LINKS:
            raise OSError(errno.ELOOP, "too many links")
        target = os.readlink(there)
        directory = "/" if target.startswith("/") else directory
        left += reversed(target.split("/"))


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except (KeyError, OverflowError):
        return f"user {number}"


def _trusted() -> frozenset[int]:
    """Return the ids of the trusted users: root, and the user of this process.

    In a user namespace, the id that stands for all users outside of it is among them.
    """
    trusted = {ROOT, os.geteuid()}
    try:
        with open(UID_MAP, encoding="ascii") as file:
            ranges = [tuple(map(int, line.split())) for line in file]
        with open(OVERFLOW_UID, encoding="ascii") as file:
            overflow = int(file.read())
    except (OSError, ValueError):
        return frozenset(trusted)
    # In a user namespace, also the users outside of it (root among them), who created it.
    if not any(first <= overflow < first + count for first, _, count in ranges):
        trusted.add(overflow)
    return frozenset(trusted)


def _failures(attempt: Callable[[str], object], paths: Iterable[str]) -> Iterator[tuple[str, int]]:
    for path in paths:
        try:
            attempt(path)
        except OSError as error:
            yield path, error.errno or errno.EIO


def _open(path: str) -> None:
    # Does not block, even if the file was replaced since.
    os.close(open_at_once(path, os.O_RDONLY))


def _connect(path: str) -> None:
    refusal = probe_socket(path)
    if refusal is not None:
        raise refusal


def _sockets(plugins: Iterable[tuple[Candidate, ...]]) -> Iterator[str]:
    for first, *_ in plugins:
        address = first.plugin.address if first.plugin else None
        if address is not None and address.scheme == "unix" and address.path.startswith("/"):
            yield address.path


def _directories_in(directory: str) -> Iterator[str]:
    """Yield the paths of subdirectories in which look-ups search, sorted.

    Each may hold the files of one plugin, and has the plugin's name. Yields nothing if
    ``directory`` cannot be read.
    """
    try:
        with os.scandir(directory) as entries:
            yield from sorted(
                entry.path
                for entry in entries
                if entry.is_dir() and entry.name != DIRECTORY and is_plugin_name(entry.name)
            )
    except OSError:
        return


def _homes(directory: str) -> Iterator[str]:
    yield directory
    yield from _directories_in(directory)
