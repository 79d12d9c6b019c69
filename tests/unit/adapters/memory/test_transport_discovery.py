"""Discovery in memory: it keeps the contract, and counts scans and look-ups for a test."""

import pytest

from moby_plugins import InvalidPluginNameError, Plugin, PluginNotFoundError, SpecError, TLSOptions
from moby_plugins.ports import Discovery
from moby_plugins.testing import MemoryDiscovery
from moby_plugins.testing.contracts import DiscoveryContract
from moby_plugins.testing.contracts.discovery import ODD_NAMES


class InMemory:
    """A place that a test furnishes by the fake's own means."""

    def __init__(self) -> None:
        memory = MemoryDiscovery()
        self.discovery: Discovery = memory
        self.add = memory.add
        self.remove = memory.remove


class TestMemoryDiscovery(DiscoveryContract):
    """The fake is a discovery like any other."""

    @pytest.fixture
    def place(self) -> InMemory:
        """An empty memory."""
        return InMemory()


def test_a_plugin_that_is_given_by_name_alone_has_an_address_in_memory() -> None:
    """It can be found whatever its name is, and no other plugin has its address."""
    discovery = MemoryDiscovery(["a.b-c_d", *ODD_NAMES])

    plugins = [discovery.lookup(name) for name in ODD_NAMES]

    assert discovery.lookup("a.b-c_d").addr == "memory://a.b-c_d"
    assert {plugin.address.scheme for plugin in plugins} == {"memory"}
    assert len({plugin.addr for plugin in plugins}) == len(ODD_NAMES)


def test_plugins_can_be_given_in_three_forms() -> None:
    """They are names, names with addresses, and ``Plugin`` objects."""
    tls = TLSOptions(ca_file="/ca.pem")
    whole = Plugin("c", "https://h:1", tls)

    assert MemoryDiscovery(["a", whole]).lookup("c") is whole
    assert MemoryDiscovery(["a"]).lookup("a") == Plugin.local("a", "memory://a")
    assert MemoryDiscovery({"b": "tcp://h:1"}).lookup("b") == Plugin.local("b", "tcp://h:1")


@pytest.mark.parametrize(
    ("name", "addr", "error"),
    [("a/b", "", InvalidPluginNameError), ("a", "localhost:80", SpecError)],
)
def test_a_plugin_with_an_invalid_name_or_address_cannot_be_added(
    name: str, addr: str, error: type[Exception]
) -> None:
    """A test sees its mistake where it makes it."""
    with pytest.raises(error):
        MemoryDiscovery().add(name, addr)


def test_removing_a_plugin_that_does_not_exist_is_no_error() -> None:
    """A test may clean up without checking first."""
    discovery = MemoryDiscovery(["a"])

    discovery.remove("b")

    assert discovery.scan() == ["a"]


def test_scans_and_look_ups_are_counted() -> None:
    """``scans`` and ``lookups`` include look-ups that fail, but not those of invalid names."""
    discovery = MemoryDiscovery(["a"])

    discovery.scan()
    discovery.lookup("a")
    with pytest.raises(PluginNotFoundError):
        discovery.lookup("b")
    with pytest.raises(InvalidPluginNameError):
        discovery.lookup("../a")
    discovery.scan()

    assert discovery.scans == 2
    assert discovery.lookups == ["a", "b"]
