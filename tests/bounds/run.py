"""The memory and time that decoding foreign JSON takes, for hosts and plugins: ``make bounds``.

Each case runs in a process of its own, on one processor; the kernel reports the memory before and
the peak. Exits with 1 if a bound is exceeded. Time is processor time: the best of several rounds,
in which ``json.loads`` also decodes the same bytes; a case that seems slow gets more rounds.
"""

import argparse
import asyncio
import gc
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import field, frozen

from moby_plugins.aio import AsyncPluginApp, AsyncRequest, AsyncSubsystem
from moby_plugins.app import wire
from moby_plugins.domain.errors import WireError
from moby_plugins.domain.http import Request
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import Volume, VolumeDriver, remote

MIB = 1 << 20
MAX_MEMORY = 256 * MIB
MAX_TIMES = 3.0
# Cases that may take more time, with their bounds and the reason.
_WIDE = "each string may have wide characters, so the JSON is decoded in pieces"
SLOWER = {
    "100,000 volumes with rare characters": (3.5, _WIDE),
    "100,000 volumes with halves and rare characters": (
        4.0,
        f"{_WIDE}, and halves are replaced in each",
    ),
}
# A hundred line ends and halves of surrogate pairs.
HALVES = r"\n\ud800" * 100
# Shorter times are not compared.
LEAST_SECONDS = 0.02
# A case is measured until its time is below this part of its bound, but at most so often.
FAR, MOST_ROUNDS = 0.9, 4


@frozen
class Volumes:
    """A response to List, as a host reads it."""

    volumes: tuple[Volume, ...] = field(metadata={"wire": "Volumes"})


class Reader(VolumeDriver):
    """A subsystem with a method that takes any list."""

    @remote()
    def take(self, items: list[Any]) -> None:
        raise NotImplementedError


class Taking(Reader):
    """The implementation of the subsystem."""

    def take(self, items: list[Any]) -> None:
        """Ignore the argument."""


def plain(body: bytes) -> bool:
    """Decode ``body`` as a host decodes any response; return whether it was accepted."""
    try:
        wire.decode(body)
    except WireError:
        return False
    return True


def as_volumes(body: bytes) -> bool:
    """Decode ``body`` into values of a type; return whether it was accepted."""
    try:
        wire.decode(body, Volumes)
    except WireError:
        return False
    return True


def as_arguments(body: bytes) -> bool:
    """Call a plugin with ``body`` in chunks; return whether it was accepted."""
    app = PluginApp(Taking())
    file = io.BytesIO(body)
    chunks = iter(lambda: file.read(1 << 16), b"")
    return app(Request("VolumeDriver.Take", chunks)).status == 200


class AsyncReader(AsyncSubsystem):
    """The same subsystem for asyncio."""

    interface = "VolumeDriver"

    @remote()
    async def take(self, items: list[Any]) -> None:
        raise NotImplementedError


class AsyncTaking(AsyncReader):
    """The implementation of the subsystem for asyncio."""

    async def take(self, items: list[Any]) -> None:
        """Ignore the argument."""


def as_awaited_arguments(body: bytes) -> bool:
    """Call an asynchronous plugin with ``body`` in chunks; return whether it was accepted."""

    async def chunks() -> AsyncIterator[bytes]:
        file = io.BytesIO(body)
        while chunk := file.read(1 << 16):
            yield chunk

    app = AsyncPluginApp(AsyncTaking())
    return asyncio.run(app(AsyncRequest("VolumeDriver.Take", chunks()))).status == 200


def real_volumes(count: int, rare: str = "") -> bytes:
    """Return a response to List with ``count`` volumes, and ``rare`` in the name of each."""
    volumes = [
        {
            "Name": f"volume-{n:012x}{rare}",
            "Mountpoint": f"/var/lib/plugins/volumes/volume-{n:012x}/_data",
            "CreatedAt": "2024-01-01T00:00:00Z",
            "Status": {"size": "10G", "used": n, "host": "node-1"},
        }
        for n in range(count)
    ]
    return json.dumps({"Volumes": volumes, "Err": ""}, ensure_ascii=False).encode()


