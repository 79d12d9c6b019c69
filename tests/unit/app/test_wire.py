"""Responses decoded as types: strict about JSON types, lenient where hosts always were."""

import json
import re
from collections import deque
from collections.abc import Iterable, Mapping, MutableMapping, MutableSequence, MutableSet, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any, Generic, NewType, TypeVar

import attrs
import pytest
from attrs import field, frozen

from moby_plugins.app.fields import name_on_wire
from moby_plugins.app.wire import decode
from moby_plugins.domain.errors import WireError
from tests.cases import every

VolumeName = NewType("VolumeName", str)


class Scope(Enum):
    LOCAL = "local"
    GLOBAL = "global"


class Kind(StrEnum):
    LOCAL = "local"


class Mixed(str, Enum):  # noqa: UP042  it is what programs have
    LOCAL = "local"


class Level(IntEnum):
    LOW = 1


class Name(str):
    __slots__ = ()


class Size(int):
    pass


class Ratio(float):
    pass


class Data(bytes):
    pass


@frozen
class Volume:
    name: str
    mountpoint: str = "/mnt"
    created_at: str = ""
    status: dict[str, Any] = field(factory=dict)


@frozen
class Listing:
    volumes: tuple[Volume, ...]
    by_name: dict[str, Volume]
    newest: Volume | None


T = TypeVar("T")


@frozen
class Box(Generic[T]):
    item: T
    more: list[T] = field(factory=list)
    inner: "Box[T] | None" = None


@frozen
class Endpoint:
    id: str = field(metadata={"wire": "ID"})
    _secret: str = ""
    hops: list["Endpoint"] = field(factory=list, kw_only=True)
    label: str = field(init=False, default="fixed")


@frozen
class Port:
    number: int = field(validator=attrs.validators.lt(65536))


@frozen
class Dated:
    when: datetime


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"", None),
        (b"null", None),
        (b'{"Err": ""} trailing', {"Err": ""}),
        (b'[1, 1.5, "a", true]', [1, 1.5, "a", True]),
    ],
)
def test_without_a_type_a_response_is_plain_json(body: bytes, value: Any) -> None:
    """The first JSON value is returned as a plain Python value, and an empty body as ``None``."""
    assert decode(body) == value


@every(
    ("body", "into", "value"),
    [
        (b'"a"', str, "a"),
        (b"true", bool, True),
        (b"7", int, 7),
        (b"7", float, 7.0),
        (b"0.5", float, 0.5),
        (b'"AP8="', bytes, b"\x00\xff"),
        (b'{"a": [1]}', object, {"a": [1]}),
        (b'{"a": [1]}', Any, {"a": [1]}),
        (b'["a"]', list, ["a"]),
        (b'["a"]', list[str], ["a"]),
        (b'["a"]', tuple, ("a",)),
        (b'["a", "b"]', tuple[str, ...], ("a", "b")),
        (b'["a", "a"]', set[str], {"a"}),
        (b'["a"]', frozenset[str], frozenset({"a"})),
        (b'["a"]', AbstractSet[str], frozenset({"a"})),
        (b'["a"]', MutableSet[str], {"a"}),
        (b'["a"]', deque[str], deque(["a"])),
        (b'["a"]', Sequence[str], ["a"]),
        (b'["a"]', MutableSequence[str], ["a"]),
        (b'["a"]', Iterable[str], ["a"]),
        (b'{"a": 1}', dict, {"a": 1}),
        (b'{"a": 1}', dict[str, int], {"a": 1}),
        (b'{"a": 1}', Mapping[str, int], {"a": 1}),
        (b'{"a": 1}', MutableMapping[str, int], {"a": 1}),
        (b'{"a": [["b"]]}', dict[str, list[tuple[str, ...]]], {"a": [("b",)]}),
        (b'"a"', str | None, "a"),
        (b"null", str | None, None),
        (b'"a"', VolumeName, "a"),
        (b'"a"', Annotated[str, "a volume"], "a"),
        (b'"global"', Scope, Scope.GLOBAL),
        (b'"local"', Kind, Kind.LOCAL),
        (b'"local"', Mixed, Mixed.LOCAL),
        (b"1", Level, Level.LOW),
        (b'["local"]', list[Kind], [Kind.LOCAL]),
        (b'"local"', Kind | None, Kind.LOCAL),
        (b'{"local": 1}', dict[Kind, Level], {Kind.LOCAL: Level.LOW}),
        (b'"a"', Name, Name("a")),
        (b"7", Size, Size(7)),
        (b"0.5", Ratio, Ratio(0.5)),
        (b'"AP8="', Data, Data(b"\x00\xff")),
        (b'{"Name": "a"}', Volume, Volume("a")),
        (b'{"item": 1, "more": [2], "inner": {"Item": 3}}', Box[int], Box(1, [2], Box(3))),
        (b'[{"Item": {"Name": "a"}}]', list[Box[Volume]], [Box(Volume("a"))]),
    ],
)
def test_a_response_is_read_as_the_type_asked_for(body: bytes, into: Any, value: object) -> None:
    """Every JSON type has Python types that it can be read as."""
    decoded = decode(body, into)

    assert decoded == value
    assert type(decoded) is type(value)


