"""A registry finds plugins, activates each once, forgets them on request, and closes them."""

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


def test_scan_returns_the_names_of_plugins_and_activates_none(new_host: NewHost) -> None:
    """The sorted names come from discovery, and no plugin is sent a request."""
    host = new_host({"b": VOLUMES, "a": VOLUMES})

    assert host.registry.scan() == ["a", "b"]
    assert host.crossings == ["scan"]


def test_lookup_returns_the_address_of_a_plugin_without_activating_it(new_host: NewHost) -> None:
    """The plugin has no manifest yet; a missing plugin is an error at once, without retries."""
    host = new_host({"p": VOLUMES})

    assert host.registry.lookup("p") == Plugin(
        "p", "memory://p", TLSOptions(insecure_skip_verify=True)
    )
    with pytest.raises(PluginNotFoundError):
        host.registry.lookup("gone")
    assert host.crossings == ["look up p", "look up gone"]
    assert host.clock.sleeps == []


def test_the_first_get_of_a_plugin_makes_one_look_up_and_one_handshake(new_host: NewHost) -> None:
    """The plugin that is returned has its name, address, TLS options and manifest."""
    host = new_host({"p": VOLUMES})

    plugin = host.registry.get("p", "VolumeDriver")

    assert host.crossings == ["look up p", "send p Plugin.Activate"]
    assert isinstance(plugin, host.plugin_class)
    assert (plugin.name, plugin.addr) == ("p", "memory://p")
    assert plugin.manifest == Manifest(("VolumeDriver",))
    assert plugin.tls_config == TLSOptions(insecure_skip_verify=True)


def test_a_second_get_returns_the_same_plugin_without_any_request(new_host: NewHost) -> None:
    """The registry keeps an active plugin, and asks neither discovery nor the plugin again."""
    host = new_host({"p": VOLUMES})
    plugin = host.registry.get("p", "VolumeDriver")
    host.crossings.clear()

    assert host.registry.get("p", "VolumeDriver") is plugin
    assert host.crossings == []


def test_a_call_of_an_active_plugin_sends_one_request(new_host: NewHost) -> None:
    """The client of an active plugin sends the call and nothing else."""
    host = new_host({"p": VOLUMES})
    plugin = host.registry.get("p", "VolumeDriver")
    host.crossings.clear()

    assert host.call(plugin, "M.x") == "hello"
    assert host.crossings == ["send p M.x"]


def test_get_of_another_subsystem_of_an_active_plugin_sends_nothing(new_host: NewHost) -> None:
    """A plugin is active for all subsystems of its manifest, so the same object is returned."""
    host = new_host({"p": ["VolumeDriver", "NetworkDriver"]})

    volumes = host.registry.get("p", "VolumeDriver")

    assert host.registry.get("p", "NetworkDriver") is volumes
    assert len(host.crossings) == 2


@pytest.mark.parametrize("wanted", ["NetworkDriver", "volumedriver", ""])
def test_get_for_a_subsystem_that_the_plugin_lacks_is_an_error_listing_its_subsystems(
    new_host: NewHost,
    wanted: str,
) -> None:
    """Names of subsystems are case-sensitive, and a second ``get`` sends no second handshake."""
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
def test_get_refuses_a_name_that_is_not_text_or_is_empty_or_contains_nul(
    new_host: NewHost, name: Any
) -> None:
    """No discovery could find such a name, so no look-up is made."""
    host = new_host()

    with pytest.raises(InvalidPluginNameError):
        host.registry.get(name, "VolumeDriver")

    assert host.crossings == []


@pytest.mark.parametrize("name", [".", "..", "a/b", "../a", "a\\b"])
def test_a_name_that_discovery_refuses_is_looked_up_once_and_not_retried(
    new_host: NewHost, name: str
) -> None:
    """Discovery refuses names with a path separator, and the names ``.`` and ``..``."""
    host = new_host()

    with pytest.raises(InvalidPluginNameError):
        host.registry.get(name, "VolumeDriver")

    assert (host.crossings, host.clock.sleeps) == ([f"look up {name}"], [])


def test_a_missing_plugin_is_looked_for_five_times(new_host: NewHost) -> None:
    """The error comes at 15 s, with the number of attempts and the places that were searched."""
    host = new_host()

    with pytest.raises(PluginNotFoundError) as caught:
        host.registry.get("p", "VolumeDriver")

    assert host.clock.sleeps == [1, 2, 4, 8]
    assert host.crossings == ["look up p"] * 5
    assert str(caught.value) == (
        "plugin 'p' not found (tried 5 times in 15 s; searched memory://p)"
    )


