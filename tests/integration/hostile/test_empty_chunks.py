"""An iterator that yields empty chunks for ever ends with an error, wherever it is read."""

from collections.abc import Iterator
from itertools import repeat
from typing import Any

import pytest

from moby_plugins.domain.http import MAX_EMPTY_CHUNKS, ChunkCheck, Request, Response, checked_chunks
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import GraphDriver
from moby_plugins.testing import MemoryTransport
from tests.unit.app.subsystems.exchanges import asked, client_to, part_of

ENDLESS = "the body yields no bytes: 1,000,000 empty chunks in a row"


def empty() -> Iterator[bytes]:
    """No bytes, for ever."""
    yield b"tar"
    yield from repeat(b"")


def test_a_response_or_request_of_endless_empty_chunks_raises_an_error() -> None:
    """Reading the body raises ``ValueError`` after a million empty chunks in a row."""
    with pytest.raises(ValueError, match=ENDLESS):
        Response(200, repeat(b"")).body.read(1)
    with pytest.raises(ValueError, match=ENDLESS):
        Request("A.B", repeat(b"")).read()


def test_an_upload_of_endless_empty_chunks_raises_an_error() -> None:
    """Chunks are counted before the transport, so each transport raises the same ``ValueError``."""
    client, _ = client_to({"A.B": {}})

    with pytest.raises(ValueError, match=ENDLESS):
        client.send_file("A.B", repeat(b""))


def test_a_memory_transports_reply_of_endless_empty_chunks_raises_an_error() -> None:
    """A table of ``MemoryTransport`` may have an iterator, which is checked as any body is."""
    transport = MemoryTransport({"A.B": repeat(b"")})

    with pytest.raises(ValueError, match=ENDLESS):
        transport.send(Request("A.B"), None).body.read(1)


@pytest.mark.parametrize("make", [lambda: repeat(b""), lambda: repeat(bytearray())])
def test_a_plugins_stream_of_endless_empty_chunks_gives_status_500(make: Any) -> None:
    """The response has the reason in ``Err``, because no byte of the stream was sent before."""
    part, _ = part_of(GraphDriver, {"diff": make()})

    assert asked(PluginApp(part), "GraphDriver.Diff", '{"ID":"a"}') == (
        500,
        f'{{"Err":"{ENDLESS}"}}',
    )


def test_empty_chunks_between_others_are_passed_over() -> None:
    """A body may have any number of empty chunks if fewer than a million come in a row."""
    few = [*repeat(b"", MAX_EMPTY_CHUNKS // 2), b"a", *repeat(b"", MAX_EMPTY_CHUNKS // 2), b"b"]

    assert len(list(checked_chunks(few))) == len(few)
    assert Request("A.B", few).read() == b"ab"


def test_empty_chunks_without_end_are_an_error() -> None:
    """``checked_chunks`` raises ``ValueError`` instead of waiting for the end of the body."""
    with pytest.raises(ValueError, match=ENDLESS):
        for _ in checked_chunks(repeat(b"")):
            pass


def test_empty_chunks_are_counted_in_a_row() -> None:
    """A chunk with bytes begins the count again; the millionth empty chunk in a row is an error."""
    check = ChunkCheck()
    for _ in range(MAX_EMPTY_CHUNKS - 1):
        check.checked(b"")
    check.checked(b"a")
    for _ in range(MAX_EMPTY_CHUNKS - 1):
        check.checked(b"")

    with pytest.raises(ValueError, match="1,000,000 empty chunks"):
        check.checked(b"")
