"""What a call costs, counted in what does not depend on the machine: calls of functions.

Times are measured by ``make bench``. These bounds leave a wide margin, for the versions
of Python and urllib3 differ; a call that does its work twice goes over them.
"""

import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import frozen

import moby_plugins
from moby_plugins import Client, Observer, Registry, Settings, new_client, new_local_registry
from moby_plugins.ports import CallEnded, CallStarted, RetryScheduled
from tests.dummy_plugin import Conversation, DummyPlugin, answering, http, keeps_answering

# Functions in Python for one call over a connection that is open, by transport.
MOST = {"httptools": 55, "urllib3": 55}
# The same for all that makes a plugin active: look-up, client, connection, handshake.
MOST_TO_ACTIVATE = {"httptools": 175, "urllib3": 185}
# Functions in C that enter the kernel, on the way of a call.
SYSTEM_CALLS = {
    "fcntl",
    "getpid",
    "getsockopt",
    "poll",
    "recv",
    "recv_into",
    "select",
    "send",
    "sendall",
    "setblocking",
    "setsockopt",
    "settimeout",
    "shutdown",
}
# The same on the way of a file.
FILE_CALLS = SYSTEM_CALLS | {"read", "seek", "sendfile"}


OURS = str(Path(moby_plugins.__file__).parent)


@frozen
class Mounted:
    """The JSON of a response to VolumeDriver.Mount."""

    mountpoint: str
    err: str = ""


def functions(work: Callable[[], object]) -> int:
    """How many functions written in Python ``work`` calls, here, and of ours in other threads."""
    seen: Counter[str] = Counter()
    before = sys.getprofile()

    def count(_: Any, event: str, __: Any) -> None:
        seen[event] += 1

    def count_ours(frame: Any, event: str, argument: Any) -> None:
        # The plugin's threads begin in this process too.
        if frame.f_code.co_filename.startswith(OURS):
            count(frame, event, argument)

    threading.setprofile(count_ours)
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
        threading.setprofile(cast("Any", None))
    return seen["call"]


def system_calls(
    work: Callable[[], object], names: AbstractSet[str] = SYSTEM_CALLS
) -> Counter[str]:
    """Which functions of ``names`` the ``work`` calls, in this thread: each is a system call."""
    seen: Counter[str] = Counter()
    before = sys.getprofile()

    def count(_: Any, event: str, called: Any) -> None:
        if event == "c_call" and called.__name__ in names:
            seen[called.__name__] += 1

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return seen


@pytest.fixture
def settings(built_in: Settings) -> Settings:
    """What is counted is the synchronous transports' work."""
    return built_in


def test_a_call_takes_at_most_55_function_calls(short_path: Path, settings: Settings) -> None:
    """The call goes over an open connection, and its response is decoded into a class."""
    most = MOST[settings.transports["unix"]]  # type: ignore[index]  # a name, here
    answer = b'{"Mountpoint":"/mnt/books","Err":""}'
    with (
        DummyPlugin.on_unix(short_path / "p.sock", keeps_answering(answer)) as plugin,
        new_client(plugin.addr, settings=settings) as client,
    ):
        for _ in range(3):
            client.call("VolumeDriver.Mount", {"Name": "books"}, Mounted)

        calls = functions(lambda: client.call("VolumeDriver.Mount", {"Name": "books"}, Mounted))

    assert 10 < calls <= most


def test_an_observed_call_takes_few_more_function_calls(
    short_path: Path, settings: Settings
) -> None:
    """An observer of calls adds at most 8, an observer of retries alone at most 1."""

    class Ends(Observer):
        def call_started(self, event: CallStarted, /) -> Callable[[CallEnded], object]:
            return id

    class Retries(Observer):
        def retry_scheduled(self, event: RetryScheduled, /) -> None:
            raise AssertionError

    counts = []
    with DummyPlugin.on_unix(short_path / "p.sock", keeps_answering(b"{}")) as plugin:
        for observers in ((), (Retries(),), (Ends(),)):
            with new_client(plugin.addr, settings=settings, observers=observers) as client:
                for _ in range(3):
                    client.call("VolumeDriver.Mount", {"Name": "books"})
                counts.append(functions(partial(client.call, "VolumeDriver.Mount", {"Name": "x"})))

    plain, others, ends = counts
    assert others <= plain + 1  # nothing is made for an observer that takes no attempts
    assert plain < ends <= plain + 8


def test_a_call_with_a_time_out_makes_at_most_four_system_calls(
    short_path: Path, settings: Settings
) -> None:
    """A look at the idle connection, one send, one wait and one receive are enough."""
    with (
        DummyPlugin.on_unix(short_path / "p.sock", keeps_answering(b"{}")) as plugin,
        new_client(plugin.addr, settings=settings, timeout=5.0) as client,
    ):
        for _ in range(3):
            client.call("VolumeDriver.Mount", {"Name": "books"})

        calls = system_calls(lambda: client.call("VolumeDriver.Mount", {"Name": "books"}))

    assert calls.total() <= 4
    assert calls["poll"] == 2


