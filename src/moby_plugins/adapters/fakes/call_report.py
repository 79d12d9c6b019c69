"""How arguments differ from those expected, told in lines that are short enough to read."""

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

# The longest a value is shown, and how many lines of one kind.
WIDTH = 120
MOST = 10


def shown(value: Any, width: int = WIDTH) -> str:
    """``value`` on one line, as JSON where it is, cut where it is long."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    if len(text) <= width:
        return text
    half = width // 2
    return f"{text[:half]} … {text[-half:]} ({len(text)} characters)"


def differences(expected: Any, actual: Any, path: str = "") -> Iterator[str]:
    """A line for each place where ``actual`` is not what is ``expected``: none if they agree.

    Lists and tuples are the same, as in JSON. What is neither list nor mapping is compared
    by ``==``, so that an ``expected`` value may have its own idea of it.
    """
    parts, others = _parts(expected), _parts(actual)
    if (
        parts is None
        or others is None
        or isinstance(expected, Mapping) != isinstance(actual, Mapping)
    ):
        if not expected == actual:  # noqa: SIM201  an expected value may define == alone
            yield f"{path or 'all'}: expected {shown(expected)}, got {shown(actual)}"
        return
    for key, part in parts.items():
        place = f"{path}[{key!r}]"
        if key in others:
            yield from differences(part, others[key], place)
        else:
            yield f"{place}: missing, expected {shown(part)}"
    for key in others:
        if key not in parts:
            yield f"{path}[{key!r}]: not expected, got {shown(others[key])}"


def listed(lines: Iterator[str]) -> Iterator[str]:
    """The first of ``lines``, indented, and how many more there are."""
    yield from (f"  {line}" for line in islice(lines, MOST))
    more = sum(1 for _ in lines)
    if more:
        yield f"  … and {more} more"


def _parts(value: Any) -> Mapping[Any, Any] | None:
    if isinstance(value, Mapping):
        return value
    return dict(enumerate(value)) if isinstance(value, (list, tuple)) else None
