"""Halves of surrogate pairs in JSON are replaced in steps, wherever the text is cut."""

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
def test_decoding_in_steps_changes_nothing_but_halves_of_surrogate_pairs(seed: int) -> None:
    """Random texts have the value, or the error, that a slow reader of the grammar gives them."""
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
    """An escape, a surrogate pair and a character are never split between two steps."""
    behind = f"{cut}{filler * STEP}{cut}"
    (wanted,) = Slow(f'["{behind}"]').value()
    for before in range(STEP):
        assert in_steps(f'["{"x" * before}{behind}"]') == ["x" * before + wanted]


@pytest.mark.parametrize("control", "\x01\x02\x03\x04\x00\x1f")
def test_control_characters_beside_halves_of_surrogate_pairs_are_errors(control: str) -> None:
    """Control characters that the decoder itself uses as placeholders are errors too."""
    for text in (f'["{HALF * 20}{control}"]', f'["{control}{HALF}"]', f'["{HALF}",{control}1]'):
        with pytest.raises(ValueError, match="not JSON"):
            first_value(text.encode())

    escaped = rf'["{HALF * 20}\u{ord(control):04x}",""]'
    assert first_value(escaped.encode()) == ["\ufffd" * 20 + control, ""]


@pytest.mark.parametrize("escape", [r"\u0020", r"\u002c", r"\u0031", r"\n", HALF, PAIR])
@pytest.mark.parametrize("count", [1, 30])
def test_escapes_outside_of_strings_are_errors(escape: str, count: int) -> None:
    """Decoding a step does not turn an escape outside of strings into its character."""
    for text in (f"[{escape * count}]", f"[1{escape * count}1,{'1,' * STEP}1]", escape * count):
        with pytest.raises(ValueError, match="not JSON"):
            in_steps(text)
        with pytest.raises(ValueError, match="not JSON"):
            first_value(text.encode())


@pytest.mark.parametrize("broken", [r"\udz", r"\ud8", r"\ud83", r"\x", "\\"])
def test_a_malformed_escape_is_an_error_only_inside_the_first_value(broken: str) -> None:
    """A malformed escape after the value does not keep halves in it from being replaced."""
    with pytest.raises(ValueError, match="not JSON"):
        in_steps(f'["{HALF * 20}{broken}"]')

    assert in_steps(f'["{HALF * 9}"]{broken}{HALF}') == ["\ufffd" * 9]


def test_the_error_for_bytes_that_are_not_utf8_gives_their_position() -> None:
    """The position is that in the whole text, even if the text is decoded in steps or pieces."""
    data = rf'["{HALF * 20000}'.encode() + b'\xff"]'
    with pytest.raises(ValueError, match="not UTF-8: invalid start byte at byte 120002"):
        first_value(data)
    with pytest.raises(ValueError, match="not UTF-8: invalid start byte at byte 120002"):
        in_pieces(data)


@pytest.mark.parametrize("text", ["[]", rf'["{PAIR}"]', r'["\\ud800","a\n"]'])
def test_text_without_halves_stays_the_same_object(text: str) -> None:
    """``without_halves`` returns the bytes that it was given, and takes no memory for a copy."""
    data = f'["{"x" * 100}",{text}]'.encode()

    assert without_halves(data) is data


def test_steps_of_less_than_64_bytes_are_refused() -> None:
    """In a shorter step there may be nothing before the escape that must not be split."""
    with pytest.raises(ValueError, match="at least 64"):
        list(steps_without_halves(b"[]", 0, STEP - 1))


@pytest.mark.parametrize("around", ["", "?", "\x7f?", "".join(map(chr, range(32, 127)))])
def test_a_long_string_of_halves_is_read_in_steps(around: str) -> None:
    """Any other characters may stand in the string, also those that serve as placeholders."""
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
def test_replacing_halves_after_decoding_gives_the_value_that_the_grammar_says(seed: int) -> None:
    """Strings and keys with many halves are tried in random containers, with equal keys."""
    chance = random.Random(seed)  # noqa: S311  no secret
    for _ in range(60):
        text = made(chance)

        assert outcome(first_value, text.encode()) == outcome(Slow(text).value), text


def test_halves_are_not_replaced_after_decoding_if_that_takes_too_much_memory() -> None:
    """``mended`` returns false; replacing halves in the text takes less memory."""
    values = ["\ud800" * 100, {"a\ud800": "\ud800"}]

    assert not mended(values, 100)
    assert mended(values, 10_000)
    assert values == ["\ufffd" * 100, {"a\ufffd": "\ufffd"}]


def test_halves_are_not_replaced_after_decoding_if_keys_would_become_equal() -> None:
    """``mended`` returns false: only the text shows which of the equal keys was the last."""
    assert not mended([{"a": 1, chr(0xD800): 2, chr(0xD801): 3}], 10_000)


def test_halves_are_replaced_in_a_string_with_every_ascii_character() -> None:
    """No character is left as a placeholder for question marks, so the string is divided."""
    content = "".join(map(chr, range(128)))

    assert string_without_halves((content + "\ud800") * 3) == (content + "\ufffd") * 3
