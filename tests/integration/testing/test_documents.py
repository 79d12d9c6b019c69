"""The documents' tests, run as a reader would: each in a file of its own, with pytest."""

import re
from pathlib import Path

import pytest

from tests.integration.testing.pytest_run import run_pytest

ROOT = Path(__file__).parents[3]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks_of(document: str) -> list[str]:
    """The blocks of a document that define a test."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return [block for block in BLOCK.findall(text) if re.search(r"^def test_", block, re.MULTILINE)]


@pytest.mark.parametrize(("document", "at_least"), [("README.md", 2), ("docs/testing.md", 4)])
def test_each_test_in_a_document_passes_by_itself(
    tmp_path: Path, document: str, at_least: int
) -> None:
    """Copied from the page, it runs: what it imports, and the fixtures that it asks for."""
    blocks = blocks_of(document)
    for number, block in enumerate(blocks):
        (tmp_path / f"test_{number}.py").write_text(block, encoding="utf-8")

    output = run_pytest(tmp_path, "-q")

    assert len(blocks) >= at_least
    count = sum(len(re.findall(r"^def test_", block, re.MULTILINE)) for block in blocks)
    assert f"{count} passed" in output, output


def test_the_readme_keeps_its_word() -> None:
    """The engine's whole schedule is tested in one line, and a race at start-up in five."""
    lines = {
        name: body.strip().splitlines()
        for block in blocks_of("README.md")
        for name, body in re.findall(
            r"^def (test_\w+)\(.*?\):\n((?:    .*\n)+)", block, re.MULTILINE
        )
    }

    assert sorted(map(len, lines.values()))[:2] == [1, 5]
    assert all(len(line) <= 100 for body in lines.values() for line in body)
