"""Calls and waits over real sockets that are ended while the plugin keeps them waiting."""

import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen

from moby_plugins import (
    Cancellation,
    Client,
    RetryPolicy,
    Settings,
    TLSOptions,
    WaitCancelledError,
    new_client,
    new_local_registry,
)
from moby_plugins.adapters.clock import SystemClock
from moby_plugins.adapters.http.dialing import Lookups, TCPDialer
from moby_plugins.adapters.http.pool import PooledTransport
from moby_plugins.adapters.http.urllib3 import Urllib3Connection
from moby_plugins.domain.address import Address
from moby_plugins.ports import WakeEvent
from tests.dummy_plugin import Conversation, DummyPlugin
from tests.integration.certificates import Certificates
from tests.integration.descriptors import descriptors, soon

# Seconds in which a call ends once it is cancelled.
AT_ONCE = 0.5
# Seconds after which a plugin that keeps its host waiting is cancelled.
SOON = 0.2
LARGE = bytes(64 << 20)


@frozen
class Place:
    """The address of a plugin, and the TLS options that its host needs."""

    addr: str
    tls: TLSOptions | None = None


class Plugin:
    """A plugin that keeps its host waiting, and notes when the host hangs up."""

    def __init__(self, sent: bytes = b"", *, reads: bool = True) -> None:
        self.asked = threading.Event()
        self.left = threading.Event()
        self._sent = sent
        self._reads = reads

    def __call__(self, conversation: Conversation) -> None:
        if self._reads and not conversation.read_request():
            return
        self.asked.set()
        conversation.send(self._sent)
        if not self._reads:
            conversation.stopped.wait(SOON * 2)
        conversation.hang()
        self.left.set()


@contextmanager
def serving(kind: str, behaviour: Plugin, path: Path) -> Iterator[Place]:
    """The plugin on a UNIX socket, on TCP or under TLS."""
    with ExitStack() as stack:
        if kind == "unix":
            plugin = stack.enter_context(DummyPlugin.on_unix(path / "p.sock", behaviour))
            yield Place(plugin.addr)
        elif kind == "tcp":
            yield Place(stack.enter_context(DummyPlugin.on_tcp(behaviour)).addr)
        else:
            certificates = Certificates(path)
            plugin = stack.enter_context(DummyPlugin.on_tcp(behaviour, certificates.server()))
            yield Place(plugin.addr, TLSOptions(ca_file=certificates.ca_file))


def ended(wait: Callable[[], object], end: Callable[[], object], begun: threading.Event) -> Any:
    """The error of ``wait``, which ``end`` ends from another thread; it takes no time."""
    moments: list[float] = []

    def end_soon() -> None:
        begun.wait(10)
        time.sleep(SOON)
        moments.append(time.monotonic())
        end()

    thread = threading.Thread(target=end_soon)
    thread.start()
    try:
        with pytest.raises(WaitCancelledError) as caught:
            wait()
    finally:
        took = time.monotonic()
        thread.join()
    assert took - moments[0] < AT_ONCE
    return caught.value


HEAD = b"HTTP/1.1 200 OK\r\n"


def head(client: Client) -> object:
    """A call that waits for the head."""
    return client.call("M.x", {})


def upload(client: Client) -> object:
    """A call that waits to send."""
    return client.send_file("M.x", LARGE)


def upload_in_chunks(client: Client) -> object:
    """The same, of an iterable."""
    return client.send_file("M.x", iter([LARGE[: 1 << 20]] * 64))


def upload_of_a_file(client: Client) -> object:
    """The same, of a regular file."""
    with tempfile.TemporaryFile() as file:
        file.truncate(len(LARGE))
        return client.send_file("M.x", file)


def stream(client: Client) -> object:
    """A stream that is being read."""
    with client.stream("M.x") as reading:
        return b"".join(reading)


