"""A response's headers, as callers read them."""

from collections.abc import Iterator

import pytest

from moby_plugins.adapters.http.heads import ResponseHeaders, plain_response


def test_each_name_is_there_once_in_one_case() -> None:
    """Values of a header that came again are joined; names are found in any case."""
    headers = ResponseHeaders(lambda: [("x-one", "1"), ("Two", "2"), ("X-ONE", "3")])

    assert dict(headers) == {"X-One": "1, 3", "Two": "2"}
    assert headers["x-one"] == headers["X-One"] == "1, 3"
    assert len(headers) == 2


def test_a_header_that_did_not_come_is_not_there() -> None:
    """As in any mapping."""
    headers = ResponseHeaders(lambda: [("A", "1")])

    assert "B" not in headers
    assert headers.get("B") is None
    with pytest.raises(KeyError):
        headers["B"]


def test_headers_are_read_when_they_are_looked_at_and_once() -> None:
    """Most calls never look."""
    read = []

    def lines() -> Iterator[tuple[str, str]]:
        read.append(1)
        yield "A", "1"

    headers = ResponseHeaders(lines)
    assert read == []

    assert (headers["A"], headers["a"]) == ("1", "1")
    assert read == [1]


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-One: 1\r\n\r\n"


def test_a_response_received_whole_needs_no_parser() -> None:
    """Its status, headers and body are those of the bytes."""
    response = plain_response(HEAD + b"{}", is_new=True)

    assert response is not None
    assert (response.status, response.body.read(9), response.new_connection) == (200, b"{}", True)
    assert dict(response.headers) == {"Content-Length": "2", "X-One": "1"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HEAD[:-1],
        HEAD + b"{",
        HEAD + b"{}!",
        HEAD.replace(b"1.1", b"1.0") + b"{}",
        HEAD.replace(b"200", b"204") + b"{}",
        HEAD.replace(b"X-One: 1", b"Connection: close") + b"{}",
        b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"{}",
    ],
)
def test_any_other_response_is_left_to_the_library(data: bytes) -> None:
    """A part of one, more than one, and one with a head that decides over the connection."""
    assert plain_response(data, is_new=False) is None
