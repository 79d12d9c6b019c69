"""How much memory a JSON text is expected to take, which decides how it is decoded."""

import json
import random
import tracemalloc
from typing import Any

import pytest

from moby_plugins.domain.json import (
    LARGE_BYTES,
    MAX_VALUES,
    counted,
    may_have_long_strings,
    memory_left,
)
from moby_plugins.domain.json_decoding import STEP_BYTES, at_once
from tests.cases import every

PARTS = ["[", "{", "]", "}", ",", ":", " ", r"\"", r"\\", r"\\\"", "é", "x", "\n", "[]", "{}"]


def some_json(chance: random.Random, depth: int = 0) -> str:
    """A JSON text with all that has a meaning outside strings inside them too."""
    kind = chance.random()
    if depth > 4 or kind < 0.4:
        return json_string(chance) if kind < 0.3 else chance.choice(["1", "null", "-2.5e3"])
    space = chance.choice(["", "", " ", "\n  "])
    size = chance.choice([0, 0, 1, 2, 5])
    inside = [some_json(chance, depth + 1) for _ in range(size)]
    if kind < 0.7:
        return f"[{space}{f',{space}'.join(inside)}{space}]"
    members = (f"{json_string(chance)}{space}:{space}{each}" for each in inside)
    return f"{{{space}{f',{space}'.join(members)}{space}}}"


def json_string(chance: random.Random) -> str:
    """A string of some of ``PARTS``."""
    inside = "".join(chance.choices(PARTS, k=chance.choice([0, 1, 4, 9])))
    return f'"{inside}"'.replace("\n", r"\n")


def of_value(text: str) -> tuple[int, int, int, int]:
    """What ``counted`` counts, of a decoded value; equal keys are several."""
    counts = {"values": 0, "objects": 0, "arrays": 0, "keys": 0}

    def walk(value: Any) -> None:
        counts["values"] += 1
        if isinstance(value, tuple):
            counts["objects"] += bool(value)
            counts["keys"] += len(value)
            for _, item in value:
                walk(item)
        elif isinstance(value, list):
            counts["arrays"] += bool(value)
            for item in value:
                walk(item)

    walk(json.loads(text, object_pairs_hook=tuple))
    values, objects, arrays, keys = counts.values()
    return values, objects, arrays, keys


@pytest.mark.parametrize("seed", range(5))
def test_the_values_of_a_json_text_are_counted_exactly(seed: int) -> None:
    """Brackets and commas in strings, and text after the first value, are not counted."""
    chance = random.Random(seed)  # noqa: S311  no secret
    for _ in range(60):
        text = some_json(chance)
        more = chance.choice(["", " ", "]", "}", ',[{"a":1}]', "[1,2", '"'])
        if text[0] not in "[{":
            more = ""

        assert counted(f" {text}{more}".encode()) == of_value(text), (text, more)


