"""A response's headers, as callers read them."""

from collections.abc import Iterator

import pytest

from moby_plugins.adapters.http.heads import ResponseHeaders, plain_response


def test_repeated_response_headers_are_joined_and_the_case_of_names_is_ignored() -> None:
    """Each name is listed once, in one spelling."""
    headers = ResponseHeaders(lambda: [("x-one", "1"), ("Two", "2"), ("X-ONE", "3")])

    assert dict(headers) == {"X-One": "1, 3", "Two": "2"}
    assert headers["x-one"] == headers["X-One"] == "1, 3"
    assert len(headers) == 2


def test_a_response_header_that_was_not_received_is_a_key_error() -> None:
    """Response headers are a mapping like any other."""
    headers = ResponseHeaders(lambda: [("A", "1")])

    assert "B" not in headers
    assert headers.get("B") is None
    with pytest.raises(KeyError):
        headers["B"]


def test_response_headers_are_parsed_once_and_only_when_they_are_used() -> None:
    """Most calls never use them."""
    read = []

    def lines() -> Iterator[tuple[str, str]]:
        read.append(1)
        yield "A", "1"

    headers = ResponseHeaders(lines)
    assert read == []

    assert (headers["A"], headers["a"]) == ("1", "1")
    assert read == [1]


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-One: 1\r\n\r\n"


def test_a_plain_response_that_is_received_whole_needs_no_parser() -> None:
    """Its status, headers and body are taken from the bytes directly."""
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
def test_any_other_response_is_left_to_the_http_library(data: bytes) -> None:
    """Such are a partial one, one with more behind it, and one that ends its connection."""
    assert plain_response(data, is_new=False) is None
