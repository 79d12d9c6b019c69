"""What is observed of a plugin's directory: above all its program, and files around it."""

import json
import os
import socket
import struct
import sys
from pathlib import Path
from typing import Any

import pytest

from moby_plugins.adapters.disk.plugin_files import find_python, read_plugin_config, seen_files
from moby_plugins.domain.packaging import FileObservations, Program

LOADER = "/lib64/ld.so"


def elf(machine: int = 62, loader: str = LOADER, *, wide: bool = True, order: str = "<") -> bytes:
    """The head of a program, with one segment that names its loader."""
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    size, start = (64, 56) if wide else (52, 32)
    place, name = size + start, loader.encode() + b"\0"
    if wide:
        head = struct.pack(
            f"{order}HHIQQQIHHHHHH", 2, machine, 1, 0, size, 0, 0, size, start, 1, 0, 0, 0
        )
        segment = struct.pack(f"{order}IIQQQQQQ", 3, 4, place, 0, 0, len(name), len(name), 1)
    else:
        head = struct.pack(
            f"{order}HHIIIIIHHHHHH", 2, machine, 1, 0, size, 0, 0, size, start, 1, 0, 0, 0
        )
        segment = struct.pack(f"{order}IIIIIIII", 3, place, 0, 0, len(name), len(name), 4, 1)
    return ident + head + segment + name


@pytest.fixture
def root(short_path: Path) -> Path:
    """A root file system with a loader in it, beside which a configuration can stand."""
    path = short_path / "rootfs"
    executable(path / LOADER[1:], b"x")
    return path


