"""The contract of every ``Discovery``."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import pytest

from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import InvalidPluginNameError, PluginNotFoundError
from moby_plugins.domain.plugin import Manifest
from moby_plugins.ports import Discovery

NO_NAMES = ["", ".", "..", "a/b", "/a", "a/", "../a", "a\\b", "a\0b"]
# Unusual names that a file can have; the last is a byte that is not UTF-8.
ODD_NAMES = ["a b", "50%", "%41", "a?b#c", "a.spec", "...", ".hidden", "ü", "a\nb", "\udcff"]


class Place(Protocol):
    """A place in which a discovery under test finds plugins; tests add and remove them.

    Attributes:
        discovery: The discovery.
    """

    discovery: Discovery

    def add(self, name: str, addr: str) -> None:
        """Add a plugin, or change its address.

        Args:
            name: The plugin's name.
            addr: The plugin's address.
        """
        ...

    def remove(self, name: str) -> None:
        """Remove a plugin.

        Args:
            name: The plugin's name.
        """
        ...


class DiscoveryContract:
    """The contract of every ``Discovery``, as a pytest suite: subclass it with a fixture ``place``.

    The fixture returns an empty ``Place`` with the discovery under test.

    Attributes:
        NO_NAMES: Invalid names.
        ABSENT_NAMES: Valid names that no plugin can have.
        ODD_NAMES: Unusual, but valid names, which the discovery must find.
        OTHER_NAMES: Names that do not match a plugin called "db2".
        NAMES: Valid names, not in sorted order.
        MANIFEST: The manifest of a plugin that was looked up.

    Examples:
        ```python
        import pytest

        from moby_plugins.testing import MemoryDiscovery
        from moby_plugins.testing.contracts import DiscoveryContract


        class InMemory:
            def __init__(self):
                self.discovery = MemoryDiscovery()
                self.add = self.discovery.add
                self.remove = self.discovery.remove


        class TestMyDiscovery(DiscoveryContract):
            @pytest.fixture
            def place(self):
                return InMemory()
        ```
    """

    NO_NAMES: Sequence[str] = NO_NAMES
    ABSENT_NAMES: Sequence[str] = ("\ud800", "a\udfffb")
    ODD_NAMES: Sequence[str] = ODD_NAMES
    OTHER_NAMES: Sequence[str] = ("d", "DB", "db3", "db ")
    NAMES: Sequence[str] = ("b", "ü", "a", "B", "10", "9")
    MANIFEST = Manifest(())

    def found_as(self, name: str) -> str:
        """Return the name of a plugin that was added as ``name``."""
        return name

    def found_at(self, place: Place, name: str, addr: str) -> str:  # noqa: ARG002  for subclasses
        """Return the address of a plugin that was added as ``name`` with ``addr``."""
        return addr

    def test_an_empty_place_has_no_plugins(self, place: Place) -> None:
        """A scan of an empty place returns no names, and raises no error."""
        assert place.discovery.scan() == []

    def test_a_scan_is_sorted(self, place: Place) -> None:
        """Names come in the order of their code points, however they were added."""
        for name in self.NAMES:
            place.add(name, "tcp://h:1")

        assert place.discovery.scan() == sorted(map(self.found_as, self.NAMES))

    def test_a_look_up_finds_the_plugin(self, place: Place) -> None:
        """The plugin has the requested name, its address unchanged, and ``MANIFEST``."""
        place.add("db", "TCP://h:1/dropped")

        plugin = place.discovery.lookup("db")

        assert plugin.name == self.found_as("db")
        assert plugin.addr == self.found_at(place, "db", "TCP://h:1/dropped")
        assert plugin.address == Address(plugin.addr)
        assert plugin.manifest == self.MANIFEST

    def test_a_look_up_finds_the_plugin_by_that_name_and_no_other(self, place: Place) -> None:
        """Only the whole name matches, in the same upper and lower case."""
        place.add("db", "tcp://h:1")
        place.add("db2", "tcp://h:2")

        plugin = place.discovery.lookup("db2")
        assert (plugin.name, plugin.addr) == (
            self.found_as("db2"),
            self.found_at(place, "db2", "tcp://h:2"),
        )
        for other in self.OTHER_NAMES:
            with pytest.raises(PluginNotFoundError):
                place.discovery.lookup(other)

    def test_a_plugin_that_is_not_there_is_not_found(self, place: Place) -> None:
        """The error has the plugin's name, and the places that were searched."""
        place.add("other", "tcp://h:1")

        with pytest.raises(PluginNotFoundError) as caught:
            place.discovery.lookup("db")

        assert caught.value.name == "db"
        assert caught.value.searched
        assert all("db" in searched for searched in caught.value.searched)
        assert (caught.value.attempts, caught.value.elapsed) == (1, 0.0)

    def test_a_name_that_is_none_is_refused(self, place: Place) -> None:
        """A name that no plugin may have raises another error than a missing plugin."""
        for name in self.NO_NAMES:
            with pytest.raises(InvalidPluginNameError) as caught:
                place.discovery.lookup(name)
            assert caught.value.name == name

    def test_a_name_that_no_file_could_have_is_not_found(self, place: Place) -> None:
        """An unpaired surrogate, which JSON can contain, is the name of no plugin."""
        for name in self.ABSENT_NAMES:
            with pytest.raises(PluginNotFoundError):
                place.discovery.lookup(name)

    def test_a_scan_lists_what_a_look_up_finds(self, place: Place) -> None:
        """A scan returns the names that can be looked up, unchanged, and no others."""
        for name in self.ODD_NAMES:
            place.add(name, "tcp://h:1")
        names = [*map(self.found_as, self.ODD_NAMES)]

        assert place.discovery.scan() == sorted(names)
        assert [place.discovery.lookup(name).name for name in self.ODD_NAMES] == names
        assert [place.discovery.lookup(name).name for name in names] == names

    def test_nothing_is_remembered(self, place: Place) -> None:
        """After a plugin is added, changed or removed, the next call sees the change."""
        a, b = self.found_as("a"), self.found_as("b")
        place.add("a", "tcp://h:1")
        first = self.found_at(place, "a", "tcp://h:1")
        place.discovery.scan().clear()
        before = (place.discovery.scan(), place.discovery.lookup("a").addr)

        place.add("a", "tcp://h:2")
        place.add("b", "tcp://h:3")
        second = self.found_at(place, "a", "tcp://h:2")
        after = (place.discovery.scan(), place.discovery.lookup("a").addr)
        place.remove("a")

        assert first != second
        assert before == ([a], first)
        assert after == ([a, b], second)
        assert place.discovery.scan() == [b]
        with pytest.raises(PluginNotFoundError):
            place.discovery.lookup("a")

    def test_threads_may_share_it(self, place: Place) -> None:
        """Calls in several threads at once return the same as calls one after the other."""
        for number in range(10):
            place.add(f"p{number}", f"tcp://h:{number + 1}")
        names = place.discovery.scan()

        with ThreadPoolExecutor(4) as pool:
            scans = [pool.submit(place.discovery.scan) for _ in range(20)]
            plugins = list(pool.map(place.discovery.lookup, names * 5))

        assert [scan.result() for scan in scans] == [names] * 20
        assert [plugin.name for plugin in plugins] == names * 5
