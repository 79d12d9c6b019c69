"""Differences between JSON values, and how values are shown."""

from typing import Any

import pytest

from moby_plugins.adapters.memory.calls import differences, shown
from tests.cases import every


@every("value", [None, 0, "", "a", [], {}, [1, [2, {"a": None}]], {"a": {"b": [True]}}])
def test_a_value_does_not_differ_from_itself(value: Any) -> None:
    """``differences`` finds none, for every type of JSON value."""
    assert list(differences(value, value)) == []


def test_tuples_are_compared_as_lists() -> None:
    """They are lists once they were sent as JSON."""
    assert list(differences({"a": (1, (2,))}, {"a": [1, [2]]})) == []


@every(
    ("expected", "actual", "lines"),
    [
        (1, 2, ["all: expected 1, got 2"]),
        (None, {}, ["all: expected null, got {}"]),
        ({}, [], ["all: expected {}, got []"]),
        ([], {}, ["all: expected [], got {}"]),
        ([1], "1", ['all: expected [1], got "1"']),
        ({"a": 1}, {}, ["['a']: missing, expected 1"]),
        ({}, {"a": None}, ["['a']: not expected, got null"]),
        ([1, 2], [1], ["[1]: missing, expected 2"]),
        ([], [0], ["[0]: not expected, got 0"]),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, ["['a'][0]['b']: expected 1, got 2"]),
        (
            {"a": 1, "b": 2},
            {"a": 2, "c": 3},
            [
                "['a']: expected 1, got 2",
                "['b']: missing, expected 2",
                "['c']: not expected, got 3",
            ],
        ),
    ],
)
def test_each_place_that_differs_has_a_line(expected: Any, actual: Any, lines: list[str]) -> None:
    """The line has the path of the place, the expected value and the actual one."""
    assert list(differences(expected, actual)) == lines


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"Name": "Bücher", "n": None}, '{"Name": "Bücher", "n": null}'),
        (b"\0", "b'\\x00'"),
        ({1}, "{1}"),
    ],
)
def test_a_value_is_shown_as_json_if_it_can_be(value: Any, text: str) -> None:
    """Otherwise it is shown by its ``repr``."""
    assert shown(value) == text


def test_a_long_value_is_cut_in_the_middle() -> None:
    """Its beginning, its end and its length are shown."""
    assert shown("a" * 50 + "z" * 50, width=10) == '"aaaa … zzzz" (102 characters)'
