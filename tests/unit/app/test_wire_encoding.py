"""Arguments of a call, written as a JSON body."""

import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from attrs import field, frozen

from moby_plugins.app.results import encode_result
from moby_plugins.app.wire import decode, encode
from tests.cases import every
from tests.unit.app.sample_types import Job


@frozen
class Mount:
    name: str
    id: str = field(metadata={"wire": "ID"}, default="")
    opts: dict[str, str] | None = None
    mounted_at: tuple["Mount", ...] = ()


@frozen
class Frame:
    line: bytes


def test_a_field_that_is_not_an_argument_of_a_dataclass_is_not_sent() -> None:
    """It may have no value yet, or one that has no JSON form."""
    assert encode(Job("a")) == b'{"name":"a"}\n'


def test_no_arguments_are_no_body() -> None:
    """``None`` sends no body; an empty mapping, in contrast, is sent as ``{}``."""
    assert encode(None) == b""
    assert encode({}) == b"{}\n"


@every(
    ("args", "body"),
    [
        ({"Name": "a", "Opts": {"size": "1g"}}, b'{"Name":"a","Opts":{"size":"1g"}}\n'),
        ([1, 0.5, True, None, "a"], b'[1,0.5,true,null,"a"]\n'),
        ("ü", b'"\\u00fc"\n'),
        (Mount("a"), b'{"Name":"a","ID":"","Opts":null,"MountedAt":[]}\n'),
        ({"Frames": [Frame(b"\x00\xff")]}, b'{"Frames":[{"Line":"AP8="}]}\n'),
        (b"\x00\xff", b'"AP8="\n'),
        ((Frame(b""),), b'[{"Line":""}]\n'),
        ({"b", "a"}, b'["a","b"]\n'),
        (
            {"Frames": frozenset({Frame(b"\1"), Frame(b"")})},
            b'{"Frames":[{"Line":""},{"Line":"AQ=="}]}\n',
        ),
    ],
)
def test_arguments_are_compact_json_and_a_newline(args: Any, body: bytes) -> None:
    """Plain values and attrs values are written, also inside each other."""
    assert encode(args) == body


def test_a_long_value_is_written_completely() -> None:
    """Python's encoder returns a long value in several strings, which are joined."""
    many = [*range(300_000)]

    assert encode(many) == f"[{','.join(map(str, many))}]\n".encode()


def test_what_was_written_is_read_back() -> None:
    """An attrs value is the same after ``encode`` and ``decode``."""
    mount = Mount("a", "7", {"k": "v"}, (Mount("b"),))

    assert decode(encode(mount), Mount) == mount


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_lacks_is_refused(number: float) -> None:
    """JSON has no such numbers, so no host or plugin could read them."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode({"Size": number})


@pytest.mark.parametrize(
    "value",
    [object(), datetime(2026, 1, 1, tzinfo=UTC), 1j, Decimal(1), range(2)],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: {"a": [value]}, Frame])
def test_a_value_that_json_cannot_express_is_refused(value: Any, wrap: Any) -> None:
    """A value that JSON cannot hold is a ``TypeError``, at whatever depth it sits."""
    with pytest.raises(TypeError, match=f"{type(value).__name__} has no JSON form|unsupported|not"):
        encode(wrap(value))


def test_the_error_of_a_value_that_json_cannot_express_names_its_type() -> None:
    """The value itself is not shown, since it may be a secret."""
    with pytest.raises(TypeError, match=r"^complex has no JSON form$"):
        encode(1j)


def test_a_value_inside_itself_is_refused() -> None:
    """``encode`` raises a ``ValueError`` instead of going on for ever."""
    endless: list[Any] = []
    endless.append(endless)

    with pytest.raises(ValueError, match="Circular"):
        encode(endless)


@every(
    ("text", "written"),
    [
        ("\udcff", r"\ufffd"),
        ("a\ud800\udbff!", r"a\ufffd\ufffd!"),
        ("\udc00🎉\ud83c", r"\ufffd\ud83c\udf89\ufffd"),
        (r"\udcff", r"\\udcff"),
        ("\\\udcff\n\ud7ff", r"\\\ufffd\n\ud7ff"),
    ],
)
def test_half_a_surrogate_pair_is_written_as_a_replacement_character(
    text: str, written: str
) -> None:
    """Lone surrogates are sent as Go sends them, in arguments and in results, keys included."""
    assert encode({text: [text]}) == f'{{"{written}":["{written}"]}}\n'.encode()
    assert encode_result(text, str, key="Mountpoint", method="VolumeDriver.Mount") == (
        f'{{"Mountpoint":"{written}"}}\n'.encode()
    )


def test_a_value_that_is_nested_too_deeply_is_refused() -> None:
    """Python's own limit is reached; the error says that the arguments are nested too deeply."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]

    with pytest.raises(ValueError, match=r"^the arguments are nested too deeply for JSON$"):
        encode(deep)

    assert encode([[]]) == b"[[]]\n"
