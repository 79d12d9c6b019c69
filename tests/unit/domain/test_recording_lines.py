"""The lines of a recording where they are easily got wrong."""

import re

import pytest

from moby_plugins.domain.errors import RecordingError
from moby_plugins.domain.recording import RecordedBody, RecordedCall, call_line, read_recording

HEADING = '{"recording": 1, "plugin": "shelf", "masked": true}\n'


def test_a_body_in_two_pieces_comes_back_in_two() -> None:
    """However few they are, pieces are kept apart."""
    call = RecordedCall("M.x", RecordedBody([b"a", b"b"]), answer=RecordedBody([b"c", b"d"]))

    assert read_recording((HEADING + call_line(call)).encode(), "r").calls == (call,)


def test_times_are_written_to_the_microsecond() -> None:
    """No clock is better, and lines stay short."""
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
def test_what_is_wrong_is_said_in_full(text: str, why: str) -> None:
    """A blank line is not a call, not even the last; what may stand there is named."""
    with pytest.raises(RecordingError, match=f"^{re.escape(why)}"):
        read_recording(text.encode(), "r")


@pytest.mark.parametrize("took", ["NaN", "Infinity", "1e999", "-1", "1" + "0" * 400])
def test_times_are_seconds(took: str) -> None:
    """So that each viewer of the exported trace can read them."""
    text = f'{HEADING}{{"at": 0, "took": {took}, "method": "M.x"}}\n'

    with pytest.raises(RecordingError, match=r"f, line 2: .*took must be seconds from 0 to 1e\+09"):
        read_recording(text.encode(), "f")


def test_the_longest_time_is_a_time() -> None:
    """More is refused, and shown."""
    assert RecordedCall("M.x", at=-1e9, took=1e9).took == 1e9
    with pytest.raises(ValueError, match=r"from -1e\+09 to 1e\+09, not 10000000000\.0$"):
        RecordedCall("M.x", at=1e10)
