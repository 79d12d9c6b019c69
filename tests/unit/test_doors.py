"""The public modules (doors) and their names, which alone documents and examples import."""

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
def test_each_public_module_has_a_docstring_and_a_correct_list_of_names(door: str) -> None:
    """Each name in ``__all__`` exists, and is listed once."""
    module = import_module(door)

    assert module.__doc__
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
    assert len(module.__all__) == len({*module.__all__})


def test_the_module_ports_has_all_names_that_a_transport_needs() -> None:
    """The values that are exchanged, and the reasons of errors, are names of ``ports``."""
    from moby_plugins import ports

    needed = {"Address", "Body", "Request", "Response", "TLSOptions", "Transport", "Connect"}
    reasons = {"CLOSED_EARLY", "CUT_OFF", "MALFORMED", "TIMED_OUT"}

    assert needed | reasons <= {*ports.__all__}


@EACH_RESIDENT
def test_the_module_attribute_of_a_public_class_is_its_public_module(kind: type) -> None:
    """``__module__`` is the name from which users import the class, and is in its ``repr`` too."""
    doors = [door for door, name in RESIDENTS if name == kind.__name__]

    assert str(kind.__module__) in doors
    assert kind.__module__ in doors
    assert repr(kind) == f"<class '{kind.__module__}.{kind.__qualname__}'>"
    assert getattr(import_module(str(kind.__module__)), kind.__name__) is kind


@EACH_RESIDENT
def test_a_public_class_is_pickled_by_the_name_of_its_public_module(kind: type) -> None:
    """So a pickle can be loaded even after the class has moved to another internal module."""
    assert copy.deepcopy(kind) is kind
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        pickled = pickle.dumps(kind, protocol)

        assert pickle.loads(pickled) is kind, protocol  # noqa: S301  made above
        assert b".domain" not in pickled, protocol
        assert b".app" not in pickled, protocol


@EACH_RESIDENT
def test_inspect_finds_the_source_of_a_public_class(kind: type) -> None:
    """``inspect`` gives the text of the class, and the file that it is in."""
    assert re.match(rf"class {kind.__name__}\b", inspect.getsource(kind))
    assert inspect.getsourcefile(kind) == sys.modules[kind.__module__].__file__


@EACH_RESIDENT
def test_type_hints_of_public_classes_can_be_resolved(kind: type) -> None:
    """``get_type_hints`` works on the class, and on each function that it defines."""
    typing.get_type_hints(kind)
    for method in vars(kind).values():
        if inspect.isfunction(method):
            typing.get_type_hints(method)


@every("door", DOORS)
def test_type_hints_of_all_public_names_can_be_resolved(door: str) -> None:
    """``get_type_hints`` works on each public class and function, and on their methods."""
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


def test_a_traceback_shows_the_public_module_of_an_exception() -> None:
    """Users read the name by which they can import the exception."""
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
def test_documents_and_examples_import_from_public_modules_alone(page: Path) -> None:
    """Readers copy them, and must not depend on internal modules, which may change."""
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
