"""No test patches the library: what a test replaces is an argument."""

import ast
from pathlib import Path

from tests.cases import every

TESTS = Path(__file__).parents[1]

# ``setenv``, ``delenv``, ``chdir`` and ``syspath_prepend`` change the world, and not the library.
PATCHING = {"setattr", "delattr", "setitem", "delitem"}


def patching(source: str) -> list[int]:
    """The lines that call one of those, which ``pytest.MonkeyPatch`` alone has."""
    if not any(name in source for name in PATCHING):
        return []
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and node.attr in PATCHING
    ]


def test_no_test_patches_anything() -> None:
    """Ruff forbids the libraries for patching; this test finds uses of pytest's ``monkeypatch``."""
    sources = {path: path.read_text(encoding="utf-8") for path in TESTS.rglob("*.py")}

    assert len(sources) > 50
    assert {str(path): patching(text) for path, text in sources.items() if patching(text)} == {}


@every(
    ("source", "lines"),
    [
        ("monkeypatch.setattr(library, 'name', 1)", [1]),
        ("x = 1\nwith monkeypatch.context() as patcher:\n    patcher.setattr('a.b', 1)", [3]),
        ("monkeypatch.setitem(sys.modules, 'a', None)", [1]),
        ("def test(mp: pytest.MonkeyPatch): mp.delattr('a.b')", [1]),
        ("monkeypatch.setenv('A', 'b')\nsetattr(own, 'name', 1)", []),
    ],
)
def test_the_search_for_patching_finds_every_form_of_it(source: str, lines: list[int]) -> None:
    """It returns the lines that patch; setting an environment variable does not count."""
    assert patching(source) == lines