@every(
    ("into", "zero"),
    [
        (str, ""),
        (bool, False),
        (int, 0),
        (float, 0.0),
        (bytes, b""),
        (list[str], []),
        (tuple[str, ...], ()),
        (dict[str, str], {}),
        (int | None, None),
        (Volume, Volume("")),
        (Listing, Listing((), {}, None)),
    ],
)
def test_null_is_the_types_zero(into: Any, zero: object) -> None:
    """``null`` gives the zero of a type, and of an attrs class one made of zeros and defaults."""
    decoded = decode(b"null", into)

    assert decoded == zero
    assert type(decoded) is type(zero)


@pytest.mark.parametrize("absent", [b"{}", b'{"Name": null, "Mountpoint": null, "Status": null}'])
def test_an_absent_key_gives_the_default_or_else_a_zero(absent: bytes) -> None:
    """A key that is missing and one that is ``null`` are treated alike."""
    assert decode(absent, Volume) == Volume(name="", mountpoint="/mnt", created_at="", status={})


def test_keys_match_without_case_and_unknown_ones_are_ignored() -> None:
    """The last of several spellings wins, and unknown keys are ignored."""
    body = b'{"NAME": "first", "name": "last", "created_at": "no", "CREATEDAT": "yes", "X": [1]}'

    assert decode(body, Volume) == Volume("last", created_at="yes")


def test_a_repeated_key_keeps_its_first_place() -> None:
    """In name, NAME, name the second counts as the last key, since the third repeats the first."""
    assert decode(b'{"name": "a", "NAME": "b", "name": "c"}', Volume) == Volume("b")


def test_a_field_can_have_a_name_of_its_own_on_the_wire() -> None:
    """Metadata ``wire`` names a field; private and keyword-only fields are filled as well."""
    body = b'{"id": "e1", "Secret": "s", "Label": "other", "Hops": [{"ID": "e2"}]}'

    decoded = decode(body, Endpoint)

    assert decoded == Endpoint("e1", "s", hops=[Endpoint("e2")])
    assert decoded.label == "fixed"


def test_names_on_the_wire_are_title_cased_and_joined() -> None:
    """``created_at`` is ``CreatedAt``, unless the field says otherwise."""
    names = [name_on_wire(a) for kind in (Volume, Endpoint) for a in attrs.fields(kind)]

    assert names == ["Name", "Mountpoint", "CreatedAt", "Status", "ID", "Secret", "Hops", "Label"]


