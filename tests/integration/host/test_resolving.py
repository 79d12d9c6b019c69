"""Host names, and how long resolving them may take."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from moby_plugins.adapters.http.dialing import Lookups, TCPDialer
from moby_plugins.domain.address import Address
from tests.dummy_plugin import DummyPlugin, answering, http

NAMED = Address("tcp://plugin.example:1")


@pytest.fixture
def ended() -> Iterator[threading.Event]:
    """Set at the end, for those that still wait."""
    event = threading.Event()
    yield event
    event.set()


def test_a_host_name_that_is_not_resolved_in_time_is_an_error(ended: threading.Event) -> None:
    """The dial ends at its time-out, although the system's look-up goes on."""

    def hang(_: str, __: int) -> list[Any]:
        ended.wait()
        return []

    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"plugin\.example is not resolved after 0\.2 s"):
        TCPDialer(NAMED, hang)(0.2)

    assert 0.15 < time.monotonic() - began < 5


def test_an_error_of_the_resolver_is_raised_by_the_dial() -> None:
    """The exception that the resolver raises in its thread reaches the caller unchanged."""

    def fail(host: str, _: int) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, f"no {host}")

    with pytest.raises(socket.gaierror, match=r"no plugin\.example"):
        TCPDialer(NAMED, fail)(5.0)


@pytest.mark.parametrize("timeout", [None, 5.0])
def test_a_host_name_is_dialled_at_the_address_that_it_resolves_to(timeout: float | None) -> None:
    """The socket is connected to that address, with and without a time-out."""
    with DummyPlugin.on_tcp(answering(http(b"{}"))) as plugin:
        port = Address(plugin.addr).port

        def loopback(_: str, __: int) -> list[Any]:
            return socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM)

        with TCPDialer(NAMED, loopback)(timeout) as sock:
            assert sock.getpeername() == ("127.0.0.1", port)


def test_a_numeric_address_needs_no_thread_for_its_look_up() -> None:
    """An IPv4 or IPv6 address is resolved in the calling thread."""
    threads: list[str] = []

    def note(host: str, _: int) -> list[Any]:
        threads.append(threading.current_thread().name)
        raise socket.gaierror(socket.EAI_NONAME, host)

    for host in ("127.0.0.1", "[::1]", "[fe80::1%25lo]"):
        with pytest.raises(socket.gaierror):
            TCPDialer(Address(f"tcp://{host}:1"), note)(5.0)

    assert threads == [threading.current_thread().name] * 3


def test_a_look_up_that_hangs_takes_one_thread_for_all_dials_of_the_name(
    ended: threading.Event,
) -> None:
    """Forty dials of two names, at any port, share two threads until the look-ups end."""
    asked: list[str] = []

    def hang(host: str, _: int) -> list[Any]:
        asked.append(host)
        ended.wait()
        raise socket.gaierror(socket.EAI_NONAME, "in the end")

    lookups = Lookups()

    def ask(number: int) -> str:
        with pytest.raises(OSError, match=r"not resolved|in the end") as caught:
            TCPDialer(Address(f"tcp://plugin-{number % 2}.example:{number + 1}"), hang, lookups)(
                0.1
            )
        return str(caught.value)

    with ThreadPoolExecutor(20) as threads:
        for _ in range(2):
            assert all("not resolved" in said for said in threads.map(ask, range(20)))
            assert resolving() == 2
    assert sorted(asked) == ["plugin-0.example", "plugin-1.example"]

    ended.set()
    while resolving():
        time.sleep(0.01)
    assert "in the end" in ask(0)
    assert len(asked) == 3


def resolving() -> int:
    """How many threads resolve names."""
    return sum(thread.name == "moby-plugins-resolve" for thread in threading.enumerate())


@pytest.mark.parametrize("deaf", [1, 3])
def test_the_addresses_of_a_name_share_the_time_out(deaf: int) -> None:
    """An address that does not respond leaves the other addresses their share of the time."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as full,
        socket.socket() as filler,
        DummyPlugin.on_tcp(answering(http(b"{}"))) as plugin,
    ):
        filler.connect(full.getsockname())
        port = Address(plugin.addr).port
        where = [full.getsockname()] * deaf + [("127.0.0.1", port)]

        def several(_: str, __: int) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", address) for address in where]

        began = time.monotonic()
        with TCPDialer(NAMED, several)(2.0) as sock:
            assert sock.getpeername() == ("127.0.0.1", port)

        assert time.monotonic() - began < 2.0
