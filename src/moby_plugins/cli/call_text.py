"""A call that passed, as people read it."""

import json
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

from moby_plugins.cli.output import BAD, DOUBTFUL, FAINT, GOOD, PLAIN, Cell
from moby_plugins.tracing import Progress, RecordedBody, RecordedCall

# How much of a body is shown.
MOST = 2000
HEAD_BYTES = 16
_OK = 200
_WHITE = str.maketrans("\t\r\n", "   ")
# What AuthZPlugin's bodies hold of the engine's own calls, in base64.
_INNER = {"RequestBody", "ResponseBody"}


def call_cells(time: str, call: RecordedCall) -> Iterator[tuple[Cell, ...]]:
    """The lines of a call: when, what, with what status and how long; then both bodies."""
    yield (
        Cell(f"{time}  ", FAINT),
        Cell(f"{call.method}  "),
        _status(call),
        Cell(f"  {duration(call.took)}", FAINT),
    )
    yield from _body(call, "→", call.request)
    yield from _body(call, "←", call.answer)
    if call.broken:
        yield (Cell(f"  ✗ {call.broken}; the host's connection was closed", BAD),)
    if call.host_left:
        yield (Cell("  ✗ the host did not wait for the end", DOUBTFUL),)


def progress_cells(time: str, passing: Progress) -> tuple[Cell, ...]:
    """The line of a body that is on its way."""
    pieces = "1 piece" if passing.pieces == 1 else f"{passing.pieces} pieces"
    said = f"{passing.part} so far: {pieces}, {passing.size:,} bytes"
    return Cell(f"{time}  ", FAINT), Cell(f"{passing.method}  "), Cell(said, FAINT)


def duration(seconds: float) -> str:
    """Seconds, or thousandths of one."""
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def body_text(method: str, body: RecordedBody) -> str:
    """A body on one line: JSON without spaces, text, or the size and the first bytes."""
    data = body.data
    text = _as_json(method, data) or _as_text(data)
    if text is None:
        pieces = f" in {len(body.pieces)} pieces" if len(body.pieces) > 1 else ""
        return f"{body.size:,} bytes{pieces}: {_head(data)}"
    if len(text) <= MOST and not body.omitted:
        return text
    return f"{text[:MOST]} … ({body.size:,} bytes)"


def _head(data: bytes) -> str:
    head = data[:HEAD_BYTES].hex(" ")
    return f"{head} …" if len(data) > HEAD_BYTES else head


def _status(call: RecordedCall) -> Cell:
    if not call.status:
        return Cell("no answer", BAD)
    return Cell(str(call.status), GOOD if call.status == _OK else BAD)


def _body(call: RecordedCall, arrow: str, body: RecordedBody) -> Iterator[tuple[Cell, ...]]:
    if body.size:
        yield Cell(f"  {arrow} ", FAINT), Cell(body_text(call.method, body), PLAIN)


def _as_json(method: str, data: bytes) -> str | None:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if method.startswith("AuthZPlugin.") and isinstance(value, dict):
        value = {key: _inner(key, item) for key, item in value.items()}
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _inner(key: str, value: Any) -> Any:
    if key not in _INNER or not isinstance(value, str):
        return value
    try:
        data = b64decode(value, validate=True)
        return json.loads(data)
    except (ValueError, RecursionError):
        return value


def _as_text(data: bytes) -> str | None:
    try:
        text = data.decode().strip()
    except UnicodeDecodeError:
        return None
    plain = text.translate(_WHITE).isprintable()
    return json.dumps(text, ensure_ascii=False) if plain else None
