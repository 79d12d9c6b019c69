"""What the pages of the documents say to type: files, commands, and what these print."""

import os
import re
import select
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).parents[3]
SECONDS = 300.0  # for a page, on a machine that does much else
SECONDS_TO_END = 30.0  # for what was told to stop
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# "Put this into a file, `host.py`:", before its block.
_FILE = re.compile(r"`([\w.]+\.py)`[^`.]*:\s*\Z")
# What a reader has done already: the tests' environment has the wheel.
_INSTALLS = re.compile(r"python3 -m venv |pip install ")
# It serves until it is told to stop, in a terminal of its own.
_SERVES = re.compile(r"(cd \S+ && )?(?=moby-plugins serve )")

_PROLOGUE = """\
set -eu
serving=
stop() { [ -z "$serving" ] || { kill $serving && wait $serving; } || true; }
trap stop EXIT
ready() {
    for _ in $(seq 1200); do grep -q '^serving ' "$1" && return; sleep 0.05; done
    cat "$1" >&2; exit 1
}
"""


@frozen
class Block:
    """A block of a page: its language, its text, the line it begins at, and the file it is for."""

    language: str
    text: str
    line: int
    file: str

    @property
    def first_line(self) -> str:
        """What names the block in a table."""
        return self.text.partition("\n")[0]

    @property
    def commands(self) -> list[str]:
        """The commands of a block of the shell, each on one line where it is continued."""
        return self.text.replace("\\\n", " ").splitlines()


def pages() -> list[str]:
    """Return every page, by its path from the root."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    return sorted(page.relative_to(ROOT).as_posix() for page in found)


def blocks_of(page: str) -> list[Block]:
    """Return the blocks of a page, in their order."""
    text = (ROOT / page).read_text("utf-8")
    return [
        Block(
            found[1],
            found[2],
            text.count("\n", 0, found.start()) + 2,
            file[1] if (file := _FILE.search(text[: found.start()])) else "",
        )
        for found in _FENCE.finditer(text)
    ]


def run_page(
    page: str, place: Path, environment: Mapping[str, str], but: Collection[str] = ()
) -> list[str]:
    """Type a page into a shell in ``place``; return what went otherwise than the page says.

    A block of Python with a file's name is written to the file. Blocks of ``sh`` run in one shell,
    except those whose first line is in ``but``. A block of ``text`` must be in the output of the
    block before it, where "…" stands for any text. What serves is stopped at the end.
    """
    script, said = [_PROLOGUE], []
    blocks = [block for block in blocks_of(page) if block.first_line not in but]
    for number, block in enumerate(blocks):
        text = block.text.replace("/tmp/", f"{place}/")
        if block.file:
            (place / block.file).write_text(text, "utf-8")
        elif block.language == "sh":
            script += [f"exec > {place}/{number}.out", _typed(text, f"{place}/{number}.served")]
        elif block.language == "text" and number and blocks[number - 1].language == "sh":
            said.append((number - 1, text))
    # Every process of the page holds the writing end: the last one that ends closes it.
    reading, writing = os.pipe()
    try:
        done = subprocess.run(
            ["/bin/bash", "-c", "\n".join(script)],
            cwd=place,
            env=environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
            timeout=SECONDS,
            pass_fds=(writing,),
        )
    finally:
        os.close(writing)
        has_ended = bool(select.select([reading], [], [], SECONDS_TO_END)[0])
        os.close(reading)
    if not has_ended:
        return ["something that the page starts still runs at its end"]
    if done.returncode:
        outputs = sorted(place.glob("*.out"), key=lambda path: int(path.stem))
        return [
            f"status {done.returncode}: {done.stderr}{outputs[-1].read_text() if outputs else ''}"
        ]
    return [
        f"line {blocks[number].line} does not print {expected!r}: {printed!r}"
        for number, expected in said
        if not _is_in(expected, printed := (place / f"{number}.out").read_text("utf-8"))
    ]


def _is_in(expected: str, printed: str) -> bool:
    parts = (re.escape(part) for part in expected.strip().split("…"))
    return re.search("(?s:.*?)".join(parts), printed) is not None


def _typed(text: str, log: str) -> str:
    """Return the commands of a block for a script; those that serve run in the background."""
    lines = []
    for line in re.split(r"(?<!\\)\n", text):
        if served := _SERVES.match(line):
            # ``exec``: the process that is told to stop is the one that serves, and no shell.
            command = f"{served[0]}exec {line[served.end() :]}"
            lines.append(f'{command} 2> {log} & serving="$serving $!"; ready {log}')
        elif not _INSTALLS.match(line):
            lines.append(line)
    return "\n".join(lines)
