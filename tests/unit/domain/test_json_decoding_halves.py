"""Halves of surrogate pairs are replaced in steps: wherever these are cut, whatever is near."""

import json
import random
from typing import Any

import pytest

from moby_plugins.domain.json import first_value
from moby_plugins.domain.json_decoding import (
    LARGE_BYTES,
    at_once,
    mended,
    steps_without_halves,
    string_without_halves,
    without_halves,
)
from moby_plugins.domain.json_pieces import in_pieces
from tests.unit.domain.test_json_reference import Slow, outcome

STEP = 64
HALF, PAIR = r"\ud83d", r"\ud83d\ude00"
PARTS = {
    **dict.fromkeys([HALF, r"\ude00", r"\uD83D", r"\uDE00", PAIR, r"\\", r"\n", r"\"", "a"], 20),
    **dict.fromkeys(["?", "é", "😀", r"\u0022", r"\u005c", r"\u003f", r"\ud7ff", "\ufffd"], 8),
    **dict.fromkeys([r"\u0001", "x" * 60, '","', "[1", ",1"], 2),
    **dict.fromkeys(["\x01", "\x04", "\x7f", '"', r"\u12", "\n", r"\udz", r"\u002c"], 0.3),
}


def in_steps(text: str, size: int = STEP) -> Any:
    """The value of ``text``, whose halves are replaced in steps of ``size`` bytes."""
    return at_once(b"".join(steps_without_halves(text.encode(), 0, size)), "replace")


@pytest.mark.parametrize("seed", range(10))
def test_steps_change_nothing_but_halves(seed: int) -> None:
    """Any text has the value, or the error, that the grammar gives it."""
    chance = random.Random(seed)  # noqa: S311  no secret
    ends = ["]", "]", ",", "", f"]x{HALF}", rf',"{HALF}"]', rf'],"{HALF}"', rf"]{HALF}\udz"]
    for _ in range(20):
        inside = chance.choices([*PARTS], [*PARTS.values()], k=chance.choice([3, 10, 30, 60]))
        quote = chance.choice(['"', '"', '"', ""])
        text = f"[{quote}{''.join(inside)}{quote}{chance.choice(ends)}"
        wanted = outcome(Slow(text).value)

        for size in (STEP, 71, 1 << 16):
            assert outcome(in_steps, text, size) == wanted, (text, size)
        for read in (first_value, in_pieces):
            assert outcome(read, text.encode()) == wanted, text
        assert outcome(in_pieces, text.encode(), 7) == wanted, text


@pytest.mark.parametrize("filler", ["x", "?", r"\n", HALF, PAIR, "é", r"\\"])
@pytest.mark.parametrize("cut", [PAIR, r"\uDE00", rf"\\{HALF}", rf"\\\{HALF}", "😀", r"\n"])
def test_a_step_may_end_at_any_byte(filler: str, cut: str) -> None:
    """No escape, pair or character is split between two steps."""
    behind = f"{cut}{filler * STEP}{cut}"
    (wanted,) = Slow(f'["{behind}"]').value()
    for before in range(STEP):
        assert in_steps(f'["{"x" * before}{behind}"]') == ["x" * before + wanted]


@pytest.mark.parametrize("control", "\x01\x02\x03\x04\x00\x1f")
def test_control_characters_are_an_error_beside_halves(control: str) -> None:
    """Those that stand for other characters while halves are replaced are no exception."""
    for text in (f'["{HALF * 20}{control}"]', f'["{control}{HALF}"]', f'["{HALF}",{control}1]'):
        with pytest.raises(ValueError, match="not JSON"):
            first_value(text.encode())

    escaped = rf'["{HALF * 20}\u{ord(control):04x}",""]'
    assert first_value(escaped.encode()) == ["\ufffd" * 20 + control, ""]


@pytest.mark.parametrize("escape", [r"\u0020", r"\u002c", r"\u0031", r"\n", HALF, PAIR])
@pytest.mark.parametrize("count", [1, 30])
def test_escapes_outside_of_strings_are_errors(escape: str, count: int) -> None:
    """Decoding a step does not make them what they would stand for in a string."""
    for text in (f"[{escape * count}]", f"[1{escape * count}1,{'1,' * STEP}1]", escape * count):
        with pytest.raises(ValueError, match="not JSON"):
            in_steps(text)
        with pytest.raises(ValueError, match="not JSON"):
            first_value(text.encode())


