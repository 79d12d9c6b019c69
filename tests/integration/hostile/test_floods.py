"""Crowds of hosts, slow hosts and hosts that never read: other hosts still get their responses."""

import socket
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import cycle

import pytest

from moby_plugins import Client, new_client
from moby_plugins.adapters.server.workers import MAX_THREADS
from moby_plugins.subsystems import VolumeDriver
from tests.integration.hostile.bounds import MIB, SOON, bounded
from tests.integration.hostile.hosts import ONCE, Served
from tests.integration.serving.plugins import post

# More than the plugin has threads.
CROWD = MAX_THREADS + 40
# Those of the tests and of the server itself.
OTHER_THREADS = 30

SLOW = {
    "silent": b"",
    "in the middle of the line": b"POST /Echo",
    "in the middle of a header": b"POST /Echo.Say HTTP/1.1\r\nX: ",
    "in the middle of a body": post("Echo.Say", b'{"Text":"slow"}')[:-3],
    "in the middle of a chunk": post("Echo.Say", b"FF\r\n{", "Transfer-Encoding: chunked\r\n"),
    "in what nobody reads": post("No.Such", b"FF\r\n{", "Transfer-Encoding: chunked\r\n"),
    "reading nothing": post("GraphDriver.Diff", b'{"ID":"endless"}'),
}


def gather(served: Served, sent: bytes) -> list[socket.socket]:
    """A crowd of connections that send so much, and nothing more."""
    crowd = []
    for number in range(CROWD):
        crowd.append(served.dial())
        with suppress(OSError):  # it may have been cut off already
            crowd[-1].sendall(sent)
        if number % 64 == 0:
            # The queue of those who wait to be let in is shorter than the crowd.
            served.assert_answers_others(4 * SOON)
    return crowd


@pytest.mark.parametrize("where", SLOW)
def test_a_crowd_of_slow_hosts_does_not_block_other_hosts(where: str, served: Served) -> None:
    """With more stalled hosts than there are threads, another host still gets its response soon."""
    before = threading.active_count()
    # To gather the crowd takes a small machine minutes; what counts is how others are answered.
    with bounded(seconds=300, memory=64 * MIB):
        gather(served, SLOW[where])
        for _ in range(5):
            # Filling hundreds of the kernel's buffers takes a small machine its time.
            served.assert_answers_others(4 * SOON)

        assert threading.active_count() - before <= MAX_THREADS + OTHER_THREADS
        served.close()

    assert "slow" not in served.echoes.said


@contextmanager
def dripping(socks: list[socket.socket]) -> Iterator[None]:
    """Each of them sends a byte of its header now and then."""
    enough = threading.Event()

    def drip() -> None:
        for sock in cycle(socks):
            if enough.wait(1 / len(socks)):
                return
            with suppress(OSError):
                sock.sendall(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


def test_a_crowd_of_hosts_that_send_a_byte_a_second_does_not_block_others(served: Served) -> None:
    """A host that sends a byte a second counts as slow, like a host that sends nothing."""
    crowd = gather(served, SLOW["in the middle of a header"])

    with dripping(crowd):
        for _ in range(5):
            served.assert_answers_others()


def test_a_crowd_of_hosts_that_send_without_a_pause_does_not_block_others(served: Served) -> None:
    """Another host gets its response while hundreds send requests and read no response."""
    request = post("Echo.Say", b'{"Text":"%b"}' % (b"x" * 4096)) * 100

    for _ in range(CROWD):
        with suppress(OSError):  # as much as it takes at once
            served.dial(0).sendall(request)
    # Hundreds of threads have their turn first, which takes a small machine its time.
    served.assert_answers_others(4 * SOON)


def test_a_crowd_of_hosts_that_connect_and_leave_does_not_block_others(served: Served) -> None:
    """Connections that are closed or reset at once leave no descriptor behind."""
    with bounded(seconds=30):
        for number in range(400):
            with served.dial() as sock:
                if number % 2:
                    sock.sendall(b"POST /Echo")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        served.assert_answers_others()
        served.close()


def test_a_crowd_of_hosts_does_not_cut_off_running_calls(served: Served) -> None:
    """Room is made by closing connections that send nothing, not those whose call is running."""
    served.volumes.may_end.clear()
    with new_client(served.server.addr, settings=ONCE) as client, ThreadPoolExecutor(20) as pool:
        calls = [pool.submit(mount, client, f"v{number}") for number in range(20)]
        for _ in calls:
            assert served.volumes.mounting.acquire(timeout=SOON)

        gather(served, b"")
        served.assert_answers_others()
        served.volumes.may_end.set()

        assert [call.result(SOON) for call in calls] == [f"/mnt/v{n}" for n in range(20)]


def mount(client: Client, name: str) -> str:
    """A call that takes as long as the test likes."""
    return VolumeDriver(client).mount(name, "id")
