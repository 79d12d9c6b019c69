"""Decode JSON in pieces, so that the whole text is never held as a string.

A piece ends after a complete item of the innermost open container. It is divided where containers
end that were open before it, and where containers begin that stay open after it. Between these
places are complete items of one container, which are decoded and added to it. A string that is
longer than a piece is decoded separately. The memory needed is computed before decoding.
"""

import codecs
import json
import re
from itertools import accumulate, compress
from sys import getsizeof
from typing import Any

from moby_plugins.domain.json_decoding import (
    BRACKET,
    DECODER,
    LEADING,
    MAX_DEPTH,
    MAX_MEMORY,
    NO_BRACKETS,
    OBJECT_BYTES,
    SPACE,
    STEP_BYTES,
    STEPS,
    TOO_DEEP,
    at_once,
    backslashes_before,
    finite,
    has_escapes,
    may_have_halves,
    memory_of,
    not_utf8,
    split,
    string_without_halves,
    text_of,
    whole_escapes,
    without_halves,
)

_CONTROLS = bytes(range(32))
# Replaces the content of strings, but keeps the quotes.
_BLANK = bytes(ord('"' if byte == ord('"') else "_") for byte in range(256))
# A placeholder for the container, or the long string, that begins after a piece. In the text it is
# written as Infinity, which JSON does not have.
_CHILD = object()


def _child(_: str) -> object:
    return _CHILD


_PIECE_DECODER = json.JSONDecoder(parse_constant=_child, parse_float=finite)
# 1 for brackets, 0 for other bytes.
_ARE_BRACKETS = bytes(byte in b"[]{}" for byte in range(256))


def in_pieces(data: bytes, size: int = 256 << 10, most: int = MAX_MEMORY) -> Any:
    """Decode the first value in ``data`` in pieces of ``size`` bytes.

    Raises ``ValueError`` if it is malformed, too deep, or needs more memory than ``most`` bytes and
    twice the size of ``data``.
    """
    start = LEADING.match(data).end()  # type: ignore[union-attr]  # it matches anything
    if data[start : start + 1] in {b"[", b"{"}:
        return _Pieces(data, start, size, most).read()
    if data[start : start + 1] == b'"':
        end = _string_end(data, start)
        _check_utf8(data, end)
        return _string_between(data, start + 1, end)
    return at_once(data)


