"""Fixtures for pytest: a clock, plugins in memory and on sockets, a registry of each.

Installed with the library and inert until used: it has no options and no hooks, and a
fixture loads what it needs when a test first asks for it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from moby_plugins.testing import (
        FakeClock,
        LivePlugins,
        MemoryRegistry,
        MemoryTransports,
        PluginDirectory,
    )

# The contract suites assert as tests do.
pytest.register_assert_rewrite("moby_plugins.testing.contracts")


@pytest.fixture
def fake_clock() -> FakeClock:
    """A clock of the test's own: waiting takes no time, the schedule is exact, over all threads."""
    from moby_plugins.testing import FakeClock

    return FakeClock()


@pytest.fixture
def memory_transport(fake_clock: FakeClock) -> Iterator[MemoryTransports]:
    """Make a plugin in memory, on ``fake_clock``: ``memory_transport({method: reply})``.

    ``memory_transport.strict({…})`` makes one of which no reply may be left at the end.
    """
    from moby_plugins.testing import MemoryTransports

    made = MemoryTransports(fake_clock)
    yield made
    made.assert_used_up()


@pytest.fixture
def plugin_registry(fake_clock: FakeClock) -> Iterator[MemoryRegistry]:
    """A registry of plugins in memory, on ``fake_clock``: ``plugin_registry.add(name, plugin)``."""
    from moby_plugins.testing import MemoryRegistry

    with MemoryRegistry(clock=fake_clock) as registry:
        yield registry


@pytest.fixture
def default_registry(plugin_registry: MemoryRegistry) -> Iterator[MemoryRegistry]:
    """``plugin_registry``, also behind ``moby_plugins.get``, ``get_all``, ``scan``, ``handle``."""
    from moby_plugins import using_registry

    with using_registry(plugin_registry):
        yield plugin_registry


@pytest.fixture
def plugin_dir() -> Iterator[PluginDirectory]:
    """Directories of real sockets, specs and links, under a short path, with ``settings``."""
    from moby_plugins.testing import PluginDirectory

    with tempfile.TemporaryDirectory(prefix="mp-") as path, PluginDirectory(Path(path)) as made:
        yield made


@pytest.fixture
def live_plugin(plugin_dir: PluginDirectory) -> Iterator[LivePlugins]:
    """Serve a plugin on a real UNIX socket in ``plugin_dir``: ``live_plugin(app).client``."""
    from moby_plugins.testing import LivePlugins

    with LivePlugins(plugin_dir.sockets) as plugins:
        yield plugins
