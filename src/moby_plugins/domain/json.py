"""JSON read as plugins' hosts have always read it, but never more kindly than that.

The first value counts and what follows it is ignored; keys match without
regard to case and the last one wins (protocol.md A2, A4). Bytes that are not
UTF-8, a byte-order mark, ``NaN`` and nesting over ``MAX_DEPTH`` are errors.

What decoding takes is bounded by ``MAX_MEMORY`` and twice the size. The standard decoder takes
the text (one to four bytes for each byte), the strings again, a memo of all keys, and a fixed
price for each value, of which there are at most ``MAX_VALUES``: 72 bytes, 128 more for an object
that is not empty, 64 for a key, 46 for its place in the memo. All of these are counted in the
bytes, as if strings were outside of strings too, which is quick and never too little. Where the
sum is within the bound, which is nearly always, the text is decoded at once.

Else it is read in pieces (``json_pieces``), so that only one piece is held as text and as a memo.
More than ``MAX_VALUES`` values are refused before any is decoded: those that are counted too high,
since they are in strings or empty, are counted again outside of strings. Long strings that hold
much of it, in which quotes are few, are left out at once.

Nesting is looked for in what was decoded; halves of surrogate pairs are replaced while it is.
"""

from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any

from moby_plugins.domain.json_decoding import (
    BRACKET,
    DECODER,
    LARGE_BYTES,
    LEADING,
    MAX_DEPTH,
    MAX_MEMORY,
    NO_BRACKETS,
    SPACE,
    STEPS,
    at_once,
    may_have_halves,
    memory_of,
    split,
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

# Of one text: an array of a hundred thousand volumes has less.
MAX_VALUES = 1_000_000
# Each value takes two bytes with its comma, and so few of them take no more memory than they may.
_COUNTED_BYTES = 2 * MAX_VALUES
# Two brackets, a colon and a comma for each two of them: what has more has some in strings.
_MOST_STRUCTURE = 4 * MAX_VALUES
_MEMO_BYTES = 46
# What ``raw_decode`` calls.
_scan: Callable[[str, int], tuple[Any, int]] = getattr(DECODER, "scan_once", DECODER.raw_decode)
_NO_STRUCTURE = bytes(set(range(256)) - set(b"[{},:"))
_NOT_BEGUN = bytes(set(range(256)) - set(b'"0123456789tfn'))
# What a character of four bytes begins with.
_FOUR_BYTES = (b"\xf0", b"\xf1", b"\xf2", b"\xf3", b"\xf4")


def first_value(data: bytes) -> Any:
    """The first JSON value in ``data``; raises ``ValueError`` that says what is wrong.

    It takes at most ``MAX_MEMORY`` and twice the size of ``data``, and has at most ``MAX_VALUES``
    values.
    """
    if len(data) <= 2 * MAX_DEPTH and b"\\u" not in data:
        # Most texts: too short to be deep, without halves. What is wrong with them is said below.
        try:
            return _scan(data.decode(), 0)[0]
        except (ValueError, StopIteration, RecursionError):
            pass
    halves = may_have_halves(data)
    if len(data) <= _COUNTED_BYTES or _fits(data, halves=halves):
        return at_once(data, halves=halves)
    return in_pieces(data)


def only_value(data: bytes) -> Any:
    """Return the JSON value that is all of ``data``, as Go's ``Unmarshal`` reads it.

    Raises ``ValueError`` as ``first_value`` does, and where anything but white space follows.
    """
    value = first_value(data)
    DECODER.decode(data.decode())
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


def _fits(data: bytes, *, halves: bool) -> bool:
    """Whether ``data`` can be decoded at once; raises ``ValueError`` for too many values."""
    structure = data.translate(None, _NO_STRUCTURE)
    if len(structure) > _MOST_STRUCTURE and data.count(b'"') < len(data) >> 4:
        # Strings hold most of it, and quotes are few: to count outside of them is quick.
        return _takes_little(data, *_counted(data), halves=halves)
    # An object that is not empty has a colon.
    objects = structure.count(b"{") - structure.count(b"{}")
    arrays = structure.count(b"[")
    values = 1 + structure.count(b",") + objects + arrays
    keys = structure.count(b":") if objects else 0
    containers = arrays + structure.count(b"{")
    del structure
    if values > MAX_VALUES:
        # Or counted by what they begin with: quotes, digits, and letters of literals.
        begun = data.translate(None, _NOT_BEGUN)
        quotes = begun.count(b'"')
        # Keys are no values: those in the first step are certain, and nearly always all.
        keys_first = b"".join(split(whole_backslashes(data, 0))[::2]).count(b":")
        values = min(values, containers + quotes // 2 + len(begun) - quotes - keys_first)
        del begun
    if values > MAX_VALUES:
        # Some are in strings, or empty.
        values, objects, arrays, keys = _counted(data)
    return _takes_little(data, values, objects, arrays, keys, halves=halves)


def _takes_little(
    data: bytes, values: int, objects: int, arrays: int, keys: int, *, halves: bool
) -> bool:
    """Whether so much in ``data`` can be decoded at once within the bound."""
    memory = memory_of(values, objects, arrays, keys)
    memory += _MEMO_BYTES * keys
    # The text, and the strings: those with escapes are made of parts, grow wider with them, and
    # are made twice where halves of pairs are replaced.
    wide = 1 if data.isascii() else 4 if any(lead in data for lead in _FOUR_BYTES) else 2
    memory += len(data) * wide
    if wide > 1:
        # The headers of what is not ASCII are larger.
        memory += 24 * (values + keys)
    most = MAX_MEMORY + 2 * len(data) - memory
    if not halves:
        return len(data) * max(wide, 3 if b"\\" in data else 1) <= most
    if 12 * len(data) <= most:
        return True
    # An escape makes one character of six bytes, but not where its backslash is escaped.
    escapes = 0 if b"\\\\" in data else data.count(b"\\u")
    return 12 * (len(data) - 5 * escapes) <= most


def _counted(data: bytes) -> tuple[int, int, int, int]:
    """How many values the first one in ``data`` has, objects and arrays that are not empty, keys.

    Raises ``ValueError`` for more than ``MAX_VALUES``.
    """
    start = LEADING.match(data).end()  # type: ignore[union-attr]  # it matches anything
    # A bracket that was not counted yet, since what follows tells whether it is empty.
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
            outside = outside[: [it.start() for it in BRACKET.finditer(outside)][closing - 1]]
        objects += outside.count(b"{") - outside.count(b"{}")
        arrays += outside.count(b"[") - outside.count(b"[]")
        keys += outside.count(b":")
        commas += outside.count(b",")
        if 1 + commas + objects + arrays > MAX_VALUES:
            raise ValueError(f"more than {MAX_VALUES:,} values")
        if ended:
            break
    return 1 + commas + objects + arrays, objects, arrays, keys