WAITS: dict[str, tuple[Callable[[], Plugin], Callable[[Client], object]]] = {
    "the head": (Plugin, head),
    "the rest of the head": (lambda: Plugin(HEAD), head),
    "a counted body": (lambda: Plugin(HEAD + b"Content-Length: 9\r\n\r\n1"), head),
    "a body in chunks": (lambda: Plugin(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n1"), head),
    "a body without an end": (lambda: Plugin(HEAD + b"Connection: close\r\n\r\n1"), head),
    "an error's body": (lambda: Plugin(b"HTTP/1.1 500 X\r\nContent-Length: 9\r\n\r\n1"), head),
    "a stream": (lambda: Plugin(HEAD + b"Content-Length: 9\r\n\r\n1"), stream),
    "a stream without an end": (lambda: Plugin(HEAD + b"Connection: close\r\n\r\n1"), stream),
    "room to send": (lambda: Plugin(reads=False), upload),
    "room to send a chunk": (lambda: Plugin(reads=False), upload_in_chunks),
    "room to send a file": (lambda: Plugin(reads=False), upload_of_a_file),
}


@pytest.mark.parametrize("kind", ["unix", "tcp", "tls"])
@pytest.mark.parametrize("wait", WAITS)
def test_closing_a_client_ends_its_waiting_calls(
    wait: str, kind: str, short_path: Path, settings: Settings
) -> None:
    """A call ends at once, without a retry; the plugin sees a hang-up, no descriptor is left."""
    make, call = WAITS[wait]
    behaviour = make()
    with serving(kind, behaviour, short_path) as place:
        before = descriptors()
        client = new_client(place.addr, place.tls, settings=settings)

        error = ended(lambda: call(client), client.close, behaviour.asked)

        assert error.reason == "this client is closed"
        assert error.address == place.addr
        assert behaviour.left.wait(AT_ONCE + 2 * SOON)
        with pytest.raises(RuntimeError, match=r"^this client is closed$"):
            client.call("M.x")
    assert soon(before) <= before


@pytest.mark.parametrize("end", ["cancel", "close"])
@pytest.mark.parametrize("sent", [b"", HEAD + b"Content-Length: 99\r\n\r\n{"])
def test_a_plugin_handshake_that_waits_can_be_ended(
    end: str, sent: bytes, short_path: Path, settings: Settings
) -> None:
    """The caller's ``Cancellation`` and ``close`` of the registry both end it at once."""
    behaviour, cancel = Plugin(sent), Cancellation()
    here = evolve(settings, sockets_path=str(short_path), specs_paths=())
    with DummyPlugin.on_unix(short_path / "p.sock", behaviour) as plugin:
        before = descriptors()
        with new_local_registry(here) as registry:
            way = {"cancel": cancel.set, "close": registry.close}[end]

            error = ended(lambda: registry.get("p", "A", cancel=cancel), way, behaviour.asked)

            assert (error.plugin, error.attempts) == ("p", 1)
            assert behaviour.left.wait(AT_ONCE)
            assert plugin.connections == 1
        assert soon(before) <= before


def test_a_cancellation_ends_the_sleep_between_two_attempts(
    short_path: Path, settings: Settings
) -> None:
    """A ``get`` that sleeps before its second attempt raises at once, in real time."""
    here = evolve(settings, sockets_path=str(short_path), specs_paths=())
    cancel, begun = Cancellation(), threading.Event()
    policy = RetryPolicy(initial=20)
    with new_local_registry(here) as registry:

        def get() -> object:
            return registry.get(
                "p", "A", cancel=cancel, retry=policy, on_retry=lambda *_: begun.set()
            )

        error = ended(get, cancel.set, begun)

    assert (error.plugin, error.attempts) == ("p", 1)


@pytest.fixture
def alarm() -> Iterator[None]:
    """The timer's signal is the test's, and another's afterwards."""
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("alarm")
def test_a_signal_handler_may_cancel_a_wait_of_its_own_thread(
    short_path: Path, settings: Settings
) -> None:
    """``get`` raises at once, wherever the signal interrupts the thread."""
    here = evolve(settings, sockets_path=str(short_path), specs_paths=())
    with new_local_registry(here) as registry:
        for number in range(100):
            cancel = Cancellation()
            signal.signal(signal.SIGALRM, lambda *_, cancel=cancel: cancel.set())
            began = time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, 1e-5 + number * 1e-5)
            with pytest.raises(WaitCancelledError):
                registry.get("p", "A", cancel=cancel, retry=RetryPolicy(initial=20))
            assert time.monotonic() - began < 2 * AT_ONCE


@pytest.mark.usefixtures("alarm")
def test_a_signal_handler_may_set_the_event_that_its_thread_waits_for() -> None:
    """``WakeEvent.set`` neither deadlocks nor is missed, wherever it interrupts ``wait``."""
    for number in range(100):
        event = WakeEvent()
        signal.signal(signal.SIGALRM, lambda *_, event=event: event.set())
        began = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, 1e-6 + number % 60 * 1e-6)

        assert event.wait(10)
        assert time.monotonic() - began < 2 * AT_ONCE


