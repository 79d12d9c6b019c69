"""Types beyond the plain ones: what is sent of a value is read back as an equal value."""

import json
from collections import Counter, OrderedDict, deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, IntFlag
from pathlib import Path
from types import MappingProxyType
from typing import (
    Annotated,
    Any,
    Final,
    Generic,
    Literal,
    NewType,
    NotRequired,
    Self,
    TypedDict,
    TypeVar,
)

import attrs
import pytest
from attrs import frozen
from typing_extensions import TypedDict as ExtensionsTypedDict

from moby_plugins.app.results import encode_result
from moby_plugins.app.structuring import structure
from moby_plugins.app.wire import encode
from moby_plugins.domain.errors import WireError
from tests.cases import every

T = TypeVar("T")
K = TypeVar("K")


@frozen
class Empty:
    """A class whose fields all have defaults."""

    note: str = ""


@frozen
class Usage:
    """A class with a required field."""

    size: int
    note: str = ""


@frozen
class Started:
    """A class that a literal distinguishes."""

    kind: Literal["started"]
    seconds: int = 0
    name: str = ""


@frozen
class Failed:
    """Another one, with fewer fields."""

    kind: Literal["failed"]
    seconds: int = 0


@frozen
class Names:
    """A class with an ``__iter__`` of its own is an object, not an array."""

    names: tuple[str, ...] = ()
    size: int = 0

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)


@frozen
class Box(Generic[T]):
    """A generic class."""

    item: T
    more: tuple[T, ...] = ()


@frozen
class Sizes(Box[int]):
    """A class that gives its base a type."""


@frozen
class Labelled(Box[list[K]], Generic[K]):
    """A generic class that gives its base a type with a variable of its own."""

    label: str = ""


@dataclass
class Disk:
    """A dataclass that may hold itself."""

    size: int
    parts: "list[Disk]" = field(default_factory=list)
    label: str = "disk"


@dataclass
class Crate(Generic[T]):
    """A generic dataclass."""

    item: T


@dataclass
class Crates(Crate[list[K]], Generic[K]):
    """A generic dataclass that inherits a field from another."""

    count: int = 0


class Listed(TypedDict, Generic[T]):
    """A generic typed dict."""

    items: list[T]
    note: NotRequired[str]


class Levels(Listed[int]):
    """A typed dict that gives its base a type."""

    level: int


class Scope(Enum):
    """An enumeration of texts."""

    LOCAL = "local"
    GLOBAL = "global"


class Access(IntFlag):
    """An enumeration whose members can be combined."""

    READ = 1
    WRITE = 2


class Number(Enum):
    """An enumeration of whole numbers."""

    ONE = 1


class Kind(Enum):
    """An enumeration that distinguishes classes."""

    ROUND = "round"
    SQUARE = "square"


@frozen
class Round:
    """A class that a member of an enumeration distinguishes."""

    size: int
    kind: Literal[Kind.ROUND] | None = Kind.ROUND


@frozen
class Square:
    """Another one, whose field has no default."""

    kind: Literal[Kind.SQUARE]


@frozen
class Bare(Box[int]):
    """A class with no field of its own, which ``attrs`` has made."""


class Plain(Box[int]):
    """A class that only derives from a generic attrs class."""


class Level(Enum):
    """An enumeration with ``None`` as a value."""

    LOW = "low"
    NONE = None


class OldDict(ExtensionsTypedDict):
    """A typed dict of ``typing_extensions``, which is a class of its own in some Pythons."""

    size: int
    label: NotRequired[str]


@frozen
class Not:
    """A class that is nested without end, like the other one."""

    of: "Not | Minus | int"


@frozen
class Minus:
    """A class that cannot be told from the other one by its keys."""

    of: "Not | Minus | int"
    sign: Literal["-"] = "-"


@frozen
class Lists:
    """A class that is nested without end in arrays of two kinds."""

    many: "tuple[Lists, ...] | list[Lists]" = ()


