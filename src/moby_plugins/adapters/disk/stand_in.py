"""Another socket in the place of a plugin's, for a time.

Beside the plugin's socket is a directory of ours, in which no scan looks, the
engine's included. While NAME.sock is stood in for, it holds NAME.lock, which the
kernel unlocks when its process dies, and the plugin's socket as NAME.sock; or
NAME.none, where there was no socket, and whoever stands in hides a spec. The place
is changed by renaming, so there is always a socket in it. What a process left that
was killed is put right by the next one to stand in.
"""

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from typing import Self

from moby_plugins.adapters.http.unix_socket import check_socket_path, probe_socket
from moby_plugins.domain.errors import SpecError
from moby_plugins.domain.text import shown

DIRECTORY = ".traced"


class SocketStandIn:
    """Stands in for the socket at ``path``: a context manager, between whose ends is ``take``.

    ``waiting`` is where the socket is made that is to stand in, and ``plugin`` where
    the plugin can be reached meanwhile, "" where there is no socket. Raises ``SpecError``
    where another process stands in, and where files cannot be moved.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        directory, file = os.path.split(path)
        self._files = _Files(f"{directory}/{DIRECTORY}/{os.path.splitext(file)[0]}")
        self.waiting = check_socket_path(self._files.waiting)
        self.plugin = ""
        self._lock = -1
        self._own: os.stat_result | None = None

    def __enter__(self) -> Self:
        """Keep others away, and put right what another left that was killed."""
        with self._explained():
            self._lock = _locked(self._files.lock, self._path)
            try:
                put_right(self._path)
                self.plugin = self._plugin()
            except BaseException:
                self._unlock()
                raise
        return self

    def take(self) -> None:
        """Put the socket ``waiting`` in the plugin's place, with the owner and mode of that."""
        with self._explained():
            self._own = os.lstat(self.waiting)
            if not self.plugin:
                _touch(self._files.none)
                # Unlike a renaming this never replaces what somebody has put there since.
                os.link(self.waiting, self._path)
                os.unlink(self.waiting)
                return
            before = os.stat(self._path)
            os.chown(self.waiting, before.st_uid, before.st_gid)
            os.chmod(self.waiting, stat.S_IMODE(before.st_mode))
            os.link(self._path, self._files.plugin, follow_symlinks=False)
            os.rename(self.waiting, self._path)
            self._own = os.lstat(self._path)

    def lost(self) -> bool:
        """Whether somebody has removed or replaced the socket since, the plugin for example."""
        return not self._in_place()

    def __exit__(self, *_: object) -> None:
        """Give the place back; what somebody else has put there stays."""
        with self._explained():
            try:
                self._give_back()
            finally:
                self._unlock()

    def _give_back(self) -> None:
        if self._in_place():
            if self.plugin:
                os.rename(self._files.plugin, self._path)
            else:
                os.unlink(self._path)
        _remove(self._files.none)
        put_right(self._path)

    def _in_place(self) -> bool:
        try:
            return self._own is not None and os.path.samestat(os.lstat(self._path), self._own)
        except FileNotFoundError:
            return False

    def _plugin(self) -> str:
        if not os.path.lexists(self._path):
            return ""
        if os.path.islink(self._path):
            # What a link leads to stays where it is.
            return check_socket_path(os.path.realpath(self._path))
        return check_socket_path(self._files.plugin)

    def _unlock(self) -> None:
        _remove(self._files.lock)
        os.close(self._lock)
        with contextlib.suppress(OSError):  # where another plugin's is in use
            os.rmdir(os.path.dirname(self._files.lock))

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            why = shown(error.strerror or error)
            raise SpecError(f"nothing can stand in for it: {why}", self._path) from error


class _Files:
    """The files of ours for one socket."""

    def __init__(self, stem: str) -> None:
        self.lock = f"{stem}.lock"
        self.waiting = f"{stem}.new"
        self.plugin = f"{stem}.sock"
        self.none = f"{stem}.none"

    def leftovers(self) -> list[str]:
        return [path for path in (self.plugin, self.none, self.waiting) if os.path.lexists(path)]


def left_behind(directory: str) -> list[str]:
    """The sockets in ``directory`` for which a process stood in that was killed."""
    ours = f"{directory}/{DIRECTORY}"
    try:
        names = sorted({os.path.splitext(name)[0] for name in os.listdir(ours)})
    except OSError:
        return []
    return [f"{directory}/{name}.sock" for name in names if _is_left(_Files(f"{ours}/{name}"))]


def put_right(path: str) -> None:
    """Undo what is left of a process that stood in for ``path`` and was killed."""
    directory, file = os.path.split(path)
    files = _Files(f"{directory}/{DIRECTORY}/{os.path.splitext(file)[0]}")
    if os.path.lexists(files.plugin):
        if _is_to_go_back(files.plugin, path):
            os.rename(files.plugin, path)
    elif os.path.lexists(files.none) and _nobody_listens(path):
        _remove(path)
    for leftover in files.leftovers():
        _remove(leftover)


def _is_left(files: _Files) -> bool:
    if not files.leftovers():
        return False
    try:
        lock = os.open(files.lock, os.O_RDONLY)
    except OSError:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


def _locked(lock: str, path: str) -> int:
    os.makedirs(os.path.dirname(lock), 0o700, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # It may have been removed, and made anew, between the two.
        if os.path.samestat(os.fstat(descriptor), os.stat(lock)):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    raise SpecError("it is being traced already", path)


def _is_to_go_back(plugin: str, path: str) -> bool:
    if not os.path.lexists(path):
        # A plugin that has ended takes its socket away, by the name that it knows.
        return not _nobody_listens(plugin)
    return _nobody_listens(path) and not os.path.samestat(os.lstat(path), os.lstat(plugin))


def _nobody_listens(path: str) -> bool:
    return isinstance(probe_socket(path), (ConnectionRefusedError, FileNotFoundError))


def _touch(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