def test_closing_a_client_ends_a_dial_of_a_unix_socket(
    short_path: Path, settings: Settings
) -> None:
    """A call of a plugin that takes no connections ends at once and leaves no descriptor."""
    path = short_path / "p.sock"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as filler:
        listener.bind(str(path))
        listener.listen(0)
        filler.connect(str(path))
        before = descriptors()
        client, begun = new_client(f"unix://{path}", settings=settings), threading.Event()
        begun.set()

        ended(lambda: client.call("M.x"), client.close, begun)

        assert soon(before) <= before


def test_closing_a_client_ends_a_dial_over_tcp(settings: Settings) -> None:
    """A call ends at once while its connection request gets no reply."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        where = listener.getsockname()
        for _ in range(3):  # what the queue has room for, and more
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(where)
        client = new_client(f"tcp://127.0.0.1:{where[1]}", settings=settings)
        begun = threading.Event()
        begun.set()

        ended(lambda: client.call("M.x"), client.close, begun)


def test_closing_a_client_ends_a_tls_handshake(settings: Settings) -> None:
    """A call of a plugin that accepts and then sends nothing ends at once."""
    behaviour = Plugin(reads=False)
    with DummyPlugin.on_tcp(behaviour) as plugin:
        addr = plugin.addr.replace("tcp://", "https://")
        client = new_client(addr, TLSOptions(insecure_skip_verify=True), settings=settings)

        ended(lambda: client.call("M.x"), client.close, behaviour.asked)

        assert behaviour.left.wait(AT_ONCE + 2 * SOON)


def test_closing_a_client_ends_the_wait_for_a_name_look_up() -> None:
    """The call ends at once; the system's look-up goes on in its own thread."""
    asked, stopped = threading.Event(), threading.Event()

    def resolve(_: str, __: int) -> list[Any]:
        asked.set()
        stopped.wait(10)
        return []

    address = Address("tcp://plugin.example:1")
    dialer = TCPDialer(address, resolve, Lookups())
    transport = PooledTransport(address, dialer, Urllib3Connection)
    client = Client(transport, address, clock=SystemClock())

    try:
        ended(lambda: client.call("M.x"), client.close, asked)
    finally:
        stopped.set()


def test_threads_that_call_while_a_client_is_closed_all_end(
    short_path: Path, settings: Settings
) -> None:
    """Whatever step ``close`` interrupts, each call raises, and no descriptor stays open."""
    behaviour = Plugin()
    with DummyPlugin.on_unix(short_path / "p.sock", behaviour) as plugin:
        before = descriptors()
        for number in range(200):
            client = new_client(plugin.addr, settings=settings)
            with ThreadPoolExecutor(2) as threads:
                calls = [threads.submit(client.call, "M.x") for _ in range(2)]
                time.sleep(number % 10 * 1e-4)
                client.close()
                errors = [call.exception(5) for call in calls]
            assert {type(error) for error in errors} <= {WaitCancelledError, RuntimeError}
        assert soon(before) <= before
