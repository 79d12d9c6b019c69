"""The Go host, built from a Debian package, as a process that does rounds of work."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from benchmarks.contest import Side

SOURCE = Path(__file__).with_name("moby")
GOPATH = Path("/usr/share/gocode")
PACKAGE = GOPATH / "src/github.com/docker/docker/pkg/plugins"


class GoHost:
    """A process that reads orders from its input and prints how long each took."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    @staticmethod
    def built(directory: Path) -> Path:
        """Build the program in ``directory`` and return its path; raise if that fails."""
        program = directory / "moby"
        # Without debug information, which cannot cover the names that main.go links to.
        command = ["go", "build", "-ldflags=-w", "-o", str(program), "."]
        environment = {"GO111MODULE": "off", "GOPATH": str(GOPATH), "GOFLAGS": ""}
        cache = {"GOCACHE": str(directory / "cache")}
        subprocess.run(  # noqa: S603  our own
            command, cwd=SOURCE, env=os.environ | environment | cache, check=True
        )
        return program

    @classmethod
    @contextmanager
    def running(cls, program: Path) -> Iterator[Self]:
        """Run the program as a process, which is stopped at the end."""
        with subprocess.Popen(  # noqa: S603  our own
            [str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        ) as process:
            yield cls(process)
            assert process.stdin is not None
            process.stdin.close()

    @staticmethod
    def order(op: str, where: Path, **order: Any) -> str:
        """Return the line of input that orders one round of ``op``."""
        return json.dumps({"Op": op, "Where": str(where), **order}) + "\n"

    def side(self, op: str, where: Path, **order: Any) -> Side:
        """Return a side of a contest that does one round of ``op``."""
        line = self.order(op, where, **order)

        def side() -> float:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(line)
            report = json.loads(self._process.stdout.readline())
            if report["Error"]:
                raise RuntimeError(f"the Go host: {report['Error']}")
            return float(report["Nanoseconds"]) / 1e9

        return side


def installed() -> bool:
    """Return whether the Debian package is installed."""
    return PACKAGE.is_dir()
