"""Names of hosts, and how long it may take to find out what they mean."""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from moby_plugins.adapters.http.dialing import TCPDial
from moby_plugins.domain.address import Address
from tests.dummy_plugin import DummyPlugin, answering, http

NAMED = Address("tcp://plugin.example:1")


@pytest.fixture
def ended() -> Iterator[threading.Event]:
    """Set at the end, for those that wait in vain meanwhile."""
    event = threading.Event()
    yield event
    event.set()


def test_a_name_that_nobody_resolves_is_given_up(ended: threading.Event) -> None:
    """The time-out bounds it, though the system's call goes on."""

    def hang(_: str, __: int) -> list[Any]:
        ended.wait()
        return []

    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"plugin\.example is not resolved after 0\.2 s"):
        TCPDial(NAMED, hang)(0.2)

    assert 0.15 < time.monotonic() - began < 5


def test_an_error_of_the_resolver_is_the_dials() -> None:
    """Whatever it raises in its thread."""

    def fail(host: str, _: int) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, f"no {host}")

    with pytest.raises(socket.gaierror, match=r"no plugin\.example"):
        TCPDial(NAMED, fail)(5.0)


@pytest.mark.parametrize("timeout", [None, 5.0])
def test_a_name_that_is_resolved_is_dialled(timeout: float | None) -> None:
    """At the addresses that the resolver gives, with and without a time-out."""
    with DummyPlugin.on_tcp(answering(http(b"{}"))) as plugin:
        port = Address(plugin.addr).port

        def loopback(_: str, __: int) -> list[Any]:
            return socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM)

        with TCPDial(NAMED, loopback)(timeout) as sock:
            assert sock.getpeername() == ("127.0.0.1", port)


def test_numbers_need_no_resolver_of_their_own() -> None:
    """An address in numbers is resolved in the calling thread, which costs no other."""
    threads: list[str] = []

    def note(host: str, _: int) -> list[Any]:
        threads.append(threading.current_thread().name)
        raise socket.gaierror(socket.EAI_NONAME, host)

    for host in ("127.0.0.1", "[::1]", "[fe80::1%25lo]"):
        with pytest.raises(socket.gaierror):
            TCPDial(Address(f"tcp://{host}:1"), note)(5.0)

    assert threads == [threading.current_thread().name] * 3
