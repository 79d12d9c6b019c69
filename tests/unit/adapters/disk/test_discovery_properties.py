"""What holds for whatever a test puts into memory."""

from hypothesis import given
from hypothesis import strategies as st

from moby_plugins import Plugin
from moby_plugins.testing import MemoryDiscovery
from moby_plugins.testing.strategies import plugins


@given(st.lists(plugins(), max_size=5))
def test_a_scan_in_memory_lists_what_a_look_up_finds(given_plugins: list[Plugin]) -> None:
    """Each name once, in order, and the last plugin by that name."""
    discovery = MemoryDiscovery(given_plugins)
    last = {plugin.name: plugin for plugin in given_plugins}

    assert discovery.scan() == sorted(last)
    assert {name: discovery.lookup(name) for name in discovery.scan()} == last