def test_a_plugin_that_refuses_connections_is_tried_five_times_and_looked_up_once(
    new_host: NewHost,
) -> None:
    """The address that the look-up found is kept for the attempts that follow."""
    host = new_host({"p": refused()})

    with pytest.raises(TransportError) as caught:
        host.registry.get("p", "VolumeDriver")

    assert host.clock.sleeps == [1, 2, 4, 8]
    assert host.crossings == ["look up p", *["send p Plugin.Activate"] * 5]
    assert [request.attempt for request in host.lines[0].requests] == [1, 2, 3, 4, 5]
    assert (caught.value.attempts, caught.value.elapsed) == (5, 15.0)
    assert str(caught.value).startswith("plugin 'p' at memory://p: ")


def test_a_plugin_that_appears_during_get_is_found_by_the_next_look_up(new_host: NewHost) -> None:
    """The plugin appears at 3 s, just before the third look-up, and is returned at 3 s."""
    host = new_host()
    host.clock.at(3, lambda: host.add("p", VOLUMES))

    plugin = host.registry.get("p", "VolumeDriver")

    assert (plugin.name, host.clock.now()) == ("p", 3.0)
    assert host.clock.sleeps == [1, 2]
    assert host.crossings == [*["look up p"] * 3, "send p Plugin.Activate"]


def test_look_up_and_handshake_share_one_budget(new_host: NewHost) -> None:
    """A plugin that appears at 7 s and refuses connections is given up at 15 s, not at 22 s."""
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
def test_get_may_have_a_retry_policy_of_its_own(
    new_host: NewHost, policy: RetryPolicy, sleeps: list[float]
) -> None:
    """The argument ``retry`` holds for one ``get``; the next uses the registry's policy again."""
    host = new_host(retry=RetryPolicy(initial=2, factor=1, budget=5))

    with pytest.raises(PluginNotFoundError):
        host.registry.get("p", "VolumeDriver", retry=policy)
    assert host.clock.sleeps == sleeps

    with pytest.raises(PluginNotFoundError):
        host.registry.get("p", "VolumeDriver")
    assert host.clock.sleeps == [*sleeps, 2, 2]


def test_each_retry_is_one_warning(new_host: NewHost, caplog: pytest.LogCaptureFixture) -> None:
    """A plugin that is found by the third look-up has caused two warnings."""
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
def test_a_spec_file_that_cannot_be_used_is_an_error_without_retries(
    new_host: NewHost, settings: dict[str, Any]
) -> None:
    """Discovery or ``connect`` raises the ``SpecError``, which waiting would not mend."""
    host = new_host({"p": VOLUMES}, **settings)

    with pytest.raises(SpecError, match=r"^/etc/docker/plugins/p\.spec: bad address$"):
        host.registry.get("p", "VolumeDriver")

    assert host.clock.sleeps == []


def test_get_after_invalidate_finds_and_activates_the_plugin_again(new_host: NewHost) -> None:
    """After ``invalidate`` the next ``get`` shakes hands again, and the old client still works."""
    host = new_host({"p": script(*[{"Implements": [kind]} for kind in ("A", "B")])})
    old = host.registry.get("p", "A")
    host.crossings.clear()

    host.registry.invalidate("p")
    new = host.registry.get("p", "B")

    assert (old.manifest.implements, new.manifest.implements) == (("A",), ("B",))
    assert host.crossings == ["look up p", "send p Plugin.Activate"]
    assert host.call(old, "M.x") == host.call(new, "M.x") == "hello"
    assert host.closed() == [0, 0]


def test_invalidate_of_an_unknown_name_is_no_error(new_host: NewHost) -> None:
    """``invalidate`` of a name that is not active changes nothing for other plugins."""
    host = new_host({"p": VOLUMES})

    host.registry.invalidate("other")

    assert host.registry.get("p", "VolumeDriver").name == "p"


def test_closing_a_registry_closes_its_clients_and_makes_get_raise(new_host: NewHost) -> None:
    """Leaving the ``with`` block closes the client of each active plugin once."""
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


def test_get_all_of_a_closed_registry_raises_even_if_there_are_no_plugins(
    new_host: NewHost,
) -> None:
    """An empty list would say that the host has no plugins."""
    host = new_host({})
    host.registry.close()

    with pytest.raises(RuntimeError, match=r"^this registry is closed$"):
        host.registry.get_all()