@every(
    ("body", "into", "reason"),
    [
        (b"1", str, "a string expected, not a number"),
        (b'"1"', int, "a whole number expected, not a string"),
        (b"true", int, "a whole number expected, not a boolean"),
        (b"1.0", int, "a whole number expected, not a number"),
        (b"1", bool, "a boolean expected, not a number"),
        (b'"1"', float, "a number expected, not a string"),
        (b"true", float, "a number expected, not a boolean"),
        (b"[]", bytes, "base64 expected, not an array"),
        (b"{}", str | None, "a string expected, not an object"),
        (b"1", VolumeName, "a string expected, not a number"),
        (b"1", Annotated[str, "a volume"], "a string expected, not a number"),
        *[
            (b'"abc"', kind, "an array expected, not a string")
            for kind in (
                list,
                list[str],
                tuple[str, ...],
                set[str],
                frozenset[str],
                AbstractSet[str],
                MutableSet[str],
                deque[str],
                Sequence[str],
                MutableSequence[str],
                Iterable[str],
            )
        ],
        (b"{}", list[str], "an array expected, not an object"),
        (b"[]", dict[str, str], "an object expected, not an array"),
        (b"[]", Volume, "an object expected, not an array"),
        (b"[{}, null]", list[Volume], "objects expected, not null"),
        (b'"x"', Volume, "an object expected, not a string"),
        (b'{"NAME": 1}', Volume, "Name: a string expected, not a number"),
        (
            b'{"Volumes": [{}, {"createdat": false}]}',
            Listing,
            "Volumes[1].CreatedAt: a string expected, not a boolean",
        ),
        (
            b'{"ByName": {"a b": {"Status": 1}}}',
            Listing,
            "ByName.a b.Status: an object expected, not a number",
        ),
        (b'{"Newest": {"Name": []}}', Listing, "Newest.Name: a string expected, not an array"),
        (b'[["a"], ["b", 1]]', list[list[str]], "[1][1]: a string expected, not a number"),
    ],
)
def test_a_wrong_type_is_an_error_that_says_where(body: bytes, into: Any, reason: str) -> None:
    """No value is converted to fit, and the error has the path of keys to the value."""
    with pytest.raises(WireError) as caught:
        decode(body, into)

    assert caught.value.reason == reason


@pytest.mark.parametrize("text", ["!", "AP8", "AP8=\\n", "ü"])
def test_bytes_are_standard_base64(text: str) -> None:
    """A string that is not base64 is an error that says where, whatever is wrong with it."""
    with pytest.raises(WireError, match=r"^a: base64 expected, not a string$"):
        decode(f'{{"a": "{text}"}}'.encode(), dict[str, bytes])


