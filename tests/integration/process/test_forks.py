"""Hosts that fork: the child shares no connection with its parent, and never waits for it."""

import json
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from moby_plugins.app.settings import BUILT_IN
from tests.dummy_plugin import Behaviour, Conversation, DummyPlugin, http
from tests.integration.certificates import Certificates
from tests.integration.process.programs import python

FORKS = ("-m", "tests.integration.process.forks")


def telling_connections_apart() -> Behaviour:
    """A plugin that answers every request with the number of its connection."""
    numbers = count()

    def behave(conversation: Conversation) -> None:
        answer = http(b"%d" % next(numbers))
        while conversation.read_request():
            conversation.send(answer)

    return behave


@pytest.fixture(params=["unix", "tcp", "https"])
def plugin(
    request: pytest.FixtureRequest, short_path: Path, tmp_path: Path
) -> Iterator[DummyPlugin]:
    """One that tells connections apart, on each kind of socket."""
    behaviour = telling_connections_apart()
    make: dict[str, Callable[[], DummyPlugin]] = {
        "unix": lambda: DummyPlugin.on_unix(short_path / "p.sock", behaviour),
        "tcp": lambda: DummyPlugin.on_tcp(behaviour),
        "https": lambda: DummyPlugin.on_tcp(behaviour, Certificates(tmp_path).server()),
    }
    with make[request.param]() as running:
        yield running


@pytest.mark.parametrize("transport", sorted(BUILT_IN))
def test_a_forked_child_has_connections_of_its_own(transport: str, plugin: DummyPlugin) -> None:
    """An idle connection stays with the parent, which uses it again; the child opens its own."""
    assert python(*FORKS, "idle", transport, plugin.addr) == [
        "parent 0",
        "child [1, 1]",
        "parent 0",
    ]


@pytest.mark.parametrize("transport", sorted(BUILT_IN))
def test_a_child_does_not_reuse_the_connection_of_a_stream_open_at_the_fork(
    transport: str, plugin: DummyPlugin
) -> None:
    """The child may read the stream to its end, but makes its calls over its own connection."""
    said = python(*FORKS, "streaming", transport, plugin.addr)

    assert said[0] == "child ['0', 1]"
    assert json.loads(said[1].removeprefix("parent ")) in {0, 2}
    assert len(said) == 2


@pytest.mark.parametrize("transport", sorted(BUILT_IN))
def test_a_client_that_a_child_closes_stays_open_in_its_parent(
    transport: str, plugin: DummyPlugin
) -> None:
    """Closing gives up the child's descriptors only, and does not shut the connection down."""
    assert python(*FORKS, "closing", transport, plugin.addr) == [
        "parent 0",
        "child None",
        "parent 0",
    ]


def activates(short_path: Path, waits: int | None = None) -> DummyPlugin:
    """A plugin that shakes hands; on one connection only once it did on the next."""
    next_one = threading.Event()
    numbers = count()

    def behave(conversation: Conversation) -> None:
        number = next(numbers)
        while conversation.read_request():
            if number == waits:
                next_one.wait(10)
            conversation.send(http(b'{"Implements":["A"]}'))
            if waits is not None and number > waits:
                next_one.set()

    return DummyPlugin.on_unix(short_path / "p.sock", behave)


def test_a_forked_child_does_not_wait_for_a_handshake_of_its_parent(short_path: Path) -> None:
    """The thread that makes the handshake does not exist in the child, which makes its own."""
    with activates(short_path, waits=1):
        said = python(*FORKS, "activating", str(short_path))

    assert said == ["child p", "leader p"]


def test_a_forked_child_does_not_wait_for_a_lock_of_its_parent(short_path: Path) -> None:
    """A lock that another thread held at the fork is free in the child."""
    with activates(short_path):
        assert python(*FORKS, "locked", str(short_path)) == ["parent p", "child p", "parent p"]
