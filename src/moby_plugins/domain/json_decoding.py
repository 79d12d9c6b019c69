"""JSON decoded at once, and what was decoded checked: nesting, and halves of surrogate pairs.

The standard decoder does the work. What ``json`` and ``json_pieces`` share stands here.
"""

import json
import math
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any, NoReturn

from moby_plugins.domain.text import shown

MAX_DEPTH = 200
# What a decoded text may take, beside twice its own size.
MAX_MEMORY = 256 << 20
# What is up to this size has few values, and takes little memory however it is read.
LARGE_BYTES = 1 << 20
# What is long is handled in steps of so much.
STEP_BYTES = 64 << 10

SPACE = b" \t\r\n"
LEADING = re.compile(b"[ \t\r\n]*+")
BRACKET = re.compile(rb"[\[\]{}]")
NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
# As signed bytes these are +1 and -1.
STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
LONE = re.compile("[\ud800-\udfff]")
_CONTAINERS = frozenset({list, dict})
# Characters that are hardly ever used.
_SPARE = ("\ue000", "\ufdd0", "\ufdef", "\U0010fffe")
_VALUE_BYTES, _ARRAY_BYTES, _KEY_BYTES = 72, 32, 64
OBJECT_BYTES = 128


def _refuse(literal: str) -> NoReturn:
    raise ValueError(f"{shown(literal)} is not JSON")


def finite(literal: str) -> float:
    """Return a number with a fraction or an exponent; raises ``ValueError`` for one too large."""
    # For each number with a fraction: what is short here is quick.
    number = float(literal)
    return number if -math.inf < number < math.inf else _refuse(literal)


DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=finite)


def at_once(data: bytes) -> Any:
    """Decode the first value in ``data`` in one go; raises ``ValueError``."""
    text = text_of(data, 0).lstrip(SPACE.decode())
    if not text:
        raise ValueError("empty where JSON was expected")
    try:
        return DECODER.raw_decode(text)[0]
    except json.JSONDecodeError as error:
        why = str(error)
        error.doc = error.doc[:LARGE_BYTES]  # not to keep a large text with the error
        raise ValueError(f"not JSON: {why}") from error
    except RecursionError:
        raise ValueError(f"nested deeper than {MAX_DEPTH}") from None


def text_of(data: bytes, start: int) -> str:
    """Return ``data``, which begins at byte ``start``, as text; raises ``ValueError``."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise not_utf8(error, start) from error


def not_utf8(error: UnicodeDecodeError, start: int) -> ValueError:
    """Say where the bytes are that are not UTF-8."""
    return ValueError(f"not UTF-8: {error.reason} at byte {start + error.start}")


def split(raw: bytes) -> list[bytes]:
    """``raw`` split at the quotes of its strings; escapes are masked, and keep their length."""
    if b"\\" in raw:
        raw = raw.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    return raw.split(b'"')


def width_of(data: bytes) -> int:
    """How many bytes a character may take of the strings in ``data``, by their escapes."""
    if b"\\u" not in data:
        return 1
    return 4 if b"\\ud" in data or b"\\uD" in data else 2


def may_have_halves(data: bytes) -> bool:
    """Whether there may be a half of a surrogate pair, or a whole one."""
    return b"\\u" in data and (b"\\ud" in data or b"\\uD" in data)


def memory_of(values: int, objects: int, arrays: int, keys: int) -> int:
    """Return how many bytes so many values take, but for their text."""
    memory = _VALUE_BYTES * values + OBJECT_BYTES * objects
    return memory + _ARRAY_BYTES * arrays + _KEY_BYTES * keys


def checked(value: Any, *, halves: bool) -> Any:
    """``value``, if it is not too deep; halves of surrogate pairs are replaced in it."""
    if type(value) is str:
        return mended([value])[0] if LONE.search(value) else value
    level = [value] if type(value) in _CONTAINERS else []
    for _ in range(MAX_DEPTH):
        if halves:
            _mend(level)
        level = [
            item
            for outer in level
            if outer
            for item in (outer.values() if type(outer) is dict else outer)
            if type(item) in _CONTAINERS
        ]
        if not level:
            return value
    raise ValueError(f"nested deeper than {MAX_DEPTH}")


def _items(level: list[Any]) -> Iterator[Any]:
    return chain.from_iterable(
        outer.values() if type(outer) is dict else outer for outer in level if outer
    )


def _mend(level: list[Any]) -> None:
    # Half a surrogate pair is no character; hosts have always shown U+FFFD for it.
    strings = (item for item in _items(level) if type(item) is str and not item.isprintable())
    if any(map(LONE.search, strings)):
        for outer in level:
            places = outer.items() if type(outer) is dict else enumerate(outer)
            found = [at for at, it in places if type(it) is str and not it.isprintable()]
            if found:
                for at, whole in zip(found, mended([outer[at] for at in found]), strict=True):
                    outer[at] = whole
    objects = [outer for outer in level if outer and type(outer) is dict]
    if all(map(str.isprintable, chain.from_iterable(objects))):
        return
    for outer in objects:
        if any(map(LONE.search, outer)):
            members = list(zip(mended(list(outer)), outer.values(), strict=True))
            outer.clear()
            outer.update(members)


def mended(strings: list[str]) -> list[str]:
    """The same strings with U+FFFD for each half of a surrogate pair."""
    whole = []
    few, size = 256, STEP_BYTES
    for at in range(0, len(strings), few):
        some = strings[at : at + few]
        if sum(map(len, some)) <= size:
            whole += _mended_together(some)
        else:
            for string in some:
                steps = (string[begin : begin + size] for begin in range(0, len(string), size))
                whole.append("".join(_mended_together([step])[0] for step in steps))
    return whole


def _mended_together(strings: list[str]) -> list[str]:
    # Codecs are far quicker than regular expressions, but what they know to put is "?".
    joined = "".join(strings)
    spare = [char for char in _SPARE if char not in joined][:2]
    if len(spare) < len(("gap", "mark")):
        return [LONE.sub("\ufffd", string) for string in strings]
    gap, mark = spare
    encoded = gap.join(strings).replace("?", mark).encode(errors="replace")
    return encoded.decode().replace("?", "\ufffd").replace(mark, "?").split(gap)
