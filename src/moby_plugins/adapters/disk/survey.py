"""What can be seen of a machine's plugins, for a diagnosis: files, and who listens."""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator

from moby_plugins.adapters.disk.stand_in import DIRECTORY, left_behind
from moby_plugins.adapters.http.unix_socket import probe_socket
from moby_plugins.domain.diagnosis import Seen, tls_files
from moby_plugins.domain.errors import SpecError
from moby_plugins.domain.plugin import Candidate
from moby_plugins.ports import Survey


def see(discovery: Survey, sockets_path: str, specs_paths: tuple[str, ...]) -> Seen:
    """All that is to be seen. Connects to sockets for a moment, sends nothing, changes nothing."""
    unreadable: tuple[str, ...] = ()
    plugins: dict[str, tuple[Candidate, ...]] = {}
    try:
        plugins = {name: tuple(discovery.candidates(name)) for name in discovery.scan()}
    except SpecError as error:
        unreadable = (str(error),)
    # Gone since, or in a directory that changes: nothing to say of it.
    plugins = {name: found for name, found in plugins.items() if found}
    directories = (sockets_path, *specs_paths)
    # What the settings describe has no file.
    inside = tuple(f"{directory}/" for directory in directories)
    paths = (found[0].path for found in plugins.values())
    files = (path for path in paths if path.startswith(inside))
    named = tls_files(plugins)
    return Seen(
        sockets_path=sockets_path,
        specs_paths=specs_paths,
        plugins=plugins,
        strays=tuple(each for each in discovery.strays() if f"/{DIRECTORY}/" not in each.path),
        modes=dict(_modes([*directories, *files, *named])),
        failures=dict(
            [
                *_failures(os.stat, directories),
                *_failures(_open, named),
                *_failures(_connect, _sockets(plugins.values())),
            ]
        ),
        unreadable=unreadable,
        left_behind=tuple(
            path for directory in _homes(sockets_path) for path in left_behind(directory)
        ),
    )


def _modes(paths: Iterable[str]) -> Iterator[tuple[str, int]]:
    for path in paths:
        try:
            yield path, stat.S_IMODE(os.stat(path).st_mode)
        except OSError:
            continue  # told among the failures


def _failures(attempt: Callable[[str], object], paths: Iterable[str]) -> Iterator[tuple[str, int]]:
    for path in paths:
        try:
            attempt(path)
        except OSError as error:
            yield path, error.errno or errno.EIO


def _open(path: str) -> None:
    # Never waits, whatever it is.
    os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))


def _connect(path: str) -> None:
    refusal = probe_socket(path)
    if refusal is not None:
        raise refusal


def _sockets(plugins: Iterable[tuple[Candidate, ...]]) -> Iterator[str]:
    for first, *_ in plugins:
        address = first.plugin.address if first.plugin else None
        if address is not None and address.scheme == "unix" and address.path.startswith("/"):
            yield address.path


def _homes(directory: str) -> Iterator[str]:
    """The directory, and those in it that a plugin may have for itself."""
    yield directory
    try:
        with os.scandir(directory) as entries:
            yield from sorted(entry.path for entry in entries if entry.is_dir())
    except OSError:
        return
