"""JSON decoded at once, and what was decoded checked: nesting, and halves of surrogate pairs.

The standard decoder does the work. What ``json`` and ``json_pieces`` share stands here.

Half a surrogate pair is no character. U+FFFD stands for it: in objects while they are made, so
that of keys that become the same the last one wins, and in arrays afterwards. Both cost time, and
are done only for what holds an escape of a half or of a pair.
"""

import json
import math
import re
from collections.abc import Callable, Iterator
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
# What nearly every text begins with.
_FIRST = frozenset("{[")
TOO_DEEP = f"nested deeper than {MAX_DEPTH}"
# How many strings with halves are kept while a text is decoded, and how long they may be.
_KEPT, _SHORT = 1024, 1024
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


class _Whole(dict[str, str]):
    """Strings with U+FFFD for each half of a surrogate pair; the last short ones are kept."""

    def __missing__(self, text: str) -> str:
        if len(text) > _SHORT:
            return mended([text])[0]
        if len(self) >= _KEPT:
            self.clear()
        whole = self[text] = LONE.sub("\ufffd", text)
        return whole

    def object(self, members: list[tuple[str, Any]]) -> dict[str, Any]:
        """Return the object of ``members``; of keys that become the same the last one wins."""
        return {
            key if key.isprintable() else self[key]: self[item]
            if type(item) is str and not item.isprintable()
            else item
            for key, item in members
        }


def decoder_for_halves(constant: Callable[[str], Any] = _refuse) -> json.JSONDecoder:
    """Return a decoder that replaces halves of surrogate pairs in objects."""
    return json.JSONDecoder(
        parse_constant=constant, parse_float=finite, object_pairs_hook=_Whole().object
    )


def at_once(data: bytes, *, halves: bool) -> Any:
    """Decode the first value in ``data`` in one go; raises ``ValueError``."""
    text = text_of(data, 0)
    start = 0 if text[:1] in _FIRST else LEADING.match(data).end()  # type: ignore[union-attr]
    try:
        value = (decoder_for_halves() if halves else DECODER).raw_decode(text, start)[0]
    except json.JSONDecodeError as error:
        if start == len(text):
            raise ValueError("empty where JSON was expected") from None
        why = str(error)
        error.doc = error.doc[:LARGE_BYTES]  # not to keep a large text with the error
        raise ValueError(f"not JSON: {why}") from error
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    if halves:
        return without_halves(value)
    if len(data) > 2 * MAX_DEPTH and _may_be_deep(data) and _is_deep(value):
        raise ValueError(TOO_DEEP)
    return value


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


def has_escapes(data: bytes) -> bool:
    """Whether characters may be escaped by their numbers."""
    # To look for one byte first is thirty times quicker than to look for two.
    return b"\\" in data and b"\\u" in data


def may_have_halves(data: bytes) -> bool:
    """Whether there may be a half of a surrogate pair, or a whole one."""
    return has_escapes(data) and b"\\ud" in (data.lower() if b"D" in data else data)


def memory_of(values: int, objects: int, arrays: int, keys: int) -> int:
    """Return how many bytes so many values take, but for their text."""
    memory = _VALUE_BYTES * values + OBJECT_BYTES * objects
    return memory + _ARRAY_BYTES * arrays + _KEY_BYTES * keys


def _may_be_deep(data: bytes) -> bool:
    if len(data) <= STEP_BYTES:
        return data.count(b"[") + data.count(b"{") > MAX_DEPTH
    # To find what is rare is far quicker than to count it.
    found = 0
    for bracket in (b"[", b"{"):
        at = -1
        while found <= MAX_DEPTH and (at := data.find(bracket, at + 1)) >= 0:
            found += 1
    return found > MAX_DEPTH


def _is_deep(value: Any) -> bool:
    level = [value] if type(value) in _CONTAINERS else []
    for _ in range(MAX_DEPTH - 1):
        # What is empty is no level for others.
        level = [
            item
            for outer in level
            for item in (outer.values() if type(outer) is dict else outer)
            if item and (type(item) is dict or type(item) is list)
        ]
        if not level:
            return False
    return not _CONTAINERS.isdisjoint(map(type, _items(level)))


def _items(level: list[Any]) -> Iterator[Any]:
    return chain.from_iterable(
        outer.values() if type(outer) is dict else outer for outer in level if outer
    )


def without_halves(value: Any) -> Any:
    """``value`` with U+FFFD for each half of a surrogate pair in strings, but those in objects.

    Raises ``ValueError`` where it is too deep.
    """
    if type(value) is str:
        return mended([value])[0] if LONE.search(value) else value
    level = [value] if type(value) in _CONTAINERS else []
    for _ in range(MAX_DEPTH):
        for outer in level:
            if type(outer) is list:
                _mend(outer)
        level = [it for it in _items(level) if type(it) is dict or type(it) is list]
        if not level:
            return value
    raise ValueError(TOO_DEEP)


def _mend(strings: list[Any]) -> None:
    places = [
        place for place, item in enumerate(strings) if type(item) is str and not item.isprintable()
    ]
    broken = [strings[place] for place in places]
    if any(map(LONE.search, broken)):
        for place, whole in zip(places, mended(broken), strict=True):
            strings[place] = whole


def mended(strings: list[str]) -> list[str]:
    """The same strings with U+FFFD for each half of a surrogate pair."""
    whole = []
    few, size = 1024, STEP_BYTES
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
