"""What bytes of others take in memory and time, at both ends: ``make bounds``.

Each case runs in a process of its own: what the process has at most is asked of the kernel, before
and after. Exits with 1 where a bound is missed. Time is that of the processor, the best of three,
beside that of ``json.loads`` for the same bytes.
"""

import argparse
import gc
import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import field, frozen

from moby_plugins.app import wire
from moby_plugins.domain.errors import WireError
from moby_plugins.domain.http import Request
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import Volume, VolumeDriver, remote

MIB = 1 << 20
MAX_MEMORY = 256 * MIB
MAX_TIMES = 3.0
# For machines that do something else too, and for what takes so little that it tells nothing.
SLACK, LEAST_SECONDS = 1.5, 0.02


@frozen
class Volumes:
    """An answer to List, as a host reads it."""

    volumes: tuple[Volume, ...] = field(metadata={"wire": "Volumes"})


class Reader(VolumeDriver):
    """A plugin of one method, which takes anything."""

    @remote()
    def take(self, items: list[Any]) -> None:
        raise NotImplementedError


class Taking(Reader):
    """The plugin's end of it."""

    def take(self, items: list[Any]) -> None:
        """Nothing is done with it."""


def plain(body: bytes) -> bool:
    """Decode ``body`` as a host decodes any response; whether it was within the bounds."""
    try:
        wire.decode(body)
    except WireError:
        return False
    return True


def as_volumes(body: bytes) -> bool:
    """The same, into values of a type."""
    try:
        wire.decode(body, Volumes)
    except WireError:
        return False
    return True


def as_arguments(body: bytes) -> bool:
    """The plugin's end: a request in chunks, read by a method."""
    app = PluginApp(Taking())
    file = io.BytesIO(body)
    chunks = iter(lambda: file.read(1 << 16), b"")
    return app(Request("VolumeDriver.Take", chunks)).status == 200


def real_volumes(count: int) -> bytes:
    """A List of so many volumes."""
    volumes = [
        {
            "Name": f"volume-{n:012x}",
            "Mountpoint": f"/var/lib/plugins/volumes/volume-{n:012x}/_data",
            "CreatedAt": "2024-01-01T00:00:00Z",
            "Status": {"size": "10G", "used": n, "host": "node-1"},
        }
        for n in range(count)
    ]
    return json.dumps({"Volumes": volumes, "Err": ""}).encode()


