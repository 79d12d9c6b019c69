"""Discovery of plugins that are given by name, in code or in settings, without directories."""

from collections.abc import Mapping

from attrs import field, frozen

from moby_plugins.domain.errors import PluginNotFoundError, SpecError
from moby_plugins.domain.plugin import (
    Candidate,
    IgnoredFile,
    Plugin,
    check_plugin_name,
    plugin_given,
)
from moby_plugins.domain.text import listed, quoted, shown


def _origin(name: str) -> str:
    # What messages show as its path: the table and key in a settings file.
    return f"[plugins] {name}"


@frozen(repr=False)
class StaticDiscovery:
    """A discovery of given plugins, which reads no directory and needs no root rights.

    The mapping is not copied, so look-ups see later changes, and raise the errors of invalid names
    and addresses in them. Threads may share it; there is nothing to close.

    Args:
        plugins: Addresses by name, or ``Plugin`` values for those with TLS options. A plugin at an
            ``https`` address is verified against the system's roots.

    Raises:
        TypeError: If ``plugins`` is not a mapping, or a value is neither an address nor a
            ``Plugin``.
        SpecError: For an address that cannot be used.
        InvalidPluginNameError: For an invalid name.

    Examples:
        ```python
        from moby_plugins import StaticDiscovery, new_local_registry

        discovery = StaticDiscovery({"shelf": "unix:///home/ada/shelf.sock"})
        with new_local_registry(discovery=discovery) as registry:
            assert registry.scan() == ["shelf"]
        ```
    """

    plugins: Mapping[str, str | Plugin] = field()

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.plugins, Mapping):
            raise TypeError(
                f"plugins must be a mapping from name to address, not {quoted(self.plugins)}"
            )
        for name in self.plugins:
            self._plugin(name)

    @property
    def is_local(self) -> bool:
        """True, because look-ups only read the given mapping."""
        return True

    def scan(self) -> list[str]:
        """Return the names of the given plugins, sorted."""
        return sorted(self.plugins)

    def lookup(self, name: str) -> Plugin:
        """Return the plugin ``name``.

        Args:
            name: The plugin's name.

        Returns:
            The plugin as it was given.

        Raises:
            PluginNotFoundError: If no plugin has the name.
            InvalidPluginNameError: For an invalid name.
            SpecError: For an address that cannot be used.
        """
        if check_plugin_name(name) not in self.plugins:
            raise PluginNotFoundError(name, [_origin(name)])
        return self._plugin(name)

    def candidates(self, name: str) -> list[Candidate]:
        """Return the plugin ``name`` as the only candidate, or an empty list.

        Args:
            name: The plugin's name.

        Returns:
            One candidate, or none.
        """
        if check_plugin_name(name) not in self.plugins:
            return []
        return [Candidate(_origin(name), self._plugin(name))]

    def ignored(self) -> list[IgnoredFile]:
        """Return an empty list: no files are read, so none are ignored."""
        return []

    def _plugin(self, name: str) -> Plugin:
        try:
            return plugin_given(name, self.plugins[name])
        except SpecError as error:
            raise SpecError(error.reason, _origin(name)) from error
        except TypeError as error:
            raise TypeError(f"{_origin(shown(name))}: {error}") from error

    def __repr__(self) -> str:
        return f"StaticDiscovery({listed(map(quoted, self.scan()))})"
