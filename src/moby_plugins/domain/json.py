"""Decode JSON as leniently as hosts of plugins do, and no more, within bounds of memory.

The first value is decoded, and what follows it is ignored. Keys match without regard to case, and
of equal keys the last one is used (protocol.md A2, A4). Bytes that are not UTF-8, a byte-order
mark, ``NaN`` and nesting deeper than ``MAX_DEPTH`` are errors.

Decoding takes at most ``MAX_MEMORY`` and twice the size of the text. The standard decoder needs
memory for the text (one to four bytes for each byte), for the strings, for a memo of all keys,
and for each of at most ``MAX_VALUES`` values: 72 bytes, 128 more for a non-empty object, 64 for a
key and 46 for its entry in the memo. An upper bound of their numbers is found by counting
structural characters, also those inside strings, which is fast. If the resulting sum is within
the limit, which is usual, the whole text is decoded at once.

Otherwise the text is decoded in pieces (``json_pieces``), so that only one piece at a time needs
memory for its text and memo. More than ``MAX_VALUES`` values are rejected before any is decoded.
If the first count is too high, values are counted again, without the content of strings and
without empty containers. If long strings hold most of the text, only this second count is made.

Halves of surrogate pairs are replaced in the decoded strings if these are long, or are not short
and have many halves; otherwise in the text, before it is decoded. Depth is checked in the decoded
value.
"""

from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any

from moby_plugins.domain.json_decoding import (
    BRACKET,
    DECODER,
    HALF,
    LARGE_BYTES,
    LEADING,
    MAX_DEPTH,
    MAX_MEMORY,
    NO_BRACKETS,
    SPACE,
    STEPS,
    at_once,
    escapes_of_surrogates,
    may_have_halves,
    memory_of,
    mended,
    split,
    without_halves,
)
from moby_plugins.domain.json_pieces import in_pieces, whole_backslashes

__all__ = [
    "LARGE_BYTES",
    "MAX_DEPTH",
    "MAX_VALUES",
    "first_value",
    "fold_keys",
    "kind_of",
    "only_value",
]

# The values of one text: an array of a hundred thousand volumes has fewer.
MAX_VALUES = 1_000_000
# A value takes at least two bytes with its comma, so a text of this size needs no counting.
_COUNTED_BYTES = 2 * MAX_VALUES
# Two brackets, a colon and a comma for each value: a text with more of them has some in strings.
_MOST_STRUCTURE = 4 * MAX_VALUES
_MEMO_BYTES = 46
_SAMPLES, _SAMPLE_BYTES = 64, 1 << 10
# With more bytes than this for each escape of a surrogate a text has few of them.
_FEW, _FEW_IN_LONG = 128, 12
# With fewer bytes than this for each quote a text has short strings.
_SHORT = 24
# So many levels of indentation by four spaces are counted.
_INDENTED = 4
# The function that ``raw_decode`` calls.
_scan: Callable[[str, int], tuple[Any, int]] = getattr(DECODER, "scan_once", DECODER.raw_decode)
_NO_STRUCTURE = bytes(set(range(256)) - set(b"[{},:"))
_NOT_BEGUN = bytes(set(range(256)) - set(b'"0123456789tfn'))
# The first bytes of characters that UTF-8 encodes in four bytes.
_FOUR_BYTES = (b"\xf0", b"\xf1", b"\xf2", b"\xf3", b"\xf4")


def first_value(data: bytes, *, most: int = MAX_MEMORY) -> Any:
    """Return the first JSON value in ``data``.

    Decoding takes at most ``most`` bytes plus twice the size of ``data``. Raises
    ``ValueError`` for malformed JSON, for more than ``MAX_VALUES`` values, and if the memory does
    not suffice.
    """
    # For ``in``, bytes raise and drop a ``TypeError`` before they search.
    if len(data) <= 2 * MAX_DEPTH and data.find(b"\\u") < 0:
        # The usual case: too short to be deep, no surrogates. Errors are explained below.
        try:
            return _scan(data.decode(), 0)[0]
        except (ValueError, StopIteration, RecursionError):
            pass
    if may_have_halves(data):
        return _with_halves(data, most)
    if len(data) <= _COUNTED_BYTES or memory_left(data, most + 2 * len(data)) >= 0:
        return at_once(data)
    return in_pieces(data, most=most)


