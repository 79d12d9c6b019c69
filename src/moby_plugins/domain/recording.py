r"""Recorded calls, and their format: JSON lines, the first of which has the version and the plugin.

Each further line is a call. A body is a string; ``{"base64": …}`` if it is not text; or an
object with ``pieces`` if it had several chunks, and with ``omitted`` if a part was not kept. Keys
with default values may be left out; all others are required::

    {"recording": 1, "plugin": "shelf", "masked": true}
    {"at": 0.1, "took": 0.02, "method": "VolumeDriver.List", "request": "{}\n", "status": 200, …}
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import Attribute, evolve, field, frozen, validators

from moby_plugins.domain.errors import RecordingError
from moby_plugins.domain.http import check_method
from moby_plugins.domain.json import kind_of
from moby_plugins.domain.masking import mask_body, mask_method, mask_text
from moby_plugins.domain.retry import MAX_SECONDS
from moby_plugins.domain.text import quoted, shown
from moby_plugins.domain.typed import typed

VERSION = 1
# A bound, since a recording is read whole.
MAX_RECORDING_BYTES = 256 << 20
# The keys of each kind of line, and their types.
_HEADING = {"recording": int, "plugin": str, "masked": bool}
_CALL: Mapping[str, type | tuple[type, ...]] = {
    "at": (int, float),
    "took": (int, float),
    "method": str,
    "request": (str, dict),
    "status": int,
    "answer": (str, dict),
    "broken": str,
    "host_left": bool,
}
_BODY = {"pieces": list, "omitted": int}
_USUAL = {"request": "", "status": 0, "answer": "", "broken": "", "host_left": False}


def _seconds(least: float) -> "Callable[[object, Attribute[float], Any], None]":
    def check(_: object, attribute: "Attribute[float]", value: Any) -> None:
        if not least <= value <= MAX_SECONDS:  # written so that NaN is rejected too
            bounds = f"from {least:g} to {MAX_SECONDS:g}"
            raise ValueError(f"{attribute.name} must be seconds {bounds}, not {quoted(value)}")

    return check


def _pieces(chunks: Iterable[bytes]) -> tuple[bytes, ...]:
    return tuple(chunks)


@frozen(field_transformer=typed)
class RecordedBody:
    """The recorded body of a request or response. A frozen value.

    Args:
        pieces: The chunks in which it was received.
        omitted: How many bytes at the body's end were not kept.
    """

    pieces: tuple[bytes, ...] = field(default=(), converter=_pieces)
    omitted: int = field(default=0, validator=validators.ge(0))

    @property
    def data(self) -> bytes:
        """The bytes that were kept."""
        return b"".join(self.pieces)

    @property
    def size(self) -> int:
        """The size of the body in bytes, including omitted ones."""
        return sum(map(len, self.pieces)) + self.omitted


@frozen(field_transformer=typed)
class RecordedCall:
    """A recorded call. A frozen value; times are seconds of one clock.

    Args:
        method: The method that was called.
        request: The request's body.
        status: The response's status; 0 without a response.
        answer: The response's body.
        broken: Why the plugin gave no complete response; "" if there was a complete one.
        host_left: Whether the host closed the connection before the end of its request or of the
            response.
        at: When the call was received.
        took: How long the call took.
    """

    method: str = field(converter=check_method)
    request: RecordedBody = field(factory=RecordedBody)
    status: int = 0
    answer: RecordedBody = field(factory=RecordedBody)
    broken: str = ""
    host_left: bool = False
    at: float = field(default=0.0, validator=_seconds(-MAX_SECONDS))
    took: float = field(default=0.0, validator=_seconds(0.0))


def _in_order(calls: Iterable[RecordedCall]) -> tuple[RecordedCall, ...]:
    recorded = tuple(calls)
    # Other values are rejected by the type check that follows.
    in_time = all(isinstance(call, RecordedCall) for call in recorded)
    return tuple(sorted(recorded, key=lambda call: call.at)) if in_time else recorded


@frozen(field_transformer=typed)
class Recording:
    """The recorded calls of one plugin. A frozen value.

    Args:
        calls: The calls; they are sorted by time.
        plugin: The plugin's name.
        masked: Whether secrets are masked.
    """

    calls: tuple[RecordedCall, ...] = field(default=(), converter=_in_order)
    plugin: str = ""
    masked: bool = True

    @property
    def methods(self) -> list[str]:
        """The method of each call."""
        return [call.method for call in self.calls]


def masked_call(call: RecordedCall) -> RecordedCall:
    """Mask the secrets in a call; the chunks of a body with secrets are joined.

    Args:
        call: The call.

    Returns:
        The call without secrets.
    """
    return evolve(
        call,
        method=mask_method(call.method),
        broken=mask_text(call.broken),
        request=_masked_body(call.method, call.request),
        answer=_masked_body(call.method, call.answer),
    )


def _masked_body(method: str, body: RecordedBody) -> RecordedBody:
    masked = mask_body(method, body.data, body.omitted)
    return body if masked == body.data else RecordedBody((masked,), body.omitted)


def heading_line(recording: Recording) -> str:
    """Return the first line of a recording's text, which describes the plugin."""
    return _line({"recording": VERSION, "plugin": recording.plugin, "masked": recording.masked})


