"""A call that passed, as people read it."""

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


def test_a_call_is_a_line_and_its_bodies() -> None:
    """When, what, the status and how long; then what was asked and answered."""
    call = RecordedCall(
        "M.x", RecordedBody([b'{"Name": "a"}\n']), 200, RecordedBody([b"{}\n"]), took=0.0123
    )

    assert lines(call) == ["12:00:00  M.x  200  12.3 ms", '  → {"Name":"a"}', "  ← {}"]


def test_an_empty_body_takes_no_line() -> None:
    """The handshake has none."""
    assert lines(RecordedCall("M.x", status=500, took=2)) == ["12:00:00  M.x  500  2.0 s"]


def test_what_went_wrong_is_said() -> None:
    """A call without an answer has no status; one that broke off has both."""
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
def test_a_body_is_json_text_or_bytes(body: bytes, shown: str) -> None:
    """JSON without its spaces, text in quotes, anything else by its size and its head."""
    assert text(body) == shown


def test_a_stream_has_its_pieces_counted() -> None:
    """How many there were, and how large they are together."""
    assert text(b"\x00" * 10, b"\x01" * 10).startswith("20 bytes in 2 pieces: 00 00")


def test_a_long_body_is_cut() -> None:
    """A screen is not for all of it; its size is told."""
    shown = text(b'"' + b"x" * 5000 + b'"')

    assert shown == '"' + "x" * 1999 + " … (5,002 bytes)"
    assert text(b"begun", omitted=7) == '"begun" … (12 bytes)'


def test_what_an_authorization_plugin_is_sent_is_decoded() -> None:
    """The engine's own call stands in base64."""
    inner = b64encode(b'{"Image": "busybox"}').decode()
    body = f'{{"RequestBody":"{inner}","ResponseBody":"no base64","User":7}}'.encode()

    assert text(body, method="AuthZPlugin.AuthZRes") == (
        '{"RequestBody":{"Image":"busybox"},"ResponseBody":"no base64","User":7}'
    )
    assert text(body) == body.decode()


def test_a_body_on_its_way_is_a_line() -> None:
    """How far it has come."""
    cells = progress_cells("12:00:00", Progress("M.x", 0, "answer", 2, 12345))

    assert "".join(cell.text for cell in cells) == (
        "12:00:00  M.x  answer so far: 2 pieces, 12,345 bytes"
    )
    assert "1 piece," in progress_cells("", Progress("M.x", 0, "request", 1, 1))[-1].text


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.00012, "0.1 ms"), (0.9994, "999.4 ms"), (61.25, "61.2 s")]
)
def test_times_are_short(seconds: float, shown: str) -> None:
    """Thousandths below a second."""
    assert duration(seconds) == shown
