"""Unions, enumerations and literals: which type a message is of, and what is made of it."""

import gc
import json
import sys
import weakref
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal

import pytest
from attrs import frozen

from moby_plugins.app.results import encode_result
from moby_plugins.app.structuring import structure
from moby_plugins.app.wire import encode
from moby_plugins.domain.errors import WireError
from tests.cases import every
from tests.unit.app.sample_types import (
    Access,
    Counted,
    Empty,
    Failed,
    Info,
    Kind,
    Level,
    Lists,
    Minus,
    Not,
    Number,
    OldDict,
    Round,
    Scope,
    Slug,
    Square,
    Started,
    Usage,
)


@every(
    ("value", "kind"),
    [
        (Usage(3), Usage | Empty),
        (Usage(3, "a"), Empty | Usage),
        (Empty("a"), Usage | Empty),
        (Started("started", 2), Failed | Started),
        (Failed("failed", 2), Started | Failed),
        ([Usage(1), Empty("a")], list[Empty | Usage | None]),
        ((Usage(1),), tuple[Empty, ...] | tuple[Usage, ...]),
        ((Empty("a"),), tuple[Usage, ...] | tuple[Started, ...] | tuple[Empty, ...]),
        ({"Name": "x"}, Info | dict[str, int]),
        ({"Name": 2}, Info | dict[str, int]),
        (["a"], list[int] | list[str]),
        ("a", int | str),
        (1, str | int),
        (True, int | bool),
        (0.5, int | float),
        (["a"], str | list[str]),
        ({"a": 1}, list[str] | dict[str, int]),
        (Usage(3), Usage | str),
        (None, Usage | str | None),
        (Scope.GLOBAL, Scope),
        (Access.READ | Access.WRITE, Access),
        (Number.ONE, Number),
        ("b", Literal["a", "b"]),
        (2, Literal["a", 2]),
        ((Empty("a"),), tuple[Usage, ...] | tuple[Empty, ...]),
        ([Usage(1)], list[Usage] | list[Empty]),
        ([], list[Usage] | list[Empty]),
        ({"k": Empty("a")}, dict[str, Usage] | dict[str, Empty]),
        ([Started("started")], list[Usage | Failed] | list[Started | Empty]),
        (Empty("a"), Annotated[Started | Empty, "inside"] | Usage),
        (None, Annotated[Started | None, "inside"] | Usage),
        (Scope.LOCAL, Scope | str),
        ("wide", Scope | str),
        ("a", Literal["a"] | int),
        (Slug("a"), Slug | str),
        (Round(1), Round | Square),
        (Square(Kind.SQUARE), Round | Square),
        (Level.NONE, Level),
        (Level.LOW, Level),
        ({"size": 1, "label": "a"}, OldDict | Usage),
        (Not(Minus(Not(Counted("a")))), Not | Minus),
    ],
)
def test_the_type_of_a_union_that_a_value_is_of_is_found_again(value: Any, kind: Any) -> None:
    """What a plugin or a host sends of a value is read by the other end as an equal value."""
    result = json.loads(encode_result(value, kind, key="Key", method="S.M"))["Key"]

    decoded = structure(result, kind)

    assert decoded == value
    assert type(decoded) is type(value)
    assert structure(json.loads(encode(value) or b"null"), kind) == value


@every(
    ("value", "kind", "plain"),
    [
        (Usage(1), dict[str, Any] | Usage, {"Size": 1, "Note": ""}),
        ({"Size": 1}, Usage | dict[str, str], {"Size": 1, "Note": ""}),
        (["a"], list[int] | set[str], ["a"]),
        ([1], list[str] | tuple[int, ...], [1]),
        ({"a": 1}, dict[str, str] | Mapping[str, int], {"a": 1}),
        (2**70, int | float, 2**70),
    ],
)
def test_a_result_of_a_union_may_be_of_any_of_its_types(value: Any, kind: Any, plain: Any) -> None:
    """That which has the class of the value is tried first, and then the others."""
    assert json.loads(encode_result(value, kind, key="Key", method="S.M"))["Key"] == plain


