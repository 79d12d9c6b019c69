"""The head of a request, as an engine without one of its own sends it."""

import pytest

from moby_plugins.adapters.http.heads import head_of
from moby_plugins.domain.http import Request
from tests.cases import every

HOST = "plugin.moby.localhost"


def test_a_head_is_the_method_the_headers_and_the_length() -> None:
    """It ends with the empty line, and the body follows."""
    request = Request("VolumeDriver.Get?a=b", b"{}", {"Host": "h", "X-One": "1"})

    assert head_of(request, HOST, 2) == (
        b"POST /VolumeDriver.Get?a=b HTTP/1.1\r\nHost: h\r\nX-One: 1\r\nContent-Length: 2\r\n\r\n"
    )


def test_a_body_of_unknown_length_is_announced_in_chunks() -> None:
    """Where there is no length, the coding says so."""
    assert head_of(Request("M.x"), HOST, None).endswith(b"\r\nTransfer-Encoding: chunked\r\n\r\n")


def test_the_address_gives_the_host() -> None:
    """A request that names no host is told the address's, whatever the case of others."""
    assert b"\r\nHost: plugin.moby.localhost\r\n" in head_of(Request("M.x"), HOST, 0)
    assert head_of(Request("M.x", b"", {"hOST": "h"}), HOST, 0).lower().count(b"host: ") == 1


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding"])
def test_the_framing_is_not_the_callers(name: str) -> None:
    """A length or coding among the headers cannot contradict the body."""
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
def test_a_header_cannot_break_its_line(name: str, value: str) -> None:
    """What would be another header, or none, is refused before anything is sent."""
    with pytest.raises(ValueError, match=r"header|latin-1"):
        head_of(Request("M.x", b"", {name: value}), HOST, 0)
