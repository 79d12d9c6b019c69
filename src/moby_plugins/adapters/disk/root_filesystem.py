"""Create a root file system from a directory or a tar, and pack it into the tar of a plugin.

The source is not trusted, and only gives names, modes and content: a member of a tar that leads
out of the directory, by its name or through a link, is refused; devices and sockets are left
out; entries and bytes are counted before they are written, and bounded.
"""

import io
import os
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import IO, BinaryIO

from attrs import define, field, frozen

from moby_plugins.domain.errors import SpecError
from moby_plugins.domain.plugin_config import CONFIG, ROOTFS
from moby_plugins.domain.text import quoted, shown

MAX_ENTRIES = 1_000_000
MAX_BYTES = 4 << 30
CHUNK_BYTES = 1 << 20
_BLOCK = 512
_TAR_ERRORS = (tarfile.TarError, EOFError, OSError, ValueError)


@frozen(kw_only=True)
class Entry:
    """A file, directory or link to be created at ``path``, relative to the root.

    ``kind`` is a value of ``stat.S_IFMT``; ``link`` is the target of a symbolic link or, if
    ``kind`` is ``S_IFREG``, the path of a file to which this is a hard link.
    """

    path: str
    kind: int
    mode: int
    uid: int
    gid: int
    mtime: float
    link: str = ""
    size: int = 0
    open: Callable[[], IO[bytes]] = io.BytesIO


def entries_of_directory(path: str) -> Iterator[Entry]:
    """Yield the entries below ``path``, each directory before its content, not following links.

    Raises ``OSError`` if a directory or a link cannot be read.
    """
    seen: dict[tuple[int, int], str] = {}
    waiting = [""]
    while waiting:
        below = waiting.pop()
        with os.scandir(os.path.join(path, below)) as listing:
            names = sorted(listing, key=lambda each: each.name)
        for each in names:
            name = os.path.join(below, each.name)
            status = each.stat(follow_symlinks=False)
            kind = stat.S_IFMT(status.st_mode)
            link = os.readlink(each.path) if kind == stat.S_IFLNK else ""
            if kind == stat.S_IFREG and status.st_nlink > 1:
                first = seen.setdefault((status.st_dev, status.st_ino), name)
                link = first if first != name else ""
            yield Entry(
                path=name,
                kind=kind,
                mode=stat.S_IMODE(status.st_mode),
                uid=status.st_uid,
                gid=status.st_gid,
                mtime=status.st_mtime,
                link=link,
                size=status.st_size if kind == stat.S_IFREG and not link else 0,
                open=partial(open_file, each.path),
            )
            if kind == stat.S_IFDIR:
                waiting.append(name)


def _at_once() -> int:
    # Flags with which open() does not wait for a FIFO.
    return os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


def open_file(path: str) -> BinaryIO:
    """Open the regular file at ``path``, without following a link and without waiting.

    Raises ``OSError``, also for anything but a regular file.
    """
    descriptor = os.open(path, _at_once() | os.O_NOFOLLOW)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("it is not a regular file")
    return os.fdopen(descriptor, "rb")


_TAR_KINDS = {
    tarfile.REGTYPE: stat.S_IFREG,
    tarfile.AREGTYPE: stat.S_IFREG,
    tarfile.CONTTYPE: stat.S_IFREG,
    tarfile.GNUTYPE_SPARSE: stat.S_IFREG,
    tarfile.LNKTYPE: stat.S_IFREG,
    tarfile.SYMTYPE: stat.S_IFLNK,
    tarfile.DIRTYPE: stat.S_IFDIR,
    tarfile.FIFOTYPE: stat.S_IFIFO,
    tarfile.CHRTYPE: stat.S_IFCHR,
    tarfile.BLKTYPE: stat.S_IFBLK,
}


def entries_of_tar(file: BinaryIO, name: str) -> Iterator[Entry]:
    """Yield the members of the tar in ``file``, compressed or not, in their order.

    Raises ``SpecError`` if it is not a tar, or is cut off or damaged.
    """
    try:
        with tarfile.open(
            fileobj=file, mode="r|*", encoding="utf-8", errors="surrogateescape"
        ) as tar:
            while (member := tar.next()) is not None:
                yield _entry_of(tar, member)
                tar.members = []  # type: ignore[attr-defined]  # tarfile would keep all members
    except _TAR_ERRORS as error:
        if isinstance(error, SpecError):
            raise
        raise SpecError(f"it cannot be read as a tar: {shown(error)}", name) from error


