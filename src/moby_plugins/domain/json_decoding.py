"""Decode JSON at once, and check the decoded value for depth and halves of surrogate pairs.

The standard decoder does the work. This module has what ``json`` and ``json_pieces`` share.

Half a surrogate pair is not a character, and is replaced by U+FFFD: in objects while they are
built, so that of keys that become equal the last one counts, and in arrays afterwards. Both take
time, and are done only if the text has an escape of a surrogate.
"""

import json
import math
import re
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, NoReturn

from moby_plugins.domain.text import shown

MAX_DEPTH = 200
# The memory that a decoded text may take, beside twice its own size.
MAX_MEMORY = 256 << 20
# A text of up to this size has few values, and decoding it takes little memory in any way.
LARGE_BYTES = 1 << 20
# Long texts are processed in steps of this size.
STEP_BYTES = 64 << 10

SPACE = b" \t\r\n"
# The characters that nearly every text begins with.
_FIRST = frozenset("{[")
TOO_DEEP = f"nested deeper than {MAX_DEPTH}"
# How many repaired strings are cached while a text is decoded, and how long each may be.
_KEPT, _SHORT = 1024, 1024
LEADING = re.compile(b"[ \t\r\n]*+")
BRACKET = re.compile(rb"[\[\]{}]")
NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
# Changes of depth at brackets: as signed bytes +1 and -1.
STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
LONE = re.compile("[\ud800-\udfff]")
_CONTAINERS = frozenset({list, dict})
# Rarely used characters, of which two unused ones serve as markers.
_SPARE = ("\ue000", "\ufdd0", "\ufdef", "\U0010fffe")
_VALUE_BYTES, _ARRAY_BYTES, _KEY_BYTES = 72, 32, 64
OBJECT_BYTES = 128


def _refuse(literal: str) -> NoReturn:
    raise ValueError(f"{shown(literal)} is not JSON")


def finite(literal: str) -> float:
    """Return the number ``literal`` as a float; raise ``ValueError`` if it is infinite."""
    # Called for each number with a fraction or exponent, so it is kept short.
    number = float(literal)
    return number if -math.inf < number < math.inf else _refuse(literal)


DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=finite)


class _Whole(dict[str, str]):
    """A cache of strings in which U+FFFD replaces each half of a surrogate pair."""

    def __missing__(self, text: str) -> str:
        if len(text) > _SHORT:
            return mended([text])[0]
        if len(self) >= _KEPT:
            self.clear()
        whole = self[text] = LONE.sub("\ufffd", text)
        return whole

    def object(self, members: list[tuple[str, Any]]) -> dict[str, Any]:
        """Return the object of ``members``; of keys that become equal the last one counts."""
        return {
            key if key.isprintable() else self[key]: self[item]
            if type(item) is str and not item.isprintable()
            else item
            for key, item in members
        }


def decoder_for_halves(constant: Callable[[str], Any] = _refuse) -> json.JSONDecoder:
    """Return a decoder that replaces halves of surrogate pairs in objects by U+FFFD."""
    return json.JSONDecoder(
        parse_constant=constant, parse_float=finite, object_pairs_hook=_Whole().object
    )


def at_once(data: bytes, *, halves: bool) -> Any:
    """Decode the first value in ``data`` at once; raise ``ValueError`` if it is malformed."""
    text = text_of(data, 0)
    start = 0 if text[:1] in _FIRST else LEADING.match(data).end()  # type: ignore[union-attr]
    try:
        value = (decoder_for_halves() if halves else DECODER).raw_decode(text, start)[0]
    except json.JSONDecodeError as error:
        if start == len(text):
            raise ValueError("empty where JSON was expected") from None
        why = str(error)
        error.doc = error.doc[:LARGE_BYTES]  # the error must not keep a large text in memory
        raise ValueError(f"not JSON: {why}") from error
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    if halves:
        return without_halves(value)
    if len(data) > 2 * MAX_DEPTH and _may_be_deep(data) and _is_deep(value):
        raise ValueError(TOO_DEEP)
    return value


def text_of(data: bytes, start: int) -> str:
    """Return ``data`` as text; raise ``ValueError`` if it is not UTF-8.

    ``start`` is the position of ``data`` in the whole, for the error.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise not_utf8(error, start) from error


def not_utf8(error: UnicodeDecodeError, start: int) -> ValueError:
    """Return the error for bytes that are not UTF-8, with their position in the whole."""
    return ValueError(f"not UTF-8: {error.reason} at byte {start + error.start}")


def split(raw: bytes) -> list[bytes]:
    """Split ``raw`` at the quotes of its strings.

    Escaped quotes and backslashes are replaced by bytes of the same length.
    """
    if b"\\" in raw:
        raw = raw.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    return raw.split(b'"')


def has_escapes(data: bytes) -> bool:
    r"""Return whether there may be ``\u`` escapes."""
    # Searching for one byte first is thirty times faster than for two.
    return b"\\" in data and b"\\u" in data


def may_have_halves(data: bytes) -> bool:
    """Return whether there may be escapes of surrogates, single or in pairs."""
    return has_escapes(data) and b"\\ud" in (data.lower() if b"D" in data else data)


def memory_of(values: int, objects: int, arrays: int, keys: int) -> int:
    """Return how many bytes of memory these counts of values take, without their text."""
    memory = _VALUE_BYTES * values + OBJECT_BYTES * objects
    return memory + _ARRAY_BYTES * arrays + _KEY_BYTES * keys


def _may_be_deep(data: bytes) -> bool:
    if len(data) <= STEP_BYTES:
        return data.count(b"[") + data.count(b"{") > MAX_DEPTH
    # Brackets are rare here, and finding a few is far faster than counting all.
    count = 0
    for bracket in (b"[", b"{"):
        at = -1
        while count <= MAX_DEPTH and (at := data.find(bracket, at + 1)) >= 0:
            count += 1
    return count > MAX_DEPTH


def _is_deep(value: Any) -> bool:
    level = [value] if type(value) in _CONTAINERS else []
    for _ in range(MAX_DEPTH - 1):
        # Empty containers cannot hold a deeper level.
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
    """Replace each half of a surrogate pair by U+FFFD, in ``value`` and in its arrays.

    The decoder has already replaced those in objects. Arrays are changed in place; returns the
    value. Raises ``ValueError`` if it is nested too deeply.
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
    """Return the strings with U+FFFD for each half of a surrogate pair."""
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
    # Codecs are far faster than regular expressions, but can only insert "?", so existing question
    # marks are replaced by a marker first.
    joined = "".join(strings)
    spare = [char for char in _SPARE if char not in joined][:2]
    if len(spare) < len(("gap", "mark")):
        return [LONE.sub("\ufffd", string) for string in strings]
    gap, mark = spare
    encoded = gap.join(strings).replace("?", mark).encode(errors="replace")
    return encoded.decode().replace("?", "\ufffd").replace(mark, "?").split(gap)
