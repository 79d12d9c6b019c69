"""Discovery of plugins that are given by name: in code, or in settings. No directory is read."""

from collections.abc import Mapping

from attrs import field, frozen

from moby_plugins.domain.errors import PluginNotFoundError, SpecError
from moby_plugins.domain.plugin import Candidate, Plugin, Stray, check_plugin_name, plugin_given
from moby_plugins.domain.text import listed, quoted, shown


def _place(name: str) -> str:
    # Where a person finds the plugin described: as TOML has it.
    return f"[plugins] {name}"


@frozen(repr=False)
class StaticDiscovery:
    """A discovery of the plugins that it was given: ``StaticDiscovery({"shelf": "unix:///s"})``.

    ``plugins`` are addresses by name, or ``Plugin`` values for those that take TLS options. The
    plugin at an ``https`` address is verified against the system's roots. Later changes of the
    mapping count: nothing is remembered, so a name or an address that cannot be one is an error
    of the look-up too. Threads may share it. Raises ``TypeError``, ``SpecError`` and
    ``InvalidPluginNameError`` for what cannot be used.
    """

    plugins: Mapping[str, str | Plugin] = field()

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.plugins, Mapping):
            raise TypeError(f"plugins are a table from name to address, not {quoted(self.plugins)}")
        for name in self.plugins:
            self._plugin(name)

    def scan(self) -> list[str]:
        """The names, sorted."""
        return sorted(self.plugins)

    def lookup(self, name: str) -> Plugin:
        """The plugin by that name, or ``PluginNotFoundError``."""
        if check_plugin_name(name) not in self.plugins:
            raise PluginNotFoundError(name, [_place(name)])
        return self._plugin(name)

    def candidates(self, name: str) -> list[Candidate]:
        """The plugin by that name, if there is one."""
        if check_plugin_name(name) not in self.plugins:
            return []
        return [Candidate(_place(name), self._plugin(name))]

    def strays(self) -> list[Stray]:
        """Nothing: there are no files."""
        return []

    def _plugin(self, name: str) -> Plugin:
        try:
            return plugin_given(name, self.plugins[name])
        except SpecError as error:
            raise SpecError(error.reason, _place(name)) from error
        except TypeError as error:
            raise TypeError(f"{_place(shown(name))}: {error}") from error

    def __repr__(self) -> str:
        return f"StaticDiscovery({listed(map(quoted, self.scan()))})"
