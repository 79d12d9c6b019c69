"""A plugin's part in a test, played from a recording."""

import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from moby_plugins.adapters.memory.calls import differences, listed, shown
from moby_plugins.adapters.memory.replies import UnexpectedCallError
from moby_plugins.domain.errors import RecordingError, TransportError, WireError
from moby_plugins.domain.http import Request, Response
from moby_plugins.domain.json import first_value
from moby_plugins.domain.masking import mask_body, mask_method
from moby_plugins.domain.recording import RecordedBody, RecordedCall, Recording

# Whether a call with the second body may be answered as that with the first, recorded one was.
Match: TypeAlias = Callable[[bytes, bytes], bool]


def same_body(recorded: bytes, actual: bytes) -> bool:
    """Match the same JSON, however it is written, or the same bytes.

    Args:
        recorded: The recorded body.
        actual: The body that came.

    Returns:
        Whether they match.
    """
    return bool(as_json(recorded) == as_json(actual))


def any_body(_: bytes, __: bytes) -> bool:
    """Match any body: a method's calls are answered in the order in which they were recorded.

    Returns:
        True.
    """
    return True


def as_json(body: bytes) -> Any:
    """A body's JSON value, ``None`` for none; where it is no JSON, the bytes."""
    try:
        return first_value(body) if body else None
    except ValueError:
        return body


class Replay:
    """An app that answers as ``recording`` says, each recorded call once, by method.

    Of a method's calls the first that is left and that ``match`` allows is taken; where
    there is none, ``UnexpectedCallError`` shows the nearest. Where secrets were masked
    they are masked in what comes too, and so match any. A call that got no answer gets
    none again: ``TransportError``; one whose answer broke off breaks off: ``WireError``.
    Threads may share it.
    """

    def __init__(self, recording: Recording, match: Match = same_body) -> None:
        self._recording = recording
        self._match = match
        # What the host gave up before it was answered has no part to be played.
        self._left = [call for call in recording.calls if call.status or call.broken]
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Response:
        """The recorded answer; raises as the class says, and ``RecordingError`` for a cut one."""
        call = self._take(request)
        if not call.status:
            raise TransportError(call.broken)
        if call.answer.omitted:
            raise RecordingError(
                f"the answer of {call.method} was too large to be kept", self._recording.plugin
            )
        return Response(call.status, _pieces(call.answer, call.broken))

    def unused(self) -> list[str]:
        """The recorded calls that nobody has made yet, a line for each."""
        with self._lock:
            return [f"{call.method} {shown(as_json(call.request.data))}" for call in self._left]

    def _take(self, request: Request) -> RecordedCall:
        method, body = request.method, request.read()
        if self._recording.masked:
            method, body = mask_method(method), mask_body(method, body)
        with self._lock:
            for number, call in enumerate(self._left):
                if call.method == method and self._match(call.request.data, body):
                    return self._left.pop(number)
            raise self._unexpected(method, body)

    def _unexpected(self, method: str, body: bytes) -> UnexpectedCallError:
        named = f"{method} {shown(as_json(body))}"
        left = [call for call in self._left if call.method == method]
        if left:
            return UnexpectedCallError("\n".join(_nearest(named, body, left)))
        recorded = self._recording.methods
        if times := recorded.count(method):
            return UnexpectedCallError(f"{named} was called once more than recorded: {times + 1}")
        known = ", ".join(sorted({*recorded})) or "none"
        return UnexpectedCallError(f"{named} was not recorded; recorded methods: {known}")


def _nearest(named: str, body: bytes, left: list[RecordedCall]) -> Iterator[str]:
    actual = as_json(body)
    unlike = [[*differences(as_json(call.request.data), actual)] for call in left]
    nearest = min(range(len(left)), key=lambda number: len(unlike[number]))
    yield f"{named} was not recorded so"
    yield f"nearest of {len(left)} that are left:"
    yield f"  {shown(as_json(left[nearest].request.data))}"
    yield from listed(f"  {line}" for line in unlike[nearest])


def _pieces(body: RecordedBody, broken: str) -> bytes | Iterator[bytes]:
    # Small answers come whole, as they do from most plugins.
    return body.data if len(body.pieces) <= 1 and not broken else _streamed(body, broken)


def _streamed(body: RecordedBody, broken: str) -> Iterator[bytes]:
    yield from body.pieces
    if broken:
        raise WireError(broken)
