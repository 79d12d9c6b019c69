"""What the public modules offer: their names, docstrings and version."""

import ast
import inspect
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import moby_plugins
import moby_plugins.aio
import moby_plugins.testing
import moby_plugins.testing.contracts
import moby_plugins.testing.strategies

FRONT_DOORS = pytest.mark.parametrize(
    "door",
    [moby_plugins, moby_plugins.aio, moby_plugins.testing],
    ids=["moby_plugins", "aio", "testing"],
)
# And the rooms behind them that are entered by themselves.
ALL_DOORS = pytest.mark.parametrize(
    "door",
    [
        moby_plugins,
        moby_plugins.aio,
        moby_plugins.testing,
        moby_plugins.testing.contracts,
        moby_plugins.testing.strategies,
    ],
    ids=["moby_plugins", "aio", "testing", "contracts", "strategies"],
)


def kind_then_name(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest, each by the alphabet."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@ALL_DOORS
def test_public_names_are_sorted_and_complete(door: ModuleType) -> None:
    """``__all__`` lists each name that a reader of the module sees, once, in order."""
    there = {
        name
        for name in dir(door)
        if not name.startswith("_") and not inspect.ismodule(getattr(door, name))
    }

    assert door.__all__ == sorted(door.__all__, key=kind_then_name)
    assert {*door.__all__} - {"__version__"} == there
    assert len(door.__all__) == len({*door.__all__})


@FRONT_DOORS
def test_type_checkers_see_exactly_the_public_names_that_exist(door: ModuleType) -> None:
    """The imports for type checkers name the same objects as ``__all__`` at run time."""
    tree = ast.parse(Path(str(door.__file__)).read_text(encoding="utf-8"))
    declared = {
        alias.name: getattr(import_module(str(node.module)), alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("moby_plugins")
        for alias in node.names
    }

    del declared["deferred_names"]
    assert declared == {name: getattr(door, name) for name in door.__all__}


def test_an_unknown_name_in_a_public_module_is_an_attribute_error() -> None:
    """Names are imported on first use; a mistyped one fails at once, for type checkers too."""
    with pytest.raises(AttributeError, match="'moby_plugins' has no attribute 'gett'"):
        _ = moby_plugins.gett  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match=r"'moby_plugins\.testing' has no attribute 'Fake'"):
        _ = moby_plugins.testing.Fake  # type: ignore[attr-defined]


def explained(thing: object) -> bool:
    """Whether a class or function has a docstring of its own; constants need none."""
    doc = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
    return bool(doc) or not (inspect.isclass(thing) or inspect.isroutine(thing))


@ALL_DOORS
def test_every_public_class_and_function_has_a_docstring(door: ModuleType) -> None:
    """The docstring must be its own; one that is inherited does not count."""
    assert [name for name in door.__all__ if not explained(getattr(door, name))] == []


@ALL_DOORS
def test_every_public_method_has_a_docstring(door: ModuleType) -> None:
    """This holds for all methods that a public class offers, inherited ones included."""
    methods = {
        f"{kind.__name__}.{name}": method
        for kind in (getattr(door, name) for name in door.__all__)
        if inspect.isclass(kind)
        for name, method in inspect.getmembers(kind, inspect.isroutine)
        if not name.startswith("_")
        and str(getattr(method, "__module__", "")).startswith("moby_plugins")
    }

    assert methods
    assert [name for name, method in methods.items() if not method.__doc__] == []


def test_the_version_is_that_of_the_installed_package() -> None:
    """``moby_plugins.__version__`` is the version in the package's metadata."""
    from importlib.metadata import version

    assert moby_plugins.__version__ == version("moby-plugins")
