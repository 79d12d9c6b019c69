"""The library's own client and proxies against a live server of a plugin."""

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from moby_plugins import Client, RetryPolicy, Settings, StatusError, WireError, new_client
from moby_plugins.serving import PluginApp, PluginServer, plugin_server_unix
from moby_plugins.subsystems import GraphDriver, VolumeDriver
from tests.integration.serving.plugins import (
    WAIT,
    Echo,
    Echoes,
    Layers,
    Volumes,
    answer,
    dial,
    post,
)

# More than the server has threads at first.
MANY = 20


class Plugin:
    """A served plugin, its parts, and a client of it."""

    def __init__(self, directory: Path) -> None:
        self.volumes, self.layers = Volumes(), Layers()
        app = PluginApp(self.volumes, self.layers, Echoes())
        self.server: PluginServer = plugin_server_unix(
            app, "p", sockets_path=str(directory), drain=0.2
        )

    def client(self) -> Client:
        settings = Settings(retry=RetryPolicy.never())
        return new_client(self.server.addr, timeout=WAIT, settings=settings)


@pytest.fixture
def plugin(short_path: Path) -> Iterator[Plugin]:
    """A plugin that is being served."""
    made = Plugin(short_path)
    with made.server:
        yield made
        made.volumes.may_end.set()


@pytest.fixture
def client(plugin: Plugin) -> Iterator[Client]:
    """A client of the plugin, which never tries again."""
    with plugin.client() as made:
        yield made


def assert_serves(plugin: Plugin) -> None:
    """The plugin answers a new client."""
    with plugin.client() as client:
        assert Echo(client).say("hello") == "hello"


def test_a_proxy_calls_the_implementation(plugin: Plugin, client: Client) -> None:
    """Arguments and results cross a real socket."""
    proxy = VolumeDriver(client)

    proxy.create("db", {"size": "10G"})

    assert [volume.name for volume in proxy.list()] == ["db"]


def test_errors_arrive_with_their_status(plugin: Plugin, client: Client) -> None:
    """An exception of a method is status 500 with its message; a missing method is 404."""
    with pytest.raises(StatusError) as failed:
        VolumeDriver(client).remove("db")
    with pytest.raises(StatusError) as missing:
        VolumeDriver(client).path("db")

    assert (failed.value.status, failed.value.message) == (500, "no volume db")
    assert missing.value.status == 404


def test_a_stream_arrives_as_it_is_made(plugin: Plugin, client: Client) -> None:
    """The host gets the first chunk of an endless stream at once; closing the stream ends it."""
    chunks = GraphDriver(client).diff("endless", "")

    assert next(chunks).startswith(b"first")
    chunks.close()  # type: ignore[attr-defined]  # what leaving a loop over it does
    assert plugin.layers.left.wait(WAIT)
    assert_serves(plugin)


def test_a_stream_that_raises_is_a_wire_error_for_its_host(plugin: Plugin, client: Client) -> None:
    """An exception within the body closes the connection, so the response is cut off."""
    with pytest.raises(WireError, match="cut off"):
        list(GraphDriver(client).diff("broken", ""))

    assert_serves(plugin)


def test_a_large_upload_arrives_in_chunks(plugin: Plugin, client: Client) -> None:
    """The plugin gets all of 50 MiB, whose length is not known when sending begins."""
    archive = (bytes(1 << 20) for _ in range(50))

    assert GraphDriver(client).apply_diff("a", "b", archive) == 50 << 20


def test_calls_run_side_by_side(plugin: Plugin) -> None:
    """Each call gets a thread, also if more calls run than the server first has threads."""
    with plugin.client() as client, ThreadPoolExecutor(MANY) as pool:
        calls = [pool.submit(VolumeDriver(client).mount, f"v{i}", "id") for i in range(MANY)]
        for _ in calls:
            assert plugin.volumes.mounting.acquire(timeout=WAIT)
        plugin.volumes.may_end.set()

        assert [call.result() for call in calls] == [f"/mnt/v{i}" for i in range(MANY)]


