"""The texts of the project are in plain technical English."""

import ast
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Words that make a sentence a riddle or a machine a person.
RIDDLES = (
    *("anew", "crew", "crews", "crumb", "crumbs", "heard", "in vain", "kindly", "loaf", "loaves"),
    *("meanwhile", "news", "nobody", "somebody", "whatever comes", "whoever"),
)
# Within a name, an underscore ends a word.
WORDS = re.compile(rf"(?<![A-Za-z])({'|'.join(RIDDLES)})(?![A-Za-z])", re.IGNORECASE)
# Texts in which such a word stays, and why.
ALLOWED = {
    "release of a gateway that nobody requested": "the id of a check, which users' commands name",
}
_TARGET = re.compile(r"\]\([^)]*\)")


def refused(text: str) -> list[str]:
    """Return the words of ``text`` that are on the list."""
    for allowed in ALLOWED:
        text = text.replace(allowed, "")
    return [match[0] for match in WORDS.finditer(text)]


def texts_of(source: str) -> str:
    """Return the docstrings, strings and comments of a module."""
    constants = (
        node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)
    )
    comments = re.findall(r"(?:^|\s)#\s.*", source)
    return "\n".join([*(text for text in constants if isinstance(text, str)), *comments])


def prose_of(source: str) -> str:
    """Return the docstrings and comments of a module, and the names of its tests."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    kinds = (ast.Module, ast.ClassDef, *functions)
    documented = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    docstrings = [ast.get_docstring(node) or "" for node in documented]
    names = [node.name for node in documented if isinstance(node, functions)]
    tests = [name for name in names if name.startswith("test_")]
    return "\n".join([*docstrings, *tests, *re.findall(r"(?:^|\s)#\s.*", source)])


def found(paths: Iterable[Path], text_of: Callable[[str], str]) -> dict[str, list[str]]:
    """Return the words found, by file."""
    texts = {path: path.read_text("utf-8") for path in paths}
    assert texts
    return {
        str(path.relative_to(ROOT)): words
        for path, text in texts.items()
        if _may_hold_any(text) and (words := refused(text_of(text)))
    }


def _may_hold_any(text: str) -> bool:
    # Files are parsed only where a word is, and searched by the expression, which takes longer
    # than a search for plain text, only where its letters are.
    lowered = text.lower()
    return any(word in lowered for word in RIDDLES) and WORDS.search(text) is not None


def test_modules_avoid_the_words() -> None:
    """In docstrings, comments, messages and help."""
    assert found((ROOT / "src").rglob("*.py"), texts_of) == {}


def test_tests_avoid_the_words() -> None:
    """In docstrings, comments and names of tests; what a test sends or expects may be any text."""
    assert found((ROOT / "tests").rglob("*.py"), prose_of) == {}


def test_documents_avoid_the_words() -> None:
    """In prose and tables; the targets of links are names of files."""
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    assert found(documents, lambda text: _TARGET.sub("]", text)) == {}


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('"""Return news."""', ["news"]),
        ("call()  #" + " Nobody reads it.", ["Nobody"]),
        ("raise ValueError(f'{name} is read by nobody')", ["nobody"]),
        ("nobody = newspaper('the newest')", []),
        ("check('release of a gateway that nobody requested')", []),
    ],
)
def test_a_word_is_seen(source: str, words: list[str]) -> None:
    """The checks above would notice a word; names other than those of tests are not checked."""
    assert refused(texts_of(source)) == words


def test_a_word_in_the_name_of_a_test_is_seen() -> None:
    """The name of a test is a sentence; that of another function is not."""
    source = "def test_nobody_waits(): ...\ndef nobody(): ...\ndef test_newspapers(): ..."

    assert refused(prose_of(source)) == ["nobody"]
