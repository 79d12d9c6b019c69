"""A registry of plugins: found, activated once, forgotten, closed; and what crosses its borders."""

from typing import Any, NoReturn

import pytest

from moby_plugins.domain.address import TLSOptions
from moby_plugins.domain.errors import (
    InvalidPluginNameError,
    NotImplementedByPluginError,
    PluginNotFoundError,
    SpecError,
    TransportError,
)
from moby_plugins.domain.plugin import Manifest, Plugin
from moby_plugins.domain.retry import RetryPolicy
from moby_plugins.testing import MemoryDiscovery, refused, script
from tests.unit.app.hosts import NewHost

VOLUMES = ["VolumeDriver"]


def test_scan_tells_names_and_activates_nothing(new_host: NewHost) -> None:
    """The names come from discovery, and nothing is sent."""
    host = new_host({"b": VOLUMES, "a": VOLUMES})

    assert host.registry.scan() == ["a", "b"]
    assert host.crossings == ["scan"]


def test_lookup_tells_how_a_plugin_is_found_now(new_host: NewHost) -> None:
    """A plugin that was not asked yet has no manifest; one that is not there is not waited for."""
    host = new_host({"p": VOLUMES})

    assert host.registry.lookup("p") == Plugin(
        "p", "memory://p", TLSOptions(insecure_skip_verify=True)
    )
    with pytest.raises(PluginNotFoundError):
        host.registry.lookup("gone")
    assert host.crossings == ["look up p", "look up gone"]
    assert host.clock.sleeps == []


def test_a_cold_get_is_one_look_up_and_one_send(new_host: NewHost) -> None:
    """The first to ask finds the plugin and shakes hands."""
    host = new_host({"p": VOLUMES})

    plugin = host.registry.get("p", "VolumeDriver")

    assert host.crossings == ["look up p", "send p Plugin.Activate"]
    assert isinstance(plugin, host.plugin_class)
    assert (plugin.name, plugin.addr) == ("p", "memory://p")
    assert plugin.manifest == Manifest(("VolumeDriver",))
    assert plugin.tls_config == TLSOptions(insecure_skip_verify=True)


def test_a_warm_get_crosses_nothing(new_host: NewHost) -> None:
    """A plugin that is known is the same one again."""
    host = new_host({"p": VOLUMES})
    plugin = host.registry.get("p", "VolumeDriver")
    host.crossings.clear()

    assert host.registry.get("p", "VolumeDriver") is plugin
    assert host.crossings == []


def test_a_call_is_one_send(new_host: NewHost) -> None:
    """An active plugin's client calls it."""
    host = new_host({"p": VOLUMES})
    plugin = host.registry.get("p", "VolumeDriver")
    host.crossings.clear()

    assert host.call(plugin, "M.x") == "hello"
    assert host.crossings == ["send p M.x"]


def test_a_plugin_is_known_for_everything_it_implements(new_host: NewHost) -> None:
    """Another subsystem of an active plugin costs nothing."""
    host = new_host({"p": ["VolumeDriver", "NetworkDriver"]})

    volumes = host.registry.get("p", "VolumeDriver")

    assert host.registry.get("p", "NetworkDriver") is volumes
    assert len(host.crossings) == 2


@pytest.mark.parametrize("wanted", ["NetworkDriver", "volumedriver", ""])
def test_a_plugin_that_does_not_implement_it_is_an_error_that_tells_what_it_does(
    new_host: NewHost,
    wanted: str,
) -> None:
    """Names of subsystems match to the letter; asking again sends nothing."""
    host = new_host({"p": ["VolumeDriver", "LogDriver"]})

    for _ in range(2):
        with pytest.raises(NotImplementedByPluginError) as caught:
            host.registry.get("p", wanted)

    assert str(caught.value) == (
        f"plugin 'p' does not implement {wanted!r}; it implements VolumeDriver, LogDriver"
    )
    assert host.crossings == ["look up p", "send p Plugin.Activate"]
    assert host.registry.get("p", "LogDriver").name == "p"


@pytest.mark.parametrize("name", ["", "a\0", 5, None])
def test_a_name_that_no_discovery_can_take_is_not_looked_for(new_host: NewHost, name: Any) -> None:
    """What is not text, empty, or holds NUL: whatever the discovery."""
    host = new_host()

    with pytest.raises(InvalidPluginNameError):
        host.registry.get(name, "VolumeDriver")

    assert host.crossings == []


@pytest.mark.parametrize("name", [".", "..", "a/b", "../a", "a\\b"])
def test_a_name_that_its_discovery_cannot_take_is_looked_for_once(
    new_host: NewHost, name: str
) -> None:
    """The discovery refuses it before a path is built, and that is not waited for."""
    host = new_host()

    with pytest.raises(InvalidPluginNameError):
        host.registry.get(name, "VolumeDriver")

    assert (host.crossings, host.clock.sleeps) == ([f"look up {name}"], [])


def test_a_missing_plugin_is_looked_for_five_times(new_host: NewHost) -> None:
    """The error comes at 15 s and tells how often and where it was looked for."""
    host = new_host()

    with pytest.raises(PluginNotFoundError) as caught:
        host.registry.get("p", "VolumeDriver")

    assert host.clock.sleeps == [1, 2, 4, 8]
    assert host.crossings == ["look up p"] * 5
    assert str(caught.value) == (
        "plugin 'p' not found (tried 5 times in 15 s; searched memory://p)"
    )


