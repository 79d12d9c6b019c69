"""The states of an activation in a registry: running, active, failed, abandoned."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from attrs import evolve

from moby_plugins.app.activation import Activation, Activations, ActivePlugin
from moby_plugins.app.observing import Observers
from moby_plugins.app.registry import Registry
from moby_plugins.domain.plugin import Managed
from moby_plugins.ports import ActivationFailed, PluginActivated, PluginDropped
from moby_plugins.testing import FakeClock, MemoryDiscovery, MemoryTransport
from tests.observers import Notes
from tests.unit.app.in_memory import MemoryHost


class NotedClock(FakeClock):
    """A fake clock that counts the operations that take part in it."""

    operations = 0

    @contextmanager
    def working(self) -> Iterator[None]:
        """One more."""
        self.operations += 1
        with super().working():
            yield


def test_a_get_of_an_active_plugin_does_not_use_the_clock() -> None:
    """``get`` of an active plugin never waits, so a host can call it before each request."""
    clock = NotedClock()
    transport = MemoryTransport({"Plugin.Activate": {"Implements": ["VolumeDriver"]}}, clock=clock)
    registry = Registry(discovery=MemoryDiscovery(["p"]), connect=transport.connect, clock=clock)
    plugin = registry.get("p", "VolumeDriver")
    operations = clock.operations

    assert registry.get("p", "VolumeDriver") is plugin
    assert (operations > 0, clock.operations) == (True, operations)


def test_active_plugins_are_equal_even_if_their_clients_differ() -> None:
    """A plugin that was activated again and is unchanged equals the one before."""
    host = MemoryHost({"p": ["VolumeDriver"]})
    before = host.registry.get("p", "VolumeDriver")

    host.registry.invalidate("p")
    after = host.registry.get("p", "VolumeDriver")

    assert after is not before
    assert after == before
    assert repr(after) == repr(before)


def test_an_activation_is_claimed_once_and_settled_once() -> None:
    """The first caller leads the activation, others share it; only the first outcome counts."""
    activations = Activations[ActivePlugin]()
    activation, leading = activations.claim("p", leader=None)

    assert leading
    assert activations.claim("p", leader=None) == (activation, False)
    activations.settle(activation, None, KeyError("first"))
    activations.settle(activation, None, KeyError("second"))
    with pytest.raises(KeyError, match="first"):
        activation.outcome(FakeClock())
    assert activations.claim("p", leader=None)[0] is not activation


def test_an_activation_whose_leader_was_interrupted_is_abandoned() -> None:
    """A KeyboardInterrupt concerns one thread: those that wait get neither plugin nor error."""
    activation = Activation[ActivePlugin]("p", leader=None)

    states = [activation.abandoned]
    activation.settle(None, KeyboardInterrupt())
    states.append(activation.abandoned)

    assert states == [False, True]
    assert activation.outcome(FakeClock()) is None


def test_an_activation_that_was_dropped_while_it_ran_does_not_store_its_plugin() -> None:
    """Callers of the dropped one get its plugin; that of the newer activation stays active."""
    host = MemoryHost({"p": ["VolumeDriver"]})
    plugin = host.registry.get("p")
    other = evolve(plugin, client=plugin.client)
    activations = Activations[ActivePlugin]()
    forgotten, _ = activations.claim("p", None)
    activations.drop("p")
    current, _ = activations.claim("p", None)

    activations.settle(current, plugin)
    activations.settle(forgotten, other)

    assert forgotten.plugin is other
    assert activations.active("p") is plugin
    assert activations.count() == 1
    [closed] = activations.close()
    assert closed is plugin


@pytest.mark.parametrize("end", ["drop", "close"])
def test_events_are_reported_in_the_order_in_which_they_happened(end: str) -> None:
    """Observers get each event once, although ``report`` is called several times."""
    host = MemoryHost({"p": ["VolumeDriver"]})
    plugin = host.registry.get("p")
    notes = Notes()
    activations = Activations[ActivePlugin](Observers([notes]))
    failed, _ = activations.claim("p", None)
    activations.settle(failed, None, KeyError("first"), 1.0)
    activation, _ = activations.claim("p", None)
    activations.settle(activation, plugin, None, 2.0)
    activations.close() if end == "close" else activations.drop("p")
    assert notes.events == []

    activations.report("p")
    activations.report("p", "p")

    assert notes.events == [
        ActivationFailed("p", failed.error, 1.0),  # type: ignore[arg-type]  # it is set
        PluginActivated(plugin, 2.0),
        PluginDropped(plugin),
    ]


@pytest.fixture
def managed() -> ActivePlugin:
    """An active managed plugin: its own name has a tag."""
    found = MemoryHost({"p": ["VolumeDriver"]}).registry.get("p")
    return evolve(found, name="p:latest", managed=Managed("/old"))


def test_a_managed_plugin_that_was_installed_again_replaces_the_earlier_one(
    managed: ActivePlugin,
) -> None:
    """Observers see the end of the earlier plugin, then the activation of the new one."""
    notes = Notes()
    activations = Activations[ActivePlugin](Observers([notes]))
    before, _ = activations.claim("p", None)
    activations.settle(before, managed, None, 1.0)
    other, _ = activations.claim("q", None)
    activations.settle(other, evolve(managed, name="q:latest", client=managed.client))
    again = evolve(managed, managed=Managed("/new"), client=managed.client)

    activations.recheck(managed)
    assert activations.active("p") is None
    after, leading = activations.claim("p", None)
    activations.settle(after, again, None, 2.0)
    activations.report("p:latest")

    assert leading
    assert activations.active("p") is again
    assert activations.active("q") is not None
    assert notes.events == [
        PluginActivated(managed, 1.0),
        PluginDropped(managed),
        PluginActivated(again, 2.0),
    ]
    assert activations.close() == [again, other.plugin]


def test_a_plugin_that_was_rechecked_is_dropped_by_its_own_name(managed: ActivePlugin) -> None:
    """After ``recheck`` no name returns the plugin, but it is active until it is dropped."""
    activations = Activations[ActivePlugin]()
    activation, _ = activations.claim("p", None)
    activations.settle(activation, managed)

    activations.recheck(evolve(managed, managed=Managed("/another"), client=managed.client))
    assert activations.active("p") is managed
    activations.recheck(managed)
    assert activations.active("p") is None

    assert activations.drop("q") is None
    assert activations.drop("p:latest") is managed
    assert activations.drop("p:latest") is None
    assert activations.close() == []


def test_event_loops_share_the_plugin_that_was_activated_first(managed: ActivePlugin) -> None:
    """If tasks activate a plugin twice at once, the first counts; a closed registry raises."""
    plugin = evolve(managed, name="p", managed=None, client=managed.client)
    activations = Activations[ActivePlugin]()

    first = activations.share("p", plugin, 1.0)
    second = activations.share("p", evolve(plugin, client=plugin.client), 1.0)
    assert first.plugin is plugin
    assert second is first
    other = activations.share("q", evolve(plugin, name="q", client=plugin.client), 1.0)
    assert other is not first

    activations.close()
    with pytest.raises(RuntimeError, match=r"^this registry is closed$"):
        activations.share("p", plugin, 1.0)


def test_abandoning_activations_returns_the_handler_calls_that_are_still_to_be_made(
    managed: ActivePlugin,
) -> None:
    """Each call is returned once; an activation that was still running causes no event."""
    notes = Notes()
    activations = Activations[ActivePlugin](Observers([notes]))
    activations.add_handler("VolumeDriver", print)
    active, _ = activations.claim("p", None)
    running, _ = activations.claim("q", None)
    activations.settle(active, managed, None, 1.0)

    assert activations.abandon([active, running]) == [(print, managed)]
    assert activations.abandon([active, running]) == []
    assert activations.take_pending_calls(active) == []
    activations.report("q")
    assert (running.abandoned, notes.events) == (True, [])


def test_dropping_a_plugin_by_one_of_its_names_removes_all_its_names(managed: ActivePlugin) -> None:
    """Activating a plugin that was installed again removes the earlier one's names, too."""
    activations = Activations[ActivePlugin]()
    again = evolve(managed, managed=Managed("/new"), client=managed.client)
    for name in ("p", "p:latest"):
        activation, _ = activations.claim(name, None)
        activations.settle(activation, managed)

    assert activations.drop("p") is managed
    assert (activations.active("p"), activations.active("p:latest")) == (None, None)

    for name, plugin in (("p:latest", managed), ("p", again)):
        activation, _ = activations.claim(name, None)
        activations.settle(activation, plugin)
    assert (activations.active("p"), activations.active("p:latest")) == (again, None)