class Slug(str):
    """A text of a class that refuses some texts."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        if " " in text:
            raise ValueError("no spaces")
        return super().__new__(cls, text)


class Labels(dict[str, Any]):
    """A mapping of a class of its own."""


class Digest(bytes):
    """Bytes of a class of their own."""


Alias = NewType("Alias", Usage)


@frozen
class Notes:
    """Fields whose types are wrapped, one with metadata that has no hash."""

    usage: Annotated[Alias, {"unit": "bytes"}]
    size: Final[int] = 0
    many: tuple[Annotated[int, ["MiB"]], ...] = ()


@every(
    ("value", "kind"),
    [
        (Usage(3), Usage | Empty),
        (Usage(3, "a"), Empty | Usage),
        (Empty("a"), Usage | Empty),
        (Started("started", 2), Failed | Started),
        (Failed("failed", 2), Started | Failed),
        ([Usage(1), Empty("a")], list[Empty | Usage | None]),
        ("a", int | str),
        (1, str | int),
        (True, int | bool),
        (0.5, int | float),
        (["a"], str | list[str]),
        ({"a": 1}, list[str] | dict[str, int]),
        (Usage(3), Usage | str),
        (None, Usage | str | None),
        (Names(("a",), 2), Names),
        (Box(1, (2,)), Box[int]),
        (Sizes(1, (2,)), Sizes),
        (Labelled(["a"], (["b"],), "c"), Labelled[str]),
        (Box(Usage(1)), Box[Usage]),
        (Disk(1, [Disk(2)], "a"), Disk),
        (Crate(1), Crate[int]),
        (Crates([1], 2), Crates[int]),
        ({"items": ["a"]}, Listed[str]),
        ({"items": [1], "level": 2, "note": "b"}, Levels),
        (Scope.GLOBAL, Scope),
        (Access.READ | Access.WRITE, Access),
        (Number.ONE, Number),
        ("b", Literal["a", "b"]),
        (2, Literal["a", 2]),
        (OrderedDict(a=1), OrderedDict[str, int]),
        (Labels(a=1), Labels),
        (Counter(a=2), Counter[str]),
        (Digest(b"\x00"), Digest),
        (deque([1]), deque[int]),
        (Notes(Alias(Usage(1)), 2, (3,)), Notes),
        ((Empty("a"),), tuple[Usage, ...] | tuple[Empty, ...]),
        ([Usage(1)], list[Usage] | list[Empty]),
        ([], list[Usage] | list[Empty]),
        ({"k": Empty("a")}, dict[str, Usage] | dict[str, Empty]),
        ({"k": [Empty("a")]}, dict[str, list[Usage]] | dict[str, list[Empty]]),
        ([Started("started")], list[Usage | Failed] | list[Started | Empty]),
        (Empty("a"), Annotated[Started | Empty, "inside"] | Usage),
        (None, Annotated[Started | None, "inside"] | Usage),
        (Scope.LOCAL, Scope | str),
        ("wide", Scope | str),
        ("a", Literal["a"] | int),
        (Slug("a"), Slug | str),
        (Round(1), Round | Square),
        (Square(Kind.SQUARE), Round | Square),
        (Bare(1), Bare),
        (Plain(1, (2,)), Plain),
        (Level.NONE, Level),
        (Level.LOW, Level),
        ({"size": 1}, OldDict),
        ({"size": 1, "label": "a"}, OldDict | Usage),
        (Not(Minus(Not(1))), Not | Minus),
        (frozenset({Usage(1), Usage(2)}), frozenset[Usage]),
    ],
)
def test_what_is_sent_of_a_value_is_read_back_as_an_equal_value(value: Any, kind: Any) -> None:
    """A plugin's result and a host's argument are read by the other end as they were."""
    result = json.loads(encode_result(value, kind, key="Key", method="S.M"))["Key"]

    decoded = structure(result, kind)

    assert decoded == value
    assert type(decoded) is type(value)
    if not isinstance(value, (deque, bytes)):
        assert structure(json.loads(encode(value) or b"null"), kind) == value


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
        ([None], list[Alias], "objects expected, not null"),
        ([None], list[Disk], "objects expected, not null"),
        ([], Disk, "an object expected, not an array"),
        ("a", Listed[str], "an object expected, not a string"),
        (
            {"size": 1, "parts": [{"size": "x"}]},
            Disk,
            "parts[0].size: a whole number expected, not a string",
        ),
        ({"items": ["a"]}, Levels, "items[0]: a whole number expected, not a string"),
        ([["a", 1]], Counter[str], "an object expected, not an array"),
        ([["a", 1]], Labels, "an object expected, not an array"),
        ([["a", 1]], OrderedDict, "an object expected, not an array"),
        ([["a", 1]], MappingProxyType, "an object expected, not an array"),
        ({"Item": "a"}, Sizes, "Item: a whole number expected, not a string"),
        ({"Item": "a"}, Plain, "Item: a whole number expected, not a string"),
        ({"a": None}, dict[str, Kind], "a: one of 'round', 'square' expected, not null"),
        ("mid", Level, "one of 'low', None expected, not 'mid'"),
        ([None], list[Usage | Empty], "objects expected, not null"),
        ([None], list[OldDict], "objects expected, not null"),
        ({"size": "x"}, OldDict, "size: a whole number expected, not a string"),
        (["a", "b c"], list[Slug], f"[1]: not {Slug}: no spaces"),
        (
            {"Of": {"Of": "x"}},
            Not | Minus,
            "Of.Of: a whole number or an object expected, not a string",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_an_error_with_the_path_to_it(
    plain: Any, kind: Any, reason: str
) -> None:
    """The error says what would fit, in terms of JSON and of the enumeration's values."""
    with pytest.raises(WireError) as caught:
        structure(plain, kind)

    assert caught.value.reason == reason


