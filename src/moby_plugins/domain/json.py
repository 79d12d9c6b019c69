"""JSON read as plugins' hosts have always read it, but never more kindly than that.

The first value counts and what follows it is ignored; keys match without
regard to case and the last one wins (protocol.md A2, A4). Bytes that are not
UTF-8, a byte-order mark, ``NaN`` and nesting over ``MAX_DEPTH`` are errors.

What is large or broad is read in pieces: each is cut at a comma outside strings, counted,
completed with the brackets that are open around it, decoded, and merged into what came before.
So no text is ever held as a whole (one rare character makes four bytes of each), counting comes
before decoding, and other threads run in between.
"""

import codecs
import json
import math
import re
from collections.abc import Callable, Mapping
from itertools import accumulate, islice
from sys import getsizeof
from typing import Any, NoReturn

from moby_plugins.domain.text import shown

MAX_DEPTH = 200
# Of one text: an array of a hundred thousand volumes has less.
MAX_VALUES = 1_000_000
# What is up to this size has fewer values than that, and takes little memory however it is read.
LARGE_BYTES = 1 << 20
# What a decoded text may take, beside its own size.
MAX_MEMORY = 256 << 20

_SPACE = b" \t\r\n"
_LEADING = re.compile(b"[ \t\r\n]*+")
# Whatever comes, and then surrogates in a row. It always matches, so it never searches twice.
_SURROGATES = re.compile(
    r"((?:[^\\]++|\\[^u]|\\\Z|\\u(?![dD][89a-fA-F][0-9a-fA-F]{2}))*+)"
    r"((?:\\u[dD][89a-fA-F][0-9a-fA-F]{2})*+)",
    re.DOTALL,
)
_FIRST_HALF = re.compile(rb"\\u[dD][89abAB]")
_LONE = re.compile("[\ud800-\udfff]+")

_PIECE_BYTES = 64 << 10
# A string that is decoded by itself, in steps.
_LONG_BYTES = 1 << 20
_CONTROLS = bytes(range(32))
_DIGITS = bytes.maketrans(b"123456789", b"000000000")
# In numbers whose digits are all 0: of what may be too large for a float.
_LARGE_NUMBERS = (b"0" * 200, b"e000", b"E000", b"e+000", b"E+000")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_LEVELS = bytes(range(MAX_DEPTH + 1))
# As signed bytes these are +1 and -1.
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
# Half a surrogate pair is in no text that was decoded, so these strings are ours alone: the key
# of what a piece goes on with, the end of what goes on in the next, and a long string.
_CONTINUED, _UNFINISHED, _LONG = "\ud800", "\ud801", "\ud802"
_OPENING = {"[": "[", "{": '{"\\ud800":'}
_GOING_ON = {"[": "[0,", "{": '{"\\ud800":0,'}
_CLOSING = {"[": ',"\\ud801"]', "{": ',"\\ud801":0}'}
# About what CPython takes: for a value with its place, for a key, for an object that is not empty.
_VALUE_BYTES, _KEY_BYTES, _OBJECT_BYTES = 64, 64, 128


def _refuse(literal: str) -> NoReturn:
    raise ValueError(f"{shown(literal)} is not JSON")


def _finite(literal: str) -> float:
    number = float(literal)
    return number if math.isfinite(number) else _refuse(literal)


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)
# For what holds no number that is too large: it makes floats without asking us.
_QUICK_DECODER = json.JSONDecoder(parse_constant=_refuse)


def first_value(data: bytes) -> Any:
    """The first JSON value in ``data``; raises ``ValueError`` that says what is wrong.

    It takes at most ``MAX_MEMORY`` and the size of ``data``, and has at most ``MAX_VALUES``
    values where ``data`` is over ``LARGE_BYTES``.
    """
    # Counting brackets is quick, and settles nearly every answer: only a broad one can be deep.
    if len(data) > LARGE_BYTES or data.count(b"[") + data.count(b"{") > MAX_DEPTH:
        start = _LEADING.match(data).end()  # type: ignore[union-attr]  # it matches anything
        if data[start : start + 1] in {b"[", b"{"}:
            return _Pieces(data, start).read()
        if data[start : start + 1] == b'"':
            return _string(data, start)
    text = _mended(data, 0).lstrip(_SPACE.decode())
    if not text:
        raise ValueError("empty where JSON was expected")
    return _decoded(text)


