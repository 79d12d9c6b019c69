"""A fork in the middle: the child shares no connection with its parent, and never waits for it."""

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
    """What lay idle stays the parent's, which goes on with it."""
    assert python(*FORKS, "idle", transport, plugin.addr) == [
        "parent 0",
        "child [1, 1]",
        "parent 0",
    ]


@pytest.mark.parametrize("transport", sorted(BUILT_IN))
def test_a_stream_that_crosses_a_fork_leaves_no_connection_to_the_child(
    transport: str, plugin: DummyPlugin
) -> None:
    """The child may read on, but does not call over its parent's connection afterwards."""
    said = python(*FORKS, "streaming", transport, plugin.addr)

    assert said[0] == "child ['0', 1]"
    assert json.loads(said[1].removeprefix("parent ")) in {0, 2}
    assert len(said) == 2


@pytest.mark.parametrize("transport", sorted(BUILT_IN))
def test_a_client_that_a_child_closes_is_open_to_its_parent(
    transport: str, plugin: DummyPlugin
) -> None:
    """Closing lets go of the child's descriptors, and does not hang up."""
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


def test_a_child_does_not_wait_for_an_activation_that_stayed_behind(short_path: Path) -> None:
    """A thread that shakes hands is not there in the child, which shakes hands itself."""
    with activates(short_path, waits=1):
        said = python(*FORKS, "activating", str(short_path))

    assert said == ["child p", "leader p"]


def test_a_child_does_not_wait_for_a_lock_that_stayed_behind(short_path: Path) -> None:
    """A lock that another thread held at the fork is free in the child."""
    with activates(short_path):
        assert python(*FORKS, "locked", str(short_path)) == ["parent p", "child p", "parent p"]
