"""Tests lie where a newcomer looks for them: in the places that ``CONTRIBUTING.md`` names."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES, UNIT, INTEGRATION = (
    ROOT / "src/moby_plugins",
    ROOT / "tests/unit",
    ROOT / "tests/integration",
)
# Tests of a whole room, called after the rule that they hold it to.
OF_A_ROOM = {
    "app/test_clock_jumps.py",
    "app/test_known_failures.py",
    "app/test_locks.py",
    "app/test_properties.py",
    "app/subsystems/test_traps.py",
    "app/subsystems/test_traps_of_hosts.py",
    "checks/test_broken_plugins.py",
    "checks/test_documented.py",
    "cli/test_documentation.py",
    "domain/test_properties.py",
}


def subject_of(test: Path) -> Path | None:
    """The module whose name the test's begins with, in the room that mirrors the test's."""
    room = test.parent.relative_to(UNIT)
    place = ROOT / "examples" if room == Path("examples") else SOURCES / room
    names = test.stem.removeprefix("test_").split("_")
    modules = [place / "_".join(names[:end]) for end in range(len(names), 0, -1)]
    return next((it for it in modules if it.with_suffix(".py").exists() or it.is_dir()), None)


def test_unit_tests_mirror_the_sources() -> None:
    """A test of ``app/client.py`` is ``unit/app/test_client….py``, and so for every module."""
    tests = [test for test in UNIT.rglob("test_*.py") if test.parent != UNIT]
    lost = {str(test.relative_to(UNIT)) for test in tests if subject_of(test) is None}

    assert len(tests) > 80
    assert lost == OF_A_ROOM


def test_each_directory_of_integration_tests_is_listed_in_contributing() -> None:
    """No test lies outside of these directories, one for each kind of test."""
    page = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    told = set(re.findall(r"^\| `integration/(\w+)` \|", page, re.MULTILINE))
    kinds = {test.parent.name for test in INTEGRATION.glob("*/test_*.py")}

    assert kinds == told
    assert list(INTEGRATION.glob("test_*.py")) == []