def _entry_of(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Entry:
    def content() -> IO[bytes]:
        file = tar.extractfile(member)
        if file is None:
            raise tarfile.ReadError(f"{shown(member.name)} has no content")
        return file

    return Entry(
        path=member.name,
        # Unknown types are left out, like devices.
        kind=_TAR_KINDS.get(member.type, stat.S_IFCHR),
        mode=member.mode & 0o7777,
        uid=member.uid,
        gid=member.gid,
        mtime=float(member.mtime),
        link=member.linkname if member.issym() or member.islnk() else "",
        size=member.size if member.isreg() else 0,
        open=content,
    )


@define
class EntryWriter:
    """A writer of entries, bounded in number and size, below ``root``, a directory of its own.

    Call ``write_all``, then ``finish``. ``source`` is the origin of the entries, for messages.
    ``dropped`` are the paths of devices, sockets and FIFOs, which were left out.
    """

    root: str
    source: str
    max_entries: int = MAX_ENTRIES
    max_bytes: int = MAX_BYTES
    dropped: list[str] = field(factory=list)
    _entries: int = 0
    _bytes: int = 0
    _directories: dict[str, Entry | None] = field(factory=dict)

    def write_all(self, entries: Iterable[Entry]) -> None:
        """Write all entries; raise ``SpecError`` for one that cannot be written, or for too many.

        The caller then calls ``finish``, which sets the modes of directories.
        """
        try:
            for entry in entries:
                self._count(entry)
                try:
                    self._write_entry(entry, self._parts(entry.path, entry))
                except OSError as error:
                    raise self._refused(entry, shown(error.strerror or error)) from error
                except (tarfile.TarError, EOFError) as error:
                    raise self._refused(entry, f"the tar is damaged: {shown(error)}") from error
        except OSError as error:  # of reading the source
            where = shown(error.filename or self.source)
            raise SpecError(f"{where}: {shown(error.strerror or error)}", self.source) from error

    def ensure(self, path: str) -> None:
        """Create the directory ``path`` if it is missing; do nothing if that fails.

        It fails, for example, if a link or a file is in its way.
        """
        entry = Entry(path=path, kind=stat.S_IFDIR, mode=0o755, uid=0, gid=0, mtime=0.0)
        with suppress(SpecError, OSError):
            self._make_parents(entry, self._parts(path, entry))

    def finish(self) -> None:
        """Set modes, owners and times of the directories; raise ``OSError`` if that fails."""
        # Deepest first: the mode of a directory may forbid its owner to change its content.
        for path in sorted(self._directories, reverse=True):
            entry = self._directories[path]
            if entry is not None:
                self._finish(os.path.join(self.root, path), entry)

    def _refused(self, entry: Entry, why: str) -> SpecError:
        return SpecError(f"{quoted(entry.path)} cannot be created: {why}", self.source)

    def _count(self, entry: Entry) -> None:
        self._entries += 1
        self._bytes += max(entry.size, 0)
        if self._entries > self.max_entries or self._bytes > self.max_bytes:
            raise SpecError(
                f"it has more than {self.max_entries:,} entries or {self.max_bytes:,} bytes:"
                " leave out what the plugin does not need",
                self.source,
            )

    def _parts(self, path: str, entry: Entry) -> list[str]:
        parts = [part for part in path.split("/") if part not in {"", "."}]
        if ".." in parts:
            raise self._refused(
                entry, 'its path or hard link has "..", which may lead out: pack the tar without it'
            )
        return parts

    def _write_entry(self, entry: Entry, parts: list[str]) -> None:
        if entry.kind not in {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}:
            self.dropped.append(entry.path)
            return
        if not parts:
            return  # the root itself, which exists
        self._make_parents(entry, parts[:-1])
        path = os.path.join(self.root, *parts)
        if entry.kind == stat.S_IFDIR:
            self._make_directory(entry, "/".join(parts), path)
            return
        self._remove(entry, "/".join(parts), path)
        if entry.kind == stat.S_IFLNK:
            os.symlink(entry.link, path)
            self._own(entry, path)
        elif entry.link:
            target = self._parts(entry.link, entry)
            self._make_parents(entry, target[:-1])
            os.link(os.path.join(self.root, *target), path, follow_symlinks=False)
        else:
            self._write(entry, path)
            self._finish(path, entry)

    def _make_parents(self, entry: Entry, parts: list[str]) -> None:
        for end in range(1, len(parts) + 1):
            name = "/".join(parts[:end])
            if name in self._directories:
                continue
            path = os.path.join(self.root, name)
            try:
                os.mkdir(path, 0o755)
            except FileExistsError:
                if not stat.S_ISDIR(os.lstat(path).st_mode):
                    raise self._refused(
                        entry, f"{quoted(name)} is a link or a file, not a directory"
                    ) from None
            self._directories[name] = None

    def _make_directory(self, entry: Entry, name: str, path: str) -> None:
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise self._refused(entry, "there is already a link or a file at its path")
        self._directories[name] = entry

    def _remove(self, entry: Entry, name: str, path: str) -> None:
        if name in self._directories:
            raise self._refused(entry, "there is already a directory at its path")
        with suppress(FileNotFoundError):
            os.unlink(path)

    def _write(self, entry: Entry, path: str) -> None:
        left = entry.size
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with entry.open() as source, os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            while left and (chunk := source.read(min(CHUNK_BYTES, left))):
                file.write(chunk)
                left -= len(chunk)
        if left:
            raise self._refused(entry, "it is cut off")

    def _own(self, entry: Entry, path: str) -> None:
        if os.geteuid() == 0:
            os.chown(path, entry.uid, entry.gid, follow_symlinks=False)

    def _finish(self, path: str, entry: Entry) -> None:
        self._own(entry, path)
        os.chmod(path, entry.mode)
        with suppress(OverflowError, ValueError, OSError):  # a time out of range here
            os.utime(path, (entry.mtime, entry.mtime))


def open_tar(path: str) -> BinaryIO:
    """Open the tar file at ``path`` without waiting; raise ``SpecError`` if that fails."""
    try:
        descriptor = os.open(path, _at_once())
    except OSError as error:
        raise SpecError(shown(error.strerror), path) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SpecError("it is neither a directory nor a file: name a tar or a directory", path)
    return os.fdopen(descriptor, "rb")


def packed_size(directory: str) -> int:
    """Return how many bytes ``packed`` yields for ``directory``.

    Raises ``SpecError`` if there are more than ``MAX_BYTES``, or a file cannot be read.
    """
    sizes = (_header_and_size(name, entry) for name, entry in _packable(directory))
    total = sum(len(header) + _padded(size) for header, size in sizes) + 2 * _BLOCK
    if total > MAX_BYTES:
        raise SpecError(
            f"it has {total:,} bytes, more than {MAX_BYTES:,}: leave out what the plugin does not"
            " need",
            directory,
        )
    return total


def remove_tree(path: str) -> None:
    """Remove the directory ``path``, even if it has directories without write permission."""
    for parent, names, _ in os.walk(path):
        for name in names:
            inner = os.path.join(parent, name)
            if not os.path.islink(inner):
                with suppress(OSError):
                    os.chmod(inner, 0o700)
    shutil.rmtree(path, ignore_errors=True)


def packed(directory: str) -> Iterator[bytes]:
    """Yield ``config.json`` and ``rootfs`` of ``directory`` as a tar, in chunks.

    Owners are kept, except that files of this process's user, unless that is root, belong to root
    in the tar. Raises ``SpecError`` for a file that cannot be read.
    """
    for name, entry in _packable(directory):
        header, size = _header_and_size(name, entry)
        yield header
        if size:
            yield from _content(name, entry)
            yield bytes(_padded(size) - size)
    yield bytes(2 * _BLOCK)


def _packable(directory: str) -> Iterator[tuple[str, Entry]]:
    count = 0
    try:
        os.lstat(directory)
        for name in (CONFIG, ROOTFS):
            path = os.path.join(directory, name)
            kind = stat.S_IFDIR if name == ROOTFS else stat.S_IFREG
            try:
                status = os.lstat(path)
            except FileNotFoundError:
                status = None
            if status is None or stat.S_IFMT(status.st_mode) != kind:
                what = "there is no" if status is None else "this is not a"
                raise SpecError(
                    f"{what} {name} as `moby-plugins package` makes it: run that first", path
                )
            yield (
                name,
                Entry(
                    path=name,
                    kind=kind,
                    mode=stat.S_IMODE(status.st_mode),
                    uid=status.st_uid,
                    gid=status.st_gid,
                    mtime=status.st_mtime,
                    size=status.st_size if kind == stat.S_IFREG else 0,
                    open=partial(open_file, path),
                ),
            )
        for entry in entries_of_directory(os.path.join(directory, ROOTFS)):
            count += 1
            if count > MAX_ENTRIES:
                raise SpecError(f"it has more than {MAX_ENTRIES:,} entries", directory)
            if entry.kind in {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}:
                yield f"{ROOTFS}/{entry.path}", entry
    except OSError as error:
        raise SpecError(shown(error.strerror or error), str(error.filename or directory)) from error


def _header_and_size(name: str, entry: Entry) -> tuple[bytes, int]:
    info = tarfile.TarInfo(name)
    info.mode, info.mtime, info.size = entry.mode, int(entry.mtime), entry.size
    own = os.geteuid()
    info.uid = 0 if own and entry.uid == own else entry.uid
    info.gid = 0 if own and entry.uid == own else entry.gid
    if entry.kind == stat.S_IFDIR:
        info.type = tarfile.DIRTYPE
    elif entry.kind == stat.S_IFLNK:
        info.type, info.linkname = tarfile.SYMTYPE, entry.link
    elif entry.link:
        info.type, info.linkname = tarfile.LNKTYPE, f"{ROOTFS}/{entry.link}"
    header = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    return header, entry.size


def _content(name: str, entry: Entry) -> Iterator[bytes]:
    left = entry.size
    try:
        with entry.open() as file:
            while left and (chunk := file.read(min(CHUNK_BYTES, left))):
                yield chunk
                left -= len(chunk)
    except OSError as error:
        raise SpecError(shown(error.strerror or error), name) from error
    if left:
        raise SpecError("it became shorter while it was packed: try again", name)


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
