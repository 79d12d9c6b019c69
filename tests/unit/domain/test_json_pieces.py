"""JSON that is decoded in pieces, here in small ones, gives the value of the whole text."""

import json
import random
import re
import sys
from sys import getsizeof
from typing import Any

import pytest

from moby_plugins.domain.json import LARGE_BYTES, MAX_DEPTH, MAX_VALUES, first_value
from moby_plugins.domain.json_decoding import STEP_BYTES, backslashes_before
from moby_plugins.domain.json_pieces import in_pieces, whole_backslashes
from tests.cases import every


def made_up(chance: random.Random, depth: int = 0) -> Any:
    """Some value, of any kind, nested at random."""
    kind = chance.random()
    if depth > 6 or kind < 0.4:
        choices = [1, -2.5, True, None, "", 'x\\"y,[{', "é,\n", "\\" * 9 + "😀", 10**20, "k" * 300]
        return chance.choice(choices)
    if kind < 0.7:
        return [made_up(chance, depth + 1) for _ in range(chance.randint(0, 5))]
    keys = [chance.choice(["a", 'b"', "ü", "", "\\"]) + str(n) for n in range(chance.randint(0, 5))]
    return {key: made_up(chance, depth + 1) for key in keys}


@pytest.mark.parametrize("size", [1, 2, 7, 40, 1000])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_decoding_in_pieces_gives_the_same_value(size: int, *, ascii_only: bool) -> None:
    """Random values are the same in pieces of 1 to 1,000 bytes."""
    chance = random.Random(size)  # noqa: S311  no secret
    for _ in range(3):
        value = [made_up(chance) for _ in range(4)]
        data = json.dumps(value, ensure_ascii=ascii_only).encode() + b" and, what, follows"

        assert json.dumps(in_pieces(data, size)) == json.dumps(value)


@every(
    "text",
    [
        '"x😀é"',
        r'"\ud83d\ude00"',
        r'"\ud83d\ud83d\ude00\ude00"',
        r'"\\\\\\ud83d"',
        r'"\\\"\\\\,["',
        r'{"a":[{"b":1}],"a":{"c":[2,3]},"":{"":[]}}',
        r'{"\u0061":1,"b":[],"a":[0,[],{"\ud83d":[]}]}',
        "[[[[[[[[1]]]],{}]]]]",
        " [ 1 , 2 ] ",
        '{"a" : 1 , "b":{ } }',
    ],
)
def test_a_value_is_the_same_wherever_the_text_is_cut_into_pieces(text: str) -> None:
    """Pieces of 1 to 29 bytes cut escapes, characters, keys and containers."""
    one = first_value(text.encode())

    for size in range(1, 30):
        assert in_pieces(f"[{text},{text}]".encode(), size) == [one, one]
        assert in_pieces(f'{{"x":{text},"":{text}}}'.encode(), size) == {"x": one, "": one}