class _Pieces:
    """A reader of the array or object that begins at ``start``, piece by piece."""

    def __init__(self, data: bytes, start: int, size: int, most: int) -> None:
        self._data = data
        self._size = size
        self._at = start + 1
        # The containers that are open at ``_at``, and what precedes it in the innermost one: ""
        # for nothing, "0" for an item, or a comma.
        self._open: list[Any] = [_container(data[start : start + 1])]
        self._before = ""
        self._memory = 0
        self._most = most
        self._room = most + 2 * len(data)

    def read(self) -> Any:
        """Return the value; raise ``ValueError`` if it cannot be decoded."""
        whole = self._open[0]
        while self._open:
            self._read_piece(self._size)
        _check_utf8(self._data, self._at)
        return whole

    def _read_piece(self, size: int) -> None:
        """Decode the complete items in the next ``size`` bytes."""
        self._at = start = LEADING.match(self._data, self._at).end()  # type: ignore[union-attr]
        outside = _outside(self._data[start : start + size])
        for place in self._divisions(outside):
            bracket = outside[place - start : place - start + 1]
            if bracket in {b"[", b"{"}:
                child = _container(bracket)
                self._add(outside[self._at - start : place - start], child)
                self._open.append(child)
                self._before = ""
            else:
                self._add(outside[self._at - start : place - start])
                if type(self._open.pop()) is not (list if bracket == b"]" else dict):
                    raise ValueError(f"not JSON: mismatched bracket at byte {place}")
                self._before = "0"
            self._at = place + 1
            if not self._open:
                return
        self._add_last(outside, start)
        if start + size >= len(self._data):
            raise ValueError(f"not JSON: ends unexpectedly after byte {self._at}")
        if self._at == start:
            self._read_long(outside, size)

    def _divisions(self, outside: bytes) -> list[int]:
        """Return the positions in the whole text of the brackets at which to divide ``outside``.

        Brackets that close a container that was open before come first, then those that open one
        that ``outside`` does not close.
        """
        levels = _levels(outside, len(self._open))
        lowest, at, divisions = len(self._open), 0, []
        while lowest and (at := levels.find(lowest - 1, at)) >= 0:
            divisions.append(at - 1)
            lowest -= 1
        if lowest:
            divisions += [levels.rfind(level) for level in range(lowest, levels[-1])]
        # Bytes after the end of the first value are not checked.
        if levels.find(MAX_DEPTH + 1, 0, at + 1 if not lowest else len(levels)) >= 0:
            raise ValueError(TOO_DEEP)
        if not divisions:
            return divisions
        if len(levels) * 6 < len(outside):
            places = list(map(re.Match.start, BRACKET.finditer(outside)))
        else:
            places = list(compress(range(len(outside)), outside.translate(_ARE_BRACKETS)))
        return [self._at + places[index] for index in divisions]

    def _add_last(self, outside: bytes, start: int) -> None:
        """Add the complete items after the last division: up to a bracket or a comma."""
        comma, bracket = outside.rfind(b","), max(map(outside.rfind, (b"]", b"}")))
        begin = self._at - start
        if max(comma, bracket) < begin:
            return
        if comma > bracket:
            if not self._before and not outside[begin:comma].strip(SPACE):
                raise ValueError(f"not JSON: Expecting value: near byte {self._at}")
            self._add(outside[begin:comma])
            self._before = ","
            self._at = start + comma + 1
        else:
            self._add(outside[begin : bracket + 1])
            self._before = "0"
            self._at = start + bracket + 1

    def _read_long(self, outside: bytes, size: int) -> None:
        """Read an item that is longer than ``size`` bytes."""
        start = self._at
        if not outside.count(b'"') % 2:
            self._read_piece(8 * size)
            return
        begin = outside.rfind(b'"')
        end = _string_end(self._data, start + begin)
        behind = LEADING.match(self._data, end + 1).end()  # type: ignore[union-attr]
        if self._data[behind : behind + 1] == b":":
            # A long key is decoded with its value: five copies of its bytes, three of its text.
            key = self._data[start:end]
            width = 1 if key.isascii() and not has_escapes(key) else 4
            del key
            if self._memory + (5 + 3 * width) * (end - start) > self._room:
                raise self._too_much()
            self._read_piece(behind + size - start)
            return
        self._take(getsizeof(string := _string_between(self._data, start + begin + 1, end)))
        self._add(outside[:begin], string)
        self._before = "0"
        self._at = end + 1

    def _add(self, outside: bytes, child: Any = None) -> None:
        """Add the items at ``_at`` to the innermost container, and ``child`` after them.

        ``outside`` is their text, with the content of strings blanked out.
        """
        raw = self._data[self._at : self._at + len(outside)]
        errors = "strict"
        if may_have_halves(raw):
            raw, errors = without_halves(raw, self._at), "replace"
        text = text_of(raw, self._at, errors)
        width = 4 if not raw.isascii() else 2 if has_escapes(raw) else 1
        self._count(outside, child, max(getsizeof(text), len(raw) * width))
        text = text.lstrip(SPACE.decode())
        if not text and child is None and self._before != ",":
            return
        if self._before == "0":
            if text[:1] != ",":
                raise ValueError(f"not JSON: Expecting ',' delimiter: near byte {self._at}")
            text = text[1:].lstrip(SPACE.decode())
        if not text and child is None:
            raise ValueError(f"not JSON: Expecting value: near byte {self._at}")
        mark = "" if child is None else "Infinity"
        container = self._open[-1]
        if type(container) is list:
            items = self._decoded(f"[{text}{mark}]")
            if child is not None:
                items[-1] = child
            container.extend(items)
            return
        members = self._decoded(f"{{{text}{mark}}}")
        if child is not None:
            # Usually the last one, but a repeated key keeps its first position.
            key = next(key for key, it in reversed(members.items()) if it is _CHILD)
            members[key] = child
        container.update(members)

    def _decoded(self, whole: str) -> Any:
        try:
            value, end = _PIECE_DECODER.raw_decode(whole)
        except json.JSONDecodeError as error:
            place = self._at + max(error.pos - 1, 0)
            raise ValueError(f"not JSON: {error.msg}: near byte {place}") from error
        except RecursionError:
            raise ValueError(TOO_DEEP) from None
        if end < len(whole):
            raise ValueError(f"not JSON: extra data near byte {self._at}")
        return value

    def _count(self, outside: bytes, child: Any, text: int) -> None:
        """Add the memory for items that will be decoded; raise ``ValueError`` if it is too much."""
        if b"N" in outside or b"I" in outside:
            raise ValueError(f"NaN or Infinity, which is not JSON, after byte {self._at}")
        # Drop white space and the blanked content of strings; the structure is enough to count.
        packed = outside.translate(None, SPACE + b"_")
        objects = packed.count(b"{") - packed.count(b"{}")
        arrays = packed.count(b"[") - packed.count(b"[]")
        values = packed.count(b",") + objects + arrays + 1
        memory = memory_of(values, objects, arrays, packed.count(b":"))
        memory += text
        self._take(memory + (OBJECT_BYTES if child == {} else 0))

    def _take(self, memory: int) -> None:
        self._memory += memory
        if self._memory > self._room:
            raise self._too_much()

    def _too_much(self) -> ValueError:
        return ValueError(
            f"decoding the JSON takes more memory than {self._most >> 20} MiB plus twice its size"
        )