@every(
    ("body", "into", "reason"),
    [
        (b"", Volume, "empty where JSON was expected"),
        (b" \n", None, "empty where JSON was expected"),
        (b"<html>", None, "not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b'"\xff"', str, "not UTF-8: invalid start byte at byte 1"),
        (b'"lunar"', Scope, "one of 'local', 'global' expected, not 'lunar'"),
        (b'{"Number": 65536}', Port, f"not {Port}: 'number' must be < 65536: 65536"),
        (b"1" + b"0" * 400, float, "a number expected, not one too large for a float"),
    ],
)
def test_a_response_that_cannot_be_decoded_is_an_error_with_its_reason(
    body: bytes, into: Any, reason: str
) -> None:
    """Broken JSON, and a value that the type itself refuses, have their exception as cause."""
    with pytest.raises(WireError) as caught:
        decode(body, into)

    assert caught.value.reason == reason
    assert isinstance(caught.value.__cause__, Exception)


@pytest.mark.parametrize("into", [datetime, Dated, list[Dated], datetime | None])
def test_a_type_that_no_response_can_be_decoded_as_is_a_type_error(into: Any) -> None:
    """The mistake is the caller's, at whatever depth the type occurs."""
    body = b'[{"When": "now"}]' if into == list[Dated] else b'{"When": "now"}'

    with pytest.raises(TypeError, match=r"^no JSON can be decoded as"):
        decode(body, into)


@pytest.mark.parametrize("into", [tuple[str], tuple[str, int]])
def test_a_tuple_of_fixed_length_is_refused(into: Any) -> None:
    """Arrays have no fixed length, and the error says which type to take."""
    told = f"{into}: a JSON array has no fixed length; take tuple[T, ...]"
    with pytest.raises(TypeError, match=f"{re.escape(told)}$"):
        decode(b'["a"]', into)


def test_a_response_of_more_than_a_million_values_is_refused() -> None:
    """The values are counted before they are decoded."""
    with pytest.raises(WireError, match=r"^the JSON has more than 1,000,000 values$"):
        decode(b"[" + b"0," * 1_000_000 + b"0]")


@every("into", [3, "Volume", [str], {"a": int}, lambda value: value])
def test_a_value_that_is_not_a_type_is_refused_with_the_name_of_the_argument(into: Any) -> None:
    """The ``TypeError`` names ``into``, also for a value that has no hash."""
    with pytest.raises(TypeError, match=r"^no JSON can be decoded as .*, which is given as into, "):
        decode(b"{}", into)


def test_the_error_of_a_type_without_a_hash_shows_the_value() -> None:
    """For ``[str]`` the message has Python's own reason, too."""
    with pytest.raises(TypeError, match=r"as \[<class 'str'>\], .*: unhashable type: 'list'$"):
        decode(b"{}", [str])


@every(
    ("body", "into"),
    [
        (b'"nonsense"', Kind),
        (b'"nonsense"', Mixed),
        (b"99", Level),
        (b"true", Level),
        (b"1", Kind),
        (b"1", Name),
        (b'"7"', Size),
        (b'"0.5"', Ratio),
        (b'"?"', Data),
        (b'{"Item": "a"}', Box[int]),
        (b'{"Item": 1, "More": ["a"]}', Box[int]),
        (b'{"Item": 1, "Inner": {"Item": "a"}}', Box[int]),
    ],
)
def test_enums_subclasses_and_generic_classes_are_decoded_strictly(body: bytes, into: Any) -> None:
    """A value of another JSON type, or outside of the enum, is a ``WireError``."""
    with pytest.raises(WireError):
        decode(body, into)


@frozen
class Spelled:
    """Two fields whose keys differ in case alone."""

    upper: int = field(metadata={"wire": "ID"})
    title: int = field(metadata={"wire": "Id"})


def test_a_key_that_matches_exactly_is_preferred() -> None:
    """A key that matches only without regard to case counts after it, as in Go."""
    assert decode(b'{"ID": 1, "Id": 2}', Spelled) == Spelled(1, 2)
    assert decode(b'{"Id": 2, "ID": 1}', Spelled) == Spelled(1, 2)


K = TypeVar("K")


@frozen(slots=False)
class First(Generic[T]):
    """A field of a variable."""

    first: T


@frozen(slots=False)
class Second(Generic[T]):
    """Another field of the same variable."""

    second: list[T]


@frozen
class Whole(First[int]):
    """A class that gives its base a type."""


@frozen
class Swapped(Second[K], First[T], Generic[T, K]):
    """A class that gives its bases the variables of its own."""


@frozen
class Given(Swapped[dict[str, T], K], Generic[K, T]):
    """A class whose variables have other places than those of its base."""


@pytest.mark.parametrize(
    ("into", "good", "bad"),
    [
        (Whole, {"First": 1}, {"First": "a"}),
        (Swapped[int, str], {"Second": ["a"], "First": 1}, {"Second": ["a"], "First": "a"}),
        (Swapped[int, str], {"Second": ["a"], "First": 1}, {"Second": [1], "First": 1}),
        (
            Given[str, int],
            {"Second": ["a"], "First": {"b": 1}},
            {"Second": ["a"], "First": {"b": "a"}},
        ),
    ],
)
def test_an_inherited_field_has_the_type_that_its_class_is_given(
    into: Any, good: dict[str, Any], bad: dict[str, Any]
) -> None:
    """Two bases may use one type variable for different types."""
    plain = {name.casefold(): value for name, value in good.items()}

    assert attrs.asdict(decode(json.dumps(good).encode(), into)) == plain
    with pytest.raises(WireError, match="expected, not a"):
        decode(json.dumps(bad).encode(), into)


def test_a_generic_class_is_read_with_the_types_that_it_is_given() -> None:
    """Fields without a type variable keep their types; a variable without a type is refused."""

    @frozen
    class Pair(Generic[K, T]):
        by_key: dict[K, T]
        size: int | None = None

    assert decode(b'{"ByKey":{"a":1},"Size":2}', Pair[str, int]) == Pair({"a": 1}, 2)
    with pytest.raises(WireError, match="Size: a whole number expected, not a string"):
        decode(b'{"Size":"2"}', Pair[str, int])
    with pytest.raises(TypeError, match="no JSON can be decoded as ~K"):
        decode(b'{"ByKey":{"a":1}}', Pair)
