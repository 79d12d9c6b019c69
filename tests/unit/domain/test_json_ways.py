"""How a JSON text with halves of surrogate pairs is decoded: in the way that is fast for it."""

import sys
from sys import getsizeof
from types import FrameType
from typing import Any

import pytest

from moby_plugins.domain.json import LARGE_BYTES, first_value, memory_left
from moby_plugins.domain.json_decoding import MAX_MEMORY
from tests.cases import every

# The functions by which the ways differ, in the order in which they are looked for.
WAYS = ("in_pieces", "mended", "without_halves")
HALF = r"\ud83d"


def way(text: str, most: int = MAX_MEMORY) -> list[str]:
    """Which of ``WAYS`` decoded the text, in that order; or were tried, if it takes too much."""
    called: set[str] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            called.add(frame.f_code.co_name)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        first_value(text.encode(), most=most)
    except ValueError as error:
        assert "takes more than" in str(error)  # noqa: PT017  it may raise or not
    finally:
        sys.setprofile(before)
    # Under mutation each name has others around it.
    return [each for each in WAYS if any(f"x_{each}_" in f"x_{name}_" for name in called)]


def string(escapes: int, size: int, escape: str = HALF) -> str:
    """A string with so many escapes, of so many bytes with its quotes."""
    inside = escape * escapes
    return f'"{"x" * (size - 2 - len(inside))}{inside}"'


@every(
    "text",
    [
        string(3, 128 * 3 - 1),
        string(20, 20 * 6 + 2),
        string(20, 128 * 20 - 1),
        string(9, 128 * 9 - 1, r"\uDE00"),
        # Quotes that are escaped end no string, and a text in one sample of several parts.
        r'"' + r"\"" * 40 + HALF * 70 + "x" * 600 + '"',
        f"[{','.join([string(1500, 60_000)] * 2)}]",
    ],
)
def test_halves_are_replaced_after_decoding_if_strings_are_long_and_have_many(text: str) -> None:
    """``mended`` replaces the halves in the decoded strings."""
    assert way(text) == ["mended"]


@every(
    "text",
    [
        # One escape for 128 bytes is few.
        string(3, 128 * 3),
        string(20, 128 * 20),
        # Fewer than five of them for four quotes: a half in each string.
        f"[{','.join([string(1, 60)] * 9)}]",
        f"[{','.join([string(5, 60)] + [string(1, 60)] * 3)}]",
    ],
)
def test_halves_are_replaced_in_the_text_if_they_are_few_or_strings_are_short(text: str) -> None:
    """``without_halves`` replaces the halves before the text is decoded."""
    assert way(text) == ["without_halves"]


def test_strings_count_as_short_with_one_quote_for_24_bytes() -> None:
    """With one more byte strings are long, and halves are replaced after decoding."""
    strings = ",".join([string(3, 46)] * 4)
    at_limit = f"[{strings}]"
    at_limit += " " * (8 * 24 - len(at_limit))

    assert way(at_limit) == ["without_halves"]
    assert way(at_limit + " ") == ["mended"]


def test_halves_count_as_few_with_five_for_four_quotes() -> None:
    """With one more half there are many, and halves are replaced after decoding."""
    ten, eleven = (f"[{','.join([string(3, 80)] * 3 + [string(n, 80)])}]" for n in (1, 2))

    assert way(ten) == ["without_halves"]
    assert way(eleven) == ["mended"]


def test_halves_are_replaced_in_the_text_if_keys_become_equal_after_decoding() -> None:
    """The decoded value does not show which of the equal keys was the last one."""
    many = HALF * 20
    assert way(f'{{"{many}":1,"{many[:-1]}e":2}}') == ["mended", "without_halves"]


