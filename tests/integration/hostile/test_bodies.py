"""Plugins whose bodies never end, are decompression bombs, or lie about their size."""

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from moby_plugins import StatusError, TransportTimeoutError, WireError
from tests.cases import case
from tests.dummy_plugin import answering, http
from tests.integration.hostile.bounds import MIB, bounded
from tests.integration.hostile.plugins import CHUNKED, OK, PATIENCE, Against, call, endless

LIMIT = 256 << 10
PIECE = b" " * (64 << 10)

ENDLESS = {
    "without a length": (OK + b"\r\n", PIECE),
    "of a huge length": (OK + b"Content-Length: " + b"9" * 18 + b"\r\n\r\n", PIECE),
    "in chunks": (CHUNKED, b"10000\r\n" + PIECE + b"\r\n"),
    "in one huge chunk": (CHUNKED + b"F" * 15 + b"\r\n", PIECE),
    "in HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\n", PIECE),
}


def test_an_endless_body_is_refused_at_the_size_limit(against: Against) -> None:
    """A body is read up to ``max_response_bytes``; then the call fails, even without a time-out."""
    for kind, (head, piece) in ENDLESS.items():
        with (
            case(kind),
            bounded(memory=4 * MIB),
            against(endless(head, piece), max_response_bytes=LIMIT) as client,
            pytest.raises(WireError, match=f"larger than {LIMIT} bytes"),
        ):
            call(client, 1, timeout=None)


def test_an_endless_error_message_is_cut_after_a_megabyte(against: Against) -> None:
    """The error has the first megabyte of the text, and the call ends even without a time-out."""
    for kind, (head, piece) in ENDLESS.items():
        with case(kind):
            with (
                bounded(memory=16 * MIB),
                against(endless(head.replace(b"200", b"500"), piece.replace(b" ", b"x"))) as client,
                pytest.raises(StatusError) as caught,
            ):
                call(client, 1, timeout=None)

            assert caught.value.status == 500
            assert len(caught.value.message) == MIB


def test_a_caller_can_leave_an_endless_stream(against: Against) -> None:
    """Leaving the ``with`` block of a stream ends it, however much is still being sent."""
    for kind, (head, piece) in ENDLESS.items():
        with case(kind), bounded(memory=4 * MIB), against(endless(head, piece)) as client:
            read = 0
            with client.stream("M.x") as stream:
                while read < 4 * MIB:
                    read += len(stream.read())


TINY = {
    "chunks of one byte": (CHUNKED, b"1\r\n \r\n" * 4096),
    "a chunk size that never ends": (CHUNKED, b"0" * 4096),
    "a chunk extension that never ends": (CHUNKED + b"1;", b"x" * 4096),
    "trailers that never end": (CHUNKED + b"1\r\n1\r\n0\r\n", b"X: y\r\n" * 700),
    "a trailer that never ends": (CHUNKED + b"1\r\n1\r\n0\r\nX: ", b"y" * 4096),
}


def test_a_body_of_endless_chunk_framing_is_refused(against: Against) -> None:
    """Tiny chunks, chunk sizes, extensions and trailers are bounded as the content is."""
    for kind, (head, piece) in TINY.items():
        with (
            case(kind),
            bounded(seconds=15, memory=4 * MIB),
            against(endless(head, piece), max_response_bytes=4096) as client,
            pytest.raises(WireError),
        ):
            call(client, 1, timeout=None)


BAD_CHUNKS = {
    "a size of 16 digits": b"1" * 16 + b"\r\n1\r\n0\r\n\r\n",
    "a size beyond any machine": b"F" * 400 + b"\r\n1\r\n0\r\n\r\n",
    "a size and more on its line": b"1 1\r\n1\r\n0\r\n\r\n",
    "a size that ends in CR": b"1\r1\r\n0\r\n\r\n",
    "a size with a NUL": b"1\0\r\n1\r\n0\r\n\r\n",
    "a size in other digits": "\u0661\r\n1\r\n0\r\n\r\n".encode(),
    "an extension with a CR": b"1;a\rb\r\n1\r\n0\r\n\r\n",
    "an end in LF": b"1\r\n1\n0\r\n\r\n",
    "an end of other bytes": b"1\r\n1xx0\r\n\r\n",
    "a chunk longer than its size": b"1\r\n12\r\n0\r\n\r\n",
    "a chunk shorter than its size": b"3\r\n1\r\n0\r\n\r\n",
    "an empty line between": b"1\r\n1\r\n\r\n0\r\n\r\n",
    "no empty line at the end": b"1\r\n1\r\n0\r\n",
    "a fraction": b"1.0\r\n1\r\n0\r\n\r\n",
    "100,000 trailers": b"1\r\n1\r\n0\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
}


