"""Decode JSON as a whole, and replace halves of surrogate pairs before or after.

The standard decoder does the work. This module has what ``json`` and ``json_pieces`` share.

Half a surrogate pair is not a character, and its escape is replaced by U+FFFD: in the text, so that
of keys that become equal the last one is used, or in what was decoded if no keys become equal.
"""

import codecs
import json
import math
import re
from collections.abc import Iterator
from itertools import accumulate, chain, islice, pairwise
from sys import getsizeof
from typing import Any, NoReturn

from moby_plugins.domain.text import shown

MAX_DEPTH = 200
# The memory that a decoded text may take, beside twice its own size.
MAX_MEMORY = 256 << 20
# A text of up to this size has few values, and decoding it takes little memory in any way.
LARGE_BYTES = 1 << 20
# Long texts are processed in steps of this size.
STEP_BYTES = 64 << 10
# A step is cut before an escape or a character that would be split: in a short one nothing is left.
LEAST_STEP_BYTES = 64

SPACE = b" \t\r\n"
# The characters that nearly every text begins with.
_FIRST = frozenset("{[")
TOO_DEEP = f"nested deeper than {MAX_DEPTH}"
# A step with more bytes for each escape of a surrogate than this has few of them.
_FEW = 40
# Stands for half a surrogate pair until the bytes become text. UTF-8 has no such byte.
HALF = b"\xff"
# Hide what is to stay as it is while a step is decoded: two backslashes, a backslash, a quote, a
# question mark. Valid JSON has no such bytes.
_HIDDEN = b"\1\2\3\4"
_HIDE = bytes.maketrans(b'\\"?', _HIDDEN[1:])
# The codec of UTF-8 writes halves as question marks.
_SHOW = bytes.maketrans(_HIDDEN + b"?", b'\\\\"?' + HALF)
LEADING = re.compile(b"[ \t\r\n]*+")
BRACKET = re.compile(rb"[\[\]{}]")
NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
# Changes of depth at brackets: as signed bytes +1 and -1.
STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_FIRST_HALF = re.compile(rb"\\u[dD][89abAB]")
# The escape of a half: the first one of a pair and no second one behind it, or the reverse.
_HALF = re.compile(
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD])[c-fC-F][0-9a-fA-F]{2})"
)
# What it is replaced by, as a template.
_ESCAPE = rb"\\ufffd"
_ASCII = bytes(range(1, 128)).decode()
_CONTAINERS = frozenset({list, dict})
_VALUE_BYTES, _ARRAY_BYTES, _KEY_BYTES = 72, 32, 64
OBJECT_BYTES = 128


def refuse(literal: str) -> NoReturn:
    """Raise ``ValueError`` for a number that JSON does not have, such as ``NaN``."""
    raise ValueError(f"a number in JSON must be finite, not {shown(literal)}")


def finite(literal: str) -> float:
    """Return the number ``literal`` as a float; raise ``ValueError`` if it is infinite."""
    # Called for each number with a fraction or exponent, so it is kept short.
    number = float(literal)
    return number if -math.inf < number < math.inf else refuse(literal)


DECODER = json.JSONDecoder(parse_constant=refuse, parse_float=finite)
_LOOSE = json.JSONDecoder(strict=False)


def at_once(data: bytes, errors: str = "strict") -> Any:
    """Return the first JSON value in ``data``, decoded as a whole and not in pieces.

    ``errors`` is the error handler of ``bytes.decode`` for bytes that are not UTF-8. Raises
    ``ValueError`` if the value is malformed or nested too deep.
    """
    text = text_of(data, 0, errors)
    start = 0 if text[:1] in _FIRST else LEADING.match(data).end()  # type: ignore[union-attr]
    try:
        value = DECODER.raw_decode(text, start)[0]
    except json.JSONDecodeError as error:
        if start == len(text):
            raise ValueError("empty where JSON was expected") from None
        why = str(error)
        error.doc = error.doc[:LARGE_BYTES]  # the error must not keep a large text in memory
        raise ValueError(f"not JSON: {why}") from error
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    if len(data) > 2 * MAX_DEPTH and _may_be_deep(data) and _is_deep(value):
        raise ValueError(TOO_DEEP)
    return value


