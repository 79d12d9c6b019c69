"""Types beyond the plain ones: what is sent of a value is read back as an equal value."""

import json
from collections import Counter, OrderedDict, deque
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import attrs
import pytest
from attrs import frozen

from moby_plugins.app.results import encode_result
from moby_plugins.app.structuring import structure
from moby_plugins.app.wire import encode
from moby_plugins.domain.errors import WireError
from tests.cases import every
from tests.unit.app.sample_types import (
    Alias,
    Bare,
    Box,
    Crate,
    Crates,
    Digest,
    Disk,
    Double,
    Empty,
    Frozen,
    Labelled,
    Labels,
    Levels,
    Listed,
    Names,
    Notes,
    OldDict,
    Plain,
    Sizes,
    Slug,
    Usage,
)


@every(
    ("value", "kind"),
    [
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
        (OrderedDict(a=1), OrderedDict[str, int]),
        (Labels(a=1), Labels),
        (Counter(a=2), Counter[str]),
        (Digest(b"\x00"), Digest),
        (deque([1]), deque[int]),
        (Notes(Alias(Usage(1)), 2, (3,)), Notes),
        (Bare(1), Bare),
        (Plain(1, (2,)), Plain),
        ({"size": 1}, OldDict),
        (frozenset({Usage(1), Usage(2)}), frozenset[Usage]),
        ({"size": 1}, Frozen),
        (Double(2), Double),
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
        ([None], list[OldDict], "objects expected, not null"),
        ({"size": "x"}, OldDict, "size: a whole number expected, not a string"),
        (["a", "b c"], list[Slug], f"[1]: not {Slug}: no spaces"),
    ],
)
def test_a_value_that_does_not_fit_is_an_error_with_the_path_to_it(
    plain: Any, kind: Any, reason: str
) -> None:
    """The error says what would fit, in terms of JSON and of the enumeration's values."""
    with pytest.raises(WireError) as caught:
        structure(plain, kind)

    assert caught.value.reason == reason


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
