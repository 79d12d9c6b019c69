"""A root file system made of the running Python: the interpreter, its libraries, and this library.

For tests of packaging, which need one in a few seconds and without a network.
"""

import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

# What of the standard library no plugin needs, and is large.
_LEFT_OUT = {
    *("test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "pydoc_data"),
    *("site-packages", "__pycache__", "distutils", "unittest", "venv"),
}
_REQUIREMENT = re.compile(r"[\w.-]+")


def python_root(root: Path) -> None:
    """Lay it out at ``root``, which is made; this library is there with the extra ``serve``."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    executable = Path(sys.executable).resolve()
    _copy(executable, root / "usr/bin/python3")
    # Where it looks for its library: beside itself, or as it was built.
    inside = root / stdlib.relative_to("/")
    shutil.copytree(stdlib, inside, symlinks=True, ignore=_ignored)
    packages = inside / "site-packages"
    packages.mkdir()
    for name in _needed("moby-plugins", "serve"):
        for file in distribution(name).files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                _copy(Path(str(file.locate())), packages / str(file))
    binaries = [executable, *root.rglob("*.so"), *root.rglob("*.so.*")]
    for library in {library for binary in binaries for library in _libraries(binary)}:
        _copy(Path(library), root / library.lstrip("/"))


def _ignored(directory: str, names: list[str]) -> list[str]:
    return [name for name in names if name in _LEFT_OUT or name.startswith("config-")]


def _needed(name: str, extra: str) -> Iterator[str]:
    waiting, seen = [(name, extra)], {name}
    while waiting:
        name, extra = waiting.pop()
        yield name
        for line in distribution(name).requires or ():
            requirement, _, marker = line.partition(";")
            match = _REQUIREMENT.match(requirement)
            assert match is not None, line
            wanted = not marker or f"extra == '{extra}'" in marker.replace('"', "'")
            if wanted and match[0] not in seen:
                seen.add(match[0])
                waiting.append((match[0], ""))


def _libraries(binary: Path) -> list[str]:
    command = ["/usr/bin/env", "ldd", str(binary)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return re.findall(r"(/\S+) \(0x", done.stdout)


def _copy(source: Path, target: Path) -> None:
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
