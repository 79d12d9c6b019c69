"""UNIX sockets: the error for each reason why a plugin is not reached, and how long it takes."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moby_plugins import (
    Settings,
    SpecError,
    TransportError,
    TransportTimeoutError,
    new_client,
)
from tests.dummy_plugin import DummyPlugin, answering, http, keeps_answering

NOBODY = 65534


def failure_at(path: Path, settings: Settings, timeout: float | None = None) -> TransportError:
    """How one call to the socket at ``path`` fails."""
    with (
        new_client(f"unix://{path}", settings=settings) as client,
        pytest.raises(TransportError) as caught,
    ):
        client.call("M.x", {}, timeout=timeout)
    return caught.value


def stale_socket(path: Path) -> None:
    """A socket whose plugin has died."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """Be a user without rights; for root alone to give up."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    os.seteuid(NOBODY)
    yield
    os.seteuid(0)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda _: None, "no socket there; is the plugin running?"),
        (stale_socket, "stale socket: it exists, but no process listens on it"),
        (Path.touch, "it exists, but is not a socket"),
        (Path.mkdir, "it exists, but is not a socket"),
    ],
    ids=["missing", "stale", "a regular file", "a directory"],
)
def test_the_error_says_whether_a_socket_is_missing_or_stale(
    make: Callable[[Path], None], reason: str, short_path: Path, once: Settings
) -> None:
    """The message names the socket's path, and says what is wrong with it."""
    path = short_path / "p.sock"
    make(path)

    error = failure_at(path, once)

    assert str(error) == f"unix://{path}: {reason} (tried once)"
    assert type(error) is TransportError
    assert not error.answered


def test_a_socket_in_a_missing_directory_is_reported_as_missing(
    short_path: Path, once: Settings
) -> None:
    """The error is the same as for a socket that is missing in a directory."""
    error = failure_at(short_path / "gone" / "p.sock", once)

    assert error.reason == "no socket there; is the plugin running?"


@pytest.mark.usefixtures("as_nobody")
def test_the_error_says_that_permission_for_a_socket_is_missing(
    short_path: Path, once: Settings
) -> None:
    """This error differs from those for a missing and for a stale socket."""
    os.seteuid(0)
    short_path.chmod(0o755)
    with DummyPlugin.on_unix(short_path / "p.sock", answering(http(b"1"))) as plugin:
        (short_path / "p.sock").chmod(0o600)
        os.seteuid(NOBODY)

        error = failure_at(short_path / "p.sock", once)

        os.seteuid(0)
        assert error.reason == "no permission to connect to the socket"
        assert not error.answered
        assert plugin.connections == 0


@pytest.mark.parametrize("size", [108, 200])
def test_a_socket_path_that_is_too_long_is_a_spec_error(size: int, once: Settings) -> None:
    """No client is made for such a path, and the error says that the limit is 107 bytes."""
    path = "/" + "x" * (size - 1)

    with pytest.raises(SpecError) as caught:
        new_client(f"unix://{path}", settings=once)

    assert caught.value.reason == f"socket path {path} has {size} bytes; the limit is 107"


def test_a_socket_path_of_107_bytes_works(short_path: Path, once: Settings) -> None:
    """A plugin at a path of the greatest length can be called."""
    path = short_path / ("x" * (107 - len(str(short_path)) - 1))

    with (
        DummyPlugin.on_unix(path, answering(http(b"1"))) as plugin,
        new_client(plugin.addr, settings=once) as client,
    ):
        assert len(str(path)) == 107
        assert client.call("M.x") == 1


def test_the_length_of_a_socket_path_is_counted_in_bytes(once: Settings) -> None:
    """A path of few letters that has too many bytes is refused."""
    with pytest.raises(SpecError, match="has 121 bytes"):
        new_client("unix:///" + "ü" * 60, settings=once)


@pytest.mark.parametrize("timeout", [0.2, 1e-7])
def test_a_call_of_a_plugin_with_a_full_backlog_ends_at_the_time_out(
    timeout: float, short_path: Path, once: Settings
) -> None:
    """A plugin that takes no more connections is an error at the time-out, not at once."""
    path = short_path / "p.sock"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as filler:
        listener.bind(str(path))
        listener.listen(0)
        filler.connect(str(path))
        began = time.monotonic()

        error = failure_at(path, once, timeout)

        assert timeout - 0.01 <= time.monotonic() - began <= timeout + 1.0
    assert isinstance(error, TransportTimeoutError)
    assert not error.answered


def test_a_call_goes_on_when_a_full_backlog_gets_room(short_path: Path, once: Settings) -> None:
    """A call that waited for a place in the backlog gets its response."""
    path = short_path / "p.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(0)
    with socket.socket(socket.AF_UNIX) as filler:
        filler.connect(str(path))

        # Begins to accept only now, the filler first.
        with (
            DummyPlugin(listener, f"unix://{path}", keeps_answering(b"1")) as plugin,
            new_client(plugin.addr, settings=once) as client,
        ):
            assert client.call("M.x", timeout=2) == 1


def test_the_host_header_does_not_show_the_path_of_a_unix_socket(
    short_path: Path, once: Settings
) -> None:
    """Every plugin on a UNIX socket gets the same Host header."""
    requests: list[bytes] = []
    with (
        DummyPlugin.on_unix(
            short_path / "p.sock", answering(http(b"1"), requests=requests)
        ) as plugin,
        new_client(plugin.addr, settings=once) as client,
    ):
        client.call("M.x", {"A": 1})

    head, body = requests[0].split(b"\r\n\r\n")
    assert head.startswith(b"POST /M.x HTTP/1.1\r\n")
    assert b"\r\nHost: plugin.moby.localhost\r\n" in head
    assert str(short_path).encode() not in head
    assert body == b'{"A":1}\n'
