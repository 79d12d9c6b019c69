"""Connections of the asynchronous transport: dialled, kept, replaced, closed to make room."""

import asyncio
import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from moby_plugins import RetryPolicy, Settings
from moby_plugins.adapters.aio.pool import TURNS
from moby_plugins.adapters.aio.transport import connect
from moby_plugins.adapters.http.pool import IdleConnections
from moby_plugins.aio import new_client
from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import TransportError, TransportTimeoutError
from moby_plugins.ports import CallEnded
from moby_plugins.testing.contracts import Run
from tests.dummy_plugin import Conversation, DummyPlugin, answering, http
from tests.integration.aio.calls import called, echoes, failed, hangs, request
from tests.integration.aio.conftest import Reach
from tests.integration.descriptors import descriptors
from tests.observers import Notes


@contextmanager
def full_queue(path: Path) -> Iterator[socket.socket]:
    """A socket whose plugin accepts nothing, and has no more place in its queue."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(0)
        queued = []
        for _ in range(10):
            waiting = socket.socket(socket.AF_UNIX)
            waiting.setblocking(False)
            queued.append(waiting)
            try:
                waiting.connect(str(path))
            except BlockingIOError:
                break
        try:
            yield listener
        finally:
            for each in queued:
                each.close()


def test_a_call_waits_while_the_accept_queue_of_a_plugin_is_full(
    short_path: Path, run: Run
) -> None:
    """The wait ends at the call's deadline, and at once when the call is cancelled or closed."""
    path = short_path / "p.sock"

    async def test() -> None:
        began = time.monotonic()
        error = await failed(called(transport, timeout=0.3))
        assert isinstance(error, TransportTimeoutError)
        assert 0.29 < time.monotonic() - began < 1
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await called(transport)
        waiting = asyncio.create_task(failed(called(transport)))
        await asyncio.sleep(0.1)
        transport.close()
        assert type(await waiting) is TransportError

    with full_queue(path):
        transport = connect(Address(f"unix://{path}"), None)
        run(test())


def test_a_full_accept_queue_is_dialled_again_until_it_has_room(short_path: Path, run: Run) -> None:
    """The call gets its response; between two dials pass 50 ms at most."""
    path = short_path / "p.sock"

    def accept(listener: socket.socket) -> None:
        time.sleep(0.15)
        taken = []
        with suppress(OSError):
            while True:
                sock, _ = listener.accept()
                taken.append(sock)
                if data := sock.recv(1000):
                    sock.sendall(http(data[:4]))
                    break
        for each in taken:
            each.close()

    async def test() -> bytes:
        return await called(transport, timeout=5.0)

    with full_queue(path) as listener:
        # Those in the queue hang up, so that what accepts them reads an end.
        plugin = threading.Thread(target=accept, args=(listener,))
        plugin.start()
        transport = connect(Address(f"unix://{path}"), None)
        time.sleep(0)
        try:
            hang_up_queued(listener)
            assert run(test()) == b"POST"
        finally:
            transport.close()
            plugin.join()


def hang_up_queued(listener: socket.socket) -> None:
    """Accept what has been queued, in its order, until there is nothing."""
    listener.settimeout(0.05)
    with suppress(OSError):
        while True:
            listener.accept()[0].close()
    listener.settimeout(5)


def test_a_connection_serves_call_after_call(reach: Reach, run: Run) -> None:
    """Five calls in a row share one connection; three times 64 calls at once share 64."""

    async def test() -> None:
        for number in range(5):
            assert await called(reached.transport, b"%d" % number) == b"%d" % number
        assert reached.plugin.connections == 1
        for _ in range(3):
            bodies = [b"%d" % number for number in range(64)]
            calls = (called(reached.transport, body) for body in bodies)
            assert await asyncio.gather(*calls) == bodies
        assert reached.plugin.connections <= 64

    with reach(echoes) as reached:
        run(test())