def test_bad_chunking_is_a_wire_error(against: Against) -> None:
    """A body with malformed chunks raises ``WireError``, and nothing of it is returned."""
    for kind, chunks in BAD_CHUNKS.items():
        with (
            case(kind),
            bounded(),
            against(answering(CHUNKED + chunks)) as client,
            pytest.raises(WireError),
        ):
            call(client, 1)


def zipped(size: int) -> bytes:
    """So many spaces and a 1, a thousandth of their size."""
    return gzip.compress(b" " * size + b"1")


BOMBS = {
    "gzip": zipped(64 * MIB),
    "x-gzip": zipped(64 * MIB),
    "deflate": zlib.compress(bytes(64 * MIB)),
    "gzip, gzip": gzip.compress(zipped(64 * MIB)),
    "br": b"\x8b" * 100,
    "zstd": b"\x28\xb5\x2f\xfd" * 100,
}


@pytest.mark.parametrize("status", [200, 500])
def test_a_compressed_body_is_never_decompressed(status: int, against: Against) -> None:
    """No encoding was requested, so a decompression bomb is only bytes that are not JSON."""
    for coding, body in BOMBS.items():
        with case(coding):
            head = b"HTTP/1.1 %d X\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n"
            with (
                bounded(memory=4 * MIB),
                against(answering(head % (status, coding.encode(), len(body)) + body)) as client,
                pytest.raises(WireError if status == 200 else StatusError),
            ):
                call(client, 1)


JSON: dict[str, Callable[[], bytes]] = {
    "nested deeply": lambda: b"[" * 100_000,
    "nested deeply, and whole": lambda: b"[" * 100_000 + b"]" * 100_000,
    "objects nested deeply": lambda: b'{"a":' * 100_000,
    "a number of 100,000 digits": lambda: b"9" * 100_000,
    "an exponent beyond all": lambda: b"1e" + b"9" * 1000,
    "no number": lambda: b"NaN",
    "half a pair, and no end": lambda: b'"' + b"\\ud800" * 10_000,
    "a string without end": lambda: b'"' + b"\\" * 99_999,
    "other bytes": lambda: bytes(range(128, 256)) * 1000,
    "a byte-order mark": lambda: b"\xef\xbb\xbf1",
    "another encoding": lambda: json.dumps("x").encode("utf-16"),
}


def test_json_that_is_nested_too_deep_or_malformed_is_a_wire_error(against: Against) -> None:
    """Depth, long numbers and encodings raise ``WireError``, and no ``RecursionError``."""
    for kind, made in JSON.items():
        with case(kind):
            body = made()
            with (
                bounded(memory=16 * MIB),
                against(answering(http(body))) as client,
                pytest.raises(WireError),
            ):
                call(client, 1)


def test_an_error_response_whose_json_cannot_be_read_has_its_body_as_message(
    against: Against,
) -> None:
    """A body without a readable ``Err`` becomes the message of the ``StatusError``."""
    for kind, made in JSON.items():
        with case(kind):
            body = made()
            with (
                bounded(memory=16 * MIB),
                against(answering(http(body, 500))) as client,
                pytest.raises(StatusError) as caught,
            ):
                call(client, 1)

            assert caught.value.message == body.decode(errors="replace").strip()


ANYTHING: list[Any] = [
    None,
    0,
    1.5,
    "",
    "x",
    [],
    [None],
    {},
    {"": None},
    {"Err": {}},
    [[[]]],
    {"Err": None},
]


@pytest.mark.parametrize("status", [200, 404, 500])
def test_any_json_value_is_a_result_with_status_200_and_an_error_otherwise(
    status: int, against: Against
) -> None:
    """A call returns any JSON value with status 200, and raises ``StatusError`` with others."""
    for value in ANYTHING:
        with case(value):
            with bounded(), against(answering(http(json.dumps(value).encode(), status))) as client:
                try:
                    came: Any = client.call("M.x", {"Number": 1}, object, timeout=PATIENCE)
                except StatusError as error:
                    came = error.status

            assert came == (value if status == 200 else status)


def test_a_response_of_one_byte_a_second_ends_at_the_time_out(against: Against) -> None:
    """The time-out is for the whole call; bytes that keep coming do not extend it."""
    with (
        bounded(seconds=4),
        against(lambda plugin: plugin.drip(OK, every=1.0)) as client,
        pytest.raises(TransportTimeoutError),
    ):
        call(client, 1, timeout=1.5)
