"""Plugins that get SIGTERM at any moment or are killed, and the hosts that call them then."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attrs import evolve

from moby_plugins import Registry, RetryPolicy, Settings, TransportError, new_local_registry
from tests.integration.process.programs import SECONDS, python, running
from tests.integration.serving.plugins import Echo

MOMENTS = 40 * int(os.environ.get("HARDNESS_ROUNDS", "1"))
MORTAL = ("-m", "tests.integration.process.mortal")
PATIENT = RetryPolicy(initial=0.05, factor=1.0, budget=SECONDS)


@pytest.fixture
def registry(short_path: Path, settings: Settings) -> Iterator[Registry]:
    """A host that waits for its plugins."""
    directory = str(short_path)
    own = evolve(settings, sockets_path=directory, specs_paths=(directory,), retry=PATIENT)
    with new_local_registry(own) as made:
        yield made


def say(registry: Registry) -> str:
    """What the plugin says, as the host knows it."""
    return Echo(registry.get("echo", "Echo").client).say("hello")


def test_sigterm_at_any_moment_ends_a_plugin_and_removes_its_socket(short_path: Path) -> None:
    """At whatever line of code the signal comes, also twice, the plugin ends without a socket."""
    said = python("-m", "tests.integration.process.moments", str(short_path), str(MOMENTS))

    assert len(said) == 1
    assert int(said[0].removeprefix("lives ")) >= MOMENTS


def test_a_plugin_that_was_killed_and_started_again_is_reached_by_the_same_client(
    short_path: Path, registry: Registry
) -> None:
    """A call in between fails and names the stale socket, which the next process replaces."""
    with running(*MORTAL, "unix", str(short_path)):
        assert say(registry) == "hello"
    client = registry.get("echo", "Echo").client
    with pytest.raises(TransportError, match="stale socket"):
        client.call("Echo.Say", {"Text": "hello"}, retry=RetryPolicy.never())

    with running(*MORTAL, "unix", str(short_path)):
        assert say(registry) == "hello"
        assert registry.get("echo", "Echo").client is client


def test_a_call_that_runs_while_its_plugin_is_killed_is_retried(
    short_path: Path, registry: Registry
) -> None:
    """The call got no response, so it is sent to the process of the plugin that starts next."""
    with ThreadPoolExecutor(1) as pool:
        with running(*MORTAL, "unix", str(short_path), "hangs"):
            registry.get("echo", "Echo")
            said = pool.submit(say, registry)
            # The call is under way, as far as a host can know.
            with pytest.raises(TimeoutError):
                said.result(0.3)

        with running(*MORTAL, "unix", str(short_path)):
            assert said.result(SECONDS) == "hello"


def test_the_spec_of_a_plugin_that_was_killed_is_replaced(
    short_path: Path, registry: Registry
) -> None:
    """The old spec gives ``TransportError`` until the next process of the plugin writes its own."""
    spec = short_path / "echo.spec"
    with running(*MORTAL, "tcp", str(short_path)):
        assert say(registry) == "hello"
    stale = spec.read_text()
    registry.invalidate("echo")
    with pytest.raises(TransportError, match="no process listens"):
        registry.get("echo", "Echo", retry=RetryPolicy.never())

    with running(*MORTAL, "tcp", str(short_path)):
        # A host that found the old one would stay with it for as long as it tries.
        ends = time.monotonic() + SECONDS
        while spec.read_text() == stale and time.monotonic() < ends:
            time.sleep(0.02)
        assert say(registry) == "hello"


def test_hosts_that_hang_up_within_a_response_cause_no_tracebacks(short_path: Path) -> None:
    """The plugin gives up the rest of each response and prints nothing."""
    said = python("-m", "tests.integration.process.leavers", str(short_path))

    assert said == ["left 5"]
