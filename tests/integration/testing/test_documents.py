"""The documents' tests, run as a reader would: each in a file of its own, with pytest."""

import re
from pathlib import Path

import pytest

from tests.integration.testing import pages
from tests.integration.testing.pytest_run import run_pytest


def blocks_of(document: str) -> list[str]:
    """The blocks of a document that define a test."""
    python = [each.text for each in pages.blocks_of(document) if each.language == "python"]
    return [block for block in python if re.search(r"^def test_", block, re.MULTILINE)]


DOCUMENTS = [page for page in pages.pages() if blocks_of(page)]


def test_documents_with_tests_are_found() -> None:
    """The pages that are known to have tests are among them."""
    expected = {"README.md", "docs/index.md", "docs/get-started/tests.md", "docs/testing.md"}
    assert expected <= set(DOCUMENTS)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_each_test_in_a_document_passes_by_itself(tmp_path: Path, document: str) -> None:
    """A block copied from the page runs with its own imports, and with the fixtures it names."""
    blocks = blocks_of(document)
    for number, block in enumerate(blocks):
        (tmp_path / f"test_{number}.py").write_text(block, encoding="utf-8")

    output = run_pytest(tmp_path, "-q")

    count = sum(len(re.findall(r"^def test_", block, re.MULTILINE)) for block in blocks)
    assert f"{count} passed" in output, output


def test_the_two_shortest_tests_of_the_readme_have_one_and_five_lines() -> None:
    """The README promises short tests of the engine's retries and of a race at start-up."""
    lines = {
        name: body.strip().splitlines()
        for block in blocks_of("README.md")
        for name, body in re.findall(
            r"^def (test_\w+)\(.*?\):\n((?:    .*\n)+)", block, re.MULTILINE
        )
    }

    assert sorted(map(len, lines.values()))[:2] == [1, 5]
    assert all(len(line) <= 100 for body in lines.values() for line in body)