def chains(count: int) -> bytes:
    """Objects of one key each, all different, nested to the limit."""
    chain = (
        "".join('{"%x":' % (n * 198 + level) for level in range(198)) + "0" + "}" * 198
        for n in range(count // 199)
    )
    return f"[{','.join(chain)}]".encode()


def items(item: bytes, count: int, key: bytes = b"Volumes") -> bytes:
    """So many of the same."""
    return b'{"%b":[' % key + (item + b",") * (count - 1) + item + b"]}"


# By name: who reads it, what is read at a scale from 0 to 1, and whether it is within the bounds.
CASES: dict[str, tuple[Callable[[bytes], bool], Callable[[float], bytes], bool]] = {
    "1,000,000 empty objects": (plain, lambda s: items(b"{}", int(999_998 * s)), True),
    "1,000,000 empty arrays": (plain, lambda s: items(b"[]", int(999_998 * s)), True),
    "1,000,000 empty strings": (plain, lambda s: items(b'""', int(999_998 * s)), True),
    "1,000,000 numbers": (plain, lambda s: items(b"1.25", int(999_998 * s)), True),
    "1,000,000 strings of 60 bytes": (
        plain,
        lambda s: items(b'"%b"' % (b"x" * 60), int(999_998 * s)),
        True,
    ),
    "different keys, nested": (plain, lambda s: chains(int(999_000 * s)), True),
    "arrays nested to the limit": (
        plain,
        lambda s: items(b"[" * 198 + b"]" * 198, int(5000 * s)),
        True,
    ),
    "64 MiB of text": (plain, lambda s: b'["%b"]' % (b"x" * int(64 * MIB * s - 4)), True),
    "64 MiB of commas in text": (plain, lambda s: b'["%b"]' % (b"," * int(64 * MIB * s - 4)), True),
    "64 MiB of text with one rare character": (
        plain,
        lambda s: b'["%b\xf0\x9f\x98\x80"]' % (b"x" * int(64 * MIB * s - 8)),
        True,
    ),
    "the same, escaped": (
        plain,
        lambda s: b'["%b\\ud83d\\ude00"]' % (b"x" * int(64 * MIB * s - 16)),
        True,
    ),
    "60 MiB of rare characters": (
        plain,
        lambda s: b'["%b"]' % (b"\xf0\x9f\x98\x80" * int(15 * MIB * s)),
        True,
    ),
    "100,000 volumes": (plain, lambda s: real_volumes(int(100_000 * s)), True),
    "16 MiB of empty objects": (plain, lambda s: items(b"{}", int(5_592_400 * s)), False),
    "64 MiB of zeros": (plain, lambda s: items(b"0", int(33_554_000 * s)), False),
    "1,000,000 empty volumes": (as_volumes, lambda s: items(b"{}", int(999_998 * s)), True),
    "100,000 volumes, as values": (as_volumes, lambda s: real_volumes(int(100_000 * s)), True),
    "1,000,000 empty objects as an argument": (
        as_arguments,
        lambda s: items(b"{}", int(999_998 * s), b"Items"),
        True,
    ),
    "8 MiB of empty objects as an argument": (
        as_arguments,
        lambda s: items(b"{}", int(2_796_000 * s), b"Items"),
        False,
    ),
}


@frozen
class Measured:
    """What a case came to: bytes and seconds."""

    name: str
    size: int
    memory: int
    seconds: float
    loads: float
    fits: bool

    def problems(self, *, scale: float) -> list[str]:
        """What is not as it must be."""
        reader, _, fits = CASES[self.name]
        found = []
        if self.memory > MAX_MEMORY + 2 * self.size:
            found.append(f"{self.name}: {self.memory / MIB:.0f} MiB")
        if scale == 1 and self.fits is not fits:
            found.append(f"{self.name}: {'refused' if fits else 'not refused'}")
        # To make values of a type takes what their type takes.
        timed = reader is not as_volumes and self.seconds > LEAST_SECONDS
        if scale == 1 and timed and self.seconds > MAX_TIMES * SLACK * self.loads:
            found.append(f"{self.name}: {self.seconds / self.loads:.1f} times json.loads")
        return found


def measure(name: str, scale: float) -> Measured:
    """One case, in a process of its own."""
    command = [sys.executable, "-m", "tests.bounds.run", "--case", name, "--scale", str(scale)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Measured(**json.loads(done.stdout))


def in_this_process(name: str, scale: float) -> dict[str, Any]:
    """The same here; to be called once, for a process never has less than it had at most."""
    read, make, _ = CASES[name]
    plain(b"{}")
    body = make(scale)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = _memory("VmRSS")
    fits = read(body)
    memory = _memory("VmHWM") - before
    seconds = min(_seconds(lambda: read(body)) for _ in range(3))
    loads = min(_seconds(lambda: json.loads(body)) for _ in range(3))
    return {
        "name": name,
        "size": len(body),
        "memory": memory,
        "seconds": seconds,
        "loads": loads,
        "fits": fits,
    }


def _memory(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(key))


def _seconds(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def report(measured: list[Measured]) -> str:
    """For people: ``docs/bounds.md``."""
    rows = [
        f"| {it.name} | {it.size / MIB:.1f} | {it.memory / MIB:.0f}"
        f" | {MAX_MEMORY // MIB + 2 * it.size / MIB:.0f} | {it.seconds:.2f} | {it.loads:.2f}"
        f" | {'read' if it.fits else 'refused'} |"
        for it in measured
    ]
    head = """# Bounds

Written by `make bounds`: what bytes of others take, each in a process of its own.
Memory is beside that of the bytes themselves; time is the processor's. What is read into
values of a type also takes what making them takes.

| what is read | MiB | memory, MiB | at most | seconds | `json.loads` | |
|---|---|---|---|---|---|---|
"""
    return head + "\n".join(rows) + "\n"


def main() -> int:
    """Measure all cases, or one for the process that asks."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--case", choices=CASES)
    options.add_argument("--scale", type=float, default=1.0)
    options.add_argument("--report", type=Path)
    given = options.parse_args()
    if given.case:
        print(json.dumps(in_this_process(given.case, given.scale)))
        return 0
    measured = [measure(name, given.scale) for name in CASES]
    text = report(measured)
    print(text)
    if given.report:
        given.report.write_text(text)
    problems = [problem for it in measured for problem in it.problems(scale=given.scale)]
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
