"""Explain the codes that checks name as their sources: sections of ``docs/protocol.md``.

The package contains that document, so that its text is available without the repository.
"""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from importlib.resources import files

HEADING = re.compile(r"#+ (?P<code>[A-Z]\d+)\. ")
TRAPS = "B11"
TRAP = re.compile(r"(?P<number>\d+)\. ")
ANCHOR = re.compile(r'<a id="[^"]*"></a>')
SIMILAR = 0.5


class UnknownCodeError(LookupError):
    """Raised for a code that no section or trap has; ``similar`` are codes that may be meant."""

    def __init__(self, code: str, similar: tuple[str, ...]) -> None:
        super().__init__(code, similar)
        self.code = code
        self.similar = similar

    def __str__(self) -> str:
        meant = f"; did you mean {', '.join(self.similar)}?" if self.similar else ""
        return f"{self.code!r} is not a section of the protocol{meant}"


def document() -> str:
    """Return the text of docs/protocol.md."""
    return (files("moby_plugins.checks") / "protocol.md").read_text(encoding="utf-8")


def sections(text: str) -> dict[str, str]:
    """Return the sections of the document by code, such as ``B2`` or ``B11 trap 12``."""
    texts: dict[str, str] = {}
    for code, section in _headed(text):
        texts[code] = section
        if code == TRAPS:
            texts |= dict(_traps(section))
    return texts


def explanation(code: str) -> str:
    """Return the text of the section or trap that ``code`` names; case does not matter.

    Raises:
        UnknownCodeError: If no section and no trap has this code.
    """
    known = sections(document())
    by_letters = {_letters(name): name for name in known}
    name = by_letters.get(_letters(code))
    if name is None:
        close = get_close_matches(_letters(code), by_letters, n=3, cutoff=SIMILAR)
        raise UnknownCodeError(code, tuple(by_letters[each] for each in close))
    return known[name]


def _headed(text: str) -> Iterator[tuple[str, str]]:
    code, lines = "", list[str]()
    for line in text.splitlines():
        if line.startswith("#"):
            if code:
                yield code, "\n".join(lines).strip()
            heading = HEADING.match(line)
            code, lines = (heading["code"] if heading else ""), []
        lines.append(ANCHOR.sub("", line))
    if code:
        yield code, "\n".join(lines).strip()


def _traps(section: str) -> Iterator[tuple[str, str]]:
    for line in section.splitlines():
        if trap := TRAP.match(line):
            yield f"{TRAPS} trap {trap['number']}", line


def _letters(code: str) -> str:
    return " ".join(code.casefold().split())
