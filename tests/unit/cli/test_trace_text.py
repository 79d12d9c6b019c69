"""How ``moby-plugins trace`` shows a call to people."""

from base64 import b64encode

import pytest

from moby_plugins.cli.trace import body_text, call_cells, duration, progress_cells
from moby_plugins.tracing import Progress, RecordedBody, RecordedCall
from tests.cases import every


def lines(call: RecordedCall) -> list[str]:
    """What is shown of a call."""
    return ["".join(cell.text for cell in cells) for cells in call_cells("12:00:00", call)]


def text(*pieces: bytes, method: str = "M.x", omitted: int = 0) -> str:
    """A body on one line."""
    return body_text(method, RecordedBody(pieces, omitted))


def test_a_call_is_shown_as_a_line_with_its_bodies_below() -> None:
    """The line has time, method, status and duration; the request and the response follow."""
    call = RecordedCall(
        "M.x", RecordedBody([b'{"Name": "a"}\n']), 200, RecordedBody([b"{}\n"]), took=0.0123
    )

    assert lines(call) == ["12:00:00  M.x  200  12.3 ms", '  → {"Name":"a"}', "  ← {}"]


def test_an_empty_body_takes_no_line() -> None:
    """A call whose request and response have no body is shown as one line."""
    assert lines(RecordedCall("M.x", status=500, took=2)) == ["12:00:00  M.x  500  2.0 s"]


def test_a_call_that_failed_is_shown_with_the_reason() -> None:
    """A call without a response has no status; one that its host left has a status and a reason."""
    assert lines(RecordedCall("M.x", broken="it hung up")) == [
        "12:00:00  M.x  no response  0.0 ms",
        "  ✗ it hung up; the host's connection was closed",
    ]
    assert lines(RecordedCall("M.x", status=200, host_left=True))[1:] == [
        "  ✗ the host did not wait for the end"
    ]


@every(
    ("body", "shown"),
    [
        (b'{"a": [1, "\xc3\xa9"]}\n', '{"a":[1,"é"]}'),
        (b"plain text\n", '"plain text"'),
        (b"two\nlines", '"two\\nlines"'),
        (b"\x1b[31m", "5 bytes: 1b 5b 33 31 6d"),
        (bytes(range(20)), "20 bytes: 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f …"),
        (b"\xff" * 16, "16 bytes: ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff"),
    ],
)
def test_a_body_is_shown_as_json_as_text_or_as_bytes(body: bytes, shown: str) -> None:
    """JSON is shown without spaces, text in quotes, other bytes by their size and first bytes."""
    assert text(body) == shown


def test_a_body_in_pieces_is_shown_with_the_number_of_pieces() -> None:
    """The line has the number of pieces, and the size of all pieces together."""
    assert text(b"\x00" * 10, b"\x01" * 10).startswith("20 bytes in 2 pieces: 00 00")


def test_a_long_body_is_cut_and_its_size_is_shown() -> None:
    """At most 2,000 characters are shown, and then the size of the whole body."""
    shown = text(b'"' + b"x" * 5000 + b'"')

    assert shown == '"' + "x" * 1999 + " … (5,002 bytes)"
    assert text(b"begun", omitted=7) == '"begun" … (12 bytes)'


def test_base64_in_the_requests_to_an_authorization_plugin_is_decoded() -> None:
    """An engine sends such a plugin the bodies of users' API calls in base64."""
    inner = b64encode(b'{"Image": "busybox"}').decode()
    body = f'{{"RequestBody":"{inner}","ResponseBody":"no base64","User":7}}'.encode()

    assert text(body, method="AuthZPlugin.AuthZRes") == (
        '{"RequestBody":{"Image":"busybox"},"ResponseBody":"no base64","User":7}'
    )
    assert text(body) == body.decode()


def test_the_progress_of_a_body_is_shown_as_a_line() -> None:
    """The line says how many pieces and bytes have passed so far."""
    cells = progress_cells("12:00:00", Progress("M.x", 0, "answer", 2, 12345))

    assert "".join(cell.text for cell in cells) == (
        "12:00:00  M.x  answer so far: 2 pieces, 12,345 bytes"
    )
    assert "1 piece," in progress_cells("", Progress("M.x", 0, "request", 1, 1))[-1].text


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.00012, "0.1 ms"), (0.9994, "999.4 ms"), (61.25, "61.2 s")]
)
def test_a_duration_is_in_milliseconds_below_a_second_and_else_in_seconds(
    seconds: float, shown: str
) -> None:
    """Either is shown with one decimal digit."""
    assert duration(seconds) == shown
