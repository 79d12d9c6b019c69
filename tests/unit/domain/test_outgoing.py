"""Responses that no host could read are refused before anything of them is sent."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from moby_plugins import Response
from moby_plugins.domain.outgoing import Outgoing, size_in_memory

# Heads by what is wrong with them: status, headers, body, and what the error says.
BAD_HEADS: dict[str, tuple[Any, dict[Any, Any], bytes, str]] = {
    "an early status": (100, {}, b"", "100 is not a response's status: it must be from 200 to 599"),
    "a status beyond": (600, {}, b"", "600 is not a response's status: it must be from 200 to 599"),
    "a status in words": ("200 OK", {}, b"", "'200 OK' is not a response's status"),
    "no status": (None, {}, b"", "None is not a response's status"),
    "a body where none can be": (204, {}, b"x", "a response with status 204 must have no body"),
    "another such": (304, {}, b"x", "a response with status 304 must have no body"),
    "a line break": (200, {"X": "a\r\nY: b"}, b"", "the header X has a value that cannot be sent"),
    "a NUL": (200, {"X": "a\0"}, b"", "the header X has a value that cannot be sent"),
    "another alphabet": (200, {"X": "\u20ac"}, b"", "the header X has a value that cannot be sent"),
    "a number": (200, {"X": 1}, b"", "the header X has a value that cannot be sent: 1"),
    "a bad one after a good one": (200, {"A": "b", "X": "\0"}, b"", "value that cannot be sent"),
    "a long one, then short ones": (
        200,
        {"Y": "a" * 40_000} | {f"X-{n:02}": "a" * 250 for n in range(30)},
        b"",
        "31 headers with 47621 bytes",
    ),
    "two long ones": (200, {"Y": "a" * 23_000, "Z": "a" * 23_000}, b"", "2 headers with 46002"),
    "a space in a name": (200, {"X Y": "a"}, b"", "'X Y' is not a header name"),
    "a name with a line break": (200, {"X\n": "a"}, b"", "is not a header name"),
    "no name": (200, {"": "a"}, b"", "'' is not a header name"),
    "another length": (200, {"content-length": "9"}, b"x", "the body has 1 bytes"),
    "no length": (200, {"Content-Length": "+1"}, b"x", "'+1' is not a Content-Length"),
    "two lengths": (
        200,
        {"Content-Length": "1", "content-length": "1"},
        b"x",
        "there is more than one Content-Length",
    ),
    "no table": (
        200,
        cast("Any", [("X", "a")]),
        b"x",
        "headers must be a mapping from name to value, not [('X', 'a')]",
    ),
    "no headers": (
        200,
        cast("Any", None),
        b"x",
        "headers must be a mapping from name",
    ),
    "a header of a megabyte": (200, {"X": "a" * (1 << 20)}, b"x", "1 headers with 1048577 bytes"),
    "a name of a megabyte": (200, {"X" * (1 << 20): ""}, b"x", "1 headers with 1048576 bytes"),
    "many headers": (200, {f"X-{n}": "" for n in range(100)}, b"x", "has 100 headers with"),
    "chunks": (
        200,
        {"Transfer-Encoding": "chunked"},
        b"x",
        "Transfer-Encoding is set by the server",
    ),
}

# Those that are wrong whatever follows them.
STREAMED_BAD_HEADS = [kind for kind in BAD_HEADS if kind != "another length"]


@pytest.mark.parametrize("kind", BAD_HEADS)
def test_a_response_head_that_no_host_could_read_is_refused(kind: str) -> None:
    """The error says what is wrong with the status, a header or the length."""
    status, headers, body, message = BAD_HEADS[kind]

    with pytest.raises((TypeError, ValueError)) as caught:
        Outgoing(status, headers, len(body))
    assert message in str(caught.value)
    assert kind != "two lengths" or message == str(caught.value)


def test_as_many_headers_as_a_host_reads_can_be_sent() -> None:
    """One header or one byte more than a host reads is an error."""
    most = {f"X-{n:02}": "" for n in range(90)}
    Outgoing(200, most, 0)
    Outgoing(200, {"X": "a" * 45_055}, 0)

    with pytest.raises(ValueError, match="hosts read at most 90 headers, and 45056 bytes"):
        Outgoing(200, {**most, "Y": ""}, 0)
    with pytest.raises(ValueError, match="1 headers with 45057 bytes"):
        Outgoing(200, {"X": "a" * 45_056}, 0)


def test_a_body_in_memory_is_sent_with_its_length() -> None:
    """Bytes that were already read from the body do not count in its Content-Length."""
    response = Response(200, b"12345", {"content-length": "3"})
    response.body.read(2)
    outgoing = Outgoing(response.status, response.headers, size_in_memory(response))

    assert outgoing.headers == {"Content-Length": "3"}
    assert not outgoing.is_over
    assert outgoing.count(b"345") == b"345"
    assert outgoing.is_over


WRONG_CHUNKS: dict[str, tuple[int, dict[str, str], list[Any], type[Exception]]] = {
    "a body where none can be": (204, {}, [b"x"], ValueError),
    "more than its length": (200, {"Content-Length": "1"}, [b"xy"], ValueError),
    "less than its length": (200, {"Content-Length": "2"}, [b"x", b""], ValueError),
    "text": (200, {}, ["x"], TypeError),
}


@pytest.mark.parametrize("kind", WRONG_CHUNKS)
def test_a_streamed_body_that_does_not_fit_its_head_is_an_error(kind: str) -> None:
    """The error is raised at the first chunk that shows a wrong type or length."""
    status, headers, chunks, error = WRONG_CHUNKS[kind]
    outgoing = Outgoing(status, headers, None)
    count: Callable[[Any], bytes] = outgoing.count
    *good, bad = chunks
    for chunk in good:
        count(chunk)

    with pytest.raises(error) as caught:
        count(bad)
    assert str(caught.value) == {
        "a body where none can be": "a response with status 204 must have no body",
        "text": "a body must yield bytes, not str",
    }.get(kind, "the body's length differs from Content-Length")
