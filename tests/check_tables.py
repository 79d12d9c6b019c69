"""The tables in ``docs/checks.md``, made from the checks.

``python -m tests.check_tables`` writes them; a test compares.
"""

import re
from pathlib import Path

from moby_plugins.checks import Check, built_in_checks

DOCUMENT = Path(__file__).parents[1] / "docs" / "checks.md"
PROTOCOL = DOCUMENT.with_name("protocol.md")
BEGIN, END = "<!-- from the checks: python -m tests.check_tables -->", "<!-- end -->"


def tables() -> str:
    """A table for each subsystem, in the order in which checks run."""
    known = built_in_checks()
    return "\n".join(
        _table(name, known) for name in dict.fromkeys(each.subsystem for each in known)
    )


def _table(subsystem: str, known: tuple[Check, ...]) -> str:
    rows = [_row(each) for each in known if each.subsystem == subsystem]
    heading = (
        f"### {subsystem}\n\n| check | what it expects | from | reads only |\n|---|---|---|---|"
    )
    return "\n".join([heading, *rows, ""])


def _row(each: Check) -> str:
    cells = (each.name, each.expects, linked(each.source), "yes" if each.reads_only else "")
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def linked(source: str) -> str:
    """The codes of a source, each as a link to its section of the protocol."""
    return ", ".join(f"[{code}](protocol.md#{ANCHORS[code]})" for code in source.split(", "))


def anchors(text: str) -> dict[str, str]:
    """Where each section and trap of the protocol is linked to, by its code."""
    headings = re.findall(r"^#+ (([A-Z]\d+)\. .*)$", text, re.MULTILINE)
    found = {code: slug(heading) for heading, code in headings}
    traps = re.findall(r'^(\d+)\. <a id="(.*?)"></a>', text, re.MULTILINE)
    return found | {f"B11 trap {number}": anchor for number, anchor in traps}


def slug(heading: str) -> str:
    """The anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def with_tables(text: str) -> str:
    """The document's text with the tables of today."""
    pattern = re.compile(f"(?<={re.escape(BEGIN)}\n).*(?={re.escape(END)})", re.DOTALL)
    return pattern.sub(lambda _: f"\n{tables()}\n", text)


ANCHORS = anchors(PROTOCOL.read_text(encoding="utf-8"))


if __name__ == "__main__":
    DOCUMENT.write_text(with_tables(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