def chains(count: int, key: Callable[[int], str] = "{:x}".format, depth: int = 198) -> bytes:
    """Return nested objects of one key each; by default as deep as allowed, all keys different."""
    chain = (
        "".join(f'{{"{key(n * depth + level)}":' for level in range(depth)) + "0" + "}" * depth
        for n in range(count // (depth + 1))
    )
    return f"[{','.join(chain)}]".encode()


def each(item: Callable[[int], str], count: int) -> bytes:
    """Return an array of ``count`` items."""
    return f"[{','.join(map(item, range(count)))}]".encode()


def members(key: Callable[[int], str], count: int) -> bytes:
    """Return an object of ``count`` members."""
    return "{{{}}}".format(",".join(f'"{key(n)}":0' for n in range(count))).encode()


def text(unit: bytes, size: float, last: bytes = b"") -> bytes:
    """Return an array of one string, which repeats ``unit``."""
    return b'["%b%b"]' % (unit * int(size / len(unit)), last)


def halves(count: int, form: bytes) -> bytes:
    """Return ``count`` escapes of different second halves of surrogate pairs."""
    return b"".join(form % (0xDC00 + n) for n in range(count))


def items(item: bytes, count: int, key: bytes = b"Volumes") -> bytes:
    """Return an object with an array of ``count`` equal items."""
    return b'{"%b":[' % key + (item + b",") * (count - 1) + item + b"]}"


# By name: the reader, the input at a scale from 0 to 1, and whether it must be accepted.
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
    "64 MiB of text with one escaped rare character": (
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
    "100,000 volumes with rare characters": (
        plain,
        lambda s: real_volumes(int(100_000 * s), "😀"),
        True,
    ),
    "100,000 volumes, indented": (
        plain,
        lambda s: json.dumps(json.loads(real_volumes(int(100_000 * s))), indent=4).encode(),
        True,
    ),
    "1,000,000 strings of a comma": (plain, lambda s: items(b'","', int(999_998 * s)), True),
    "64 MiB of brackets and a line end": (
        plain,
        lambda s: text(b"[", 63.9 * MIB * s, rb"\n"),
        True,
    ),
    "64 MiB of brackets, commas and colons in text": (
        plain,
        lambda s: text(b"[{,:}]", 63.9 * MIB * s),
        True,
    ),
    "1,000,000 strings of a comma, in an array": (
        plain,
        lambda s: each(lambda _: '","', int(999_998 * s)),
        True,
    ),
    "1,000,000 strings of a bracket and a number": (
        plain,
        lambda s: items(b'"[1"', int(999_998 * s)),
        True,
    ),
    "500,000 objects with brackets in text": (
        plain,
        lambda s: items(b'{"a":"[{,"}', int(499_998 * s)),
        True,
    ),
    "1,000,000 whole numbers": (plain, lambda s: items(b"12345678", int(999_998 * s)), True),
    "10,000 numbers of 4,000 digits": (plain, lambda s: items(b"1" * 4000, int(10_000 * s)), True),
    "1,000,000 long fractions": (
        plain,
        lambda s: items(b"1.2345678901234567e-300", int(999_998 * s)),
        True,
    ),
    "1,000,000 strings of 8 escaped letters": (
        plain,
        lambda s: items(b'"%b"' % (rb"\u00e9" * 8), int(999_998 * s)),
        True,
    ),
    "1,000,000 strings of 8 backslashes": (
        plain,
        lambda s: items(b'"%b"' % (rb"\\" * 8), int(999_998 * s)),
        True,
    ),
    "64 MiB of escaped letters": (plain, lambda s: text(rb"\u20ac", 63.9 * MIB * s), True),
    "64 MiB of escaped letters, in capitals": (
        plain,
        lambda s: text(rb"\u4E2D", 63.9 * MIB * s),
        True,
    ),
    "64 MiB of escaped backslashes": (plain, lambda s: text(rb"\\", 63.9 * MIB * s), True),
    "64 MiB of escaped quotes": (plain, lambda s: text(rb"\"", 63.9 * MIB * s), True),
    "64 MiB of brackets in text": (plain, lambda s: text(b"[", 63.9 * MIB * s), True),
    "60 MiB of text with a line end": (plain, lambda s: text(b"x", 60 * MIB * s, rb"\n"), True),
    "60 MiB of characters of two bytes": (plain, lambda s: text("é".encode(), 60 * MIB * s), True),
    "60 MiB of characters of three bytes": (
        plain,
        lambda s: text("€".encode(), 60 * MIB * s),
        True,
    ),
    "620,000 strings with one rare character each": (
        plain,
        lambda s: items(b'"%b\xf0\x9f\x98\x80"' % (b"x" * 92), int(620_000 * s)),
        True,
    ),
    "a million strings and a long one with a rare character": (
        plain,
        lambda s: b"[" + b'"",' * int(900_000 * s) + text(b"x", 56 * MIB * s, "😀".encode())[1:],
        True,
    ),
    "64 MiB of escaped pairs": (plain, lambda s: text(rb"\ud83d\ude00", 63.9 * MIB * s), True),
    "64 MiB of escaped halves": (plain, lambda s: text(rb"\ud800", 63.9 * MIB * s), True),
    "32 MiB of pairs with line ends": (
        plain,
        lambda s: text(rb"\ud83d\ude00\n", 32 * MIB * s),
        True,
    ),
    "32 MiB of halves with line ends": (plain, lambda s: text(rb"\ud800\n", 32 * MIB * s), True),
    "32 MiB of text, a half each 16 letters": (
        plain,
        lambda s: text(b"x" * 16 + rb"\ud800", 32 * MIB * s),
        True,
    ),
    "32 MiB of text, a half each 64 letters": (
        plain,
        lambda s: text(b"x" * 64 + rb"\ud800", 32 * MIB * s),
        True,
    ),
    "32 MiB of text, a half each 128 letters": (
        plain,
        lambda s: text(b"x" * 128 + rb"\ud800", 32 * MIB * s),
        True,
    ),
    "32 MiB of question marks, a half each 64": (
        plain,
        lambda s: text(b"?" * 64 + rb"\ud800", 32 * MIB * s),
        True,
    ),
    "32 MiB of escaped letters and halves": (
        plain,
        lambda s: text(rb"\u20ac\ud800", 32 * MIB * s),
        True,
    ),
    "64 MiB of text with a half and a pair": (
        plain,
        lambda s: text(b"x", 63.9 * MIB * s, rb"\ud800\ud83d\ude00"),
        True,
    ),
    "64,000 strings of 1,000 letters and a half": (
        plain,
        lambda s: items(b'"%b"' % (b"x" * 1000 + rb"\ud800"), int(64_000 * s)),
        True,
    ),
    "13,000 strings of 300 halves and line ends": (
        plain,
        lambda s: items(b'"%b"' % (rb"\n\ud800" * 300), int(13_000 * s)),
        True,
    ),
    "600,000 strings of 40 letters and an escaped pair": (
        plain,
        lambda s: items(b'"%b"' % (b"x" * 40 + rb"\ud83d\ude00"), int(600_000 * s)),
        True,
    ),
    "100,000 volumes with halves": (
        plain,
        lambda s: real_volumes(int(100_000 * s), "@").replace(b"@", rb"\ud800"),
        True,
    ),
    "32 MiB of escaped quotes and halves": (
        plain,
        lambda s: text(rb"\"\ud800", 32 * MIB * s),
        True,
    ),
    "32 MiB of commas and halves": (plain, lambda s: text(rb",\ud800", 32 * MIB * s), True),
    "32 MiB of pairs, halves and line ends": (
        plain,
        lambda s: text(rb"\ud83d\ude00\n\ud800", 32 * MIB * s),
        True,
    ),
    "32 MiB of different halves, in capitals": (
        plain,
        lambda s: text(halves(1 << 10, rb"\u%04X"), 32 * MIB * s),
        True,
    ),
    "32 MiB of escaped backslashes and halves": (
        plain,
        lambda s: text(rb"\\\ud800", 32 * MIB * s),
        True,
    ),
    "32 MiB of escaped backslashes before what looks like halves": (
        plain,
        lambda s: text(rb"\\ud800", 32 * MIB * s),
        True,
    ),
    "32 MiB of halves, and characters of two bytes": (
        plain,
        lambda s: text("éé".encode() + rb"\udc00", 32 * MIB * s),
        True,
    ),
    "32 MiB of halves, and rare characters": (
        plain,
        lambda s: text("😀".encode() + rb"\udc00", 32 * MIB * s),
        True,
    ),
    "30,000 strings of 1,000 letters, a half each 16": (
        plain,
        lambda s: items(b'"%b"' % ((b"x" * 16 + rb"\ud800") * 45), int(30_000 * s)),
        True,
    ),
    "30,000 strings of 1,000 letters, a half each 40": (
        plain,
        lambda s: items(b'"%b"' % ((b"x" * 40 + rb"\ud800") * 22), int(30_000 * s)),
        True,
    ),
    "30,000 strings of 1,000 letters, a half each 80": (
        plain,
        lambda s: items(b'"%b"' % ((b"x" * 80 + rb"\ud800") * 11), int(30_000 * s)),
        True,
    ),
    "300,000 strings of 4 line ends and halves": (
        plain,
        lambda s: items(b'"%b"' % (rb"\n\ud800" * 4), int(300_000 * s)),
        True,
    ),
    "300,000 strings of 8 letters, a half and a quote": (
        plain,
        lambda s: items(rb'"xxxxxxxx\udfff\""', int(300_000 * s)),
        True,
    ),
    "300,000 strings of 40 letters and a half": (
        plain,
        lambda s: items(b'"%b"' % (b"x" * 40 + rb"\uDBFF"), int(300_000 * s)),
        True,
    ),
    "100,000 volumes with pairs and halves": (
        plain,
        lambda s: real_volumes(int(100_000 * s), "@").replace(b"@", rb"\ud800\ud83d\ude00"),
        True,
    ),
    "100,000 volumes with escaped pairs": (
        plain,
        lambda s: real_volumes(int(100_000 * s), "@").replace(b"@", rb"\ud83d\ude00"),
        True,
    ),
    "100,000 volumes with halves and rare characters": (
        plain,
        lambda s: real_volumes(int(100_000 * s), "😀@").replace(b"@", rb"\ud800"),
        True,
    ),
    "100,000 volumes with halves, indented": (
        plain,
        lambda s: (
            json.dumps(json.loads(real_volumes(int(100_000 * s), "@")), indent=4)
            .replace("@", r"\ud800")
            .encode()
        ),
        True,
    ),
    "100,000 volumes with a half in each key and string": (
        plain,
        lambda s: re.sub(rb'"(\w)', rb'"\\ud800\1', real_volumes(int(100_000 * s))),
        True,
    ),
    "20,000 keys of 100 halves and line ends": (
        plain,
        lambda s: each(lambda n: f'{{"{HALVES}{n:x}":0}}', int(20_000 * s)),
        True,
    ),
    "20,000 equal keys of 100 halves and line ends": (
        plain,
        lambda s: items(b'{"%b":0}' % (rb"\n\ud800" * 100), int(20_000 * s)),
        True,
    ),
    "halves, nested to the limit": (
        plain,
        lambda s: items(b"[" * 196 + rb'"\ud800"' + b"]" * 196, int(5000 * s)),
        True,
    ),
    "keys with halves, nested": (
        plain,
        lambda s: chains(int(600_000 * s), r"{:x}\ud800".format),
        True,
    ),
    "1,000,000 strings of an escaped pair": (
        plain,
        lambda s: items(rb'"\ud83d\ude00"', int(999_998 * s)),
        True,
    ),
    "1,000,000 strings of a half": (plain, lambda s: items(rb'"\ud800"', int(999_998 * s)), True),
    "1,000,000 strings of 8 halves": (
        plain,
        lambda s: items(b'"%b"' % (rb"\udc00" * 8), int(999_998 * s)),
        True,
    ),
    "500,000 objects with a half": (
        plain,
        lambda s: items(rb'{"a":"\ud800"}', int(499_998 * s)),
        True,
    ),
    "500,000 keys with halves": (
        plain,
        lambda s: each(lambda n: rf'{{"\ud800{n:x}":0}}', int(499_998 * s)),
        True,
    ),
    "500,000 equal keys with halves": (
        plain,
        lambda s: items(rb'{"\ud800":0}', int(499_998 * s)),
        True,
    ),
    "keys of halves, which all become the same key": (
        plain,
        lambda s: items(rb'{"\ud800":0,"\udc00":1}', int(333_000 * s)),
        True,
    ),
    "the same key, nested": (plain, lambda s: chains(int(999_000 * s), lambda _: "a"), True),
    "the empty key, nested": (plain, lambda s: chains(int(999_000 * s), lambda _: ""), True),
    "different keys, nested twice": (plain, lambda s: chains(int(999_000 * s), depth=3), True),
    "500,000 objects, all keys different": (
        plain,
        lambda s: each(lambda n: f'{{"{n:x}":0}}', int(499_998 * s)),
        True,
    ),
    "500,000 objects, all keys different and wide": (
        plain,
        lambda s: each(lambda n: f'{{"{n:x}😀":{{}}}}', int(499_998 * s)),
        True,
    ),
    "one object, 1,000,000 keys": (plain, lambda s: members("{:x}".format, int(999_998 * s)), True),
    "one object, 1,000,000 wide keys": (
        plain,
        lambda s: members("{:x}😀".format, int(999_998 * s)),
        True,
    ),
    "one key 1,000,000 times": (plain, lambda s: members(lambda _: "a", int(999_998 * s)), True),
    "1,000,000 empty objects and a pair": (
        plain,
        lambda s: items(b"{}", int(999_990 * s))[:-2] + b',{"a":0}]}',
        True,
    ),
    "60 MiB of spaces": (plain, lambda s: b"[%b]" % (b" " * int(60 * MIB * s)), True),
    "60 MiB of white space of all sorts": (
        plain,
        lambda s: b"[%b]" % (b" \n\t\r" * int(15 * MIB * s)),
        True,
    ),
    "60 MiB of spaces before an array": (plain, lambda s: b" " * int(60 * MIB * s) + b"[]", True),
    "60 MiB of spaces after an array": (plain, lambda s: b"[]" + b" " * int(60 * MIB * s), True),
    "60 MiB of spaces and a rare character": (
        plain,
        lambda s: b"[%b" % (b" " * int(60 * MIB * s)) + '"😀"]'.encode(),
        True,
    ),
    "60 MiB of spaces between numbers and a rare character": (
        plain,
        lambda s: b"[" + (b" " * 58 + b"0,") * int(999_000 * s) + '"😀"]'.encode(),
        True,
    ),
    "64 MiB that is not UTF-8": (plain, lambda s: text(b"\xff", 63.9 * MIB * s), False),
    "a byte-order mark": (plain, lambda s: b"\xef\xbb\xbf" + real_volumes(int(100_000 * s)), False),
    "100,000 volumes, cut off": (plain, lambda s: real_volumes(int(100_000 * s))[:-2], False),
    "64 MiB of brackets": (plain, lambda s: b"[" * int(64 * MIB * s), False),
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
    "1,000,000 empty objects as an argument, with asyncio": (
        as_awaited_arguments,
        lambda s: items(b"{}", int(999_998 * s), b"Items"),
        True,
    ),
    "8 MiB of empty objects as an argument, with asyncio": (
        as_awaited_arguments,
        lambda s: items(b"{}", int(2_796_000 * s), b"Items"),
        False,
    ),
}


@frozen
class Measured:
    """The result of a case, in bytes and seconds."""

    name: str
    size: int
    memory: int
    seconds: float
    loads: float
    fits: bool

    @property
    def most_times(self) -> float:
        """How many times the time of ``json.loads`` the case may take."""
        return SLOWER.get(self.name, (MAX_TIMES, ""))[0]

    def problems(self, *, scale: float) -> list[str]:
        """Return all that is not as it must be."""
        reader, _, fits = CASES[self.name]
        found = []
        if self.memory > MAX_MEMORY + 2 * self.size:
            found.append(f"{self.name}: {self.memory / MIB:.0f} MiB")
        if scale == 1 and self.fits is not fits:
            found.append(f"{self.name}: {'refused' if fits else 'not refused'}")
        # Not compared are values of a type, because making these takes time of its own, and input
        # that is refused, because ``json.loads`` stops at another byte.
        timed = fits and reader is not as_volumes and self.seconds > LEAST_SECONDS
        if scale == 1 and timed and self.seconds > self.most_times * self.loads:
            found.append(f"{self.name}: {self.seconds / self.loads:.1f} times json.loads")
        return found


def measure(name: str, scale: float) -> Measured:
    """Measure a case in a process of its own."""
    command = [sys.executable, "-m", "tests.bounds.run", "--case", name, "--scale", str(scale)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Measured(**json.loads(done.stdout))


def in_this_process(name: str, scale: float) -> dict[str, Any]:
    """Measure a case in this process; only once, because the peak of its memory is kept."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    read, make, is_read = CASES[name]
    plain(b"{}")
    body = make(scale)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = _memory("VmRSS")
    fits = read(body)
    memory = _memory("VmHWM") - before
    seconds = loads = float("inf")
    timed = scale == 1 and is_read and read is not as_volumes
    for _ in range(MOST_ROUNDS if timed else 1):
        if seconds < FAR * MAX_TIMES * loads:
            break
        loads = min(loads, _seconds(lambda: _loads(body)))
        seconds = min(seconds, _seconds(lambda: read(body)))
    return {
        "name": name,
        "size": len(body),
        "memory": memory,
        "seconds": seconds,
        "loads": loads,
        "fits": fits,
    }


def _loads(body: bytes) -> None:
    with suppress(ValueError, RecursionError):
        json.loads(body)


def _memory(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(key))


def _seconds(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def row(it: Measured) -> str:
    """Return a row of the table."""
    return (
        f"| {it.name} | {it.size / MIB:.1f} | {it.memory / MIB:.0f}"
        f" | {MAX_MEMORY // MIB + 2 * it.size / MIB:.0f} | {it.seconds:.2f} | {it.loads:.2f}"
        f" | {it.seconds / it.loads:.1f} | {'read' if it.fits else 'refused'} |"
    )


def report(measured: list[Measured]) -> str:
    """Return the text of ``docs/bounds.md``."""
    head = """# Bounds

Written by `make bounds`: the memory and time that decoding foreign JSON takes, each case in a
process of its own. Memory is in addition to that of the input; seconds are processor time. Cases
that are read may take at most three times as long as `json.loads`, except those below the table and
those that are read into values of a type, because making the values takes time of its own.

A rare or wide character is one that needs four bytes, and makes Python take four bytes for each
character of its string. A pair is an escaped surrogate pair; a half is one half of it alone.

| input | MiB | memory, MiB | memory bound, MiB | seconds | `json.loads`, seconds | ratio | result |
|---|---|---|---|---|---|---|---|
"""
    slower = [f"- {name}: at most {times:g} times; {why}." for name, (times, why) in SLOWER.items()]
    return head + "\n".join([*map(row, measured), "", *slower, ""])


def main() -> int:
    """Measure all cases, or one for the process that started this one."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--case", choices=CASES)
    options.add_argument("--scale", type=float, default=1.0)
    options.add_argument("--report", type=Path)
    given = options.parse_args()
    if given.case:
        print(json.dumps(in_this_process(given.case, given.scale)))
        return 0
    measured = []
    for name in CASES:
        measured.append(measure(name, given.scale))
        print(row(measured[-1]), flush=True)
    text = report(measured)
    if given.report:
        given.report.write_text(text)
    problems = [problem for it in measured for problem in it.problems(scale=given.scale)]
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
