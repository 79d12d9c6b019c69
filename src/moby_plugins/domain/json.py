"""JSON read as plugins' hosts have always read it, but never more kindly than that.

The first value counts and what follows it is ignored; keys match without
regard to case and the last one wins (protocol.md A2, A4). Bytes that are not
UTF-8, a byte-order mark, ``NaN`` and nesting over ``MAX_DEPTH`` are errors.
"""

import json
import math
import re
from collections.abc import Mapping
from itertools import accumulate
from typing import Any, NoReturn

from moby_plugins.domain.text import shown

MAX_DEPTH = 200

_SPACE = " \t\r\n"
# Possessive: backtracking would keep a hundred times a long string's size.
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_STEPS = {"[": 1, "{": 1, "]": -1, "}": -1}
_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)


def _refuse(literal: str) -> NoReturn:
    raise ValueError(f"{shown(literal)} is not JSON")


def _finite(literal: str) -> float:
    number = float(literal)
    return number if math.isfinite(number) else _refuse(literal)


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)


def first_value(data: bytes) -> Any:
    """The first JSON value in ``data``; raises ``ValueError`` that says what is wrong."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: {error.reason} at byte {error.start}") from error
    text = _without_lone_surrogates(text.lstrip(_SPACE))
    if not text:
        raise ValueError("empty where JSON was expected")
    try:
        value, end = _DECODER.raw_decode(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from error
    except RecursionError:
        raise ValueError(f"nested deeper than {MAX_DEPTH}") from None
    _check_depth(text, end)
    return value


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
    """The JSON name of a decoded value's type, for messages."""
    names = {bool: "a boolean", dict: "an object", list: "an array", str: "a string"}
    return "null" if value is None else names.get(type(value), "a number")


def _without_lone_surrogates(text: str) -> str:
    # Half a surrogate pair is no character; hosts have always shown U+FFFD for it.
    if "\\ud" not in text and "\\uD" not in text:
        return text
    return _ESCAPE.sub(lambda m: "\\ufffd" if m["lone"] else m[0], text)


def _check_depth(text: str, end: int) -> None:
    # Counting is quick and settles nearly every answer; only a broad one is walked.
    if text.count("[", 0, end) + text.count("{", 0, end) <= MAX_DEPTH:
        return
    brackets = re.sub(r"[^\[\]{}]+", "", _STRING.sub("", text[:end]))
    if max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
