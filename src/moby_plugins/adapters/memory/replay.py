"""A plugin for tests that gives the responses of a recording."""

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

# Takes a recorded and an actual body; returns whether the recorded response may be given.
Match: TypeAlias = Callable[[bytes, bytes], bool]


def same_body(recorded: bytes, actual: bytes) -> bool:
    """Return whether two bodies are the same JSON, in any formatting, or the same bytes.

    Args:
        recorded: The recorded body.
        actual: The actual body.

    Returns:
        Whether they match.
    """
    return bool(as_json(recorded) == as_json(actual))


def any_body(_: bytes, __: bytes) -> bool:
    """Match any body, so that a method's responses are given in the order recorded.

    Returns:
        True.
    """
    return True


def as_json(body: bytes) -> Any:
    """Return a body's JSON value, ``None`` for an empty body; the bytes if it is not JSON."""
    try:
        return first_value(body) if body else None
    except ValueError:
        return body


class Replay:
    """An app that gives the responses of ``recording``, each of them once.

    A request gets the response of the first unused call with its method whose body fits by
    ``match``; if there is none, ``UnexpectedCallError`` shows the most similar call. If secrets
    were masked in the recording, they are also masked in requests, and so any secret matches. For
    a recorded call without a response, ``TransportError`` is raised; if the response broke off,
    reading its body raises ``WireError``. Threads may share it.
    """

    def __init__(self, recording: Recording, match: Match = same_body) -> None:
        self._recording = recording
        self._match = match
        # Calls that the host gave up before a response are left out.
        self._left = [call for call in recording.calls if call.status or call.broken]
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Response:
        """Return the recorded response.

        Raises ``RecordingError`` if the response was not recorded completely, ``TransportError`` if
        there was none, and ``UnexpectedCallError`` if no recorded call is left for the request.
        """
        call = self._take(request)
        if not call.status:
            raise TransportError(call.broken)
        if call.answer.omitted:
            raise RecordingError(
                f"the response to {call.method} was too large to be recorded",
                self._recording.plugin,
            )
        return Response(call.status, _pieces(call.answer, call.broken))

    def unused(self) -> list[str]:
        """Return the recorded calls that were not made yet, a line for each."""
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
            return UnexpectedCallError(
                f"no recorded call is left for {named}; recorded calls of {method}: {times}"
            )
        known = ", ".join(sorted({*recorded})) or "none"
        return UnexpectedCallError(f"{named} was not recorded; recorded methods: {known}")


def _nearest(named: str, body: bytes, left: list[RecordedCall]) -> Iterator[str]:
    actual = as_json(body)
    unlike = [[*differences(as_json(call.request.data), actual)] for call in left]
    nearest = min(range(len(left)), key=lambda number: len(unlike[number]))
    yield f"{named} was not recorded with these arguments"
    yield f"nearest of {len(left)} unused calls in the recording:"
    yield f"  {shown(as_json(left[nearest].request.data))}"
    yield from listed(f"  {line}" for line in unlike[nearest])


def _pieces(body: RecordedBody, broken: str) -> bytes | Iterator[bytes]:
    # A body that was received in one piece is complete in memory; others are streamed.
    return body.data if len(body.pieces) <= 1 and not broken else _streamed(body, broken)


def _streamed(body: RecordedBody, broken: str) -> Iterator[bytes]:
    yield from body.pieces
    if broken:
        raise WireError(broken)