@every(
    ("plain", "kind", "value"),
    [
        ({"Kind": None, "Size": 2}, Square | Round, Round(2)),
        (None, Annotated[Usage | Empty, "inside"] | Usage, Empty()),
        ([], list[Usage] | list[Empty], []),
        ([1, {"Note": "a"}], list[Usage | int] | list[Empty | int], [1, Empty("a")]),
    ],
)
def test_null_is_as_good_as_absent(plain: Any, kind: Any, value: Any) -> None:
    """A value is not of another type because a key of it is ``null``."""
    assert structure(plain, kind) == value


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the statement is new in Python 3.12")
@pytest.mark.parametrize("value", [{}, {"a": 1}, [1], [[{"a": []}]], None])
def test_an_alias_may_stand_for_itself_inside(value: Any) -> None:
    """So JSON itself is a type."""
    names: dict[str, Any] = {}
    exec("type Json = dict[str, Json] | list[Json] | str | int | None", names)  # noqa: S102

    assert structure(value, names["Json"]) == value
    assert json.loads(encode_result(value, names["Json"], key="K", method="S.M"))["K"] == value


def test_what_was_made_of_a_message_is_freed_without_the_garbage_collector() -> None:
    """No traceback of a class that was tried first keeps it alive."""

    @frozen(slots=False)
    class First:
        items: list[int]

    @frozen(slots=False)
    class Second:
        items: list[str]

    made = structure({"Items": ["a"]}, First | Second)
    assert type(made) is Second
    freed = weakref.ref(made)
    gc.disable()
    try:
        del made
        assert freed() is None
    finally:
        gc.enable()


@every(
    ("plain", "kind", "reason"),
    [
        ({"Size": "x"}, Usage | Empty, "Size: a whole number expected, not a string"),
        (
            {"Kind": "lost"},
            Started | Failed,
            "Kind: one of 'failed' or one of 'started' expected, not 'lost'",
        ),
        ([], int | str, "a whole number or a string expected, not an array"),
        ([], Usage | Empty, "an object expected, not an array"),
        (True, Literal[1], "one of 1 expected, not True"),
        (1.0, Literal[1], "one of 1 expected, not 1.0"),
        (1, Literal[True], "one of True expected, not 1"),
        ([], Literal["a"], "one of 'a' expected, not an array"),
        (True, Number, "one of 1 expected, not True"),
        (1.0, Number, "one of 1 expected, not 1.0"),
        ({}, Scope, "one of 'local', 'global' expected, not an object"),
        (["local", "x"], list[Scope], "[1]: one of 'local', 'global' expected, not 'x'"),
        ({"a": None}, dict[str, Kind], "a: one of 'round', 'square' expected, not null"),
        ("mid", Level, "one of 'low', None expected, not 'mid'"),
        ([None], list[Usage | Empty], "objects expected, not null"),
        (
            {"Of": {"Of": 1}},
            Not | Minus,
            "Of.Of: a string or an object expected, not a number",
        ),
    ],
)
def test_a_value_of_no_type_of_a_union_is_an_error_that_names_them(
    plain: Any, kind: Any, reason: str
) -> None:
    """The error says what would fit, in terms of JSON and of the enumeration's values."""
    with pytest.raises(WireError) as caught:
        structure(plain, kind)

    assert caught.value.reason == reason


def _nested(levels: int, inside: str) -> Any:
    return json.loads('{"Of":' * levels + json.dumps(inside) + "}" * levels)


def _lists(levels: int, inside: str) -> Any:
    return json.loads('{"Many":[' * levels + json.dumps(inside) + "]}" * levels)


@every(
    ("message", "kind"),
    [
        (_nested(12, "good"), Not | Minus),
        (_nested(12, "bad"), Not | Minus),
        (_lists(12, "good"), Lists),
        (_lists(12, "bad"), Lists),
        ([_nested(12, "bad"), 1], list[Not | Minus] | tuple[Minus | Not, ...] | int),
    ],
)
def test_unions_inside_unions_take_no_more_time_at_each_level(message: Any, kind: Any) -> None:
    """If a value were made again for each type that is tried, it would be made 4,096 times."""
    Counted.made = 0
    with suppress(WireError):
        structure(message, kind)
    assert 0 < Counted.made < 10


def test_a_value_of_many_levels_is_read() -> None:
    """Each level is a union of classes that cannot be told apart by their keys."""
    made = structure(_nested(150, "good"), Not | Minus)
    for _ in range(150):
        made = made.of
    assert made == "good"


def test_the_values_of_one_message_are_not_those_of_another() -> None:
    """What a union has made is forgotten with the message, and after an error too."""
    message: Any = {"Of": {"Of": "one"}}
    assert structure(message, Not | Minus) == Not(Not(Counted("one")))
    message["Of"]["Of"] = "bad"
    with pytest.raises(WireError):
        structure(message, Not | Minus)
    message["Of"]["Of"] = "two"
    assert structure(message, Not | Minus) == Not(Not(Counted("two")))
