"""A response's headers, as callers read them."""

from collections.abc import Iterator

import pytest

from moby_plugins.adapters.http.heads import ResponseHeaders


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