def _nested(levels: int, inside: Any) -> Any:
    return json.loads('{"Of":' * levels + json.dumps(inside) + "}" * levels)


def test_unions_inside_unions_take_no_more_time_at_each_level() -> None:
    """If a value were made again for each class that is tried, 60 levels would take for ever."""
    made = structure(_nested(60, 1), Not | Minus)
    for _ in range(60):
        made = made.of
    assert made == 1

    fitting = _nested(1, {"Of": _nested(60, 1), "Sign": "+"})
    with pytest.raises(WireError, match=r"a whole number or an object expected, not a string$"):
        structure(_nested(60, "x"), Not | Minus)
    with pytest.raises(WireError, match=r"an array expected, not a number$"):
        structure(_lists(60), Lists)
    assert structure(fitting, Not | Minus).of.of == structure(_nested(60, 1), Not | Minus)


def _lists(levels: int) -> Any:
    return json.loads('{"Many":[' * levels + '{"Many":1}' + "]}" * levels)


def test_the_values_of_one_message_are_not_those_of_another() -> None:
    """What a union has made is forgotten with the message, and after an error too."""
    message: Any = {"Of": {"Of": 1}}
    assert structure(message, Not | Minus) == Not(Not(1))
    message["Of"]["Of"] = "x"
    with pytest.raises(WireError):
        structure(message, Not | Minus)
    message["Of"]["Of"] = 2
    assert structure(message, Not | Minus) == Not(Not(2))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (bytes | str, "a string in JSON may be both; take one of bytes and str"),
        (list[str | bytes | None], "a string in JSON may be both; take one of bytes and str"),
        (dict[int, str], "the keys of a JSON object are strings; take dict"),
        (dict[bool, str] | None, "the keys of a JSON object are strings; take dict"),
        (Mapping[float, str], "the keys of a JSON object are strings; take dict"),
    ],
    ids=str,
)
def test_a_type_of_which_values_would_be_lost_is_a_type_error(kind: Any, reason: str) -> None:
    """The error says which type to take."""
    with pytest.raises(TypeError, match=reason):
        structure(["a"] if kind == list[str | bytes | None] else "a", kind)


def test_an_error_of_a_type_that_only_cattrs_knows_has_a_path() -> None:
    """The message has what the type itself says."""
    with pytest.raises(WireError, match=r"^a\[1\]: not <class 'pathlib\..*Path'>: .*int"):
        structure({"a": ["/", 2]}, dict[str, list[Path]])


def test_an_annotation_with_metadata_without_a_hash_is_left_out() -> None:
    """The type is that which is annotated."""
    assert structure([1], Annotated[list[int], {"unit": "bytes"}]) == [1]


@every(
    ("plain", "kind", "value"),
    [
        ({}, OldDict, {"size": 0}),
        ({"SIZE": 1}, OldDict, {"size": 1}),
        ({}, Disk, Disk(0)),
        (None, Disk, Disk(0)),
        ({"SIZE": 1, "parts": None, "label": None}, Disk, Disk(1)),
        ({}, Levels, {"items": [], "level": 0}),
        ({"note": None}, Levels, {"items": [], "level": 0}),
        ({"note": "a"}, Usage | Empty, Empty("a")),
        ({"NOTE": "a", "size": 1}, Empty | Usage, Usage(1, "a")),
        (None, int | str, 0),
        ({"a": 1}, Mapping[str, int] | list[int], {"a": 1}),
    ],
)
def test_keys_match_without_case_and_absent_ones_are_the_default_or_zero(
    plain: Any, kind: Any, value: Any
) -> None:
    """Dataclasses and typed dicts follow the rules of attrs classes."""
    assert structure(plain, kind) == value


@pytest.mark.parametrize(
    "kind", [Collection[str], Collection[str] | None, list[Collection[str] | None]]
)
def test_a_type_that_is_not_known_is_a_type_error_at_any_depth(kind: Any) -> None:
    """The mistake is the caller's, not the plugin's."""
    with pytest.raises(TypeError, match="no JSON can be decoded as"):
        structure([["a"]] if kind == list[Collection[str] | None] else ["a"], kind)


def test_the_error_of_a_validator_has_the_path_to_its_value() -> None:
    """The message ends with the validator's own."""

    @frozen
    class Port:
        number: int = attrs.field(validator=attrs.validators.lt(65536))

    with pytest.raises(WireError, match=r"^\[1\]: not .*Port.*: 'number' must be < 65536: 70000$"):
        structure([{"Number": 1}, {"Number": 70000}], list[Port])