def sampled(quotes: int, escapes: int, size: int = LARGE_BYTES + 64) -> str:
    """An array of strings whose samples, 64 of 1024 bytes, hold so many quotes and escapes."""
    step = size // 64
    assert quotes % 2 == 0
    # The quotes and escapes stand at the beginning; else there is one long string between samples.
    short = '"",' * ((quotes - 2) // 2)
    begin = f'[{short}"'
    inside = HALF * escapes
    assert len(begin) + len(inside) < 64 * step
    return begin + spread(inside, len(begin), step) + '"]'


def spread(inside: str, start: int, step: int) -> str:
    """A string's content of which ``inside`` fills the samples from ``start`` on, then letters."""
    parts, at = [], start
    while inside:
        room = 1024 - at % step
        if room <= 0 or at % step >= 1024:
            parts.append("x" * (step - at % step))
            at += step - at % step
            continue
        some = inside[: room // 6 * 6]
        if not some:
            parts.append("x" * room)
            at += room
            continue
        parts.append(some)
        inside = inside[len(some) :]
        at += len(some)
    parts.append("x" * (64 * step - at))
    return "".join(parts)


def test_a_large_text_of_long_strings_is_decoded_in_pieces() -> None:
    """Samples of such a text have fewer than 16 quotes, and at most one half for 12 bytes."""
    few, many = (64 << 10) // 12, (64 << 10) // 12 + 1

    assert way(sampled(14, few)) == ["in_pieces"]
    assert way(sampled(14, many)) == ["mended"]
    assert way(sampled(16, few)) != ["in_pieces"]
    assert way(sampled(14, 1, LARGE_BYTES // 2)) == ["without_halves"]


MANY = 420_000
PAIR = r"\ud83d\ude00"
SHORT = ",".join([f'"{HALF}x"'] * 200_000)


@every(
    ("text", "least"),
    [
        ("[" + ",".join([f'"{HALF}x"'] * MANY) + "]", 41_580_104),
        ("[" + ",".join([f'"{HALF}é"'] * MANY) + "]", 44_940_129),
        (f'[{SHORT},"{PAIR * 180_000}{HALF}"]', 47_504_394),
    ],
)
def test_a_text_with_halves_is_decoded_in_pieces_if_memory_is_short(text: str, least: int) -> None:
    """With one byte more of memory, the text without its halves is decoded at once."""
    assert way(text, least) == ["without_halves"]
    assert way(text, least - 1) == ["in_pieces", "without_halves"]


def test_halves_are_replaced_after_decoding_only_if_memory_suffices() -> None:
    """Each string is held twice for this; with less memory, halves are replaced in the text."""
    text = "[" + ",".join([f'"{"x" * 60}{HALF * 3}"'] * 28_000) + "]"
    twice = 2 * 28_000 * getsizeof("x" * 60 + "\ufffd" * 3)  # depends on Python's version

    assert way(text, 8_736_104 + twice) == ["mended"]
    assert way(text, 8_736_103 + twice) == ["mended", "without_halves"]
    assert way(text, 11_004_105) == ["mended", "without_halves"]
    assert way(text, 11_004_104) == ["without_halves"]


@every(
    "text",
    [
        f'["{HALF}😀' + "a" * (2 << 20) + '"]',
        "[" + ",".join([f'"{HALF}x"'] * MANY) + "]",
    ],
)
def test_decoding_in_pieces_has_the_same_bound_on_memory(text: str) -> None:
    """The bound holds for a long string of wide characters as for many short strings."""
    with pytest.raises(ValueError, match=r"^decoding the JSON takes more memory than 0 MiB plus"):
        first_value(text.encode(), most=0)
    assert len(first_value(text.encode())) in {1, MANY}


def test_a_text_without_halves_is_decoded_at_once_where_memory_suffices() -> None:
    """With one byte of memory less than estimated, the text is decoded in pieces."""
    text = "[" + ",".join(['"a"'] * 600_000) + "]"
    data = text.encode()
    least = -memory_left(data, 0) - 2 * len(data)

    assert way(text, least) == []
    assert way(text, least - 1) == ["in_pieces"]
    assert first_value(data, most=least - 1) == ["a"] * 600_000