def text_of(data: bytes, start: int, errors: str = "strict") -> str:
    """Return ``data`` as text; raise ``ValueError`` if it is not UTF-8.

    ``start`` is the position of ``data`` in the whole text, for the error. What
    ``without_halves`` returned is decoded with ``errors="replace"``.
    """
    try:
        return data.decode(errors=errors)
    except UnicodeDecodeError as error:
        raise not_utf8(error, start) from error


def not_utf8(error: UnicodeDecodeError, start: int) -> ValueError:
    """Return the error for bytes that are not UTF-8, with their position in the whole text."""
    return ValueError(f"not UTF-8: {error.reason} at byte {start + error.start}")


def split(raw: bytes) -> list[bytes]:
    """Split ``raw`` at the quotes of its strings.

    Escaped quotes and backslashes are replaced by bytes of the same length.
    """
    if b'"' in raw and b"\\" in raw:
        raw = raw.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    return raw.split(b'"')


def has_escapes(data: bytes) -> bool:
    r"""Return whether ``data`` may have ``\u`` escapes; false means that it has none."""
    # Searching for one byte first is thirty times faster than for two.
    return b"\\" in data and b"\\u" in data


def escapes_of_surrogates(data: bytes) -> int:
    """Return how many escapes of surrogates ``data`` has, or a few more."""
    return data.count(b"\\ud") + (data.count(b"\\uD") if b"D" in data else 0)


def may_have_halves(data: bytes) -> bool:
    """Return whether ``data`` may have escapes of surrogates; false means that it has none."""
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


def without_halves(data: bytes, start: int = 0) -> bytes:
    r"""Return ``data`` with ``HALF`` or ``\ufffd`` for each escape of half a surrogate pair.

    Returns ``data`` itself if it has no such escapes. Escapes of pairs may be replaced by what they
    stand for. Raises ``ValueError`` if ``data`` is not UTF-8; ``start`` is the position of ``data``
    in the whole text, for the error.
    """
    whole = b"".join(steps_without_halves(data, start, STEP_BYTES))
    return data if whole == data else whole


def steps_without_halves(data: bytes, start: int, size: int) -> Iterator[bytes]:
    """Yield ``data`` in steps of about ``size`` bytes, with halves of surrogate pairs replaced.

    ``start`` is the position of ``data`` in the whole text, for the error if it is not UTF-8.
    """
    if size < LEAST_STEP_BYTES:
        raise ValueError(f"a step must have at least {LEAST_STEP_BYTES} bytes")
    at = 0
    while at < len(data):
        last = at + size >= len(data)
        step = whole_escapes(data[at : at + size], last=last)
        try:
            used = codecs.utf_8_decode(step, "strict", last)[1]
        except UnicodeDecodeError as error:
            raise not_utf8(error, start + at) from error
        yield _mended(step[:used])
        at += used


def _mended(step: bytes) -> bytes:
    """Return the step without halves of surrogate pairs, in the way that is fast for it."""
    escapes = escapes_of_surrogates(step)
    if not escapes:
        return step
    if escapes * _FEW > len(step):
        whole = _mended_as_string(step)
        if whole is not None:
            return whole
    if b"\\\\" not in step:
        return _HALF.sub(_ESCAPE, step)
    return _HALF.sub(_ESCAPE, step.replace(b"\\\\", HALF * 2)).replace(HALF * 2, b"\\\\")


def _mended_as_string(step: bytes) -> bytes | None:
    """Return the step without halves of surrogate pairs, by decoding it as one JSON string.

    Everything in it but escapes of surrogates is hidden from the decoder before. Return ``None`` if
    this fails: the value ends in this step, or is malformed here.
    """
    if any(byte in step for byte in _HIDDEN):
        return None
    # The decoder joins pairs.
    hidden = step.replace(b"\\\\", b"\1\1") if b"\\\\u" in step else step
    hidden = hidden.translate(_HIDE).replace(b"\2ud", b"\\ud")
    if b"D" in hidden:
        hidden = hidden.replace(b"\2uD", b"\\uD")
    try:
        whole: bytes = _LOOSE.raw_decode(f'"{hidden.decode()}"')[0].encode(errors="replace")
    except json.JSONDecodeError:
        return None
    return whole.translate(_SHOW) if b"?" in whole else step


