"""Under a lock nothing waits, no I/O is done, no caller's code runs, no other lock is taken."""

import ast
from pathlib import Path

import pytest

import moby_plugins.app

APP = Path(moby_plugins.app.__file__).parent

# Steps of dictionaries, lists and events, and the making of values. An event's own lock is the
# last that is taken, and for one step.
HARMLESS = {
    "activation.py": {
        "Activation",
        "RuntimeError",
        "_is_same",
        "activation.settle",
        "events.popleft",
        "len",
        "list",
        "os.getpid",
        "p.implements",
        "self._add",
        "self._by_name.clear",
        "self._by_name.get",
        "self._by_name.pop",
        "self._events.get",
        "self._events.pop",
        "self._forget",
        "self._handlers.setdefault",
        "self._handlers.setdefault(interface, []).append",
        "self._plugins.clear",
        "self._plugins.get",
        "self._plugins.values",
        "self._reporting.get",
        "self._reporting.pop",
        "self._settle",
        "self._shared",
    },
    # It is made without I/O: see test_composition.py.
    "default_registry.py": {"new_local_registry"},
    # Starting and stopping are I/O, and exclude each other: that is what its lock is for.
    "plugin_server.py": {
        "RuntimeError",
        "call_all",
        "self._listen",
        "self._metrics.start",
        "self._server.start",
    },
    "retrying.py": {
        "heapq.heappop",
        "heapq.heappush",
        "self._wakeup.clear",
        "self._wakeup.is_set",
        "self._wakeup.set",
        "self._settled.append",
        "self._settled.popleft",
    },
}


def under_locks(source: str) -> set[str]:
    """What is called inside ``with self._lock``; "with …" for a second lock inside."""
    found: set[str] = set()
    if "_lock" not in source:
        return found
    for block in ast.walk(ast.parse(source)):
        if not (isinstance(block, ast.With) and _is_lock(block)):
            continue
        for node in (node for statement in block.body for node in ast.walk(statement)):
            if isinstance(node, ast.Call):
                found.add(ast.unparse(node.func))
            if isinstance(node, ast.With):
                found.add(f"with {ast.unparse(node.items[0].context_expr)}")
    return found


def _is_lock(block: ast.With) -> bool:
    return any("_lock" in ast.unparse(item.context_expr) for item in block.items)


def test_only_listed_functions_are_called_while_a_lock_is_held() -> None:
    """None of the functions takes a second lock, so no order of locks can be wrong."""
    found = {
        str(path.relative_to(APP)): under_locks(path.read_text()) for path in APP.rglob("*.py")
    }

    assert {name: calls for name, calls in found.items() if calls} == HARMLESS


def test_locks_are_taken_only_by_with_statements() -> None:
    """The test above does not see ``acquire``, and an exception would leave the lock held."""
    names = {"acquire", "release"}
    taken = [
        f"{path.name}:{node.lineno}"
        for path in APP.rglob("*.py")
        if any(name in (text := path.read_text()) for name in names)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute) and node.attr in names
    ]

    assert taken == []


@pytest.mark.parametrize(
    ("source", "calls"),
    [
        ("with self._lock:\n    self.x()", {"self.x"}),
        ("with self._lock():\n    with self._other_lock:\n        pass", {"with self._other_lock"}),
        ("with self._clock.working():\n    self.x()", set()),
    ],
)
def test_the_check_finds_calls_and_further_locks_inside_a_lock(
    source: str, calls: set[str]
) -> None:
    """The function ``under_locks``, on which the first test relies, is tested here."""
    assert under_locks(source) == calls
