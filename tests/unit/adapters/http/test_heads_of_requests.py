"""Heads of requests, as this library writes them for its HTTP libraries."""

import pytest

from moby_plugins.adapters.http.heads import head_of
from moby_plugins.domain.http import Request
from tests.cases import every

HOST = "plugin.moby.localhost"


def test_a_request_head_has_the_method_the_headers_and_the_length() -> None:
    """It ends with an empty line, after which the body follows."""
    request = Request("VolumeDriver.Get?a=b", b"{}", {"Host": "h", "X-One": "1"})

    assert head_of(request, HOST, 2) == (
        b"POST /VolumeDriver.Get?a=b HTTP/1.1\r\nHost: h\r\nX-One: 1\r\nContent-Length: 2\r\n\r\n"
    )


def test_a_body_of_unknown_length_is_announced_as_chunked() -> None:
    """The head then has a Transfer-Encoding and no Content-Length."""
    assert head_of(Request("M.x"), HOST, None).endswith(b"\r\nTransfer-Encoding: chunked\r\n\r\n")


def test_a_request_without_a_host_header_gets_that_of_its_address() -> None:
    """A Host header that the request has is kept, in whatever case its name is written."""
    assert b"\r\nHost: plugin.moby.localhost\r\n" in head_of(Request("M.x"), HOST, 0)
    assert head_of(Request("M.x", b"", {"hOST": "h"}), HOST, 0).lower().count(b"host: ") == 1


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding"])
def test_a_content_length_or_transfer_encoding_of_the_caller_is_left_out(name: str) -> None:
    """Otherwise such a header could contradict the body."""
    head = head_of(Request("M.x", b"", {name: "99"}), HOST, 0)

    assert b"99" not in head


@every(
    ("name", "value"),
    [
        ("X", "a\r\nY: b"),
        ("X", "a\nY"),
        ("X", "\0"),
        ("X: y\r\nZ", "a"),
        ("", "a"),
        ("X Y", "a"),
        ("X", "\u20ac"),
    ],
)
def test_a_header_with_a_line_break_or_an_invalid_character_is_refused(
    name: str, value: str
) -> None:
    """It would be another header, or none, so it is refused before anything is sent."""
    with pytest.raises(ValueError, match=r"header|latin-1"):
        head_of(Request("M.x", b"", {name: value}), HOST, 0)
