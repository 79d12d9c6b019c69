"""Lines of a recording: bodies in chunks, times, and what errors say."""

import re

import pytest

from moby_plugins.domain.errors import RecordingError
from moby_plugins.domain.recording import RecordedBody, RecordedCall, call_line, read_recording

HEADING = '{"recording": 1, "plugin": "shelf", "masked": true}\n'


def test_a_body_recorded_in_two_chunks_is_read_as_two_chunks() -> None:
    """The chunks of a request and of a response are kept apart."""
    call = RecordedCall("M.x", RecordedBody([b"a", b"b"]), answer=RecordedBody([b"c", b"d"]))

    assert read_recording((HEADING + call_line(call)).encode(), "r").calls == (call,)


def test_times_of_recorded_calls_are_written_to_the_microsecond() -> None:
    """No clock is more exact, and lines stay short."""
    line = call_line(RecordedCall("M.x", at=1 / 3, took=2 / 3))

    assert line == '{"at": 0.333333, "took": 0.666667, "method": "M.x"}\n'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (HEADING + "\n", "r, line 2: not a recording: Expecting value"),
        (
            HEADING + call_line(RecordedCall("M.x")) + "\n",
            "r, line 3: not a recording: Expecting value",
        ),
        ("{}\n", 'r, line 1: not a recording: its first line must have "recording": 1'),
        (
            '{"recording": 1, "colour": "red"}\n',
            (
                "r, line 1: not a recording: 'colour' is not a known key; "
                "the keys are recording, plugin, masked"
            ),
        ),
    ],
)
def test_the_error_of_a_malformed_recording_names_file_line_and_reason(text: str, why: str) -> None:
    """A blank line is an error even at the end; for an unknown key, the known ones are listed."""
    with pytest.raises(RecordingError, match=f"^{re.escape(why)}"):
        read_recording(text.encode(), "r")


@pytest.mark.parametrize("took", ["NaN", "Infinity", "1e999", "-1", "1" + "0" * 400])
def test_a_duration_in_a_recording_must_be_from_0_to_1e9_seconds(took: str) -> None:
    """Not every viewer of an exported trace can read NaN or infinity."""
    text = f'{HEADING}{{"at": 0, "took": {took}, "method": "M.x"}}\n'

    with pytest.raises(RecordingError, match=r"f, line 2: .*took must be seconds from 0 to 1e\+09"):
        read_recording(text.encode(), "f")


def test_a_recorded_time_may_be_up_to_1e9_seconds() -> None:
    """A larger time is refused, and the error shows it."""
    assert RecordedCall("M.x", at=-1e9, took=1e9).took == 1e9
    with pytest.raises(ValueError, match=r"from -1e\+09 to 1e\+09, not 10000000000\.0$"):
        RecordedCall("M.x", at=1e10)
