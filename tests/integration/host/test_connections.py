"""Connections: kept for the next call, replaced when they have ended, and never left behind."""

import threading
from pathlib import Path

import pytest
from attrs import evolve

from moby_plugins import (
    RetryPolicy,
    Settings,
    StatusError,
    TransportError,
    WireError,
    new_client,
    new_local_registry,
)
from tests.dummy_plugin import (
    Behaviour,
    Conversation,
    DummyPlugin,
    answering,
    http,
    keeps_answering,
)

CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n"


def answers_then(answers: int, last: Behaviour, later: Behaviour) -> Behaviour:
    """Answer so many requests, do ``last``; on every later connection do ``later``."""
    connections: list[Conversation] = []

    def behave(conversation: Conversation) -> None:
        connections.append(conversation)
        if len(connections) > 1:
            later(conversation)
            return
        for _ in range(answers):
            conversation.read_request()
            conversation.send(http(b"1"))
        last(conversation)

    return behave


def reads_and_hangs_up(conversation: Conversation) -> None:
    """Take a request, and close the connection without a byte."""
    conversation.read_request()


def says_a_little_and_hangs_up(conversation: Conversation) -> None:
    """Take a request, and close the connection in the middle of the status line."""
    conversation.read_request()
    conversation.send(b"HTTP/1.1 2")


@pytest.mark.parametrize(
    "answer", [http(b"1"), http(b""), CHUNKS], ids=["with length", "empty", "chunked"]
)
def test_a_connection_serves_call_after_call(
    answer: bytes, short_path: Path, once: Settings
) -> None:
    """However a response ends, the next call goes over the same connection."""
    with (
        DummyPlugin.on_unix(short_path / "p.sock", answering(*[answer] * 3)) as plugin,
        new_client(plugin.addr, settings=once) as client,
    ):
        for _ in range(3):
            client.call("M.x", {})

        assert plugin.connections == 1


@pytest.mark.parametrize(
    "answer", [http(b"no", 500), http(b"not JSON")], ids=["another status", "not JSON"]
)
def test_a_connection_is_kept_after_an_error_response(
    answer: bytes, short_path: Path, once: Settings
) -> None:
    """A complete response that is an error or not JSON leaves the connection usable."""
    with (
        DummyPlugin.on_unix(short_path / "p.sock", answering(*[answer] * 3)) as plugin,
        new_client(plugin.addr, settings=once) as client,
    ):
        for _ in range(3):
            with pytest.raises((StatusError, WireError)):
                client.call("M.x", {})

        assert plugin.connections == 1


def test_an_idle_connection_that_the_plugin_closed_is_replaced(
    short_path: Path, once: Settings
) -> None:
    """The next call dials again, and succeeds."""
    closed = threading.Event()

    def behave(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(http(b"1"))
        conversation.sock.close()
        closed.set()

    with (
        DummyPlugin.on_unix(short_path / "p.sock", behave) as plugin,
        new_client(plugin.addr, settings=once) as client,
    ):
        for count in (1, 2, 3):
            assert client.call("M.x", {}) == 1
            assert closed.wait(5)
            closed.clear()
            assert plugin.connections == count


def test_a_plugin_that_was_restarted_is_reached_again(short_path: Path, once: Settings) -> None:
    """A client outlives the plugin's process."""
    path = short_path / "p.sock"
    with new_client(f"unix://{path}", settings=once) as client:
        for answer in (b"1", b"2"):
            with DummyPlugin.on_unix(path, keeps_answering(answer)):
                assert client.call("M.x", {}) == int(answer)
            path.unlink()

            with pytest.raises(TransportError, match="no socket there"):
                client.call("M.x", {})


LAST = [reads_and_hangs_up, says_a_little_and_hangs_up]


@pytest.mark.parametrize("last", LAST)
def test_a_request_is_not_silently_sent_again_after_a_hang_up(
    last: Behaviour, short_path: Path, once: Settings
) -> None:
    """Without retries, a plugin that reads a request and hangs up gets the request only once."""
    requests: list[bytes] = []
    behaviour = answers_then(1, last, answering(http(b"2"), requests=requests))
    with (
        DummyPlugin.on_unix(short_path / "p.sock", behaviour) as plugin,
        new_client(plugin.addr, settings=once) as client,
    ):
        client.call("M.x", {})
        with pytest.raises(TransportError, match=r"\(tried once\)$") as caught:
            client.call("M.x", {})

        assert plugin.connections == 1
        assert requests == []
    assert not caught.value.answered
    assert caught.value.attempts == 1


@pytest.mark.parametrize("last", LAST)
def test_a_request_that_is_sent_again_is_a_counted_attempt(
    last: Behaviour, short_path: Path, settings: Settings
) -> None:
    """Only the retry policy repeats a request, and ``attempts`` of the error counts it."""
    policy = RetryPolicy(initial=0.01, max_delay=0.01, budget=0.05)
    with (
        DummyPlugin.on_unix(short_path / "p.sock", answers_then(1, last, last)) as plugin,
        new_client(plugin.addr, settings=evolve(settings, retry=policy)) as client,
    ):
        client.call("M.x", {})
        with pytest.raises(TransportError, match=r"tried \d+ times") as caught:
            client.call("M.x", {})

        assert plugin.connections == caught.value.attempts > 1


def test_on_retry_is_called_before_the_second_attempt_of_a_handshake(
    short_path: Path, settings: Settings
) -> None:
    """A plugin that hangs up on the first request is asked again, after one ``on_retry``."""
    manifest = answering(http(b'{"Implements":["VolumeDriver"]}'))
    here = evolve(
        settings,
        sockets_path=str(short_path),
        specs_paths=(),
        retry=RetryPolicy(initial=0.01, max_delay=0.01, budget=5),
    )
    told: list[int] = []
    with (
        DummyPlugin.on_unix(short_path / "p.sock", answers_then(0, reads_and_hangs_up, manifest)),
        new_local_registry(here) as registry,
    ):
        registry.get("p", None, on_retry=lambda error, _: told.append(error.attempts))

    assert told == [1]


def test_a_new_connection_that_closes_is_not_replaced(short_path: Path, once: Settings) -> None:
    """Only an idle connection may end by chance; a new one that ends is an error."""
    with (
        DummyPlugin.on_unix(short_path / "p.sock", reads_and_hangs_up) as plugin,
        new_client(plugin.addr, settings=once) as client,
    ):
        with pytest.raises(TransportError, match="closed the connection without a response"):
            client.call("M.x", {})

        assert plugin.connections == 1


def test_a_body_from_an_iterable_is_not_sent_again_after_a_hang_up(
    short_path: Path, once: Settings
) -> None:
    """The error says that the body was partly read, and cannot be sent from its beginning."""
    behaviour = answers_then(1, reads_and_hangs_up, answering(http(b"2")))
    with (
        DummyPlugin.on_unix(short_path / "p.sock", behaviour) as plugin,
        new_client(plugin.addr, settings=once) as client,
    ):
        client.call("M.x", {})
        with pytest.raises(TransportError) as caught:
            client.send_file("M.x", iter([b"some"]))

        assert plugin.connections == 1
    assert caught.value.body_spent
    assert "the request's body was partly read and cannot be rewound" in str(caught.value)