def only_value(data: bytes) -> Any:
    """Return the JSON value that is all of ``data``, as Go's ``Unmarshal`` reads it.

    Raises ``ValueError`` as ``first_value`` does, and where anything but white space follows.
    """
    value = first_value(data)
    _DECODER.decode(data.decode())
    return value


def fold_keys(value: Mapping[str, Any]) -> dict[str, Any]:
    """The same object with keys in one case; of keys that become the same, the last wins."""
    return {key.casefold(): item for key, item in value.items()}


def kind_of(value: object) -> str:
    """Return the JSON name of a value's type, for messages; that in Python where it has none."""
    names = {bool: "a boolean", dict: "an object", list: "an array", str: "a string"}
    names |= {int: "a number", float: "a number"}
    return (
        "null"
        if value is None
        else names.get(type(value), f"a value of type {type(value).__name__}")
    )


def _text(data: bytes, start: int) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        at = start + error.start
        raise ValueError(f"not UTF-8: {error.reason} at byte {at}") from error


def _mended(data: bytes, start: int) -> str:
    return _without_lone_surrogates(_text(data, start))


def _without_lone_surrogates(text: str) -> str:
    # Half a surrogate pair is no character; hosts have always shown U+FFFD for it.
    if "\\" not in text or ("\\ud" not in text and "\\uD" not in text):
        return text
    return _SURROGATES.sub(_without_lone, text)


def _without_lone(match: re.Match[str]) -> str:
    before, surrogates = match.groups()
    if not surrogates:
        return before
    return before + _LONE.sub(_replaced, json.loads(f'"{surrogates}"'))


def _replaced(lone: re.Match[str]) -> str:
    return "\ufffd" * len(lone[0])


def _decoded(
    text: str,
    at: Callable[[int], str] | None = None,
    decoder: json.JSONDecoder = _DECODER,
) -> Any:
    try:
        return decoder.raw_decode(text)[0]
    except json.JSONDecodeError as error:
        why = str(error) if at is None else f"{error.msg}: {at(error.pos)}"
        raise ValueError(f"not JSON: {why}") from error
    except RecursionError:
        raise ValueError(f"nested deeper than {MAX_DEPTH}") from None


def _outside(raw: bytes) -> list[bytes]:
    """``raw`` split at the quotes of its strings: with even indices, what is outside of them.

    Escapes are masked, and keep their length.
    """
    if b'\\"' in raw:
        raw = raw.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    return raw.split(b'"')


def _check_utf8(data: bytes, start: int) -> None:
    # What follows the first value is ignored, but must be text.
    decoder = codecs.getincrementaldecoder("utf-8")()
    for at in range(start, len(data), _PIECE_BYTES):
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(data[at : at + _PIECE_BYTES], at + _PIECE_BYTES >= len(data))
        except UnicodeDecodeError as error:
            where = at - pending + error.start
            raise ValueError(f"not UTF-8: {error.reason} at byte {where}") from error


def _string(data: bytes, start: int) -> str:
    """The string that begins at ``start``."""
    end = start + 1 + len(_outside(data[start + 1 :])[0])
    if end >= len(data):
        raise ValueError(f"not JSON: Unterminated string starting at byte {start}")
    _check_utf8(data, end)
    return _string_between(data, start + 1, end)