def test_a_connection_serves_one_request_after_the_other(plugin: Plugin) -> None:
    """The connection stays open, also after a chunked body and a body that was left unread."""
    chunked = "Transfer-Encoding: chunked\r\n"
    requests = [
        (post("Echo.Say", b'{"Text":"a"}'), b"HTTP/1.1 200 OK", b'{"Said":"a"}'),
        (post("Echo.Say", b'C\r\n{"Text":"b"}\r\n0\r\n\r\n', chunked), b"HTTP/1.1 200", b"b"),
        (post("No.Such", bytes(3 << 20)), b"HTTP/1.1 404", b"No.Such"),
        (post("No.Such", b"5\r\nhello\r\n0\r\n\r\n", chunked), b"HTTP/1.1 404", b"No.Such"),
        (post("Echo.Say", b'{"Text":"c"}'), b"HTTP/1.1 200 OK", b'{"Said":"c"}'),
    ]
    with dial(plugin.server.addr) as sock:
        for request, status, said in requests:
            sock.sendall(request)

            got = answer(sock)

            assert got.startswith(status)
            assert said in got


def test_hosts_that_send_slowly_do_not_block_other_hosts(plugin: Plugin) -> None:
    """A silent connection, or a request that stops in the middle, takes only its own thread."""
    beginnings = [b"", b"POST /Echo.Say HT", post("Echo.Say", b"")[:-2], post("Echo.Say", b"{")]
    socks = [dial(plugin.server.addr) for _ in range(MANY)]
    try:
        for sock, beginning in zip(socks, beginnings * MANY, strict=False):
            sock.sendall(beginning[:-1])

        assert_serves(plugin)
    finally:
        for sock in socks:
            sock.close()


@pytest.mark.parametrize(
    "sent",
    [
        post("Echo.Say", b'{"Text":', "")[:-4],
        post("Echo.Say", b"FF\r\nhello", "Transfer-Encoding: chunked\r\n"),
        post("GraphDriver.Diff", b'{"ID":"endless"}'),
    ],
)
def test_a_host_that_disconnects_does_not_block_other_hosts(plugin: Plugin, sent: bytes) -> None:
    """The next host is served after one has hung up within its request or the response."""
    with dial(plugin.server.addr) as sock:
        sock.sendall(sent)

    assert_serves(plugin)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /Plugin.Activate HTTP/1.1\r\n\r\n", b"405"),
        (b"POST /x HTTP/1.1\r\nX: " + b"y" * (70 << 10) + b"\r\n\r\n", b"413"),
        (b"POST /" + b"y" * (70 << 10) + b" HTTP/1.1\r\n\r\n", b"414"),
        (post("x", b"zz\r\n", "Transfer-Encoding: chunked\r\n"), b"404"),
        (post("Echo.Say", b"zz\r\n", "Transfer-Encoding: chunked\r\n"), b"400"),
        (b"POST /Echo.Say HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"400"),
    ],
)
def test_a_malformed_request_gets_an_error_status(
    plugin: Plugin, sent: bytes, status: bytes
) -> None:
    """Each kind of bad HTTP gets its own status, and the next host is served."""
    with dial(plugin.server.addr) as sock:
        sock.sendall(sent)

        assert answer(sock).startswith(b"HTTP/1.1 " + status)

    assert_serves(plugin)


def test_stopping_the_server_lets_a_running_call_end(short_path: Path) -> None:
    """The call gets its response, although the server's socket is removed."""
    plugin = Plugin(short_path)
    plugin.server.start()
    with plugin.client() as client, ThreadPoolExecutor() as pool:
        call = pool.submit(VolumeDriver(client).mount, "v", "id")
        plugin.volumes.mounting.acquire(timeout=WAIT)
        threading.Timer(0.1, plugin.volumes.may_end.set).start()

        plugin.server.stop()

        assert call.result() == "/mnt/v"
    assert list(short_path.iterdir()) == []


def test_stopping_the_server_cuts_off_an_endless_stream(short_path: Path) -> None:
    """The stream ends once the drain time is over, and its host gets ``WireError``."""
    plugin = Plugin(short_path)
    plugin.server.start()
    with plugin.client() as client:
        chunks = GraphDriver(client).diff("endless", "")
        next(chunks)

        with ThreadPoolExecutor() as pool:
            pool.submit(plugin.server.stop)
            with pytest.raises(WireError, match="cut off"):
                deque(chunks, maxlen=0)

    assert plugin.layers.left.is_set()
