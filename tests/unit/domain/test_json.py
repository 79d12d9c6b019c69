"""JSON is decoded as leniently as hosts of plugins decode it, and no more leniently."""

import re
import tracemalloc
from typing import Any

import pytest

from moby_plugins.domain.json import MAX_DEPTH, first_value, fold_keys, kind_of
from tests.cases import every

TOO_DEEP = r"^nested deeper than 200$"


@every(
    ("data", "value"),
    [
        (b"null", None),
        (b"true", True),
        (b" \t\r\n 1 ", 1),
        (b"-0.5e2", -50.0),
        (b'"a\\u0041\\n"', "aA\n"),
        (b'{"a": [1, {"b": ""}]}', {"a": [1, {"b": ""}]}),
        ('"ü€🎉"'.encode(), "ü€🎉"),
        (b'{"a": 1, "a": 2}', {"a": 2}),
    ],
)
def test_json_is_read(data: bytes, value: Any) -> None:
    """Values of every kind come out as Python's own; of equal keys the last one counts."""
    assert first_value(data) == value


@every("rest", [b" trailing", b"{", b"\x00", b'{"Addr":"y"}', b"\n\n"])
def test_text_after_the_first_json_value_is_ignored(rest: bytes) -> None:
    """The rest may be another value, white space, or bytes that are not JSON."""
    assert first_value(b'{"Addr":"x"}' + rest) == {"Addr": "x"}


@every(
    ("data", "value"),
    [
        (rb'"\ud800"', "\ufffd"),
        (rb'"\uDFFF!"', "\ufffd!"),
        (rb'"\udc00\ud800"', "\ufffd\ufffd"),
        (rb'"\ud800\ud83c\udf89"', "\ufffd🎉"),
        (rb'"\ud83c\udf89"', "🎉"),
        (rb'"\uD83C\uDF89"', "🎉"),
        (rb'"\\ud800"', r"\ud800"),
        (rb'"\\\ud800"', "\\\ufffd"),
        (rb'{"\ud800": "\"\ud800"}', {"\ufffd": '"\ufffd'}),
    ],
)
def test_half_a_surrogate_pair_is_a_replacement_character(data: bytes, value: Any) -> None:
    """No value holds a code point that could not be written out as UTF-8 again."""
    assert first_value(data) == value


@every(
    ("data", "reason"),
    [
        (b"", "empty where JSON was expected"),
        (b" \r\n\t", "empty where JSON was expected"),
        (b'"\xff"', "not UTF-8: invalid start byte at byte 1"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8: invalid start byte at byte 0"),
        (b'"\xed\xa0\x80"', "not UTF-8: invalid continuation byte at byte 1"),
        (b"1 \xff", "not UTF-8: invalid start byte at byte 2"),
        (b"NaN", "a number in JSON must be finite, not NaN"),
        (b'{"a": [Infinity]}', "a number in JSON must be finite, not Infinity"),
        (b"-Infinity", "a number in JSON must be finite, not -Infinity"),
        (b"1e999", "a number in JSON must be finite, not 1e999"),
        (b"[-1e999]", "a number in JSON must be finite, not -1e999"),
    ],
)
def test_bytes_that_are_not_json_are_refused_with_the_reason(data: bytes, reason: str) -> None:
    """Empty input, invalid UTF-8, and numbers that JSON does not have are errors."""
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        first_value(data)


@every(
    "data",
    [b"{", b"[1,]", b'{"a":1,}', b"{'a':1}", b'"a', b"tru", b"nope", b"\xa0", b'"\x01"', b'"\\x"'],
)
def test_broken_json_is_a_value_error(data: bytes) -> None:
    """JSON that breaks off or violates the grammar is refused."""
    with pytest.raises(ValueError, match=r"."):
        first_value(data)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_is_an_error(encoding: str) -> None:
    """JSON is UTF-8 and begins with its value."""
    with pytest.raises(ValueError, match=r"not UTF-8|Expecting value"):
        first_value("{}".encode(encoding))


@pytest.mark.parametrize(
    ("opening", "closing"),
    [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]"), ('[{"[":', "}]")],
)
def test_nesting_has_a_limit(opening: str, closing: str) -> None:
    """Values nest as deep as the limit, not one level deeper, whatever this Python would bear."""
    levels = MAX_DEPTH // (2 if opening.startswith("[{") else 1)

    deepest = f"{opening * levels}1{closing * levels}".encode()
    assert first_value(deepest) is not None

    for deeper in (b"[" + deepest + b"]", b'{"a":' + deepest + b"}"):
        with pytest.raises(ValueError, match=TOO_DEEP):
            first_value(deeper)


