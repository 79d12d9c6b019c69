"""Packaging of managed plugins: write a directory, check it, and send it to an engine.

``package`` puts a root file system, an app and ``config.json`` together. It runs the app inside
that root file system to learn what the app implements, which also proves that all imports work
there.
"""

import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import BinaryIO

from attrs import evolve, frozen

from moby_plugins.adapters.disk.inside import Ran, run_inside
from moby_plugins.adapters.disk.plugin_files import find_python, read_plugin_config, seen_files
from moby_plugins.adapters.disk.root_filesystem import (
    Entry,
    EntryWriter,
    entries_of_directory,
    entries_of_tar,
    open_file,
    open_tar,
    packed,
    packed_size,
    remove_tree,
)
from moby_plugins.adapters.engine import connect
from moby_plugins.adapters.plugin_upload import create_plugin, negotiated_version
from moby_plugins.app.config import connect_by_scheme
from moby_plugins.app.settings import Settings
from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import SettingsError, SpecError, TransportError
from moby_plugins.domain.findings import Finding
from moby_plugins.domain.packaging import judged
from moby_plugins.domain.plugin_config import (
    CONFIG,
    DESCRIBE,
    MOUNTING,
    PATH,
    ROOTFS,
    SOCKETS,
    Description,
    Wanted,
    check_reference,
    short_name,
    socket_for,
)
from moby_plugins.domain.text import listed, quoted, shown
from moby_plugins.platforms import check_platform

# The directory of the app's program and sources; ``python3 /app`` finds modules there first.
APP = "app"
# Seconds for the app to describe itself, and for compiling all bytecode.
DESCRIBE_TIMEOUT, COMPILE_TIMEOUT = 60.0, 600.0
ENGINE = "unix:///var/run/docker.sock"
# Seconds for an engine to create a plugin.
CREATE_TIMEOUT = 900.0
# Directories that the container runtime mounts on, or that a plugin writes to.
_DIRECTORIES = ("dev", "proc", "sys", "tmp", SOCKETS)
_ENVIRON = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/", "PYTHONDONTWRITEBYTECODE": "1"}
_MAIN = """from moby_plugins.serving import serve_managed
from {module} import {first}

serve_managed({path}, {name!r})
"""
# Unchecked, because a managed plugin's files do not change: Python need not read the sources.
_COMPILE = """
import compileall, py_compile, sys
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
for path in sys.path[1:] + ["/app"]:
    compileall.compile_dir(path, quiet=2, invalidation_mode=mode)
"""
_STANDARD_INPUT = "-"
# How many of the last lines of a failed program's standard error are examined.
_LAST_LINES = 12

Say = Callable[[str], object]


@frozen(kw_only=True)
class Package:
    """The instructions for packaging ``app``, given as ``MODULE:APP``, into the directory ``out``.

    ``rootfs`` is a directory or a tar file, or "-" for a tar on standard input. ``sources`` are
    files and directories to copy to the directory from which the app is imported. ``program`` is a
    command in the root file system that calls ``serve_managed``; without it, one is written for
    ``app``. ``wanted`` has the values of ``config.json`` that are not derived from the app.
    ``mounts_nothing`` means that a volume driver needs no ``propagatedMount``.
    """

    app: str
    rootfs: str
    out: str
    wanted: Wanted
    python: str = ""
    program: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    mounts_nothing: bool = False


def package(options: Package, say: Say = lambda _: None) -> tuple[Finding, ...]:
    """Write the directory ``options.out``, and return the findings about it.

    ``say`` is called with a text for each step. Raise ``SpecError`` or ``SettingsError`` if the
    plugin cannot be packaged: then the directory is removed. It is kept if there are findings.
    """
    check_platform("packaging a managed plugin")
    with _new_directory(options) as directory:
        root = os.path.join(directory, ROOTFS)
        say(f"laying out {options.rootfs}")
        dropped = _lay_out(options, root)
        if dropped:
            say(f"left out: {len(dropped)} devices, sockets and FIFOs")
        python = options.python or find_python(root)
        program = options.program or (_python_path(python, options), f"/{APP}")
        say("asking the app what it implements, inside")
        description = _described(options, root, program)
        wanted = evolve(
            options.wanted,
            kinds=description.implements,
            socket=description.socket,
            entrypoint=program,
        )
        _check_propagation(options, wanted)
        if python is not None:
            say("compiling bytecode, inside")
            _compile(root, python)
        with open(os.path.join(directory, CONFIG), "x", encoding="utf-8") as file:
            file.write(json.dumps(wanted.as_json(), indent=2) + "\n")
        return judge(directory)