def call_line(call: RecordedCall) -> str:
    """Return the line that records ``call``, for the text of a recording."""
    fields = call_json(call)
    return _line({key: fields[key] for key in fields if fields[key] != _USUAL.get(key)})


def call_json(call: RecordedCall) -> dict[str, Any]:
    """Return a call as a JSON object.

    Args:
        call: The call.

    Returns:
        The object.
    """
    return {
        "at": round(call.at, 6),
        "took": round(call.took, 6),
        "method": call.method,
        "request": _body_json(call.request),
        "status": call.status,
        "answer": _body_json(call.answer),
        "broken": call.broken,
        "host_left": call.host_left,
    }


def read_recording(data: bytes, file: str) -> Recording:
    """Parse the text of a recording.

    Raises ``RecordingError``, with the line of ``file``, if ``data`` is malformed or too large.
    """
    if len(data) > MAX_RECORDING_BYTES:
        raise RecordingError(f"the file is larger than {MAX_RECORDING_BYTES} bytes", file)
    number = 1
    try:
        first, *lines = data.split(b"\n")
        recording = _read_heading(first)
        calls = []
        for number, line in enumerate(lines, 2):
            # The last line has a line end too, so the text after it is empty.
            if line or number <= len(lines):
                calls.append(_read_call(line))
    except (ValueError, RecursionError) as error:
        raise RecordingError(f"not a recording: {shown(error)}", file, number) from error
    return evolve(recording, calls=calls)


def whole_lines(data: bytes) -> bytes:
    """Return the lines of ``data`` that have a line end: the last one may have been cut off."""
    return data[: data.rfind(b"\n") + 1]


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value) + "\n"


def _body_json(body: RecordedBody) -> Any:
    pieces = [_piece_json(piece) for piece in body.pieces]
    if body.omitted:
        return {"pieces": pieces, "omitted": body.omitted}
    return {"pieces": pieces} if len(pieces) > 1 else (pieces or [""])[0]


def _piece_json(piece: bytes) -> Any:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(piece).decode()}


def _read_heading(line: bytes) -> Recording:
    heading = _typed(_loads(line), _HEADING)
    if heading.get("recording") != VERSION:
        raise ValueError(f'its first line must have "recording": {VERSION}')
    del heading["recording"]
    return Recording(**heading)


def _read_call(line: bytes) -> RecordedCall:
    call = _typed(_loads(line), _CALL)
    missing = [key for key in _CALL if key not in call and key not in _USUAL]
    if missing:
        raise ValueError(f"{missing[0]} is missing")
    for key in {"request", "answer"} & call.keys():
        call[key] = _read_body(call[key])
    return RecordedCall(**call)


def _loads(line: bytes) -> Any:
    return json.loads(line.decode())


def _read_body(value: Any) -> RecordedBody:
    if isinstance(value, str) or "base64" in value:
        return RecordedBody((_read_piece(value),))
    body = _typed(value, _BODY)
    pieces = body.get("pieces", [])
    return RecordedBody(map(_read_piece, pieces), body.get("omitted", 0))


def _read_piece(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    piece = _typed(value, {"base64": str})
    if not piece:
        raise ValueError("base64 is missing")
    return b64decode(piece["base64"], validate=True)


def _typed(value: Any, kinds: Mapping[str, type | tuple[type, ...]]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"an object was expected, not {kind_of(value)}")  # noqa: TRY004  the file's
    for key, item in value.items():
        if key not in kinds:
            raise ValueError(f"{quoted(key)} is not a known key; the keys are {', '.join(kinds)}")
        # In Python a boolean is an int, but in JSON it is not a number.
        if not isinstance(item, kinds[key]) or (isinstance(item, bool) and kinds[key] is not bool):
            raise ValueError(f"{key} cannot be {kind_of(item)}")
    return value