def _container(bracket: bytes) -> Any:
    return [] if bracket == b"[" else {}


def _outside(raw: bytes) -> bytes:
    """Return ``raw`` with the content of strings blanked out: of the same length, with quotes."""
    parts = split(raw)
    if len(parts) > 1:
        parts[1::2] = b'"'.join(parts[1::2]).translate(_BLANK).split(b'"')
    return b'"'.join(parts)


def _levels(outside: bytes, level: int) -> bytes:
    """Return the depth at the beginning and after each bracket, limited to 0 to 255.

    Bytes after the end of the first value may lead to any depth.
    """
    steps = memoryview(outside.translate(STEPS, NO_BRACKETS)).cast("b")
    try:
        return bytes(accumulate(steps, initial=level))
    except ValueError:
        return bytes(min(max(it, 0), 255) for it in accumulate(steps, initial=level))


def _check_utf8(data: bytes, start: int) -> None:
    # The bytes after the first value are ignored, but must be UTF-8.
    decoder = codecs.getincrementaldecoder("utf-8")()
    for at in range(start, len(data), STEP_BYTES):
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(data[at : at + STEP_BYTES], at + STEP_BYTES >= len(data))
        except UnicodeDecodeError as error:
            raise not_utf8(error, at - pending) from error


def _string_end(data: bytes, start: int) -> int:
    """Return the position of the last quote of the string whose first quote is at ``start``."""
    at = start + 1
    while at < len(data):
        step = whole_backslashes(data, at)
        # To search for a quote is far faster than to split.
        if b'"' in step and len(parts := split(step)) > 1:
            return at + len(parts[0])
        at += len(step)
    raise ValueError(f"not JSON: Unterminated string starting at byte {start}")


def _string_between(data: bytes, start: int, end: int) -> str:
    """Decode the string between quotes at ``start - 1`` and ``end`` in steps, to save memory."""
    if data.find(b"\\", start, end) < 0:
        for at in range(start, end, STEP_BYTES):
            step = data[at : min(at + STEP_BYTES, end)]
            if len(step.translate(None, _CONTROLS)) < len(step):
                raise ValueError(f"not JSON: Invalid control character: near byte {at}")
        try:
            return str(memoryview(data)[start:end], "utf-8")
        except UnicodeDecodeError as error:
            raise not_utf8(error, start) from error
    decoder = codecs.getincrementaldecoder("utf-8")()
    steps: list[str] = []
    at = start
    while at < end:
        step = whole_escapes(data[at : min(at + STEP_BYTES, end)], last=at + STEP_BYTES >= end)
        pending = len(decoder.getstate()[0])
        try:
            text = decoder.decode(step, final=at + len(step) >= end)
        except UnicodeDecodeError as error:
            raise not_utf8(error, at - pending) from error
        try:
            content = DECODER.raw_decode(f'"{text}"')[0]
            if may_have_halves(step):
                content = string_without_halves(content)
        except json.JSONDecodeError as error:
            raise ValueError(f"not JSON: {error.msg}: near byte {at + error.pos}") from error
        steps.append(content)
        at += len(step)
    return "".join(steps)


def whole_backslashes(data: bytes, at: int) -> bytes:
    """Return ``STEP_BYTES`` bytes of ``data`` from ``at`` on, one more if they split an escape."""
    step = data[at : at + STEP_BYTES]
    odd = backslashes_before(step, len(step)) % 2
    return data[at : at + STEP_BYTES + 1] if odd else step
