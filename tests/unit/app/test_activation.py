"""One plugin's activation: the handshake, its possible responses, and how it ends."""

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
    """``Plugin.Activate`` has no arguments, so its request has no body."""
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
def test_a_manifest_is_decoded_as_leniently_as_any_response(
    answer: bytes, implements: tuple[str, ...]
) -> None:
    """Keys match in any case, null and absent mean an empty list, and later bytes are ignored."""
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
def test_a_response_without_a_manifest_ends_the_activation_without_a_retry(
    reply: Any, kind: type[Exception]
) -> None:
    """``get`` raises the same error as a call would, and the transport is closed."""
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
    """A plugin that does not respond uses up the time for retries with the first attempt."""
    host = MemoryHost({"p": hangs()})

    with pytest.raises(TransportTimeoutError, match=r"timed out \(tried once\)$"):
        host.registry.get("p", "VolumeDriver")

    assert (host.clock.now(), host.clock.sleeps) == (30.0, [])
    assert host.lines[0].timeouts == [30.0]


def test_the_handshake_has_a_timeout_of_its_own_and_calls_have_theirs() -> None:
    """``activation_timeout`` bounds each attempt of the handshake, ``timeout`` each call."""
    host = MemoryHost({"p": script(hangs(), VOLUMES)}, activation_timeout=4, timeout=9)

    host.registry.get("p", "VolumeDriver").client.call("M.x")

    assert host.lines[0].timeouts == [4.0, 4.0, 9.0]
    assert host.clock.now() == 5.0


@pytest.mark.parametrize("unbounded", [None, math.inf])
def test_a_handshake_may_have_no_time_out_although_calls_have_one(unbounded: float | None) -> None:
    """``activation_timeout=None`` or infinity does not mean the time-out of calls."""
    host = MemoryHost({"p": VOLUMES}, activation_timeout=unbounded, timeout=9)

    host.registry.get("p", "VolumeDriver")

    assert host.lines[0].timeouts == [None]


def test_a_handshake_whose_response_arrives_too_slowly_times_out_and_is_not_retried() -> None:
    """After a status line was received, a time-out is raised at once."""
    host = MemoryHost({"p": drips(b'{"Implements": []}')}, activation_timeout=3)

    with pytest.raises(TransportTimeoutError) as caught:
        host.registry.get("p", "VolumeDriver")

    assert (caught.value.answered, caught.value.plugin, host.clock.now()) == (True, "p", 3.0)


def test_the_settings_of_a_registry_are_those_of_its_clients() -> None:
    """The retry policy and the limit for responses also hold for calls to the plugins."""
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


def test_a_manifest_larger_than_max_response_bytes_is_an_error() -> None:
    """The registry's limit for responses bounds the response to the handshake, too."""
    host = MemoryHost({"p": VOLUMES}, max_response_bytes=10)

    with pytest.raises(WireError, match="the response is larger than 10 bytes"):
        host.registry.get("p", "VolumeDriver")


def test_an_exception_of_a_fake_plugin_is_raised_and_the_next_get_may_succeed() -> None:
    """An exception that is not a PluginError is not retried, and the transport is closed."""
    host = MemoryHost({"p": script(UnexpectedCallError("mine"), VOLUMES)})

    with pytest.raises(UnexpectedCallError, match=r"^mine$"):
        host.registry.get("p", "VolumeDriver")

    assert host.closed() == [1]
    assert host.registry.get("p", "VolumeDriver").name == "p"


@pytest.mark.parametrize("ask", ["get", "get_all"])
def test_a_get_of_a_plugin_inside_its_own_handshake_is_an_error_and_not_a_deadlock(
    ask: str,
) -> None:
    """Code that runs during the handshake and requests the same plugin gets a RuntimeError."""
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


def test_code_that_runs_during_a_handshake_may_get_another_plugin() -> None:
    """The inner activation does not wait for the outer one."""
    host = MemoryHost({"other": ["A"]})
    host.add("p", lambda _: {"Implements": host.registry.get("other", "A").manifest.implements})

    assert host.registry.get("p", "A").name == "p"


def test_a_manifest_over_a_mebibyte_is_an_error() -> None:
    """A manifest is a few names, so its limit is 1 MiB; ``get_all`` leaves the plugin out."""
    just = b'{"Implements": ["A"]}'.ljust(1 << 20)
    host = MemoryHost({"p": just, "q": just + b" "})

    assert host.registry.get("p", "A").manifest.implements == ("A",)
    with pytest.raises(WireError, match="larger than 1048576 bytes"):
        host.registry.get("q", "A")
    assert [plugin.name for plugin in host.registry.get_all("A")] == ["p"]
