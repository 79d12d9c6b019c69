"""What is public is at a door, says so, and is what documents and examples import."""

import ast
import copy
import inspect
import pickle
import re
import sys
import traceback
import typing
from importlib import import_module
from pathlib import Path

import pytest

from tests.cases import every

ROOT = Path(__file__).parents[2]
DOORS = (
    "moby_plugins",
    "moby_plugins.aio",
    "moby_plugins.ports",
    "moby_plugins.subsystems",
    "moby_plugins.serving",
    "moby_plugins.tracing",
    "moby_plugins.diagnosis",
    "moby_plugins.checks",
    "moby_plugins.testing",
    # Rooms of the last, for those that have pytest and hypothesis.
    "moby_plugins.testing.contracts",
    "moby_plugins.testing.strategies",
)
RESIDENTS = sorted(
    {
        (door, name)
        for door in DOORS
        for name in import_module(door).__all__
        if name in {"Client", "Registry", "Stream", "AsyncClient", "AsyncRegistry", "AsyncStream"}
        or (
            isinstance(kind := getattr(import_module(door), name), type)
            and issubclass(kind, BaseException)
        )
    }
)
PUBLIC = {door: {*import_module(door).__all__} for door in DOORS}
# Of a library that need not be installed, whose ``Session`` is given.
PUBLIC["moby_plugins"].remove("connect_by_requests")
EACH_RESIDENT = pytest.mark.parametrize(
    "kind",
    [getattr(import_module(door), name) for door, name in RESIDENTS],
    ids=lambda k: k.__name__,
)
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(page for page in ROOT.glob("docs/*.md") if page.name != "mutants.md"),
    *ROOT.glob("examples/*.py"),
]


@every("door", DOORS)
def test_a_door_says_what_is_public(door: str) -> None:
    """Each has a literal ``__all__``, whose names are there, and a docstring."""
    module = import_module(door)

    assert module.__doc__
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
    assert len(module.__all__) == len({*module.__all__})


def test_what_a_transport_needs_is_behind_one_door() -> None:
    """The values that are exchanged, and the reasons of errors, are names of ``ports``."""
    from moby_plugins import ports

    needed = {"Address", "Body", "Request", "Response", "TLSOptions", "Transport", "Connect"}
    reasons = {"CLOSED_EARLY", "CUT_OFF", "MALFORMED", "TIMED_OUT"}

    assert needed | reasons <= {*ports.__all__}


@EACH_RESIDENT
def test_a_resident_says_that_it_lives_at_its_door(kind: type) -> None:
    """``__module__`` is the door's name as plain text, in a ``repr`` too."""
    doors = [door for door, name in RESIDENTS if name == kind.__name__]

    assert str(kind.__module__) in doors
    assert kind.__module__ in doors
    assert repr(kind) == f"<class '{kind.__module__}.{kind.__qualname__}'>"
    assert getattr(import_module(str(kind.__module__)), kind.__name__) is kind


@EACH_RESIDENT
def test_a_resident_can_be_pickled(kind: type) -> None:
    """By its door, so that a pickle outlives a module that is moved."""
    assert copy.deepcopy(kind) is kind
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        pickled = pickle.dumps(kind, protocol)

        assert pickle.loads(pickled) is kind, protocol  # noqa: S301  made above
        assert b".domain" not in pickled, protocol
        assert b".app" not in pickled, protocol


@EACH_RESIDENT
def test_the_source_of_a_resident_is_found(kind: type) -> None:
    """``inspect`` gives the text of the class, and the file that it is in."""
    assert re.match(rf"class {kind.__name__}\b", inspect.getsource(kind))
    assert inspect.getsourcefile(kind) == sys.modules[kind.__module__].__file__


@EACH_RESIDENT
def test_the_types_of_a_resident_are_resolved(kind: type) -> None:
    """``get_type_hints`` works on the class, and on whatever it defines."""
    typing.get_type_hints(kind)
    for method in vars(kind).values():
        if inspect.isfunction(method):
            typing.get_type_hints(method)


@every("door", DOORS)
def test_the_types_of_all_that_is_public_are_resolved(door: str) -> None:
    """``get_type_hints`` works on each class and function of a door, and on methods."""
    unresolved: dict[str, NameError] = {}
    for name in PUBLIC[door]:
        public = getattr(import_module(door), name)
        methods = list(vars(public).values()) if isinstance(public, type) else []
        for each in (public, *methods):
            if isinstance(each, type) or inspect.isfunction(each):
                try:
                    typing.get_type_hints(each)
                except NameError as error:
                    unresolved[f"{name}: {each}"] = error

    assert unresolved == {}


def test_a_traceback_names_the_door() -> None:
    """A user reads the name that a program imports."""
    from moby_plugins import StatusError
    from moby_plugins.serving import NoAnswerError

    told = traceback.format_exception_only(StatusError(404, "M.x", "gone"))

    assert told == ["moby_plugins.StatusError: M.x: gone\n"]
    assert traceback.format_exception_only(NoAnswerError("why"))[0].startswith(
        "moby_plugins.serving.NoAnswerError: "
    )


def imported(text: str) -> set[str]:
    """The modules of this library, and the names from them, that a text imports."""
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL) or [text]
    found: set[str] = set()
    for block in blocks:
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Import):
                found |= {each.name for each in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found |= {f"{node.module}:{each.name}" for each in node.names}
    return {each for each in found if each.partition(".")[0].partition(":")[0] == "moby_plugins"}


@every("page", DOCUMENTS)
def test_documents_and_examples_import_from_doors_alone(page: Path) -> None:
    """A reader copies them, and is to have nothing in hand that may change."""
    text = page.read_text("utf-8")
    wrong = []
    for each in imported(text) if page.suffix == ".py" or "```python" in text else ():
        module, _, name = each.partition(":")
        inside = f"{module}.{name}"
        if inside in DOORS:
            continue
        if module not in DOORS or (name and name not in import_module(module).__all__):
            wrong.append(each)

    assert wrong == []