def whole_escapes(step: bytes, *, last: bool) -> bytes:
    """Return the longest beginning of ``step`` that splits no escape and no surrogate pair."""
    if last:
        return step
    # An escape is six bytes long, a pair of surrogates twelve.
    begins = len(step) - 11
    begins -= backslashes_before(step, begins) % 2
    escape = step[begins:].replace(b"\\\\", b"__").rfind(b"\\")
    if escape < 0:
        return step
    # The escape may be the second half of a pair: then both halves are left to the next step.
    first = begins + escape - 6
    pair = _FIRST_HALF.match(step, max(first, 0))
    return step[: first if pair and not backslashes_before(step, first) % 2 else first + 6]


def backslashes_before(step: bytes, end: int) -> int:
    """Return how many backslashes stand directly before ``end``."""
    near = step[max(end - LEAST_STEP_BYTES, 0) : end]
    count = len(near) - len(near.rstrip(b"\\"))
    return count if count < len(near) else end - len(step[:end].rstrip(b"\\"))


def mended(values: list[Any], room: int) -> bool:
    """Replace halves of surrogate pairs in the strings of ``values`` by U+FFFD, in place.

    Returns false, and leaves some of them, if it takes more memory than ``room``, or if keys of one
    object become equal: then only the text tells which of them is the last one.
    """
    level: list[Any] = [values]
    while level:
        objects = [outer for outer in level if type(outer) is dict]
        keys: list[str] = list(chain.from_iterable(objects))
        items = list(_items(level))
        strings = [item for item in items if type(item) is str]
        # As much for the strings that replace them, and for parts of one that is long. At first
        # with four bytes for each character, which is faster to count.
        both = (*strings, *keys) if keys else strings
        if 8 * sum(map(len, both)) > room and 2 * sum(map(getsizeof, both)) > room:
            return False
        if not "".join(keys).isascii():
            whole_keys = iter(_without_halves(keys))
            for outer in objects:
                members = dict(zip(islice(whole_keys, len(outer)), outer.values(), strict=True))
                if len(members) < len(outer):
                    return False
                outer.clear()
                outer.update(members)
        whole = iter(_without_halves(strings))
        if len(strings) < len(items):
            whole = iter([next(whole) if type(item) is str else item for item in items])
        for outer in level:
            if type(outer) is dict:
                outer.update(zip(outer, whole, strict=False))
            else:
                outer[:] = islice(whole, len(outer))
        level = []
        if len(strings) < len(items):
            level = [item for item in items if item and type(item) in _CONTAINERS]
    return True


def _without_halves(strings: list[str]) -> list[Any]:
    """Return the strings with U+FFFD for each half of a surrogate pair: many in one pass."""
    whole: list[str] = []
    batch = len(strings) * STEP_BYTES // (sum(map(len, strings)) + 1) + 1
    for at in range(0, len(strings), batch):
        some = strings[at : at + batch]
        text = string_without_halves("".join(some))
        # Each half is one character before and after.
        ends = accumulate(map(len, some), initial=0)
        whole += [text[begin:end] for begin, end in pairwise(ends)]
    return whole


def string_without_halves(content: str) -> str:
    """Return ``content`` with each surrogate in it, half of a pair, replaced by one U+FFFD."""
    size = STEP_BYTES
    # The codec writes halves as question marks, so another character stands for those.
    mark = "?"
    if "?" in content:
        mark = next((it for it in _ASCII if it not in content), "")
        size = size if mark else len(content) // 3
    if len(content) > 2 * size:
        steps = range(0, len(content), size)
        return "".join([string_without_halves(content[at : at + size]) for at in steps])
    whole = content.replace("?", mark).encode(errors="replace")
    if b"?" not in whole:
        return content
    if mark != "?":
        swapped = mark.encode() + b"?"
        whole = whole.translate(bytes.maketrans(swapped, swapped[::-1]))
    return whole.decode().replace(mark, "\ufffd")
