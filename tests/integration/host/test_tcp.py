"""TCP: refused and unknown hosts, IPv4 and IPv6, time-outs, and what is ignored."""

import signal
import socket
import time

import pytest

from moby_plugins import (
    Settings,
    SpecError,
    TLSOptions,
    TransportError,
    TransportTimeoutError,
    new_client,
)
from tests.dummy_plugin import Conversation, DummyPlugin, answering, http, keeps_answering
from tests.integration.descriptors import descriptors, soon


def closed_port() -> int:
    """A port of the loopback interface on which no process listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def has_ipv6() -> bool:
    """Whether this machine has a loopback interface for IPv6."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def failure_at(addr: str, settings: Settings, timeout: float | None = None) -> TransportError:
    """How one call to ``addr`` fails."""
    with new_client(addr, settings=settings) as client, pytest.raises(TransportError) as caught:
        client.call("M.x", {}, timeout=timeout)
    return caught.value


def test_a_port_at_which_no_process_listens_refuses_a_call(once: Settings) -> None:
    """The message says that the connection was refused, and where."""
    addr = f"tcp://127.0.0.1:{closed_port()}"

    error = failure_at(addr, once)

    assert str(error) == f"{addr}: connection refused: no process listens there (tried once)"
    assert type(error) is TransportError
    assert not error.answered


def test_a_host_name_that_does_not_resolve_is_reported_as_an_unknown_host(once: Settings) -> None:
    """The error differs from that of a host that refuses connections."""
    error = failure_at("tcp://plugin.invalid:8080", once)

    assert error.reason.startswith("unknown host: ")
    assert type(error) is TransportError
    assert not error.answered


@pytest.mark.parametrize("host", ["a..b", "x" * 64, "x" * 64 + ".example"])
def test_a_host_that_is_not_a_valid_domain_name_is_a_spec_error(host: str, once: Settings) -> None:
    """``new_client`` refuses the address, before any call."""
    with pytest.raises(SpecError, match="has a host that is not a domain name"):
        new_client(f"tcp://{host}:8080", settings=once)


@pytest.mark.parametrize("scheme", ["tcp", "http", "HTTP"])
def test_the_schemes_tcp_and_http_both_mean_plain_http(scheme: str, once: Settings) -> None:
    """Upper case is accepted, and a path in the address is dropped."""
    requests: list[bytes] = []
    with DummyPlugin.on_tcp(answering(http(b"1"), requests=requests)) as plugin:
        where = plugin.addr.removeprefix("tcp://")
        with new_client(f"{scheme}://{where}/some/path", settings=once) as client:
            assert client.call("M.x") == 1

    assert requests[0].startswith(b"POST /M.x HTTP/1.1\r\n")
    assert f"\r\nHost: {where}\r\n".encode() in requests[0]


def test_tls_options_do_not_encrypt_tcp(once: Settings) -> None:
    """``tcp`` is plain text whatever TLS options it is given, and the files are not opened."""
    options = TLSOptions(ca_file="/nonexistent/ca.pem")
    with (
        DummyPlugin.on_tcp(answering(http(b"1"))) as plugin,
        new_client(plugin.addr, options, settings=once) as client,
    ):
        assert client.call("M.x") == 1


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_an_ipv6_address_is_dialled(once: Settings) -> None:
    """A plugin at ``[::1]`` is reached, and the Host header has that address."""
    requests: list[bytes] = []
    listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    where = f"[::1]:{listener.getsockname()[1]}"
    with (
        DummyPlugin(listener, f"tcp://{where}", answering(http(b"1"), requests=requests)) as plugin,
        new_client(plugin.addr, settings=once) as client,
    ):
        assert client.call("M.x") == 1

    assert f"\r\nHost: {where}\r\n".encode() in requests[0]


def test_a_name_with_several_addresses_is_tried_at_each(once: Settings) -> None:
    """``localhost`` reaches a plugin that listens on one of the loopback addresses alone."""
    with DummyPlugin.on_tcp(answering(http(b"1"))) as plugin:
        port = plugin.addr.rpartition(":")[2]
        with new_client(f"tcp://localhost:{port}", settings=once) as client:
            assert client.call("M.x") == 1


def test_a_call_of_a_plugin_with_a_full_backlog_ends_at_the_time_out(once: Settings) -> None:
    """A plugin that accepts no connection makes the call take its time-out and no more."""
    with socket.socket() as listener, socket.socket() as filler:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        filler.connect(listener.getsockname())
        began = time.monotonic()

        error = failure_at(f"tcp://127.0.0.1:{listener.getsockname()[1]}", once, 0.2)

        assert 0.19 <= time.monotonic() - began <= 1.2
    assert isinstance(error, TransportTimeoutError)
    assert not error.answered


@pytest.mark.parametrize("timeout", [3e6, 1e10])
def test_a_time_out_longer_than_the_system_can_wait_is_accepted(
    timeout: float, once: Settings
) -> None:
    """The call gets its response, as a call without a time-out does."""
    with (
        DummyPlugin.on_tcp(keeps_answering(b"1")) as plugin,
        new_client(plugin.addr, settings=once) as client,
    ):
        assert client.call("M.x", timeout=timeout) == 1


def test_a_very_short_time_out_runs_out(once: Settings) -> None:
    """A time-out of a microsecond is not taken for 0 or for no time-out."""
    with (
        DummyPlugin.on_tcp(Conversation.hang) as plugin,
        new_client(plugin.addr, settings=once) as client,
        pytest.raises(TransportTimeoutError),
    ):
        client.call("M.x", timeout=1e-6)


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_proxy_variables_are_not_read(
    variable: str, monkeypatch: pytest.MonkeyPatch, once: Settings
) -> None:
    """A plugin on TCP is reached directly, whatever the environment says."""
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv(variable, f"http://127.0.0.1:{closed_port()}")
    with (
        DummyPlugin.on_tcp(answering(http(b"1"))) as plugin,
        new_client(plugin.addr, settings=once) as client,
    ):
        assert client.call("M.x") == 1


def test_an_interrupt_while_connecting_leaves_no_socket(once: Settings) -> None:
    """A dial that a signal breaks off closes what it had opened."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with socket.socket() as listener, socket.socket() as filler:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        filler.connect(listener.getsockname())
        held = descriptors()
        before = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        try:
            with (
                new_client(f"tcp://127.0.0.1:{listener.getsockname()[1]}", settings=once) as client,
                pytest.raises(KeyboardInterrupt),
            ):
                client.call("M.x", timeout=5)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

        # An event loop in another thread closes what was being dialled a moment later.
        assert soon(held) == held
