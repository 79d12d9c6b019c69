"""What a registry knows of one name: running, active, failed, abandoned."""

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


def test_an_active_plugin_is_had_without_asking_the_clock() -> None:
    """A warm ``get`` never waits, so that it can be made before every call."""
    clock = NotedClock()
    transport = MemoryTransport({"Plugin.Activate": {"Implements": ["VolumeDriver"]}}, clock=clock)
    registry = Registry(discovery=MemoryDiscovery(["p"]), connect=transport.connect, clock=clock)
    plugin = registry.get("p", "VolumeDriver")
    operations = clock.operations

    assert registry.get("p", "VolumeDriver") is plugin
    assert (operations > 0, clock.operations) == (True, operations)


def test_an_active_plugin_is_a_value_whoever_is_its_client() -> None:
    """A plugin that was activated again, and is what it was, equals the one before."""
    host = MemoryHost({"p": ["VolumeDriver"]})
    before = host.registry.get("p", "VolumeDriver")

    host.registry.invalidate("p")
    after = host.registry.get("p", "VolumeDriver")

    assert after is not before
    assert after == before
    assert repr(after) == repr(before)


def test_an_activation_is_claimed_once_and_settled_once() -> None:
    """One caller has the lead, others share it; a second outcome changes nothing."""
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
    """An interrupt is its thread's own: those that waited get neither plugin nor error."""
    activation = Activation[ActivePlugin]("p", leader=None)

    states = [activation.abandoned]
    activation.settle(None, KeyboardInterrupt())
    states.append(activation.abandoned)

    assert states == [False, True]
    assert activation.outcome(FakeClock()) is None


def test_one_that_was_forgotten_while_it_was_running_takes_no_place() -> None:
    """It is its callers' alone, whichever of the two is active first; closing closes the other."""
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
    """Whichever thread is the first to report: each is reported once."""
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


def test_a_managed_plugin_that_was_installed_again_takes_the_place_of_the_other(
    managed: ActivePlugin,
) -> None:
    """Observers are told, each by the name that the plugin has itself."""
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
    """No name leads to it any more, but it is active until it is dropped."""
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


def test_loops_share_the_plugin_that_was_active_first(managed: ActivePlugin) -> None:
    """Of two that tasks activate at once; a closed registry has none to share."""
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


def test_what_is_abandoned_leaves_no_handler_uncalled(managed: ActivePlugin) -> None:
    """Those of plugins that became active are given to the caller, once; the rest is no event."""
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


def test_a_plugin_is_dropped_by_each_of_its_names(managed: ActivePlugin) -> None:
    """And with one of them, all lead to nothing; so they do if it is installed again."""
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
