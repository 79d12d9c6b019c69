"""Repeat the calls of a recorded host in a test."""

import os
from collections.abc import Callable

from attrs import evolve, frozen

from moby_plugins.adapters.disk.recording_file import load_recording
from moby_plugins.adapters.memory.calls import differences, listed, shown
from moby_plugins.adapters.memory.replay import as_json
from moby_plugins.domain.errors import RecordingError
from moby_plugins.domain.http import CHUNK_BYTES, App, Request, Response
from moby_plugins.domain.masking import mask_body
from moby_plugins.domain.recording import RecordedBody, RecordedCall
from moby_plugins.domain.typed import typed


@frozen(field_transformer=typed)
class Replayed:
    """A recorded call that was repeated. A frozen value.

    Args:
        recorded: The recorded call, with the bodies that ``replay_calls`` translated.
        status: The status of the new response.
        body: The body of the new response.
    """

    recorded: RecordedCall
    status: int
    body: bytes

    def differences(self) -> list[str]:
        """Return a line for each difference between the new response and the recorded one."""
        lines = []
        if self.status != self.recorded.status:
            lines.append(f"status: expected {self.recorded.status}, got {self.status}")
        recorded = as_json(self.recorded.answer.data)
        return [*lines, *differences(recorded, as_json(self.body))]


def replay_calls(
    file: str | os.PathLike[str], app: App, translate: Callable[[bytes], bytes] = bytes
) -> list[Replayed]:
    """Repeat the calls of a recording, one after the other.

    Calls without a response, or that the host broke off, are left out. If secrets were masked in
    the recording, the masks are sent to the plugin, and its responses are masked, too.

    Args:
        file: The path of the recording.
        app: The app that answers the calls.
        translate: Takes each recorded body, of requests and responses, and returns it adapted to
            the test, for example with another directory.

    Returns:
        Each call, with the new response.

    Raises:
        RecordingError: For a file that cannot be read, or a body that was not recorded completely.
    """
    recording = load_recording(file)
    replayed = []
    for call in recording.calls:
        if not call.status or call.host_left:
            continue
        if call.request.omitted or call.answer.omitted:
            raise RecordingError(
                f"a body of {call.method} was not recorded completely", os.fspath(file)
            )
        translated_call = _translated(call, translate)
        response = app(Request(call.method, translated_call.request.data))
        body = _whole(response)
        if recording.masked:
            body = mask_body(call.method, body)
        replayed.append(Replayed(translated_call, response.status, body))
    return replayed


def assert_replayed(
    file: str | os.PathLike[str], app: App, translate: Callable[[bytes], bytes] = bytes
) -> None:
    """Raise ``AssertionError`` unless ``app`` gives the recorded response to all recorded calls.

    Args:
        file: The path of the recording.
        app: The app that answers the calls.
        translate: Takes each recorded body, of requests and responses, and returns it adapted to
            the test, for example with another directory.

    Raises:
        AssertionError: If a response differs; the message has each such call and its differences.
        RecordingError: For a file that cannot be read, or a body that was not recorded completely.
    """
    __tracebackhide__ = True
    lines = []
    for number, replayed in enumerate(replay_calls(file, app, translate), 1):
        unlike = replayed.differences()
        if unlike:
            call = replayed.recorded
            lines.append(f"call {number}, {call.method} {shown(as_json(call.request.data))}:")
            lines += listed(iter(unlike))
    if lines:
        raise AssertionError("\n".join([f"{os.fspath(file)}: the responses differ", *lines]))


def _translated(call: RecordedCall, translate: Callable[[bytes], bytes]) -> RecordedCall:
    request, answer = translate(call.request.data), translate(call.answer.data)
    return evolve(call, request=RecordedBody((request,)), answer=RecordedBody((answer,)))


def _whole(response: Response) -> bytes:
    try:
        return b"".join(iter(lambda: response.body.read(CHUNK_BYTES), b""))
    finally:
        response.body.close()
