"""UNIX sockets: what each way of not being reachable is called, and how long it takes."""

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
        (Path.touch, "stale socket: it exists, but no process listens on it"),
    ],
    ids=["missing", "stale", "a regular file"],
)
def test_a_socket_that_nobody_serves_is_named_for_what_it_is(
    make: Callable[[Path], None], reason: str, short_path: Path, once: Settings
) -> None:
    """The message says what is wrong with the socket, and where it is."""
    path = short_path / "p.sock"
    make(path)

    error = failure_at(path, once)

    assert str(error) == f"unix://{path}: {reason} (tried once)"
    assert type(error) is TransportError
    assert not error.answered


def test_a_missing_directory_is_a_missing_socket(short_path: Path, once: Settings) -> None:
    """A socket in a directory that is not there is missing, no more and no less."""
    error = failure_at(short_path / "gone" / "p.sock", once)

    assert error.reason == "no socket there; is the plugin running?"


@pytest.mark.usefixtures("as_nobody")
def test_a_socket_without_permission_says_so(short_path: Path, once: Settings) -> None:
    """Permission denied is told apart from a socket that is missing or stale."""
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
def test_a_path_that_is_too_long_is_a_spec_error(size: int, once: Settings) -> None:
    """No client is made for a path that no socket can have; the error names the limit."""
    path = "/" + "x" * (size - 1)

    with pytest.raises(SpecError) as caught:
        new_client(f"unix://{path}", settings=once)

    assert caught.value.reason == f"socket path {path} has {size} bytes; the limit is 107"


def test_the_longest_path_works(short_path: Path, once: Settings) -> None:
    """107 bytes are not too long."""
    path = short_path / ("x" * (107 - len(str(short_path)) - 1))

    with (
        DummyPlugin.on_unix(path, answering(http(b"1"))) as plugin,
        new_client(plugin.addr, settings=once) as client,
    ):
        assert len(str(path)) == 107
        assert client.call("M.x") == 1


def test_a_path_counts_in_bytes(once: Settings) -> None:
    """A path short in letters but long in bytes is too long."""
    with pytest.raises(SpecError, match="has 121 bytes"):
        new_client("unix:///" + "ü" * 60, settings=once)


@pytest.mark.parametrize("timeout", [0.2, 1e-7])
def test_a_full_backlog_ends_at_the_time_out(
    timeout: float, short_path: Path, once: Settings
) -> None:
    """A plugin that takes no more connections costs the time-out, not an error at once."""
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


def test_a_backlog_that_clears_in_time_costs_nothing_more(short_path: Path, once: Settings) -> None:
    """A call waits for a place in the backlog, and then goes on."""
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


def test_the_host_header_names_no_path(short_path: Path, once: Settings) -> None:
    """What a plugin on a UNIX socket is told as its host is always the same."""
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