def test_an_idle_connection_that_the_plugin_closed_is_replaced(reach: Reach, run: Run) -> None:
    """A call dials again before it sends, whether the loop has seen the end or not."""
    closed = threading.Semaphore(0)

    def behave(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(http(b"1"))
        conversation.sock.close()
        closed.release()

    async def test() -> None:
        for number in range(10):
            assert await called(reached.transport) == b"1"
            assert closed.acquire(timeout=5)
            if number % 2:
                await asyncio.sleep(0.01)
        assert reached.plugin.connections == 10

    with reach(behave) as reached:
        run(test())


def test_a_request_is_not_silently_sent_again_after_a_hang_up(reach: Reach, run: Run) -> None:
    """If a plugin reads a request on a reused connection and hangs up, the call is an error."""

    async def test() -> None:
        assert await called(reached.transport) == b"1"
        reached.plugin.connections = 0
        error = await failed(called(reached.transport))
        assert type(error) is TransportError
        assert not error.answered

    def behave(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(http(b"1"))
        conversation.read_request()

    with reach(behave) as reached:
        run(test())
        assert reached.plugin.connections == 0


def test_an_unrequested_response_closes_the_idle_connection(reach: Reach, run: Run) -> None:
    """A second response to one request is not taken for the response to the next call."""

    def behave(conversation: Conversation) -> None:
        while conversation.read_request():
            conversation.send(http(b"1") + http(b"2"))

    async def test() -> None:
        for _ in range(5):
            assert await called(reached.transport) == b"1"
        assert reached.plugin.connections == 5

    with reach(behave) as reached:
        run(test())


def test_at_most_64_calls_of_a_transport_run_at_once(reach_unix: Reach, run: Run) -> None:
    """Of 200 calls the others wait for a connection, and each gets its response."""
    most = 0
    now: set[Conversation] = set()

    def behave(conversation: Conversation) -> None:
        nonlocal most
        while conversation.read_request():
            now.add(conversation)
            most = max(most, len(now))
            time.sleep(0.01)
            now.discard(conversation)
            conversation.send(http(b"1"))

    async def test() -> None:
        answers = await asyncio.gather(*(called(reached.transport) for _ in range(200)))
        assert set(answers) == {b"1"}
        assert reached.plugin.connections <= TURNS

    with reach_unix(behave) as reached:
        run(test())
    assert most <= TURNS


def test_a_call_that_waits_for_a_free_connection_can_be_ended(reach_unix: Reach, run: Run) -> None:
    """The deadline, a cancellation and ``close`` end the wait; cancelled calls free their slots."""

    async def test() -> None:
        holding = [asyncio.create_task(failed(called(reached.transport))) for _ in range(TURNS)]
        await asyncio.sleep(0.1)
        error = await failed(called(reached.transport, timeout=0.1))
        assert isinstance(error, TransportTimeoutError)
        waiting = [asyncio.create_task(called(reached.transport)) for _ in range(10)]
        last = asyncio.create_task(failed(called(reached.transport)))
        await asyncio.sleep(0.05)
        before = reached.plugin.connections
        for task in (*waiting, *holding):
            task.cancel()
        ended = await asyncio.gather(*waiting, *holding, return_exceptions=True)
        assert {type(each) for each in ended} == {asyncio.CancelledError}
        await asyncio.sleep(0.1)
        assert reached.plugin.connections == before + 1
        reached.transport.close()
        assert type(await last) is TransportError

    with reach_unix(hangs) as reached:
        run(test())


def test_open_streams_do_not_keep_calls_from_running(reach_unix: Reach, run: Run) -> None:
    """A call gets its response while more than 64 streams of the transport are open."""

    def behave(conversation: Conversation) -> None:
        asked = conversation.read_request()
        if asked.endswith(b"stream"):
            conversation.send(b"HTTP/1.1 200 OK\r\n\r\n")
            conversation.hang()
        else:
            conversation.send(http(b"1"))

    async def test() -> None:
        streams = [
            await reached.transport.send(request(b"stream"), None) for _ in range(TURNS + 10)
        ]
        assert await called(reached.transport, timeout=5.0) == b"1"
        for stream in streams:
            stream.body.close()

    with reach_unix(behave) as reached:
        run(test())


def test_idle_connections_are_limited_over_all_transports_of_a_registry(
    short_path: Path, run: Run
) -> None:
    """Of five transports that share a limit of three, two have their connection closed."""
    idle = IdleConnections(3)
    ended = threading.Semaphore(0)

    def behave(conversation: Conversation) -> None:
        answering(http(b"1"), http(b"1"), http(b"1"))(conversation)
        ended.release()

    async def test(transports: list[object]) -> None:
        for transport in transports:
            assert await called(transport) == b"1"  # type: ignore[arg-type]  # it is one
        for _ in range(2):
            assert await asyncio.to_thread(ended.acquire, timeout=5)
        assert not ended.acquire(blocking=False)

    plugins = [DummyPlugin.on_unix(short_path / f"{number}.sock", behave) for number in range(5)]
    transports = [connect(Address(plugin.addr), None, idle=idle) for plugin in plugins]
    try:
        run(test(list(transports)))
    finally:
        for transport in transports:
            transport.close()
        for plugin in plugins:
            plugin.close()


def test_an_idle_connection_is_closed_when_descriptors_run_out(short_path: Path, run: Run) -> None:
    """A call can connect then; if no connection is idle, it fails with the system's error."""
    idle = IdleConnections()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def test() -> None:
        assert await called(first) == b"1"
        taken: list[int] = []

        def take_all() -> None:
            with suppress(OSError):
                while True:
                    taken.append(os.open(os.devnull, os.O_RDONLY))

        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors() + 20, hard))
        try:
            take_all()
            # It is connected, and never answers.
            assert isinstance(await failed(called(second, timeout=0.5)), TransportTimeoutError)
            for _ in range(100):
                take_all()  # also what the plugins, which are in this process, close later
                error = await failed(called(second, timeout=0.5))
                if "Too many open files" in str(error):
                    return
            raise AssertionError(error)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for descriptor in taken:
                os.close(descriptor)

    with (
        DummyPlugin.on_unix(short_path / "1.sock", answering(http(b"1"), http(b"1"))) as one,
        DummyPlugin.on_unix(short_path / "2.sock", hangs) as two,
    ):
        first = connect(Address(one.addr), None, idle=idle)
        second = connect(Address(two.addr), None, idle=idle)
        try:
            run(test())
        finally:
            first.close()
            second.close()


