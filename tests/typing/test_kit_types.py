"""The types of fault servers, contract suites and strategies: read, and never run."""

from pathlib import Path
from typing import Any, assert_type

from hypothesis.strategies import SearchStrategy, floats

import moby_plugins as mp
from moby_plugins.domain.address import Address, ServerTLS
from moby_plugins.ports import Clock, Connect, Transport
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import Volume, VolumeDriver
from moby_plugins.testing import Calls, FakeClock, FaultServer, MemoryTransport, refused, script
from moby_plugins.testing.contracts import (
    BEHAVIOURS,
    Behaviour,
    ClockContract,
    PluginThat,
    TransportContract,
)
from moby_plugins.testing.strategies import (
    MethodCall,
    PluginTree,
    Spec,
    messages,
    method_calls,
    names,
    plugin_trees,
    retry_policies,
    specs,
)


def a_fault_server_takes_what_memory_takes(path: Path) -> None:
    """It takes apps, tables, scripts and faults; its ``connect`` makes a transport."""
    with FaultServer.unix({"M.x": script(refused(), 1)}, path, clock=FakeClock()) as server:
        assert_type(server, FaultServer)
        assert_type(server.addr, str)
        assert_type(server.calls, Calls)
        connect: Connect = server.connect
        mp.Settings(transports={"unix": connect})
    FaultServer.tcp(PluginApp(VolumeDriver()), "127.0.0.1", tls=ServerTLS("cert", "key"))
    FaultServer.unix(refused(), "/p.sock", connect=MemoryTransport({}).connect)
    FaultServer.tcp(3)  # type: ignore[arg-type]  # no plugin
    for plugin in (FaultServer.tcp({}), MemoryTransport({})):
        transport: Transport = plugin.connect(Address("tcp://h:1"), None)
        transport.close()


class TestMine(TransportContract):
    """A subclass of a contract suite, with fixtures of the types that the suite names."""

    REFUSED = "nobody there"

    def plugin_that(self) -> PluginThat:
        """Return a function that makes a transport to a plugin with a given behaviour."""

        def connect(behaviour: Behaviour) -> Transport:
            return MemoryTransport(BEHAVIOURS[behaviour])

        return connect


def a_contract_suite_takes_an_implementation_of_its_port(clock: FakeClock) -> None:
    """The tests of the suite have a parameter of the port's type."""
    taken: Clock = clock
    ClockContract().test_now_never_runs_backwards(taken)
    TestMine().plugin_that()("talks")  # type: ignore[arg-type]  # one of the ways


def strategies_have_the_type_of_what_they_draw() -> None:
    """Thus the type checker checks the parameters of a property."""
    assert_type(names(), SearchStrategy[str])
    assert_type(specs(), SearchStrategy[Spec])
    assert_type(retry_policies(), SearchStrategy[mp.RetryPolicy])
    assert_type(plugin_trees(names()), SearchStrategy[PluginTree])
    assert_type(method_calls(VolumeDriver, "create"), SearchStrategy[MethodCall])
    volumes: SearchStrategy[Volume] = messages(Volume, {(Volume, "name"): names()})
    anything: SearchStrategy[Any] = messages(list[int], {(Volume, "size"): floats()})
    assert volumes is not anything