def judge(directory: str) -> tuple[Finding, ...]:
    """Return the findings about the managed plugin in ``directory``, which any tool may have made.

    Raise ``SpecError`` if there is no such directory.
    """
    check_platform("packaging a managed plugin")
    if not os.path.isdir(directory):
        raise SpecError("there is no such directory", directory)
    config = read_plugin_config(directory)
    return judged(config, seen_files(directory, config))


@contextmanager
def _new_directory(options: Package) -> Iterator[str]:
    out = os.path.abspath(options.out)
    if os.path.isdir(options.rootfs):
        source = os.path.realpath(options.rootfs)
        if os.path.commonpath([source, os.path.realpath(out)]) == source:
            raise SpecError(
                "this directory lies in the root file system to copy: choose another with --out",
                out,
            )
    try:
        os.mkdir(out, 0o700)
    except FileExistsError as error:
        raise SpecError(
            "this path exists already: remove it, or choose another with --out", out
        ) from error
    except OSError as error:
        raise SpecError(f"this directory cannot be made: {shown(error.strerror)}", out) from error
    try:
        os.mkdir(os.path.join(out, ROOTFS), 0o755)
        yield out
    except BaseException as error:
        remove_tree(out)
        if isinstance(error, OSError):
            why = shown(error.strerror or error)
            raise SpecError(f"this directory cannot be written: {why}", out) from error
        raise


def _lay_out(options: Package, root: str) -> list[str]:
    writer = EntryWriter(root, options.rootfs)
    if os.path.isdir(options.rootfs):
        writer.write_all(entries_of_directory(options.rootfs))
    else:
        with _tar(options.rootfs) as file:
            writer.write_all(entries_of_tar(file, options.rootfs))
    for source in options.sources:
        writer.source = source
        writer.write_all(_sources(source))
    if not options.program:
        writer.source = options.app
        writer.write_all([_main(options)])
    own = filter(None, (options.wanted.propagated_mount,))
    for path in (*_DIRECTORIES, *own, *(mount.destination for mount in options.wanted.mounts)):
        writer.ensure(path)
    writer.finish()
    return writer.dropped


@contextmanager
def _tar(path: str) -> Iterator[BinaryIO]:
    if path == _STANDARD_INPUT:
        yield sys.stdin.buffer
        return
    with open_tar(path) as file:
        yield file


def _main(options: Package) -> Entry:
    module, _, path = options.app.partition(":")
    name = socket_for(options.wanted.reference).removesuffix(".sock")
    text = _MAIN.format(module=module, first=path.partition(".")[0], path=path, name=name)
    return _file_entry(f"{APP}/__main__.py", text)


def _file_entry(path: str, text: str) -> Entry:
    from io import BytesIO

    data = text.encode()
    return Entry(
        path=path,
        kind=stat.S_IFREG,
        mode=0o644,
        uid=0,
        gid=0,
        mtime=0.0,
        size=len(data),
        open=partial(BytesIO, data),
    )


def _sources(source: str) -> Iterator[Entry]:
    path = os.path.abspath(source)
    name = os.path.basename(path)
    status = os.stat(path)
    if not stat.S_ISDIR(status.st_mode):
        yield Entry(
            path=f"{APP}/{name}",
            kind=stat.S_IFREG,
            mode=0o644,
            uid=0,
            gid=0,
            mtime=status.st_mtime,
            size=status.st_size,
            open=partial(open_file, os.path.realpath(path)),
        )
        return
    for entry in entries_of_directory(path):
        if "__pycache__" not in entry.path.split("/"):
            link = f"{APP}/{name}/{entry.link}" if entry.kind == stat.S_IFREG else entry.link
            link = link if entry.link else ""
            yield evolve(entry, path=f"{APP}/{name}/{entry.path}", link=link, uid=0, gid=0)


def _python_path(python: str | None, options: Package) -> str:
    if python is None:
        raise SpecError(
            "there is no python3 in this root file system: install one there, name it with"
            " --python, or name with --entrypoint a program that calls serve_managed",
            options.rootfs,
        )
    return python


