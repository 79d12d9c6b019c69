"""The text of recordings: it is read as it was written, and anything else is an error."""

import json
from typing import Any

import pytest

from moby_plugins.domain.errors import RecordingError
from moby_plugins.domain.recording import (
    MAX_RECORDING_BYTES,
    RecordedBody,
    RecordedCall,
    Recording,
    call_line,
    heading_line,
    masked_call,
    read_recording,
)
from tests.cases import every

HEADING = '{"recording": 1, "plugin": "shelf", "masked": true}\n'
CALLS = (
    RecordedCall("VolumeDriver.List", RecordedBody([b"{}\n"]), 200, RecordedBody([b"{}"])),
    RecordedCall("M.binary", RecordedBody([b"\xff\x00"]), 500, RecordedBody([b"\xc3\xa9"])),
    RecordedCall("M.streamed", status=200, answer=RecordedBody([b"a", b"\xff", b""])),
    RecordedCall("M.long", RecordedBody([b"a"], omitted=5), at=1.25, took=0.5),
    RecordedCall("M.omitted", RecordedBody((), omitted=7), at=1.5),
    RecordedCall("M.dead?id=1", broken="it hung up", at=2.0),
    RecordedCall("M.left", status=200, host_left=True, at=3.0),
)


def text(recording: Recording) -> str:
    """The whole text of a recording."""
    return heading_line(recording) + "".join(map(call_line, recording.calls))


@pytest.mark.parametrize("masked", [True, False])
def test_a_written_recording_is_read_back_unchanged(*, masked: bool) -> None:
    """Every kind of call is read as it was written."""
    recording = Recording(CALLS, "shelf", masked)

    assert read_recording(text(recording).encode(), "r") == recording


def test_a_line_of_a_recording_is_readable_by_people() -> None:
    """Bodies that are text are written as text, and default values are omitted."""
    assert call_line(CALLS[0]) == (
        '{"at": 0.0, "took": 0.0, "method": "VolumeDriver.List", "request": "{}\\n",'
        ' "status": 200, "answer": "{}"}\n'
    )


def test_calls_of_a_recording_are_sorted_by_when_they_began() -> None:
    """A call is written when it ends, so lines may be in another order."""
    recording = read_recording((HEADING + call_line(CALLS[5]) + call_line(CALLS[3])).encode(), "r")

    assert recording.methods == ["M.long", "M.dead?id=1"]


def call(**changes: Any) -> str:
    """The line of a call, with changes; ``...`` leaves a key out."""
    usual = {"at": 0.0, "took": 0.0, "method": "M.x"} | changes
    return json.dumps({key: value for key, value in usual.items() if value is not ...})


@every(
    ("line", "why"),
    [
        (call(at=...), "at is missing"),
        (call(method=...), "method is missing"),
        (call(status="200"), "status cannot be a string"),
        (call(status=True), "status cannot be a boolean"),
        (call(at=None), "at cannot be null"),
        (call(request=7), "request cannot be a number"),
        (call(colour="red"), "'colour' is not a known key"),
        (call(method="a b"), "'a b' is not a method"),
        (call(answer={"base64": "%"}), "Only base64 data is allowed"),
        (call(answer={"base64": "", "pieces": []}), "'pieces' is not a known key"),
        (call(answer={"pieces": [7]}), "an object was expected, not a number"),
        (call(answer={"pieces": [{}]}), ": base64 is missing$"),
        (call(answer={"omitted": -1}), "must be >= 0"),
        ("[]", "an object was expected, not an array"),
        ("{", "Expecting property name"),
        ("", "Expecting value"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_a_malformed_line_of_a_recording_is_an_error(line: str, why: str) -> None:
    """The error names the file, the line and the reason."""
    with pytest.raises(RecordingError, match=why) as caught:
        read_recording(f"{HEADING}{call()}\n{line}\n{call()}\n".encode(), "calls.jsonl")

    assert (caught.value.file, caught.value.line) == ("calls.jsonl", 3)
    assert str(caught.value).startswith("calls.jsonl, line 3: not a recording: ")


@every(
    "heading",
    [
        b"",
        b"\xff",
        b"{}",
        b'{"recording": 2}',
        b'{"plugin": "x"}',
        b'{"recording": 1, "masked": "no"}',
        b"7",
    ],
)
def test_a_file_without_the_heading_of_a_recording_is_an_error(heading: bytes) -> None:
    """The first line must have the version of the format, and keys of the right type."""
    with pytest.raises(RecordingError, match=r"^r, line 1: not a recording: "):
        read_recording(heading + b"\n", "r")


def test_a_recording_that_is_too_large_is_an_error() -> None:
    """A recording is read whole, so its size must not fill the reader's memory."""
    with pytest.raises(RecordingError, match=r"^r: the file is larger than 268435456 bytes$"):
        read_recording(bytes(MAX_RECORDING_BYTES + 1), "r")


def test_a_masked_call_has_no_secrets() -> None:
    """The chunks of a body with a secret are joined; any other body keeps its chunks."""
    call = RecordedCall(
        "M.x",
        RecordedBody([b'{"Pass', b'word":"hunter2"}'], omitted=3),
        200,
        RecordedBody([b"{", b"}"]),
    )

    masked = masked_call(call)

    assert b"hunter2" not in masked.request.data
    assert len(masked.request.pieces) == 1
    assert masked.request.omitted == 3
    assert masked.answer == call.answer


def test_the_size_of_a_recorded_body_includes_omitted_bytes() -> None:
    """The data of the body is only what was kept."""
    body = RecordedBody([b"ab", b"c"], omitted=4)

    assert (body.data, body.size) == (b"abc", 7)