def _string_between(data: bytes, start: int, end: int) -> str:
    """What the quotes at ``start - 1`` and ``end`` hold; in steps, for the sake of memory."""
    if data.find(b"\\", start, end) < 0:
        for at in range(start, end, _PIECE_BYTES):
            step = data[at : min(at + _PIECE_BYTES, end)]
            if len(step.translate(None, _CONTROLS)) < len(step):
                raise ValueError(f"not JSON: Invalid control character: near byte {at}")
        try:
            return str(memoryview(data)[start:end], "utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"not UTF-8: {error.reason} at byte {start + error.start}") from error
    decoder = codecs.getincrementaldecoder("utf-8")()
    steps = []
    at = start
    while at < end:
        step = _whole_escapes(data[at : min(at + _PIECE_BYTES, end)], last=at + _PIECE_BYTES >= end)
        pending = len(decoder.getstate()[0])
        try:
            text = decoder.decode(step, final=at + len(step) >= end)
        except UnicodeDecodeError as error:
            where = at - pending + error.start
            raise ValueError(f"not UTF-8: {error.reason} at byte {where}") from error
        content: str = _decoded(f'"{text}"')
        steps.append(content if content.isascii() else _LONE.sub(_replaced, content))
        at += len(step)
    return "".join(steps)


def _whole_escapes(step: bytes, *, last: bool) -> bytes:
    """``step`` up to where no escape, and no pair of surrogates, is cut in two."""
    if last:
        return step
    # An escape is six bytes long, a pair of surrogates twelve.
    begins = len(step) - 11
    begins -= _backslashes_before(step, begins) % 2
    escape = step[begins:].replace(b"\\\\", b"__").rfind(b"\\")
    if escape < 0:
        return step
    # It may be a pair's second half, and then the first goes with it.
    first = begins + escape - 6
    pair = _FIRST_HALF.match(step, max(first, 0))
    return step[: first if pair and not _backslashes_before(step, first) % 2 else first + 6]


def _backslashes_before(step: bytes, end: int) -> int:
    return end - len(step[:end].rstrip(b"\\"))


class _Pieces:
    """Reads the array or object that begins at ``start``, piece by piece."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data = data
        self._at = start
        # The containers that are open at ``_at``, as brackets and as what was made of them so far.
        self._brackets = b""
        self._open: list[Any] = []
        self._values = 1
        self._memory = 0

    def read(self) -> Any:
        """The value; raises ``ValueError``."""
        first = self._next_piece()
        while self._brackets:
            self._next_piece()
        _check_utf8(self._data, self._at)
        return first

    def _next_piece(self) -> Any:
        """Read up to the next place for a cut, or to the end; returns what is in it, decoded."""
        before = self._brackets
        length, kept, strings, decoder = self._cut()
        text = self._text_of(length, strings)
        opening = "".join(_OPENING[chr(bracket)] for bracket in before[:-1])
        opening += _GOING_ON[chr(before[-1])] if before else ""
        # Where the text breaks off nothing is completed, so that it cannot be decoded.
        ended = self._at + length >= len(self._data)
        closing = "" if ended else "".join(_CLOSING[chr(b)] for b in reversed(self._brackets))
        piece = _decoded(
            f"{opening}{text}{closing}",
            lambda char: f"near byte {self._at + max(char - len(opening), 0)}",
            decoder,
        )
        if strings:
            piece = _restored(piece, self._data)
        spine = self._finished(piece)
        self._merge(piece)
        self._open = self._open[:kept] + spine[kept:]
        self._at += length + (1 if self._brackets else 0)
        return piece

    def _cut(self) -> tuple[int, int, list[tuple[int, int]], json.JSONDecoder]:
        """Choose the next piece, count it, and check its depth.

        Returns its length in bytes, how many of the open containers stay open, where its long
        strings begin and end, and what decodes it.
        """
        size = _PIECE_BYTES
        while True:
            parts = _outside(self._data[self._at : self._at + size])
            outside = b'"'.join(parts[::2])
            packed = b"".join(outside.split())
            levels = _levels(packed, len(self._brackets))
            closed = levels.find(0, 1)
            if closed == len(levels) - 1 > 0:
                place = max(outside.rfind(b"]"), outside.rfind(b"}")) + 1
            elif closed > 0:
                brackets = re.finditer(rb"[\[\]{}]", outside)
                place = next(islice(brackets, closed - 1, None)).end()
            else:
                # A piece with a long string goes on to the first comma after it.
                place = outside.find(b",") if size > _LONG_BYTES else outside.rfind(b",")
            if levels[: closed if closed > 0 else None].translate(None, _LEVELS):
                raise ValueError(f"nested deeper than {MAX_DEPTH}")
            if place >= 0:
                break
            if self._at + size >= len(self._data):
                place = len(outside)
                break
            size *= 8
        strings = 2 * outside.count(b'"', 0, place)
        rest = parts[strings:]
        length = min(size, len(self._data) - self._at) - sum(map(len, rest)) - len(rest) + 1
        length += place - (outside.rfind(b'"', 0, place) + 1)
        if place < len(outside):
            packed = b"".join(outside[:place].split())
        kept = self._step_to(packed, levels)
        self._count(packed)
        numbers = packed.translate(_DIGITS)
        large = any(part in numbers for part in _LARGE_NUMBERS)
        long_strings = self._long(parts[:strings]) if size > _LONG_BYTES else []
        return length, kept, long_strings, _DECODER if large else _QUICK_DECODER

    def _step_to(self, packed: bytes, levels: bytes) -> int:
        """Have ``_brackets`` be those open after ``packed``; returns how many stayed open."""
        brackets = packed.translate(None, _NO_BRACKETS)
        levels = levels[: len(brackets) + 1]
        kept = next(level for level in range(MAX_DEPTH + 1) if level in levels)
        self._brackets = self._brackets[:kept] + bytes(
            brackets[levels.rfind(level)] for level in range(kept, levels[-1])
        )
        return kept

    def _long(self, parts: list[bytes]) -> list[tuple[int, int]]:
        """Where the long strings begin and end of a piece that has these ``parts``."""
        found = []
        begins = self._at
        for index, part in enumerate(parts):
            ends = begins + len(part)
            if index % 2 and len(part) > _LONG_BYTES:
                found.append((begins, ends))
            begins = ends + 1
        return found

    def _count(self, packed: bytes) -> None:
        """Count what is in a piece, by what is outside its strings and is no white space."""
        objects = packed.count(b"{") - packed.count(b"{}")
        arrays = packed.count(b"[") - packed.count(b"[]")
        self._values += packed.count(b",") + objects + arrays + (1 if self._brackets else 0)
        if self._values > MAX_VALUES:
            raise ValueError(f"more than {MAX_VALUES:,} values")
        self._memory += _OBJECT_BYTES * objects + _KEY_BYTES * packed.count(b":")

    def _text_of(self, length: int, long_strings: list[tuple[int, int]]) -> str:
        """The text of a piece; each long string is only named in it."""
        text, at = "", self._at
        for begins, ends in long_strings:
            text += _mended(self._data[at:begins], at) + f"\\ud802{begins}-{ends}"
            self._memory += ends - begins
            at = ends
        text += _mended(self._data[at : self._at + length], at)
        self._memory += getsizeof(text)
        if self._memory + _VALUE_BYTES * self._values > MAX_MEMORY + len(self._data):
            raise ValueError(f"its values take more than {MAX_MEMORY >> 20} MiB and its own size")
        return text

    def _finished(self, piece: Any) -> list[Any]:
        """What is unfinished of a piece, from the outside in, without the marks of that."""
        spine: list[Any] = []
        node = piece
        for _ in self._brackets:
            spine.append(node)
            if type(node) is list:
                node.pop()
                node = node[-1]
            else:
                del node[_UNFINISHED]
                # Nearly always the last one, but a key that came again keeps its place.
                node = next(filter(_is_unfinished, reversed(node.values())), None)
        return spine

    def _merge(self, piece: Any) -> None:
        """Add what a piece goes on with to what is open."""
        node = piece
        for container in self._open:
            if type(container) is list:
                inner = node[0]
                container.extend(islice(node, 1, None))
            else:
                inner = node.pop(_CONTINUED)
                container.update(node)
            node = inner


def _levels(outside: bytes, level: int) -> bytes:
    """How deep it is at the beginning, and after each bracket; 0 and 255 stand for what is beyond.

    What comes after the end of the first value may lead anywhere.
    """
    steps = memoryview(outside.translate(_STEPS, _NO_BRACKETS)).cast("b")
    try:
        return bytes(accumulate(steps, initial=level))
    except ValueError:
        return bytes(min(max(it, 0), 255) for it in accumulate(steps, initial=level))


def _is_unfinished(value: Any) -> bool:
    if type(value) is list:
        return bool(value) and value[-1] == _UNFINISHED
    return type(value) is dict and _UNFINISHED in value


def _restored(value: Any, data: bytes) -> Any:
    """A decoded piece with its long strings in their places."""
    if type(value) is list:
        return [_restored(item, data) for item in value]
    if type(value) is dict:
        return {_restored(key, data): _restored(item, data) for key, item in value.items()}
    if type(value) is str and value.startswith(_LONG):
        return _string_between(data, *map(int, value.removeprefix(_LONG).split("-")))
    return value
