"""Temporarily replace a plugin's socket with that of a tracing proxy (the *stand-in*).

Next to the plugin's socket is a directory of this library, which no scan reads, neither here nor
in engines. While NAME.sock is replaced, it holds NAME.lock, which the kernel unlocks when the
proxy dies; NAME.new, a hard link to the proxy's socket, which identifies it; and the plugin's
socket as NAME.sock, or NAME.none if there was no socket and a spec is hidden. If these paths
would be too long for a socket, as in the directories of engines, NAME is seven digits of its
hash. Sockets are swapped by renaming, so there is always one in place. If a proxy was killed, the
next one restores the files.

Other users may open known names in the directory: so a plugin that is restarted finds out that
the socket at its path is not a plugin's (``stands_in``).
"""

import contextlib
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from typing import Self

from moby_plugins.adapters.http.unix_socket import MAX_PATH_BYTES, check_socket_path, probe_socket
from moby_plugins.domain.errors import SpecError
from moby_plugins.domain.text import shown

DIRECTORY = ".traced"
_SOCKET = ".sock"
# Suffix for sockets whose name does not end in .sock: NAME and NAME.sock may both exist.
_OTHER = "~"
# Suffix of a hash that replaces a name that is too long.
_HASHED = "~~"


class SocketStandIn:
    """A context manager in which another socket takes the place of the one at ``path``.

    ``waiting`` is the path at which to create the new socket, which ``take`` then moves to
    ``path``; ``plugin`` is the path at which the plugin can be reached in the meantime, "" if it
    has no socket. Raises ``SpecError`` if another process has replaced the socket, or if files
    cannot be moved.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._files = _files_of(path)
        self.waiting: str = check_socket_path(self._files.waiting)
        self.plugin: str = ""
        self._lock = -1
        self._own: os.stat_result | None = None
        self._listened = False

    def __enter__(self) -> Self:
        """Lock the socket's path, and first restore the files of a trace that was killed."""
        with self._explained():
            self._lock = _locked(self._files.lock, self._path)
            try:
                restore_files(self._path)
                self.plugin = self._plugin()
            except BaseException:
                self._unlock()
                raise
        return self

    def take(self) -> None:
        """Move the socket ``waiting`` to the plugin's path, with owner and mode of the plugin's.

        Raises ``SpecError`` if another file is there, or files cannot be moved.
        """
        with self._explained():
            self._own = os.lstat(self.waiting)
            if not self.plugin:
                _touch(self._files.none)
                # Unlike rename(), link() never replaces a file that was created there since.
                os.link(self.waiting, self._path)
                return
            before = os.stat(self._path)
            if not stat.S_ISSOCK(before.st_mode):
                raise SpecError("it exists, is not a socket, and was left unchanged", self._path)
            self._listened = probe_socket(self._path) is None
            os.chown(self.waiting, before.st_uid, before.st_gid)
            os.chmod(self.waiting, stat.S_IMODE(before.st_mode))
            os.link(self._path, self._files.plugin, follow_symlinks=False)
            os.link(self.waiting, self._files.moving)
            os.rename(self._files.moving, self._path)

    def lost(self) -> bool:
        """Return whether the socket was removed or replaced, for example by the plugin."""
        return not self._in_place()

    def __exit__(self, *_: object) -> None:
        """Restore the plugin's socket, unless another file was created at its path."""
        with self._explained():
            try:
                self._restore_socket()
            finally:
                self._unlock()

    def _restore_socket(self) -> None:
        if self._in_place():
            if self.plugin and not (self._listened and _has_ended(self._path, self._files)):
                os.rename(self._files.plugin, self._path)
            else:
                # The plugin has ended; it could not remove its socket, as it had been moved away.
                os.unlink(self._path)
                _remove(self._files.plugin)
        _remove(self._files.none)
        restore_files(self._path)

    def _in_place(self) -> bool:
        try:
            return self._own is not None and os.path.samestat(os.lstat(self._path), self._own)
        except FileNotFoundError:
            return False

    def _plugin(self) -> str:
        if not os.path.lexists(self._path):
            return ""
        if os.path.islink(self._path):
            # Only the link will be moved, so the plugin can be reached at its target.
            return check_socket_path(os.path.realpath(self._path))
        return check_socket_path(self._files.plugin)

    def _unlock(self) -> None:
        _remove(self._files.lock)
        os.close(self._lock)
        with contextlib.suppress(OSError):  # the directory has files of other proxies
            os.rmdir(os.path.dirname(self._files.lock))

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            why = shown(error.strerror or error)
            raise SpecError(
                f"a trace cannot replace or restore this socket: {why}", self._path
            ) from error