@pytest.mark.parametrize("around", [1, 20_000])
def test_a_long_string_is_read_in_steps(around: int) -> None:
    """A string that is longer than a piece is one string, whatever stands where a step ends."""
    for shift in range(14):
        escapes = rf"{'x' * shift}\ud83d\ude00\\\"\n\ud83dé" * (around // 20 + 1)
        data = f'{{"k":["{escapes}"],"{escapes}":1}}'.encode()
        one = first_value(f'"{escapes}"'.encode())

        assert in_pieces(data, 64) == {"k": [one], one: 1}
        assert in_pieces(f'"{escapes}" ,'.encode(), 64) == one


A = b"a"


@every(
    ("text", "told"),
    [
        # Without an escape, and with one before or behind that is not the string's.
        (b'"%b\n%b"', "not JSON: Invalid control character: near byte 65537"),
        (b'["\\\\","%b\n%b"]', "not JSON: Invalid control character: near byte 65543"),
        (b'["%b\n%b","\\\\"]', "not JSON: Invalid control character: near byte 65538"),
        (b'"%b\xff%b"', "not UTF-8: invalid start byte at byte 70001"),
        # With one: the text is decoded step by step.
        (b'"\\n%b\xff%b"', "not UTF-8: invalid start byte at byte 70003"),
        (b'"\\n%b\\q%b"', "not JSON: Invalid \\escape: near byte 70004"),
        (b'"\\n%b\n%b"', "not JSON: Invalid control character at: near byte 70004"),
    ],
)
def test_an_error_in_a_long_string_gives_its_position(text: bytes, told: str) -> None:
    """The position is that in the whole text, and not in the step that is decoded."""
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        in_pieces(text % (A * 70_000, A * 70_000), 1000)


def test_a_character_that_is_divided_between_two_steps_is_decoded() -> None:
    """An invalid or incomplete character is an error with its position."""
    before = b'"\\n' + A * (STEP_BYTES - 3)
    after = A * 70_000

    whole = before + "\u00e9".encode() + after + b'"'
    assert in_pieces(whole) == "\n" + "a" * (STEP_BYTES - 3) + "\u00e9" + "a" * 70_000
    broken = before + "\u00e9".encode() + A * 10 + b"\xff" + after + b'"'
    with pytest.raises(ValueError, match=r"^not UTF-8: invalid start byte at byte 65548$"):
        in_pieces(broken)
    with pytest.raises(ValueError, match=r"^not UTF-8: unexpected end of data at byte 70003$"):
        in_pieces(b'"\\n' + after + b'\xc3"')


def test_the_last_of_equal_keys_is_used_if_they_are_in_different_pieces() -> None:
    """A repeated key is replaced, even if its first value was cut in two."""
    for size in range(1, 40):
        assert in_pieces(b'{"a":[0],"b":0,"a":[1,1,1],"a":[2]}', size) == {"a": [2], "b": 0}
        assert in_pieces(b'{"a":0,"b":[1,[1],1],"b":1,"a":3}', size) == {"a": 3, "b": 1}


@every(
    "broken",
    [
        *("{0},]", "{0}", "{0}}}", "{0},,1]", "{0} 1]", '{0},"a":1]', "{0},{{1}}]", '{0},"a]'),
        *(
            "{0},1",
            ",{0}]",
            ",[{0},{0}",
            "{0},NaN]",
            "{0},-Infinity]",
            "{0},Infinity",
            '{0},"\x01"]',
        ),
        *(r'{0},"\x"]', r'{0},"\u12"]', "{0},01]", "{0},{{}}", '{0},"a', r'{0},"a\\\"]'),
    ],
)
def test_broken_json_is_an_error_wherever_it_is_cut(broken: str) -> None:
    """JSON that breaks off or violates the grammar is refused in pieces of any size."""
    for size in range(1, 24):
        for start in ("[[", '{"a":[', '[{"a":[{"b":1,"c":['):
            with pytest.raises(ValueError, match=r"JSON"):
                in_pieces((start + broken.format("1,1,1")).encode(), size)


@pytest.mark.parametrize("end", [b'"\xff"]', b'"x"]\xff', b"1] \xc3", b'"' + b"x" * 99 + b'\xff"]'])
def test_bytes_that_are_not_utf8_are_an_error_anywhere_in_the_text(end: bytes) -> None:
    """The error gives the position, also after the first value, in pieces or as a whole."""
    small = b"[1,1," + end
    large = b"[" + b"1," * (LARGE_BYTES // 2) + end
    for data in (small, large):
        place = len(data) - len(end) + next(at for at, byte in enumerate(end) if byte > 127)
        with pytest.raises(ValueError, match=rf"^not UTF-8: .* at byte {place}$"):
            first_value(data)
        with pytest.raises(ValueError, match=rf"^not UTF-8: .* at byte {place}$"):
            in_pieces(data, len(data) // 3)


def test_nesting_has_the_same_limit_in_pieces() -> None:
    """The depth is that of the whole value, wherever the text is cut."""
    deepest = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert in_pieces(deepest, 5)
    with pytest.raises(ValueError, match=f"^nested deeper than {MAX_DEPTH}$"):
        in_pieces(b"[%b]" % deepest, 5)

    many = b"0," * (LARGE_BYTES // 2)
    assert first_value(b"[%b%b]" % (many, deepest[1:-1]))
    with pytest.raises(ValueError, match=f"^nested deeper than {MAX_DEPTH}$"):
        first_value(b"[%b%b]" % (many, deepest))


def test_commas_in_strings_and_after_the_first_value_do_not_count_as_values() -> None:
    """Such a text is not refused for having more than ``MAX_VALUES`` values."""
    text = ',[{"x":' * 300_000

    assert first_value(json.dumps([text]).encode()) == [text]
    assert first_value(b"[" + b" " * LARGE_BYTES + b"1]" + b",1" * MAX_VALUES) == [1]


def test_a_key_that_takes_too_much_memory_is_refused() -> None:
    """A key is decoded together with its value, so all of a long key is held at once."""
    key = b"x" * (20 << 20) + "😀".encode()

    with pytest.raises(
        ValueError, match=r"^decoding the JSON takes more memory than 256 MiB plus twice its size$"
    ):
        in_pieces(b'{"%b":1}' % key, 1 << 10)


# The least memory that a text takes in pieces of 4, 16 and 1000 bytes, beside the text itself.
TAKEN = [
    (b"[]", (121, 121, 121)),
    (b"[1,2,3]", (318, 270, 270)),
    (b'{"a":1,"b":[]}', (333, 333, 333)),
    (b'{"a":{},"b":{"c":1},"d":[[],[0]]}', (1032, 1472, 1032)),
    (b'["abc","def","ghi"]', (882, 330, 282)),
    (b'["a\\u0062c"]', (294, 131, 131)),
    ('["éé","ü"]'.encode(), (465, 225, 225)),
    (b'[ {} , [ ] , {"a" : [ ] } ]', (888, 721, 553)),
    (b'["%b",1]' % (b"x" * 40), (405, 405, 237)),
    (b'{"%b":[1]}' % (b"k" * 40), (456, 335, 335)),
    (b'{"\\u0061%b":1}' % (b"k" * 40), (799, 799, 236)),
    (f'["{"é" * 30}"]'.encode(), (345, 345, 320)),
    (b"[[[[1]]],2]", (922, 514, 514)),
    (b'[true,"_",null]', (278, 278, 278)),
]


@pytest.mark.skipif(getsizeof("") != 49, reason="strings have other sizes in this Python")
@every(("text", "least"), TAKEN)
def test_the_memory_of_pieces_is_computed_before_they_are_decoded(
    text: bytes, least: tuple[int, ...]
) -> None:
    """With one byte of memory less than the pieces need, the text is refused."""
    for size, memory in zip((4, 16, 1000), least, strict=True):
        most = memory - 2 * len(text)
        assert in_pieces(text, size, most) == json.loads(text)
        with pytest.raises(ValueError, match=r"^decoding the JSON takes more memory than -?\d+ M"):
            in_pieces(text, size, most - 1)


def trailing_comma(byte: int) -> str:
    """The text for a comma at ``byte``, behind which an array ends: Python's own from 3.13 on."""
    return (
        f"not JSON: Expecting value: near byte {byte + 1}"
        if sys.version_info < (3, 13)
        else f"not JSON: Illegal trailing comma before end of array: near byte {byte}"
    )


@every(
    ("text", "told"),
    [
        ("[1,NaN]", "NaN or Infinity, which is not JSON, after byte 1"),
        ("[1,Infinity]", "NaN or Infinity, which is not JSON, after byte 1"),
        ('[12,"a",01]', "not JSON: Expecting ',' delimiter: near byte 9"),
        ('{"a":1,"b"}', "not JSON: Expecting ':' delimiter: near byte 10"),
        ("[1,2]]]", None),
        ("[1,2]" + "[" * 300, None),
        ("[[1] 2]", "not JSON: Expecting ',' delimiter: near byte 5"),
        ('{"a":[1] "b":2}', "not JSON: Expecting ',' delimiter: near byte 9"),
        ("[[1],]", trailing_comma(4)),
        ("[,1]", "not JSON: Expecting value: near byte 1"),
        ("[[],x]", "not JSON: Expecting value: near byte 4"),
        ("[1,}", trailing_comma(2)),
        ("[1}", "not JSON: mismatched bracket at byte 2"),
    ],
)
def test_the_error_for_malformed_json_gives_its_position(text: str, told: str | None) -> None:
    """The position is that in the whole text; malformed text after the first value is no error."""
    if told is None:
        assert in_pieces(text.encode()) == [1, 2]
        return
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        in_pieces(text.encode())


@every("count", [0, 1, 2, 63, 64, 65, 200])
def test_any_number_of_backslashes_before_a_position_is_counted(count: int) -> None:
    """Only backslashes directly before the position count."""
    text = b"\\a" + b"\\" * count

    assert backslashes_before(text, len(text)) == count
    assert backslashes_before(text + b"b", len(text)) == count
    assert backslashes_before(b"\\" * count, count) == count


@every(("count", "more"), [(0, 0), (1, 1), (2, 0), (3, 1), (70, 0), (71, 1)])
def test_a_step_that_would_split_an_escape_is_one_byte_longer(count: int, more: int) -> None:
    """If an odd number of backslashes ends a step, the byte after them belongs to it."""
    text = b"x" + b"a" * (STEP_BYTES - count) + b"\\" * count + b'n" and more'

    assert whole_backslashes(text, 1) == text[1 : 1 + STEP_BYTES + more]
