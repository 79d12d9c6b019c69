"""Examine the directory of a managed plugin, resolving links within its own root file system.

Nothing is run and nothing is changed. A link never leads out of the root file system; files are
opened without following links, and only the first kilobytes of a program are read.
"""

import os
import platform
import re
import stat
import struct
import sys
from collections.abc import Iterator

from attrs import frozen

from moby_plugins.adapters.disk.root_filesystem import open_file
from moby_plugins.domain.packaging import FileObservations, Program
from moby_plugins.domain.plugin_config import (
    CONFIG,
    MAX_CONFIG_BYTES,
    ROOTFS,
    PluginConfig,
    read_config,
    unreadable_config,
)
from moby_plugins.domain.text import quoted, shown

# The most entries of a root file system that are examined for odd ones.
MAX_LOOKED_AT = 200_000
_MAX_LINKS = 40  # as in the kernel
_MAX_SCRIPTS = 4  # scripts whose interpreter is another script
_HEAD_BYTES = 4096
_EXECUTABLE = 0o111
_MACHINES = {
    3: "i386",
    8: "mips",
    21: "ppc64le",
    22: "s390x",
    40: "arm",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
}
# Names of ``platform.machine()``, and the architecture of ELF files that run there.
_ALIKE = {"armv6l": "arm", "armv7l": "arm", "i686": "i386", "i586": "i386", "mips64": "mips"}
# Values in an ELF file: the class for 64 bits, and the type of the segment with the loader.
_WIDE, _PT_INTERP = 2, 3
# Directories to search for Python, virtual environments first.
_PLACES = ("opt/venv/bin", "venv/bin", "usr/local/bin", "usr/bin", "bin")


def read_plugin_config(directory: str) -> PluginConfig:
    """Return the ``config.json`` in ``directory``; if it cannot be read, the result says why."""
    try:
        with open_file(os.path.join(directory, CONFIG)) as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        return unreadable_config(f"it cannot be read: {shown(error.strerror or error)}")
    if len(data) > MAX_CONFIG_BYTES:
        return unreadable_config(f"it has more than {MAX_CONFIG_BYTES:,} bytes")
    return read_config(data)


def seen_files(
    directory: str, config: PluginConfig, max_looked_at: int = MAX_LOOKED_AT
) -> FileObservations:
    """Return what was observed of the plugin's files in ``directory``, whose config is ``config``.

    At most ``max_looked_at`` entries of the root file system are examined.
    """
    root = os.path.join(directory, ROOTFS)
    if os.path.islink(root) or not os.path.isdir(root):  # a link would be packed as a link
        return FileObservations(rootfs=False)
    looked_at, cut, odd = 0, False, []
    for path, kind in _files_below(root):
        looked_at += 1
        if looked_at > max_looked_at:
            looked_at, cut = max_looked_at, True
            break
        if kind not in {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}:
            odd.append(path)
    machine = platform.machine()
    sources = (m["source"] for m in config.mounts if m.get("source") and m.get("type") == "bind")
    return FileObservations(
        rootfs=True,
        program=_entrypoint(root, config),
        machine=_ALIKE.get(machine, machine),
        absent=tuple(source for source in sources if not _exists(source)),
        odd=tuple(odd),
        looked_at=looked_at,
        cut=cut,
    )


def _exists(path: str) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:  # a NUL
        return False


def _files_below(root: str) -> Iterator[tuple[str, int]]:
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            with os.scandir(os.path.join(root, below)) as listing:
                for each in listing:
                    path = os.path.join(below, each.name)
                    kind = stat.S_IFMT(each.stat(follow_symlinks=False).st_mode)
                    yield path, kind
                    if kind == stat.S_IFDIR:
                        waiting.append(path)
        except OSError:
            continue  # unreadable, as another user's may be: not reported as odd


def _entrypoint(root: str, config: PluginConfig) -> Program | None:
    entrypoint = config.texts("entrypoint")
    if not entrypoint or not entrypoint[0]:
        return None
    files = _Inside(root, tuple(m.get("destination") or "" for m in config.mounts))
    name = entrypoint[0]
    if "/" in name:
        workdir = config.fields.get("workdir") or "/"
        return files.program(os.path.join(workdir, name))
    tried = [files.program(os.path.join(directory, name)) for directory in config.path if directory]
    programs = (program for program in tried if program.concern != _MISSING)
    where = ":".join(config.path)
    return next(programs, Program(name, f"is in none of the directories {shown(where)}"))


def find_python(root: str) -> str | None:
    """Return the path of Python 3 inside the root file system at ``root``, ``None`` without one."""
    files = _Inside(root, ())
    # Last, the directory of the running Python: a copy of it may be there.
    for place in (*_PLACES, os.path.join(sys.base_prefix, "bin").lstrip("/")):
        versions = sorted(
            (name for name in _names(root, place) if _PYTHON.fullmatch(name)), key=len
        )
        for name in versions:
            path = f"/{place}/{name}"
            if not files.program(path).concern:
                return path
    return None