class _Files:
    """The paths of the lock and the moved sockets of a ``SocketStandIn`` for one socket."""

    def __init__(self, stem: str) -> None:
        self.lock = f"{stem}.lock"
        self.waiting = f"{stem}.new"
        self.plugin = f"{stem}.sock"
        self.none = f"{stem}.none"
        self.moving = f"{stem}.move"

    def _all(self) -> tuple[str, ...]:
        return self.plugin, self.none, self.waiting, self.moving

    def leftovers(self) -> list[str]:
        """Return the paths of the files that exist, apart from the lock."""
        return [path for path in self._all() if os.path.lexists(path)]


def abandoned_sockets(directory: str) -> list[str]:
    """Return the paths in ``directory`` whose sockets a killed trace has not restored.

    A plugin that was started again since has a socket of its own at its path: what is left of the
    trace then disturbs nothing, and the next trace removes it.
    """
    own_directory = f"{directory}/{DIRECTORY}"
    try:
        names = sorted({os.path.splitext(name)[0] for name in os.listdir(own_directory)})
    except OSError:
        return []
    left = {_place_of(directory, name): _Files(f"{own_directory}/{name}") for name in names}
    return [path for path, files in left.items() if _is_left(files) and _is_moved(path, files)]


def _place_of(directory: str, name: str) -> str:
    if name.endswith(_HASHED):
        with contextlib.suppress(OSError):
            for file in os.listdir(directory):
                if _hashed(file) == name:
                    return f"{directory}/{file}"
    return f"{directory}/{name.removesuffix(_OTHER) if name.endswith(_OTHER) else name + _SOCKET}"


def stands_in(path: str) -> bool:
    """Return whether the socket at ``path`` is a stand-in whose plugin has ended or had no socket.

    A plugin that is started may then replace it.
    """
    files = _files_of(path)
    try:
        return os.path.samestat(os.lstat(path), os.lstat(files.waiting)) and (
            not os.path.lexists(files.plugin) or _has_ended(path, files)
        )
    except OSError:
        return False


def restore_files(path: str) -> None:
    """Undo what a killed trace did to the socket at ``path``, and remove its other files."""
    files = _files_of(path)
    if os.path.lexists(files.plugin):
        if _is_moved(path, files):
            os.rename(files.plugin, path)
    elif _is_same(path, files.waiting) and _is_stale(path):
        _remove(path)
    for leftover in files.leftovers():
        _remove(leftover)


def _is_moved(path: str, files: _Files) -> bool:
    """Return whether the plugin's socket belongs at ``path``, but is not there."""
    # If a plugin that has ended removed the socket at its path, it is not restored.
    return _is_same(path, files.waiting) or not (os.path.lexists(path) or _has_ended(path, files))


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
    # Mode 0711: other users can open known names in it, but not list it.
    os.makedirs(os.path.dirname(lock), 0o711, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The file may have been removed and created again after it was opened.
        if os.path.samestat(os.fstat(descriptor), os.stat(lock)):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    raise SpecError("another trace of this plugin is running", path)


def _files_of(path: str) -> _Files:
    directory, file = os.path.split(path)
    name = file.removesuffix(_SOCKET) if file.endswith(_SOCKET) else file + _OTHER
    files = _Files(f"{directory}/{DIRECTORY}/{name}")
    if len(os.fsencode(files.plugin)) <= MAX_PATH_BYTES:
        return files
    return _Files(f"{directory}/{DIRECTORY}/{_hashed(file)}")


def _hashed(file: str) -> str:
    return hashlib.sha256(os.fsencode(file)).hexdigest()[:7] + _HASHED


def _is_same(path: str, other: str) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.lstat(other))
    except FileNotFoundError:
        return False


def _has_ended(path: str, files: _Files) -> bool:
    """Return whether no plugin listens at the socket that was moved away from ``path``."""
    aside = files.plugin
    if os.path.islink(aside):
        aside = os.path.join(os.path.dirname(path), os.readlink(aside))
    return _is_stale(aside)


def _is_stale(path: str) -> bool:
    """Return whether connecting to ``path`` is refused, or nothing is there: no plugin listens."""
    return isinstance(probe_socket(path), (ConnectionRefusedError, FileNotFoundError))


def _touch(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