def test_the_addresses_of_a_host_name_share_the_time_out(run: Run) -> None:
    """An address that does not respond leaves time for the next; a thread resolves the name."""
    plugin = DummyPlugin.on_tcp(answering(http(b"1")))
    port = int(plugin.addr.rpartition(":")[2])
    from moby_plugins.adapters.aio.dialing import AsyncTCPDialer
    from moby_plugins.adapters.aio.transport import AsyncSocketTransport
    from moby_plugins.adapters.http.dialing import TCPDialer

    resolving: list[str] = []

    def resolve(host: str, _: int) -> list[object]:
        resolving.append(threading.current_thread().name)
        time.sleep(0.05)
        stream = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        # A port of that address, whose packets are dropped: of TEST-NET-1.
        return [(*stream, ("192.0.2.1", port)), (*stream, ("127.0.0.1", port))]

    address = Address(f"tcp://plugin.example:{port}")
    transport = AsyncSocketTransport(address, AsyncTCPDialer(TCPDialer(address, resolve)))

    async def test() -> None:
        began = time.monotonic()
        assert await called(transport, timeout=1.0) == b"1"
        assert time.monotonic() - began < 0.9

    try:
        run(test())
    finally:
        transport.close()
        plugin.close()
    assert resolving == ["moby-plugins-resolve"]


def test_a_response_says_whether_its_connection_is_new(reach: Reach, run: Run) -> None:
    """``new_connection`` is true for the first call over a connection, false for later ones."""

    async def news(size: int) -> bool | None:
        response = await made.send(request(b"x" * size), 5)
        try:
            while await response.body.read(1 << 16):
                pass
        finally:
            response.body.close()
        return response.new_connection

    async def test() -> None:
        assert [await news(1), await news(1), await news(1 << 20)] == [True, False, False]
        other = reached.renewed()
        try:
            [first, second] = [await other.send(request(b"y"), 5) for _ in range(2)]
            assert (first.new_connection, second.new_connection) == (True, False)
        finally:
            other.close()

    with reach(echoes) as reached:
        made = reached.transport
        run(test())


def test_an_observer_learns_whether_a_call_used_a_new_connection(
    reach_unix: Reach, run: Run
) -> None:
    """``CallEnded.new_connection`` is true for the first call, false for a later call or stream."""
    notes = Notes()

    async def test(addr: str) -> None:
        async with new_client(addr, observers=[notes]) as client:
            await client.send_file("M.x", b"{}")
            await client.send_file("M.x", b"{}")
            async with client.stream("M.x") as stream:
                assert not [chunk async for chunk in stream]

    with reach_unix(echoes) as reached:
        run(test(reached.plugin.addr))

    assert [event.new_connection for event in notes.of(CallEnded)] == [True, False, False]


def test_a_file_that_is_no_socket_is_called_so(short_path: Path) -> None:
    """The system refuses connections to it as to a socket that nothing listens on."""

    async def main() -> None:
        settings = Settings(retry=RetryPolicy.never())
        async with new_client(f"unix://{short_path}", settings=settings) as client:
            with pytest.raises(TransportError, match=r"it exists, but is not a socket"):
                await client.call("M.x")

    asyncio.run(main())
