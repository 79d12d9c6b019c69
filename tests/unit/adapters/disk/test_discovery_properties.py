"""Properties of the discovery in memory, whatever plugins are put into it."""

from hypothesis import given
from hypothesis import strategies as st

from moby_plugins import Plugin
from moby_plugins.testing import MemoryDiscovery
from moby_plugins.testing.strategies import plugins


@given(st.lists(plugins(), max_size=5))
def test_a_scan_in_memory_lists_what_a_look_up_finds(given_plugins: list[Plugin]) -> None:
    """Each name is listed once, in order, and gives the last plugin of that name."""
    discovery = MemoryDiscovery(given_plugins)
    last = {plugin.name: plugin for plugin in given_plugins}

    assert discovery.scan() == sorted(last)
    assert {name: discovery.lookup(name) for name in discovery.scan()} == last