def executable(path: Path, content: bytes) -> Path:
    """A file that can be executed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def see(root: Path, *entrypoint: str, **config: Any) -> FileObservations:
    """What is seen of the plugin in the parent of ``root``."""
    written = {"entrypoint": entrypoint, **config}
    (root.parent / "config.json").write_text(json.dumps(written))
    directory = str(root.parent)
    return seen_files(directory, read_plugin_config(directory))


def program(root: Path, *entrypoint: str, **config: Any) -> Program:
    """What is seen of its program."""
    seen = see(root, *entrypoint, **config).program
    assert seen is not None
    return seen


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_machine_and_the_loader_of_a_program_are_read_from_its_elf_header(
    root: Path, bits: int, order: str
) -> None:
    """This works for 32 and 64 bits in either order of bytes; a missing loader is a concern."""
    executable(root / "x", elf(183, wide=bits == 64, order=order))
    executable(root / "y", elf(183, "/lib/none.so", wide=bits == 64, order=order))

    assert program(root, "/x") == Program("/x", machine="aarch64")
    assert program(root, "/y").concern == "needs '/lib/none.so', which is not in rootfs"


@pytest.mark.parametrize(
    ("content", "concern"),
    [
        (b"", "is neither a program of Linux nor a script"),
        (b"MZ", "is neither a program"),
        (b"\x7fELF", "is cut off or damaged"),
        (b"\x7fELF" + bytes([9] * 60), "is cut off or damaged"),
        (elf()[:40], "is cut off or damaged"),
        (b"#!", "which is missing"),
        (b"#!/bin/sh\n", "needs '/bin/sh', which is not in rootfs"),
        (b"#!/x\r\n", r"needs '/x\r', which is not in rootfs"),
        (b"#!/x\n", "is a script whose interpreter is itself a script of a script"),
        (b"#! /lib64/ld.so\n", "needs '/lib64/ld.so', which is neither a program"),
    ],
)
def test_a_program_that_the_kernel_would_not_run_is_a_concern(
    root: Path, content: bytes, concern: str
) -> None:
    """It may be no program, be damaged, or be a script without its interpreter."""
    executable(root / "x", content)

    assert concern in program(root, "/x").concern


def test_a_script_can_be_run_if_its_interpreter_can(root: Path) -> None:
    """The interpreter may have arguments, and be found through links."""
    executable(root / "usr/bin/python3", elf())
    (root / "bin").symlink_to("usr/bin")
    executable(root / "x", b"#!/bin/python3 -E\nprint()\n")

    assert program(root, "/x") == Program("/x", machine="x86_64")


def test_symbolic_links_are_resolved_inside_the_root_file_system(root: Path) -> None:
    """Absolute links and ``..`` never lead out of it, and a circle of links is "not in rootfs"."""
    executable(root / "usr/x", elf())
    (root / "absolute").symlink_to("/usr/x")
    (root / "out").symlink_to("../../../../usr/x")
    (root / "loop").symlink_to("loop")
    (root / "host").symlink_to("/etc/passwd")
    (root / "deep").symlink_to("deep/deep")

    for name in ("/absolute", "/out", "/../../usr/x", "usr/../usr/./x"):
        assert program(root, name).concern == ""
    for name in ("/loop", "/host", "/deep", "/usr/x/y", "/nul\0"):
        assert program(root, name).concern == "is not in rootfs"


def test_a_program_that_is_no_file_or_is_not_executable_is_a_concern(root: Path) -> None:
    """A FIFO in its place is not waited for."""
    (root / "plain").write_bytes(elf())
    os.mkfifo(root / "fifo")

    assert program(root, "/plain").concern == "is not executable: chmod +x"
    assert program(root, "/fifo").concern == "is not a file"
    assert program(root, "/lib64").concern == "is not a file"


def test_a_program_without_a_slash_in_its_name_is_searched_for_in_path(root: Path) -> None:
    """The usual directories are searched, or those of PATH in the configuration."""
    executable(root / "usr/local/bin/tini", elf())
    executable(root / "opt/own", elf())

    assert program(root, "tini").concern == ""
    assert "is in none of the directories" in program(root, "own").concern
    assert program(root, "own", env=[{"name": "PATH", "value": "/opt"}]).concern == ""
    assert program(root, "./own", workdir="/opt").concern == ""


def test_a_program_or_loader_that_a_mount_provides_is_not_judged(root: Path) -> None:
    """It is the host's, and is not in the plugin's directory."""
    executable(root / "x", elf(loader="/other/ld.so"))
    mounts = [{"source": "/usr", "destination": "/usr/", "type": "bind"}]
    loader = [{"source": "/lib", "destination": "/other", "type": "bind"}]

    assert program(root, "/usr/bin/x", mounts=mounts) == Program("/usr/bin/x", mounted=True)
    assert program(root, "/x", mounts=loader).concern == ""


def test_sources_of_bind_mounts_that_do_not_exist_are_listed(root: Path) -> None:
    """Sources of other types of mounts need not exist."""
    mounts = [
        {"source": "/none-of-a-test", "destination": "/a", "type": "bind"},
        {"source": str(root), "destination": "/b", "type": "bind"},
        {"source": "tmpfs", "destination": "/c", "type": "tmpfs"},
        {"source": "nul\0", "destination": "/d", "type": "bind"},
    ]

    assert see(root, "/x", mounts=mounts).absent == ("/none-of-a-test", "nul\0")


def test_sockets_and_fifos_in_a_root_file_system_are_listed_as_odd(root: Path) -> None:
    """They are found in any directory, and a loop of links does not hold the search up."""
    os.mkfifo(root / "fifo")
    (root / "loop").symlink_to(".")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(root / "lib64" / "s"))

    assert {*see(root, "/x").odd} == {"fifo", "lib64/s"}


def test_the_number_of_files_that_are_looked_at_is_bounded(root: Path) -> None:
    """The rest of a huge root file system is left out, and ``cut`` says so."""
    for number in range(5):
        (root / str(number)).touch()
    directory = str(root.parent)
    (root.parent / "config.json").write_text("{}")

    seen = seen_files(directory, read_plugin_config(directory), max_looked_at=3)

    assert (seen.looked_at, seen.cut) == (3, True)


def test_a_config_json_that_is_no_small_regular_file_is_refused(short_path: Path) -> None:
    """No FIFO is waited for, no link is followed, and no terabyte is read."""
    path = short_path / "config.json"
    cases = []
    cases.append(read_plugin_config(str(short_path)))
    os.mkfifo(path)
    cases.append(read_plugin_config(str(short_path)))
    path.unlink()
    path.symlink_to("/dev/zero")
    cases.append(read_plugin_config(str(short_path)))
    path.unlink()
    path.touch()
    os.truncate(path, 1 << 40)
    cases.append(read_plugin_config(str(short_path)))

    whats = [case.findings[0].what for case in cases]
    assert not any(case.readable for case in cases)
    assert whats[0] == "it cannot be read: No such file or directory"
    assert whats[1] == "it cannot be read: it is not a regular file"
    assert "symbolic links" in whats[2]
    assert whats[3] == "it has more than 1,048,576 bytes"


def test_the_python_of_a_root_file_system_is_found(root: Path) -> None:
    """A virtual environment in /opt/venv comes first; python3.9 will do if python3 is missing."""
    assert find_python(str(root)) is None
    own = f"{sys.base_prefix}/bin/python3.11"
    executable(root / own[1:], elf())
    assert find_python(str(root)) == own
    # A shorter name comes first, also where the running Python is in this directory itself.
    executable(root / "usr/bin/python3.9", elf())
    (root / "usr/bin/python3").symlink_to("none")
    assert find_python(str(root)) == "/usr/bin/python3.9"
    executable(root / "opt/venv/bin/python3", elf())
    assert find_python(str(root)) == "/opt/venv/bin/python3"
