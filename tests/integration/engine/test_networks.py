"""A network driver and its addresses under a real Docker engine (protocol.md B3 and B4)."""

import re
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.integration.components import requires
from tests.integration.engine.dockerd import IMAGE, Engine
from tests.integration.engine.plugin_process import PluginProcess, StartPlugin

pytestmark = requires("docker.io", "dockerd", "docker", "busybox", root=True)


ADDRESSES = ("--subnet", "10.231.77.0/24", "--gateway", "10.231.77.1")


@pytest.fixture(scope="module")
def null(start_plugin: StartPlugin) -> PluginProcess:
    """Both drivers in one plugin."""
    return start_plugin("null", Path(__file__).with_name("null_network.py"))


def create(engine: Engine, null: PluginProcess, *words: str) -> CompletedProcess[str]:
    """Make a network with both drivers of ours."""
    drivers = ("-d", null.name, "--ipam-driver", null.name)
    return engine.try_docker("network", "create", *drivers, *words)


def calls(plugin: PluginProcess) -> list[str]:
    """The methods that the plugin was called with, but for what engines ask at any time."""
    methods = (re.match(r"(Network|Ipam)Driver\.(\w+) ", line) for line in plugin.printed())
    return [method[2] for method in methods if method and method[2] != "EndpointOperInfo"]


def test_a_network_has_the_driver_and_the_addresses_of_the_plugin(
    engine: Engine, null: PluginProcess
) -> None:
    """The engine shows both drivers, the pool and the options, and releases all at the removal."""
    create(engine, null, *ADDRESSES, "-o", "colour=red", "ours")

    found = engine.inspect("network", "ours")
    assert (found["Driver"], found["IPAM"]["Driver"]) == (null.name, null.name)
    assert found["IPAM"]["Config"] == [{"Subnet": "10.231.77.0/24", "Gateway": "10.231.77.1"}]
    assert found["Options"] == {"colour": "red"}

    before = len(calls(null))
    engine.docker("network", "rm", "ours")

    assert "ours" not in engine.docker("network", "ls", "--format", "{{.Name}}").splitlines()
    assert calls(null)[before:] == ["ReleaseAddress", "ReleasePool", "DeleteNetwork"]


def test_a_container_gets_its_address_from_the_plugin(engine: Engine, null: PluginProcess) -> None:
    """The container has the IP and MAC address of the drivers, which are released at its end."""
    create(engine, null, *ADDRESSES, "joined")
    before = len(calls(null))

    container = engine.docker("run", "-d", "--network", "joined", IMAGE, "sleep", "60")
    joined = engine.inspect("container", container)["NetworkSettings"]["Networks"]["joined"]
    engine.docker("rm", "-f", container)

    assert (joined["IPAddress"], joined["IPPrefixLen"]) == ("10.231.77.2", 24)
    assert joined["MacAddress"] == "02:00:00:00:00:01"
    taken, given_back = calls(null)[before:][:3], calls(null)[before:][3:]
    assert taken == ["RequestAddress", "CreateEndpoint", "Join"]
    assert given_back == ["Leave", "DeleteEndpoint", "ReleaseAddress"]
    engine.docker("network", "rm", "joined")


def test_the_address_driver_chooses_a_pool_if_no_subnet_is_given(
    engine: Engine, null: PluginProcess
) -> None:
    """The engine shows the subnet of the plugin's choice."""
    create(engine, null, "chosen")

    (pool,) = engine.inspect("network", "chosen")["IPAM"]["Config"]

    assert pool["Subnet"] == "10.231.0.0/24"
    engine.docker("network", "rm", "chosen")


def test_an_exception_of_either_driver_is_printed_by_docker(
    engine: Engine, null: PluginProcess
) -> None:
    """``docker network create`` prints the message of the exception, and no network is left."""
    create(engine, null, *ADDRESSES, "first")

    taken = create(engine, null, *ADDRESSES, "second")
    failed = create(engine, null, "-o", "fail=yes", "third")

    assert "IpamDriver.RequestPool: pool 10.231.77.0/24 is taken" in taken.stderr
    assert "NetworkDriver.CreateNetwork: asked to fail" in failed.stderr
    engine.docker("network", "rm", "first")
    assert {"second", "third"}.isdisjoint(
        engine.docker("network", "ls", "--format", "{{.Name}}").splitlines()
    )
