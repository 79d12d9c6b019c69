"""One plugin's activation: the handshake, what it may answer, and how it ends."""

import math
from typing import Any

import pytest

from moby_plugins.domain.errors import (
    StatusError,
    TransportError,
    TransportTimeoutError,
    WireError,
)
from moby_plugins.domain.retry import RetryPolicy
from moby_plugins.testing import (
    Request,
    UnexpectedCallError,
    drips,
    drops_mid_body,
    hangs,
    not_json,
    refused,
    script,
    status,
)
from tests.cases import every
from tests.unit.app.in_memory import MemoryHost

VOLUMES = {"Implements": ["VolumeDriver"]}


def test_the_handshake_is_an_empty_post_with_the_headers_of_any_call() -> None:
    """``Plugin.Activate`` has no arguments."""
    host = MemoryHost({"p": VOLUMES})

    plugin = host.registry.get("p", "VolumeDriver")
    plugin.client.call("M.x")

    shake, call = host.lines[0].requests
    assert shake == Request("Plugin.Activate", b"", call.headers)
    assert call.headers["Host"] == "plugin.moby.localhost"


@every(
    ("answer", "implements"),
    [
        (b'{"Implements": ["A", "B", "A"]}', ("A", "B", "A")),
        (b'{"implements": ["A"], "More": 1}', ("A",)),
        (b'{"Implements": null}', ()),
        (b"{}", ()),
        (b"null", ()),
        (b'{"Implements": []} trailing', ()),
    ],
)
def test_a_manifest_is_read_as_any_answer(answer: bytes, implements: tuple[str, ...]) -> None:
    """What is absent or null is nothing, and a plugin that implements nothing is active."""
    host = MemoryHost({"p": answer})
    met: list[str] = []
    host.registry.handle("A", lambda name, _: met.append(name))

    plugins = host.registry.get_all("A")

    assert [plugin.manifest.implements for plugin in plugins] == [implements][: len(met)]
    assert met == ["p"][: len(set(implements) & {"A"})]


@every(
    ("reply", "kind"),
    [
        (not_json(), WireError),
        (b"", WireError),
        (b"[]", WireError),
        (b'{"Implements": "VolumeDriver"}', WireError),
        (b'{"Implements": [1]}', WireError),
        (drops_mid_body(), WireError),
        (status(500, "not now"), StatusError),
        (status(404, "no handshake here"), StatusError),
    ],
)
def test_an_answer_that_is_no_manifest_ends_it_at_once(reply: Any, kind: type[Exception]) -> None:
    """The error passes as a call would raise it; the connection is given up."""
    host = MemoryHost({"p": reply})

    with pytest.raises(kind, match=r"Plugin\.Activate: "):
        host.registry.get("p", "VolumeDriver")

    assert host.clock.sleeps == []
    assert host.crossings == ["look up p", "send p Plugin.Activate"]
    assert host.closed() == [1]


def test_a_failed_activation_is_forgotten() -> None:
    """The next ``get`` looks up and tries from the beginning, and may succeed."""
    host = MemoryHost({"p": script(status(500), VOLUMES)})
    with pytest.raises(StatusError):
        host.registry.get("p", "VolumeDriver")

    plugin = host.registry.get("p", "VolumeDriver")

    assert plugin.name == "p"
    assert host.crossings == ["look up p", "send p Plugin.Activate"] * 2
    assert host.closed() == [1, 0]


def test_an_attempt_at_the_handshake_ends_after_thirty_seconds() -> None:
    """A plugin that hangs has used up the budget with its first attempt."""
    host = MemoryHost({"p": hangs()})

    with pytest.raises(TransportTimeoutError, match=r"timed out \(tried once\)$"):
        host.registry.get("p", "VolumeDriver")

    assert (host.clock.now(), host.clock.sleeps) == (30.0, [])
    assert host.lines[0].timeouts == [30.0]


def test_the_handshake_has_a_timeout_of_its_own_and_calls_have_theirs() -> None:
    """Each is told to the transport for what it bounds."""
    host = MemoryHost({"p": script(hangs(), VOLUMES)}, activation_timeout=4, timeout=9)

    host.registry.get("p", "VolumeDriver").client.call("M.x")

    assert host.lines[0].timeouts == [4.0, 4.0, 9.0]
    assert host.clock.now() == 5.0


