"""Known failures of Docker engines, by the number of the issue at Moby, tried over real sockets."""

import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from moby_plugins import (
    PluginError,
    RetryPolicy,
    Settings,
    TransportError,
    TransportTimeoutError,
    new_client,
    new_local_registry,
)
from moby_plugins.testing import FakeClock
from tests.dummy_plugin import Conversation, DummyPlugin, http, keeps_answering
from tests.integration.descriptors import nothing_left
from tests.integration.hostile.bounds import SOON, bounded

ACTIVE = b'{"Implements":["VolumeDriver"],"Volumes":[]}'
ONCE = RetryPolicy.never()
# As the kernel writes it.
ESTABLISHED = "01"


def settings_for(settings: Settings, directory: Path, **more: Any) -> Settings:
    """The settings of a host whose plugins lie in one directory."""
    return evolve(settings, sockets_path=str(directory), specs_paths=(str(directory),), **more)


def test_moby_20686_listing_again_and_again_connects_once(
    short_path: Path, settings: Settings
) -> None:
    """In Moby, each listing of volumes activated every plugin again, with one more descriptor."""
    with (
        bounded(seconds=20),
        DummyPlugin.on_unix(short_path / "p.sock", keeps_answering(ACTIVE)) as plugin,
        new_local_registry(settings_for(settings, short_path)) as registry,
    ):
        registry.get_all("VolumeDriver")
        with nothing_left():
            for _ in range(50):
                for found in registry.get_all("VolumeDriver"):
                    found.client.call("VolumeDriver.List", {})

        assert plugin.connections == 1


def test_moby_21163_calls_leave_no_connection_open(once: Settings) -> None:
    """In Moby, each call to a plugin over TCP left a connection open, whatever its outcome."""
    answers = (http(b"1"), http(b"no", 500), http(b"no JSON"), http(b"1", length=9))

    def behave(conversation: Conversation) -> None:
        with suppress(ConnectionError):
            for answer in answers:
                conversation.read_request()
                conversation.send(answer)

    with (
        bounded(seconds=20),
        DummyPlugin.on_tcp(behave) as plugin,
        new_client(plugin.addr, settings=once) as client,
    ):
        for _ in range(200):
            with suppress(PluginError):
                client.call("M.x", {}, timeout=SOON)

        # Three of four answers leave a connection of use, and the fourth ends it.
        assert plugin.connections == 50
        assert list(states(plugin)).count(ESTABLISHED) <= 2


def states(plugin: DummyPlugin) -> Iterator[str]:
    """The states of all connections to the plugin's port, as the kernel tells them."""
    port = f":{int(plugin.addr.rpartition(':')[2]):04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, _, remote, state, *_ = line.split()
        if remote.endswith(port):
            yield state


@pytest.mark.parametrize("end", ["hangs up", "resets"])
@pytest.mark.parametrize("before", [0, 1], ids=["a new connection", "a used one"])
def test_moby_39331_a_call_that_is_sent_again_is_sent_whole(
    short_path: Path, settings: Settings, end: str, before: int
) -> None:
    """In Moby, a plugin that dropped a connection got the same request again, without its body."""
    requests = first_dropped(settings, short_path, end, before, {"Name": "books"})

    assert len(requests) == 2
    assert all(request.endswith(b'\r\n\r\n{"Name":"books"}\n') for request in requests)


@pytest.mark.parametrize("end", ["hangs up", "resets"])
def test_moby_35459_an_address_request_keeps_its_arguments_after_a_reset(
    short_path: Path, settings: Settings, end: str
) -> None:
    """In Moby, an IPAM driver was asked for an address in no pool after a connection was reset."""
    arguments = {"PoolID": "pool", "Address": "", "Options": {"a": "b"}}

    requests = first_dropped(settings, short_path, end, 0, arguments)

    assert len({request.partition(b"\r\n\r\n")[2] for request in requests}) == 1
    assert b'"PoolID":"pool"' in requests[-1]


def first_dropped(
    settings: Settings, directory: Path, end: str, before: int, arguments: Any
) -> list[bytes]:
    """The requests of one call whose first connection ends unanswered, after ``before`` others."""
    requests: list[bytes] = []

    def behave(conversation: Conversation) -> None:
        if requests:
            requests.append(conversation.read_request())
            conversation.send(http(b"2"))
            return
        for _ in range(before):
            conversation.read_request()
            conversation.send(http(b"1"))
        requests.append(conversation.read_request())
        if end == "resets":
            linger = struct.pack("ii", 1, 0)
            conversation.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    with (
        DummyPlugin.on_unix(directory / "p.sock", behave) as plugin,
        new_client(plugin.addr, settings=settings, clock=FakeClock()) as client,
    ):
        for _ in range(before):
            assert client.call("M.x", {}) == 1
        assert client.call("IpamDriver.RequestAddress", arguments) == 2
    return requests


def test_moby_33871_a_plugin_that_never_responds_does_not_block_the_host(
    short_path: Path, settings: Settings
) -> None:
    """In Moby, a handshake with a managed plugin had no time-out and kept Moby from starting."""
    impatient = settings_for(settings, short_path, activation_timeout=0.3, retry=ONCE)
    with (
        bounded(seconds=20),
        DummyPlugin.on_unix(short_path / "hung.sock", Conversation.hang),
        DummyPlugin.on_unix(short_path / "p.sock", keeps_answering(ACTIVE)),
        new_local_registry(impatient) as registry,
        ThreadPoolExecutor(4) as pool,
    ):
        hung = [pool.submit(registry.get, "hung", "VolumeDriver") for _ in range(3)]

        assert registry.get("p", "VolumeDriver").name == "p"
        assert [plugin.name for plugin in registry.get_all("VolumeDriver")] == ["p"]
        for waiting in hung:
            assert isinstance(waiting.exception(SOON), TransportTimeoutError)


def test_moby_22653_a_stale_socket_does_not_block_other_plugins(
    short_path: Path, settings: Settings
) -> None:
    """In Moby, a socket that no process served any more delayed each use of plugins by 15 s.

    Here a look-up of one plugin never waits for another. A look-up of all plugins waits until the
    retries of each are over, as engines do, unless the retry policy is shorter.
    """
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(short_path / "stale.sock"))
    patient, hasty = (
        settings_for(settings, short_path),
        settings_for(settings, short_path, retry=ONCE),
    )
    told: dict[str, PluginError] = {}
    with (
        bounded(seconds=10),
        DummyPlugin.on_unix(short_path / "p.sock", keeps_answering(ACTIVE)),
        new_local_registry(patient) as registry,
        new_local_registry(hasty) as impatient,
        ThreadPoolExecutor(1) as pool,
    ):
        waiting = pool.submit(registry.get, "stale", "VolumeDriver", retry=patience())
        assert registry.get("p", "VolumeDriver").name == "p"
        assert not waiting.done()

        everything = impatient.get_all("VolumeDriver", on_failure=told.__setitem__)
        assert [plugin.name for plugin in everything] == ["p"]
        assert isinstance(waiting.exception(SOON), TransportError)

    assert "stale socket" in str(told["stale"])


def patience() -> RetryPolicy:
    """Enough of it for the others to be seen in the meantime."""
    return RetryPolicy(initial=0.5, budget=1.1)