@pytest.mark.parametrize("broken", [r"\udz", r"\ud8", r"\ud83", r"\x", "\\"])
def test_a_malformed_step_is_an_error_inside_of_the_value_alone(broken: str) -> None:
    """What stands behind the first value does not keep its halves from being replaced."""
    with pytest.raises(ValueError, match="not JSON"):
        in_steps(f'["{HALF * 20}{broken}"]')

    assert in_steps(f'["{HALF * 9}"]{broken}{HALF}') == ["\ufffd" * 9]


def test_what_is_not_utf8_is_an_error_with_its_place() -> None:
    """Also in a later step, and in a piece."""
    data = rf'["{HALF * 20000}'.encode() + b'\xff"]'
    with pytest.raises(ValueError, match="not UTF-8: invalid start byte at byte 120002"):
        first_value(data)
    with pytest.raises(ValueError, match="not UTF-8: invalid start byte at byte 120002"):
        in_pieces(data)


@pytest.mark.parametrize("text", ["[]", rf'["{PAIR}"]', r'["\\ud800","a\n"]'])
def test_text_without_halves_stays_the_same_object(text: str) -> None:
    """So that it takes no memory."""
    data = f'["{"x" * 100}",{text}]'.encode()

    assert without_halves(data) is data


def test_steps_have_a_least_size() -> None:
    """In a shorter one there may be nothing before the escape that ends it."""
    with pytest.raises(ValueError, match="at least 64"):
        list(steps_without_halves(b"[]", 0, STEP - 1))


@pytest.mark.parametrize("around", ["", "?", "\x7f?", "".join(map(chr, range(32, 127)))])
def test_a_long_string_of_halves_is_read_in_steps(around: str) -> None:
    """Whatever other characters stand in it: any of them may be a part of what is decoded."""
    content = json.dumps(around + "".join(map(chr, range(32))))[1:-1]
    text = rf'["{(content + HALF + PAIR) * 2_500}"]'
    text = f'{text[:-2]}{"x" * LARGE_BYTES}"]'

    wanted = [(around + "".join(map(chr, range(32))) + "\ufffd😀") * 2_500 + "x" * LARGE_BYTES]
    assert first_value(text.encode()) == wanted
    assert in_pieces(text.encode(), 5000) == wanted


def made(chance: random.Random, depth: int = 0) -> str:
    """Some JSON text, whose strings and keys have many halves each."""
    if depth > 3 or chance.random() < 0.6:
        parts = [HALF, r"\uDE00", PAIR, r"\ud83d\ud83d\ude00", "?", r"\u0000", r"\n", "é", "😀"]
        string = "".join(chance.choices(parts, k=chance.choice([0, 3, 9]))) + HALF * 3
        return chance.choice([f'"{string}"'] * 6 + ["0", "null", "[]", "{}", '""'])
    inner = [made(chance, depth + 1) for _ in range(chance.randint(0, 4))]
    if chance.random() < 0.5:
        return f"[{','.join(inner)}]"
    keys = [r"\ud83d\ude00\ud83d", r"a\ude00", r"a\ud83d", "a", "?", r"\u0000", r"\udc00" * 5]
    members = [f'"{chance.choice(keys)}":{item}' for item in inner]
    return f"{{{','.join(members)}}}"


@pytest.mark.parametrize("seed", range(5))
def test_halves_in_what_was_decoded_are_those_of_the_text(seed: int) -> None:
    """Where strings have many each: in any containers, and of equal keys the last one counts."""
    chance = random.Random(seed)  # noqa: S311  no secret
    for _ in range(60):
        text = made(chance)

        assert outcome(first_value, text.encode()) == outcome(Slow(text).value), text


def test_what_takes_too_much_memory_is_not_replaced_in_what_was_decoded() -> None:
    """The text is mended then, which takes less."""
    values = ["\ud800" * 100, {"a\ud800": "\ud800"}]

    assert not mended(values, 100)
    assert mended(values, 10_000)
    assert values == ["\ufffd" * 100, {"a\ufffd": "\ufffd"}]


def test_keys_that_become_equal_are_left_to_the_text() -> None:
    """What was decoded does not tell which of them was the last."""
    assert not mended([{"a": 1, chr(0xD800): 2, chr(0xD801): 3}], 10_000)


def test_every_character_may_stand_beside_a_half() -> None:
    """Then none is left that could stand for the question marks: they are replaced in parts."""
    content = "".join(map(chr, range(128)))

    assert string_without_halves((content + "\ud800") * 3) == (content + "\ufffd") * 3