@pytest.mark.parametrize("unbounded", [None, math.inf])
def test_a_handshake_may_have_no_bound_although_calls_have(unbounded: float | None) -> None:
    """Without a time-out of its own it does not take that of the calls."""
    host = MemoryHost({"p": VOLUMES}, activation_timeout=unbounded, timeout=9)

    host.registry.get("p", "VolumeDriver")

    assert host.lines[0].timeouts == [None]


def test_a_handshake_that_drips_ends_with_its_timeout_and_is_not_tried_again() -> None:
    """There was a status line, so the plugin has answered."""
    host = MemoryHost({"p": drips(b'{"Implements": []}')}, activation_timeout=3)

    with pytest.raises(TransportTimeoutError) as caught:
        host.registry.get("p", "VolumeDriver")

    assert (caught.value.answered, caught.value.plugin, host.clock.now()) == (True, "p", 3.0)


def test_the_registrys_settings_are_its_clients_settings() -> None:
    """Retry policy and bound of answers hold for the calls to its plugins."""
    host = MemoryHost(
        {"p": {"Plugin.Activate": VOLUMES, "M.dead": refused(), "M.large": b"x" * 41}},
        retry=RetryPolicy(initial=3, factor=1, budget=7),
        max_response_bytes=40,
    )
    client = host.registry.get("p", "VolumeDriver").client

    with pytest.raises(TransportError):
        client.call("M.dead")
    assert host.clock.sleeps == [3, 3]
    with pytest.raises(WireError, match="the response is larger than 40 bytes"):
        client.call("M.large")


def test_a_manifest_that_is_too_large_is_an_error() -> None:
    """The handshake's answer is bounded like any other."""
    host = MemoryHost({"p": VOLUMES}, max_response_bytes=10)

    with pytest.raises(WireError, match="the response is larger than 10 bytes"):
        host.registry.get("p", "VolumeDriver")


def test_an_error_of_a_test_passes_and_leaves_nothing_behind() -> None:
    """What is none of this library's errors is raised at once, and the next ``get`` may succeed."""
    host = MemoryHost({"p": script(UnexpectedCallError("mine"), VOLUMES)})

    with pytest.raises(UnexpectedCallError, match=r"^mine$"):
        host.registry.get("p", "VolumeDriver")

    assert host.closed() == [1]
    assert host.registry.get("p", "VolumeDriver").name == "p"


@pytest.mark.parametrize("ask", ["get", "get_all"])
def test_an_activation_that_asks_for_itself_is_an_error_and_not_a_deadlock(ask: str) -> None:
    """Code that is called during a handshake, and wants the same plugin, is told so."""
    host = MemoryHost()
    asks: dict[str, Any] = {
        "get": lambda _: host.registry.get("p", "VolumeDriver"),
        "get_all": lambda _: host.registry.get_all("VolumeDriver"),
    }
    host.add("p", asks[ask])

    with pytest.raises(
        RuntimeError,
        match=r"^activating 'p' runs code that asks the registry for 'p':"
        r" the call would wait for itself for ever$",
    ):
        host.registry.get("p", "VolumeDriver")


def test_a_handshake_may_ask_for_another_plugin() -> None:
    """Two activations do not hinder each other."""
    host = MemoryHost({"other": ["A"]})
    host.add("p", lambda _: {"Implements": host.registry.get("other", "A").manifest.implements})

    assert host.registry.get("p", "A").name == "p"


def test_a_manifest_over_a_mebibyte_is_an_error() -> None:
    """A handshake is a few names, whatever other responses may be; who calls it makes no odds."""
    just = b'{"Implements": ["A"]}'.ljust(1 << 20)
    host = MemoryHost({"p": just, "q": just + b" "})

    assert host.registry.get("p", "A").manifest.implements == ("A",)
    with pytest.raises(WireError, match="larger than 1048576 bytes"):
        host.registry.get("q", "A")
    assert [plugin.name for plugin in host.registry.get_all("A")] == ["p"]