def test_a_file_is_sent_without_being_read(
    short_path: Path, tmp_path: Path, settings: Settings
) -> None:
    """``sendfile`` copies 64 MiB of a regular file in at most 1,100 system calls."""
    size = 64 << 20
    (tmp_path / "f").touch()
    os.truncate(tmp_path / "f", size)

    def behave(conversation: Conversation) -> None:
        buffer = bytearray(1 << 20)
        head = conversation.sock.recv(4096)
        left = size - len(head.partition(b"\r\n\r\n")[2])
        while left:
            left -= conversation.sock.recv_into(buffer)
        conversation.send(http(b"1"))

    with (
        DummyPlugin.on_unix(short_path / "p.sock", behave) as plugin,
        new_client(plugin.addr, settings=settings, timeout=30.0) as client,
        (tmp_path / "f").open("rb") as file,
    ):
        calls = system_calls(lambda: client.send_file("M.x", file), FILE_CALLS)

    assert 0 < calls["sendfile"] <= calls["poll"]
    assert calls["read"] <= 4  # of the response
    assert calls.total() <= 1100


@pytest.fixture
def knowing(short_path: Path, settings: Settings) -> Iterator[Registry]:
    """A registry whose plugin ``p`` is active, so that all is loaded."""
    manifest = b'{"Implements":["VolumeDriver"]}'
    here = Settings(sockets_path=str(short_path), specs_paths=(), transports=settings.transports)
    with (
        DummyPlugin.on_unix(short_path / "p.sock", keeps_answering(manifest)),
        new_local_registry(here) as registry,
    ):
        registry.get("p", "VolumeDriver")
        yield registry


def test_get_of_an_active_plugin_takes_at_most_ten_function_calls(knowing: Registry) -> None:
    """An active plugin is looked up in the registry, without a request."""
    calls = functions(lambda: knowing.get("p", "VolumeDriver"))

    assert 1 < calls <= 10


def test_an_activation_takes_at_most_185_function_calls(
    knowing: Registry, settings: Settings
) -> None:
    """A look-up, a dial and a handshake take 175 at most with httptools, 185 with urllib3."""
    most = MOST_TO_ACTIVATE[settings.transports["unix"]]  # type: ignore[index]  # a name, here
    knowing.invalidate("p")

    calls = functions(lambda: knowing.get("p", "VolumeDriver"))

    assert 50 < calls <= most


@pytest.mark.parametrize("plugins", [50, 500])
def test_a_scan_calls_no_function_for_each_plugin(plugins: int, tmp_path: Path) -> None:
    """A scan of 500 specs takes at most 20 function calls, as a scan of 50 does."""
    for number in range(plugins):
        (tmp_path / f"plugin-{number}.spec").write_text("tcp://127.0.0.1:1")
    here = Settings(sockets_path=str(tmp_path / "none"), specs_paths=(str(tmp_path),))
    with new_local_registry(here) as registry:
        calls = functions(registry.scan)

    assert 1 < calls <= 20


def test_a_call_that_replaces_a_connection_costs_no_more_than_a_first_call(
    short_path: Path, settings: Settings
) -> None:
    """After a hang-up a call takes at most 1.3 times the function calls of the first one."""

    def call(client: Client) -> None:
        client.call("VolumeDriver.Mount", {"Name": "books"})

    # It says that it hangs up, or the next call might come before it does.
    last = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
    with DummyPlugin.on_unix(short_path / "p.sock", answering(last)) as plugin:
        with new_client(plugin.addr, settings=settings) as client:
            call(client)
        with new_client(plugin.addr, settings=settings) as client:
            first = functions(lambda: call(client))
            again = functions(lambda: call(client))

    assert 10 < again <= 1.3 * first


FEW, MANY = 30, 300


def test_get_all_costs_the_same_for_each_of_many_plugins_as_for_each_of_few(
    short_path: Path, settings: Settings
) -> None:
    """With 300 plugins instead of 30, function calls for each one grow by half at most."""
    activated, again = {}, {}
    with DummyPlugin.on_unix(
        short_path / "p.sock", keeps_answering(b'{"Implements":["VolumeDriver"]}')
    ):
        for count in (FEW, MANY):
            folder = short_path / f"{count}"
            folder.mkdir()
            for number in range(count):
                (folder / f"{number}.sock").symlink_to(short_path / "p.sock")
            here = Settings(
                sockets_path=str(folder), specs_paths=(), transports=settings.transports
            )
            with new_local_registry(here) as registry:
                registry.get("0", "VolumeDriver")
                activated[count] = functions(lambda: registry.get_all("VolumeDriver")) / count
                again[count] = functions(lambda: registry.get_all("VolumeDriver")) / count
                assert len(registry.get_all("VolumeDriver")) == count

    assert activated[MANY] <= 1.5 * activated[FEW]
    assert again[MANY] <= 1.5 * again[FEW]