@pytest.mark.parametrize("item", ["[]", '{"a":1}', "1"])
def test_items_before_a_value_do_not_hide_that_it_is_nested_too_deep(item: str) -> None:
    """Many closed brackets before a value that is too deep do not change its depth."""
    data = f"[{f'{item},' * MAX_DEPTH}{'[' * MAX_DEPTH}{']' * MAX_DEPTH}]"

    with pytest.raises(ValueError, match=TOO_DEEP):
        first_value(data.encode())


def test_a_value_nested_a_million_levels_deep_is_refused_as_too_deep() -> None:
    """The error is the same as for a value that is a little too deep."""
    with pytest.raises(ValueError, match=TOO_DEEP):
        first_value(b"[" * 1_000_000)


@every(
    "item",
    ["[]", '{"a":1}', '"[[["', r'"\"[[["', r'"\\"', '"]"'],
)
def test_a_broad_value_is_not_deep(item: str) -> None:
    """Many brackets side by side, or inside strings, are no nesting."""
    data = f"[{','.join([item, '[]'] * 500)}]".encode()

    assert len(first_value(data)) == 1000


def test_a_value_that_a_later_equal_key_replaces_may_be_nested_too_deep() -> None:
    """Only the value of the last of equal keys counts for the limit of nesting."""
    deep = "[" * (MAX_DEPTH + 50) + "]" * (MAX_DEPTH + 50)

    assert first_value(f'{{"a":{deep},"a":1}}'.encode()) == {"a": 1}
    with pytest.raises(ValueError, match=TOO_DEEP):
        first_value(f'{{"a":1,"a":{deep}}}'.encode())


@pytest.mark.parametrize("inside", ["", "0", "{}", r'"\ud800"'])
def test_an_empty_container_is_a_level_of_nesting_too(inside: str) -> None:
    """The limit holds for the deepest array or object, whatever it contains."""
    around = "[" * (MAX_DEPTH - (inside == "{}")), "]" * (MAX_DEPTH - (inside == "{}"))
    fits = f"{around[0]}{inside}{around[1]}"

    assert first_value(fits.encode())
    for deeper in (f"[{fits}]", f'{{"a":{fits}}}', rf'["\udc00",{fits}]'):
        with pytest.raises(ValueError, match=TOO_DEEP):
            first_value(deeper.encode())


def test_brackets_after_the_value_are_not_counted() -> None:
    """Nesting is that of the value, and not of the text after it, which is ignored."""
    assert first_value(b"[1]" + b"[" * 1000) == [1]


@pytest.mark.parametrize("letter", [b"x", rb"\n"])
def test_long_strings_among_many_brackets_take_little_memory(letter: bytes) -> None:
    """Checking the depth of a large text takes less than eight times its size."""
    data = b'["' + letter * 500_000 + b'",' + b"[]," * MAX_DEPTH + b"1]"

    tracemalloc.start()
    value = first_value(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(value) == MAX_DEPTH + 2
    assert peak < 8 * len(data)


def test_keys_are_folded_and_the_last_wins() -> None:
    """Keys that differ in case alone are one, with the last one's value."""
    assert fold_keys({"Addr": 1, "ADDR": 2, "Straße": 3}) == {"addr": 2, "strasse": 3}


@every(
    ("value", "name"),
    [
        (None, "null"),
        (True, "a boolean"),
        (0, "a number"),
        (0.5, "a number"),
        ("", "a string"),
        ([], "an array"),
        ({}, "an object"),
    ],
)
def test_messages_call_types_by_their_names_in_json(value: object, name: str) -> None:
    """``kind_of`` says "an object" for a dict, and "null" for ``None``."""
    assert kind_of(value) == name