def test_a_dead_plugin_is_tried_five_times_and_looked_up_once(new_host: NewHost) -> None:
    """What a look-up found is kept for the next attempt."""
    host = new_host({"p": refused()})

    with pytest.raises(TransportError) as caught:
        host.registry.get("p", "VolumeDriver")

    assert host.clock.sleeps == [1, 2, 4, 8]
    assert host.crossings == ["look up p", *["send p Plugin.Activate"] * 5]
    assert [request.attempt for request in host.lines[0].requests] == [1, 2, 3, 4, 5]
    assert (caught.value.attempts, caught.value.elapsed) == (5, 15.0)
    assert str(caught.value).startswith("plugin 'p' at memory://p: ")


def test_a_plugin_that_appears_late_is_found_at_the_next_look(new_host: NewHost) -> None:
    """Its socket comes at 3 s, just before the third look."""
    host = new_host()
    host.clock.at(3, lambda: host.add("p", VOLUMES))

    plugin = host.registry.get("p", "VolumeDriver")

    assert (plugin.name, host.clock.now()) == ("p", 3.0)
    assert host.clock.sleeps == [1, 2]
    assert host.crossings == [*["look up p"] * 3, "send p Plugin.Activate"]


def test_look_up_and_handshake_share_one_budget(new_host: NewHost) -> None:
    """A plugin that appears at 7 s and refuses is given up at 15 s, not 15 s later."""
    host = new_host()
    host.clock.at(7, lambda: host.add("p", refused()))

    with pytest.raises(TransportError) as caught:
        host.registry.get("p", "VolumeDriver")

    assert host.clock.sleeps == [1, 2, 4, 8]
    assert host.crossings == [*["look up p"] * 4, *["send p Plugin.Activate"] * 2]
    assert (caught.value.attempts, caught.value.elapsed) == (5, 15.0)


@pytest.mark.parametrize(
    ("policy", "sleeps"), [(RetryPolicy.never(), []), (RetryPolicy(initial=5, budget=12), [5])]
)
def test_one_wait_may_have_a_policy_of_its_own(
    new_host: NewHost, policy: RetryPolicy, sleeps: list[float]
) -> None:
    """``retry`` is for this ``get``; the next has the registry's again."""
    host = new_host(retry=RetryPolicy(initial=2, factor=1, budget=5))

    with pytest.raises(PluginNotFoundError):
        host.registry.get("p", "VolumeDriver", retry=policy)
    assert host.clock.sleeps == sleeps

    with pytest.raises(PluginNotFoundError):
        host.registry.get("p", "VolumeDriver")
    assert host.clock.sleeps == [*sleeps, 2, 2]


def test_each_retry_is_one_warning(new_host: NewHost, caplog: pytest.LogCaptureFixture) -> None:
    """A plugin that comes at the third look is two warnings."""
    host = new_host()
    host.clock.at(2, lambda: host.add("p", VOLUMES))

    host.registry.get("p", "VolumeDriver")

    assert [(record.name, record.levelname) for record in caplog.records] == [
        ("moby_plugins", "WARNING")
    ] * 2
    assert caplog.messages[1] == (
        "plugin 'p' not found (tried 2 times in 1 s; searched memory://p); trying again in 2 s"
    )


class Broken(MemoryDiscovery):
    """A discovery that finds a spec and cannot use it."""

    def lookup(self, name: str) -> Plugin:
        cannot_use(name)


def cannot_use(*_: object) -> NoReturn:
    """Fail as discovery does, and as a ``Connect`` does."""
    raise SpecError("bad address", "/etc/docker/plugins/p.spec")


@pytest.mark.parametrize(
    "settings", [{"discovery": Broken(["p"])}, {"connect": cannot_use}], ids=["spec", "TLS file"]
)
def test_a_spec_that_cannot_be_used_is_raised_at_once(
    new_host: NewHost, settings: dict[str, Any]
) -> None:
    """Whichever caller finds it out, there is no use in waiting."""
    host = new_host({"p": VOLUMES}, **settings)

    with pytest.raises(SpecError, match=r"^/etc/docker/plugins/p\.spec: bad address$"):
        host.registry.get("p", "VolumeDriver")

    assert host.clock.sleeps == []


def test_a_plugin_that_was_forgotten_is_found_anew(new_host: NewHost) -> None:
    """After ``invalidate`` the next ``get`` looks up and shakes hands again."""
    host = new_host({"p": script(*[{"Implements": [kind]} for kind in ("A", "B")])})
    old = host.registry.get("p", "A")
    host.crossings.clear()

    host.registry.invalidate("p")
    new = host.registry.get("p", "B")

    assert (old.manifest.implements, new.manifest.implements) == (("A",), ("B",))
    assert host.crossings == ["look up p", "send p Plugin.Activate"]
    assert host.call(old, "M.x") == host.call(new, "M.x") == "hello"
    assert host.closed() == [0, 0]


def test_forgetting_a_name_that_is_not_known_is_no_error(new_host: NewHost) -> None:
    """There is nothing to forget."""
    host = new_host({"p": VOLUMES})

    host.registry.invalidate("other")

    assert host.registry.get("p", "VolumeDriver").name == "p"


def test_a_closed_registry_has_closed_its_clients_and_gives_no_more(new_host: NewHost) -> None:
    """Leaving the ``with`` block closes every active plugin's client once."""
    host = new_host({"a": VOLUMES, "b": VOLUMES})
    with host.registry as registry:
        plugins = [registry.get(name, "VolumeDriver") for name in "ab"]
        assert host.closed() == [0, 0]
    registry.close()

    assert host.closed() == [1, 1]
    with pytest.raises(RuntimeError, match=r"^this registry is closed$"):
        registry.get("a", "VolumeDriver")
    with pytest.raises(RuntimeError, match=r"^this registry is closed$"):
        registry.get_all("A")
    with pytest.raises(RuntimeError, match=r"^this client is closed$"):
        host.call(plugins[0], "M.x")