def _described(options: Package, root: str, program: tuple[str, ...]) -> Description:
    ran = run_inside(root, program, {**_ENVIRON, DESCRIBE: "1"}, DESCRIBE_TIMEOUT)
    description = Description.found(ran.stdout)
    if description is not None:
        return description
    if ran.status is None:
        raise SpecError(
            f"{shown(program[0])} did not say within {DESCRIBE_TIMEOUT:g} s what it implements:"
            " it must call moby_plugins.serving.serve_managed(app)",
            options.rootfs,
        )
    raise SpecError(_why_not(options, program, ran), options.rootfs)


def _why_not(options: Package, program: tuple[str, ...], ran: Ran) -> str:
    lines = [line for line in ran.stderr.splitlines() if line.strip()][-_LAST_LINES:]
    last = shown(lines[-1]) if lines else f"it ended with status {ran.status}"
    where = f"the app does not run in this root file system: {last}"
    module = options.app.partition(":")[0].partition(".")[0]
    if f"No module named '{module}'" in last:
        return f"{where}; copy it there with --source, or install it in the root file system"
    if "No module named" in last or "pip install" in last:
        return f"{where}; install that into the root file system (pip install --target)"
    if not lines:
        return f"{where}; {shown(program[0])} must call moby_plugins.serving.serve_managed(app)"
    return where


def _compile(root: str, python: str) -> None:
    # A file that cannot be compiled is ignored: it may be a test of a syntax error.
    environ = {**_ENVIRON, "PYTHONDONTWRITEBYTECODE": ""}
    ran = run_inside(root, (python, "-c", _COMPILE), environ, COMPILE_TIMEOUT)
    if ran.status is None:
        raise SpecError(
            f"the bytecode was not compiled within {COMPILE_TIMEOUT:g} s: leave out what the"
            " plugin does not need",
            root,
        )
    if ran.status:
        raise SpecError(f"the bytecode cannot be compiled: {shown(ran.stderr[-300:])}", root)


def _check_propagation(options: Package, wanted: Wanted) -> None:
    kinds = sorted({kind.lower() for kind in wanted.kinds} & MOUNTING)
    if kinds and not wanted.propagated_mount and not options.mounts_nothing:
        raise SettingsError(
            f"the app is a {listed(kinds)}: name the directory below which it keeps or mounts its"
            f" volumes, such as --propagated-mount /var/lib/{short_name(wanted.reference)}, or say"
            " that it mounts nothing, with --no-propagated-mount"
        )


def check_app(text: str) -> str:
    """Return ``text``; raise ``SettingsError`` if it is not of the form ``MODULE:APP``."""
    module, colon, path = text.partition(":")
    names = [*module.split("."), *path.split(".")]
    if not colon or not all(name.isidentifier() for name in names):
        raise SettingsError(f"{quoted(text)} is not of the form MODULE:APP, such as plugin:app")
    return text


def package_size(directory: str) -> int:
    """Return how many bytes are sent to an engine for the plugin in ``directory``.

    Raise ``SpecError`` if the directory cannot be read.
    """
    return packed_size(directory)


def create(
    directory: str,
    reference: str,
    settings: Settings,
    follow: Callable[[int], object] = lambda _: None,
) -> None:
    """Create the plugin in ``directory`` in an engine, as ``docker plugin create`` does.

    The engine is that of ``settings``, or else the one at ``/var/run/docker.sock``. ``follow`` is
    called with the number of bytes sent so far, of ``package_size(directory)``. Raise ``SpecError``
    if the directory cannot be read, ``TransportError`` if the engine does not respond, and
    ``StatusError`` if it refuses the plugin.
    """
    check_platform("packaging a managed plugin")
    check_reference(reference)
    engine, tls = Address(settings.engine or ENGINE), settings.engine_tls
    with closing(connect(engine, tls)) as asking:
        version = negotiated_version(asking, engine, settings.activation_timeout)
    transport = connect_by_scheme(settings)(engine, tls)
    try:
        size = packed_size(directory)
        chunks = _followed(directory, size, follow)
        create_plugin(transport, version, reference, chunks, size=size, timeout=CREATE_TIMEOUT)
    except TransportError as error:
        error.address = error.address or engine.text
        raise
    finally:
        transport.close()


def _followed(directory: str, size: int, follow: Callable[[int], object]) -> Iterator[bytes]:
    sent = 0
    for chunk in packed(directory):
        sent += len(chunk)
        if sent > size:
            break
        yield chunk
        follow(sent)
    if sent != size:
        raise SpecError("this directory changed while it was sent: try again", directory)
