"""Discovery in memory: the plugins are those that a test adds."""

import threading
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from moby_plugins.domain.errors import PluginNotFoundError
from moby_plugins.domain.plugin import Plugin, check_plugin_name


class MemoryDiscovery:
    """Finds the plugins it was given: names, a mapping of names to addresses, or ``Plugin`` values.

    A name alone gets the address ``memory://NAME``, escaped. ``scans`` counts the scans,
    ``lookups`` lists the names looked up. Threads may share it.
    """

    def __init__(self, plugins: Iterable[str | Plugin] | Mapping[str, str] = ()) -> None:
        self.scans = 0
        self.lookups: list[str] = []
        self._lock = threading.Lock()
        self._plugins: dict[str, Plugin] = {}
        pairs = plugins.items() if isinstance(plugins, Mapping) else ((p, "") for p in plugins)
        for plugin, addr in pairs:
            self.add(plugin, addr)

    def add(self, plugin: str | Plugin, addr: str = "") -> None:
        """Make a plugin appear, or change its address."""
        if isinstance(plugin, str):
            addr = addr or "memory://" + quote(plugin, errors="surrogateescape")
            plugin = Plugin.local(plugin, addr)
        with self._lock:
            self._plugins[plugin.name] = plugin

    def remove(self, name: str) -> None:
        """Make a plugin disappear; one that is not there is no error."""
        with self._lock:
            self._plugins.pop(name, None)

    def scan(self) -> list[str]:
        """The names of the plugins that are there now, sorted."""
        with self._lock:
            self.scans += 1
            return sorted(self._plugins)

    def lookup(self, name: str) -> Plugin:
        """The plugin by that name, or ``PluginNotFoundError``."""
        check_plugin_name(name)
        with self._lock:
            self.lookups.append(name)
            plugin = self._plugins.get(name)
        if plugin is None:
            raise PluginNotFoundError(name, [f"memory://{name}"])
        return plugin