def only_value(data: bytes) -> Any:
    """Return the JSON value that is all of ``data``, as Go's ``Unmarshal`` reads it.

    Raises ``ValueError`` for malformed JSON, if anything but white space follows the value, for
    more than ``MAX_VALUES`` values, and if the memory does not suffice.
    """
    value = first_value(data)
    DECODER.decode(data.decode())
    return value


def fold_keys(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object with case-folded keys; of keys that become equal, the last one is kept."""
    return {key.casefold(): item for key, item in value.items()}


def kind_of(value: object) -> str:
    """Return the JSON name of a value's type, for messages; else its name in Python."""
    names = {bool: "a boolean", dict: "an object", list: "an array", str: "a string"}
    names |= {int: "a number", float: "a number"}
    return (
        "null"
        if value is None
        else names.get(type(value), f"a value of type {type(value).__name__}")
    )


def _with_halves(data: bytes, most: int) -> Any:
    """Return the first JSON value in ``data``, with halves of surrogate pairs replaced."""
    # A sample shows which way is fast.
    step = max(len(data) // _SAMPLES, _SAMPLE_BYTES)
    sample = b"".join([data[at : at + _SAMPLE_BYTES] for at in range(0, len(data), step)])
    escapes = escapes_of_surrogates(sample)
    quotes = sample.count(b'"') - sample.count(b'\\"')
    left = -1
    if len(data) > LARGE_BYTES and quotes < len(sample) >> 12:
        # Long strings hold most of the text, so counting outside strings is fast.
        left = _left_with(data, *counted(data), room=most)
        if escapes * _FEW_IN_LONG < len(sample) or left < 0:
            # They are decoded in steps, where halves are replaced in what was decoded.
            return in_pieces(data, most=most)
    elif escapes * _FEW > len(sample) > quotes * _SHORT and 4 * escapes > 5 * quotes:
        left = memory_left(data, most)
    if left >= 0:
        # Strings are not short, so halves are replaced in what was decoded. There is less room than
        # below: pairs make a string four times as wide, not twice as other escapes do.
        values = [at_once(data)]
        if mended(values, left + len(data)):
            return values[0]
    whole = without_halves(data)
    room = most + len(data)
    if may_have_halves(whole):
        # Escapes of whole surrogate pairs may remain. A string with one takes four bytes for each
        # character, and a long string is in memory twice while it is decoded.
        room -= len(data) * (2 if may_have_long_strings(data) else 1)
    if len(whole) <= _COUNTED_BYTES or memory_left(whole, room) >= 0:
        return at_once(whole, "replace")
    if HALF in whole:
        # As escapes they do not make the text wider.
        whole = whole.replace(HALF, rb"\ufffd")
        if memory_left(whole, room) >= 0:
            return at_once(whole, "replace")
    del whole  # its memory is needed
    return in_pieces(data, most=most)


def may_have_long_strings(data: bytes) -> bool:
    """Return false if each string in ``data`` is shorter than ``LARGE_BYTES``."""
    if len(data) <= LARGE_BYTES:
        return False
    # A string of that size covers at least one of these pieces completely.
    half = LARGE_BYTES // 2
    for at in range(0, len(data) - half + 1, half):
        quote = data.find(b'"', at, at + half)
        if quote < 0 or data[quote - 1 : quote] == b"\\":
            return True
    return False


def memory_left(data: bytes, room: int) -> int:
    """Return how many bytes of ``room`` are left when ``data`` is decoded as a whole.

    Less than 0 means that ``room`` is too small. Raises ``ValueError`` for too many values.
    """
    structure = data.translate(None, _NO_STRUCTURE)
    if len(structure) > _MOST_STRUCTURE and data.count(b'"') < len(data) >> 4:
        # Strings hold most of the text and quotes are few, so counting outside strings is fast.
        return _left_with(data, *counted(data), room=room)
    # Only non-empty objects count here: each has a colon.
    objects = structure.count(b"{") - structure.count(b"{}")
    arrays = structure.count(b"[")
    values = 1 + structure.count(b",") + objects + arrays
    keys = structure.count(b":") if objects else 0
    containers = arrays + structure.count(b"{")
    del structure
    if values > MAX_VALUES:
        # Count values by their first characters instead: quotes, digits, letters of literals.
        begun = data.translate(None, _NOT_BEGUN)
        quotes = begun.count(b'"')
        # Subtract the keys in the first step of the text, which are certain.
        keys_first = b"".join(split(whole_backslashes(data, 0))[::2]).count(b":")
        values = min(values, containers + quotes // 2 + len(begun) - quotes - keys_first)
        del begun
    if values > MAX_VALUES:
        # Count exactly: without the content of strings and without empty containers.
        values, objects, arrays, keys = counted(data)
    return _left_with(data, values, objects, arrays, keys, room=room)


def _left_with(data: bytes, values: int, objects: int, arrays: int, keys: int, *, room: int) -> int:
    """Return how many bytes of ``room`` are left when ``data``, with these counts, is decoded."""
    memory = memory_of(values, objects, arrays, keys)
    memory += _MEMO_BYTES * keys
    # The text and the strings. Strings with escapes are built from parts and may need wider
    # characters.
    wide = 1 if data.isascii() else 4 if any(lead in data for lead in _FOUR_BYTES) else 2
    memory += len(data) * wide
    if wide > 1:
        # Python's string objects have larger headers if they are not ASCII.
        memory += 24 * (values + keys)
    # Commas and colons are not in strings. Those that are were counted as values, which take more.
    content = max(len(data) - values - keys, 0)
    width = max(wide, 3 if b"\\" in data else 1)
    if content * width > room - memory:
        content -= _indented(data)
    return room - memory - content * width


def _indented(data: bytes) -> int:
    """Return how many bytes of ``data``, at least, are line ends and the indentation after them.

    These bytes are outside strings, in which line ends are escaped.
    """
    size = data.count(b"\n")
    for depth in range(4, 4 * (_INDENTED + 1), 4) if size else ():
        size += 4 * data.count(b"\n" + b" " * depth)
    return size


def counted(data: bytes) -> tuple[int, int, int, int]:
    """Return the numbers of values, non-empty objects, non-empty arrays and keys in ``data``.

    Only the first JSON value and what it contains are counted, without the content of strings.
    Raises ``ValueError`` for more than ``MAX_VALUES`` values.
    """
    start = LEADING.match(data).end()  # type: ignore[union-attr]  # it matches anything
    # ``last`` is a bracket not counted yet, since the next byte tells whether it is empty.
    last, at, level, quoted = data[start : start + 1], start + 1, 0, 0
    objects = arrays = keys = commas = 0
    if last not in {b"[", b"{"}:
        return 1, 0, 0, 0
    while at < len(data):
        step = whole_backslashes(data, at)
        at += len(step)
        parts = split(step)
        outside = last + b'"' * quoted + b'"'.join(parts[quoted::2])
        outside = outside.translate(None, SPACE)
        quoted ^= (len(parts) - 1) % 2
        last = outside[-1:] if outside[-1:] in {b"[", b"{"} else b""
        outside = outside[: len(outside) - len(last)]
        ended = False
        if brackets := outside.translate(STEPS, NO_BRACKETS):
            levels = list(accumulate(memoryview(brackets).cast("b"), initial=level))
            level = levels[-1]
            ended = min(levels[1:]) < 1
        if ended:
            closing = next(at for at, level in enumerate(levels) if at and level < 1)
            outside = outside[: [it.end() for it in BRACKET.finditer(outside)][closing - 1]]
        objects += outside.count(b"{") - outside.count(b"{}")
        arrays += outside.count(b"[") - outside.count(b"[]")
        keys += outside.count(b":")
        commas += outside.count(b",")
        if 1 + commas + objects + arrays > MAX_VALUES:
            raise ValueError(f"the JSON has more than {MAX_VALUES:,} values")
        if ended:
            break
    return 1 + commas + objects + arrays, objects, arrays, keys
