"""Discovery in memory, held to the contract, and what it tells a test besides."""

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


def test_a_name_alone_has_an_address_in_memory() -> None:
    """Whatever the name, the plugin can be found, and its address tells it from others."""
    discovery = MemoryDiscovery(["a.b-c_d", *ODD_NAMES])

    plugins = [discovery.lookup(name) for name in ODD_NAMES]

    assert discovery.lookup("a.b-c_d").addr == "memory://a.b-c_d"
    assert {plugin.address.scheme for plugin in plugins} == {"memory"}
    assert len({plugin.addr for plugin in plugins}) == len(ODD_NAMES)


def test_plugins_can_be_given_in_three_forms() -> None:
    """Names, names with addresses, and plugins with everything."""
    tls = TLSOptions(ca_file="/ca.pem")
    whole = Plugin("c", "https://h:1", tls)

    assert MemoryDiscovery(["a", whole]).lookup("c") is whole
    assert MemoryDiscovery(["a"]).lookup("a") == Plugin.local("a", "memory://a")
    assert MemoryDiscovery({"b": "tcp://h:1"}).lookup("b") == Plugin.local("b", "tcp://h:1")


@pytest.mark.parametrize(
    ("name", "addr", "error"),
    [("a/b", "", InvalidPluginNameError), ("a", "localhost:80", SpecError)],
)
def test_what_cannot_be_a_plugin_cannot_be_added(
    name: str, addr: str, error: type[Exception]
) -> None:
    """A test learns of its mistake where it makes it."""
    with pytest.raises(error):
        MemoryDiscovery().add(name, addr)


def test_removing_what_is_not_there_is_no_error() -> None:
    """A test may clean up without asking."""
    discovery = MemoryDiscovery(["a"])

    discovery.remove("b")

    assert discovery.scan() == ["a"]


def test_what_was_asked_is_counted() -> None:
    """``scans`` and ``lookups`` tell what crossed the port, failures included."""
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