@every("filler", ["x", "é", r"\\", r"\"", ",", "[]", '","', "],[", ' : ","'])
def test_values_are_counted_exactly_if_strings_cross_the_end_of_a_step(filler: str) -> None:
    """A string may begin in one step of the count and end in another."""
    for shift in range(3):
        inside = filler * (STEP_BYTES // len(filler.encode()) + 3)
        text = f'[{" " * shift}{{"a":1}},"{inside}"]'
        if filler.startswith("]"):
            text = f'[["{inside.replace("],[", chr(34) + "],[" + chr(34))}"]]'

        assert counted(text.encode()) == of_value(text)


def test_a_json_text_with_more_than_a_million_values_is_refused() -> None:
    """A million is accepted, and what follows the first value does not count."""
    most = b"[" + b"0," * (MAX_VALUES - 2) + b"0]"

    assert counted(most + b"[1,2]") == (MAX_VALUES, 0, 1, 0)
    with pytest.raises(ValueError, match=r"^the JSON has more than 1,000,000 values$"):
        counted(b"[1," + most[1:])
    half = MAX_VALUES // 2  # objects, and a value in each
    with pytest.raises(ValueError, match=r"^the JSON has more than 1,000,000 values$"):
        counted(b"[" + b'{"a":1},' * (half - 1) + b'{"a":1}]')


@every("text", ["", " ", "1", '"[1,2]"', "nul"])
def test_a_text_that_is_no_array_or_object_counts_as_one_value(text: str) -> None:
    """This holds for text that is not valid JSON too."""
    assert counted(text.encode()) == (1, 0, 0, 0)


# What each text is expected to take, in bytes.
EXPECTED = [
    (b"0", 73),
    (b"[]", 178),
    (b"{}", 75),
    (b"[1,2,3]", 330),
    (b'{"a":1,"b":[]}', 690),
    (b'{"a":{"b":{"c":{}}},"d":[[],[0]]}', 1_621),
    (b'["abc","def"]', 271),
    (b'["a\\nb"]', 202),
    (b'["\xc3\xa9"]', 244),
    (b'{"\xc3\xa9":"\xc3\xbc"}', 492),
    (b'["\xc3\xa9\\n"]', 258),
    (b'["\xf0"]', 256),
    (b'["\xf1"]', 256),
    (b'["\xf2"]', 256),
    (b'["\xf3"]', 256),
    (b'["\xf4"]', 256),
    (b'["\xef"]', 240),
    (b'["\xc3"]', 240),
    (b'["\xf5"]', 240),
    (b'{"a":",:[]{}"}', 690),
    (b' {"a" : 1 , "b" : [ ] } ', 710),
]


@every(("text", "needed"), EXPECTED)
def test_the_memory_of_a_text_is_estimated_from_its_characters(text: bytes, needed: int) -> None:
    """The estimate has bytes for values, keys and strings, and for characters by their width."""
    assert memory_left(text, 0) == -needed


def test_indentation_is_left_out_of_the_estimate_if_memory_is_short() -> None:
    """At most four levels of indentation are subtracted, and only if memory is short."""
    text = b'{\n    "a": [\n        1,\n        2\n    ],\n    "b": {}\n}'
    bare = memory_left(text.replace(b"\n", b" ").replace(b"    ", b"\t" * 4), 0)
    indentation = text.count(b"\n") + 4 * (6 - 1 - 0) + 4 * 2

    assert memory_left(text, 0) - bare == indentation
    assert memory_left(text, 10_000) - 10_000 == bare


@every(
    "make",
    [
        lambda n: json.dumps([[]] * n),
        lambda n: json.dumps([[1]] * n),
        lambda n: json.dumps([{}] * n),
        lambda n: json.dumps([{"Name": "a"}] * n),
        lambda n: json.dumps({str(number): number for number in range(n)}),
        lambda n: json.dumps(["é" * 20] * n, ensure_ascii=False),
        lambda n: json.dumps(["é" * 20] * n),
        lambda n: json.dumps(["😀" * 20] * n, ensure_ascii=False),
        lambda n: json.dumps(["a\n" * 20] * n),
        lambda n: json.dumps([{"a": [{"b": None}]}] * n, indent=4),
        lambda n: json.dumps(["x" * 40 * n]),
    ],
)
def test_no_text_takes_more_memory_than_was_estimated(make: Any) -> None:
    """A text that is decoded at once therefore stays within the limit of memory."""
    data = make(2_000).encode()
    tracemalloc.start()
    try:
        at_once(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak <= -memory_left(data, 0) + 1024  # the decoder itself


@every(
    ("text", "may"),
    [
        (b"", False),
        (b"[" + b'"a",' * 600_000 + b"1]", False),
        (b'["' + b"a" * 2 * LARGE_BYTES + b'"]', True),
        (b"[" + b'"a",' * 300_000 + b'"' + b"b" * LARGE_BYTES + b'"]', True),
        (b'["' + b'\\"' * LARGE_BYTES + b'"]', True),
        (b'["' + b"a" * (LARGE_BYTES // 2) + b'"]', False),
        # Of that size in all; a quote for each half of it; escaped quotes behind others.
        (b'["' + b"a" * (LARGE_BYTES - 6) + b'\\""]', False),
        (b"[" + (b'"' + b"a" * 400_000 + b'",') * 3 + b"1]", False),
        (b"[ 1," + b'"a\\"",' * 200_000 + b"1]", False),
        # The last half of it begins within a string.
        (
            (b"[" + b'"a",' * ((LARGE_BYTES - 16) // 4)).ljust(LARGE_BYTES - 5)
            + (b'"' + b"b" * (LARGE_BYTES // 2 - 100) + b'\\""]').ljust(LARGE_BYTES // 2 + 5),
            True,
        ),
    ],
)
def test_a_text_may_have_long_strings_if_its_quotes_are_far_apart(text: bytes, may: object) -> None:
    """Escaped quotes do not count, since they end no string."""
    assert may_have_long_strings(text) is may


MANY = MAX_VALUES + 1


@every(
    ("text", "needed"),
    [
        # One string of what would be too many values: they are counted by their beginnings.
        (b'["' + b"," * MANY + b'"]', 2_000_184),
        (b'[{"a":"' + b"," * MANY + b'"}]', 2_000_504),
        (b'[{"a":1,"b":[true,"' + b"," * MANY + b'"]}]', 2_000_884),
        (b'[null,"' + b"[{" * MANY + b'"]', 4_000_267),
        (b'["' + b',\\"' * MANY + b'"]', 46_500_198),
        # And of what no text could have outside strings: they are counted outside alone.
        (b'["' + b"," * (4 * MAX_VALUES + 1) + b'"]', 8_000_184),
        (b'{"a":["' + b",:" * (2 * MAX_VALUES + 1) + b'"]}', 8_000_506),
    ],
)
def test_brackets_and_commas_in_a_string_are_estimated_as_text(text: bytes, needed: int) -> None:
    """A string with millions of them is not estimated as that many values."""
    assert memory_left(text, 0) == -needed
    assert memory_left(text, 1 << 30) == (1 << 30) - needed


@every(
    "text",
    [
        b"[" + b"[]," * 50_000 + b"[]]",
        b"[" + b"{}," * 50_000 + b"{}]",
        b"[" + b"[[],{}]," * 20_000 + b"1]",
        b'[[[[{"a":[' + b"1," * 50_000 + b"[[[1]]]]}]]]]",
        b"[[" + b"[[1],[{}]]," * 10_000 + b'[["[]]]]"]]]]',
        b'[[["' + b"x" * 70_000 + b'",["' + b"]" * 70_000 + b'"]]],[[]]]',
        b'[["a","' + b"x" * 70_000 + b'","' + b"[" * 70_000 + b'"],1]',
    ],
)
def test_containers_are_counted_wherever_a_step_ends(text: bytes) -> None:
    """A step of the count may end between brackets, at any depth, in a string or after one."""
    for shift in range(4):
        shifted = b"[" + b" " * shift + text + b"]"
        assert counted(shifted + b"]]],[1,2") == of_value(shifted.decode())