def _names(root: str, place: str) -> list[str]:
    try:
        return sorted(os.listdir(os.path.join(root, place)), reverse=True)
    except OSError:
        return []


_INTERPRETER = re.compile(rb"#![ \t]*([^ \t\n]+)")
_PYTHON = re.compile(r"python3(\.\d+)?")
_MISSING = f"is not in {ROOTFS}"


@frozen
class _Inside:
    """A root file system on disk, in which ``program`` examines one program.

    ``mounts`` are the paths at which something else is mounted over it.
    """

    root: str
    mounts: tuple[str, ...]

    def program(self, path: str, level: int = 0) -> Program:
        """Return what was observed of the program at ``path``: why it cannot be run, if so.

        A missing or unreadable file raises nothing: ``concern`` of the result says what is wrong.
        ``level`` is the number of scripts whose interpreter led to this program.
        """
        resolved = self._resolve(path)
        if resolved is None:
            return Program(path, _MISSING)
        if resolved == "":
            return Program(path, mounted=True)
        try:
            status = os.lstat(resolved)
            if not stat.S_ISREG(status.st_mode):
                return Program(path, "is not a file")
            if not status.st_mode & _EXECUTABLE:
                return Program(path, "is not executable: chmod +x")
            with open_file(resolved) as file:
                return self._judged(path, file.read(_HEAD_BYTES), level)
        except OSError as error:
            return Program(path, f"cannot be read: {shown(error.strerror or error)}")

    def _judged(self, path: str, head: bytes, level: int) -> Program:
        if head.startswith(b"\x7fELF"):
            return self._elf(path, head)
        if not head.startswith(b"#!"):
            # A shell would run it as a script, but the kernel does not.
            return Program(path, "is neither a program of Linux nor a script that begins with #!")
        # The kernel splits at spaces and tabs only: a carriage return is part of the name.
        match = _INTERPRETER.match(head)
        name = os.fsdecode(match[1]) if match else ""
        if level == _MAX_SCRIPTS:
            return Program(path, "is a script whose interpreter is itself a script of a script")
        interpreter = self.program(name, level + 1) if name else Program("", "is missing")
        concern = f"needs {quoted(name)}, which {interpreter.concern}"
        return Program(path, concern if interpreter.concern else "", interpreter.machine)

    def _elf(self, path: str, head: bytes) -> Program:
        try:
            machine, loader = _read_elf(head)
        except (struct.error, IndexError, KeyError):
            return Program(path, "is cut off or damaged")
        named = _MACHINES.get(machine, f"machine {machine}")
        if loader and self._resolve(loader) is None:
            return Program(path, f"needs {quoted(loader)}, which {_MISSING}", named)
        return Program(path, "", named)

    def _resolve(self, path: str) -> str | None:
        """Return ``path`` with links followed; "" inside a mount, ``None`` if there is no file."""
        if "\0" in path:
            return None
        at: list[str] = []
        parts = [part for part in path.split("/") if part not in {"", "."}]
        links = 0
        while parts:
            part = parts.pop(0)
            if part == "..":
                at = at[:-1]
                continue
            at.append(part)
            if self._is_mounted("/" + "/".join(at)):
                return ""
            try:
                status = os.lstat(os.path.join(self.root, *at))
                if not stat.S_ISLNK(status.st_mode):
                    continue
                links += 1
                if links > _MAX_LINKS:
                    return None
                target = os.readlink(os.path.join(self.root, *at))
            except OSError:
                return None
            at = [] if target.startswith("/") else at[:-1]
            parts = [each for each in target.split("/") if each not in {"", "."}] + parts
        return os.path.join(self.root, *at)

    def _is_mounted(self, path: str) -> bool:
        return any(path == mount.rstrip("/") for mount in self.mounts if mount != "/")


def _read_elf(head: bytes) -> tuple[int, str]:
    """Return the machine and the loader ("" for none) of an ELF file that begins with ``head``.

    Raises ``struct.error``, ``IndexError`` or ``KeyError`` if the file is cut off or damaged.
    """
    wide = head[4] == _WIDE
    order = {1: "<", 2: ">"}[head[5]]
    (machine,) = struct.unpack_from(f"{order}H", head, 18)
    start = struct.unpack_from(f"{order}{'Q' if wide else 'I'}", head, 32 if wide else 28)[0]
    size, count = struct.unpack_from(f"{order}HH", head, 54 if wide else 42)
    for number in range(count):
        at = start + number * size
        if at + size > len(head):
            break  # beyond the bytes that were read
        (kind,) = struct.unpack_from(f"{order}I", head, at)
        if kind == _PT_INTERP:
            place, length = (
                (
                    struct.unpack_from(f"{order}Q", head, at + 8)[0],
                    struct.unpack_from(f"{order}Q", head, at + 32)[0],
                )
                if wide
                else (
                    struct.unpack_from(f"{order}I", head, at + 4)[0],
                    struct.unpack_from(f"{order}I", head, at + 16)[0],
                )
            )
            return machine, os.fsdecode(head[place : place + length].rstrip(b"\0"))
    return machine, ""
