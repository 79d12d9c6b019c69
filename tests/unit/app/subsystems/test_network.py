"""NetworkDriver: table B3 of protocol.md."""

import json
from typing import Any

import pytest

from moby_plugins.domain.errors import DriverError, StatusError, WireError
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import (
    DiscoveryData,
    EndpointInterface,
    GatewayNeeds,
    InterfaceName,
    IPAMData,
    JoinResponse,
    NetworkCapabilities,
    NetworkDriver,
    NetworkRequest,
    StaticRoute,
)
from moby_plugins.testing import status
from tests.cases import every
from tests.unit.app.subsystems.exchanges import Exchange, Table, asked, part_of, replying

IDS = '"NetworkID":"n","EndpointID":"e"'
NETWORK = NetworkRequest(
    "n",
    {"com.docker.network.generic": {"mtu": "1400"}, "internal": True},
    (IPAMData("local", "10.0.0.0/24", "10.0.0.1/24", {"router": "10.0.0.9/24"}),),
    (IPAMData("local"),),
)
NETWORK_JSON = (
    '{"NetworkID":"n","Options":{"com.docker.network.generic":{"mtu":"1400"},"internal":true},'
    '"IPv4Data":[{"AddressSpace":"local","Pool":"10.0.0.0/24","Gateway":"10.0.0.1/24",'
    '"AuxAddresses":{"router":"10.0.0.9/24"}}],"IPv6Data":[{"AddressSpace":"local"}]}'
)
INTERFACE = EndpointInterface("10.0.0.2/24", "fd00::2/64", "02:42:0a:00:00:02")
JOINED = JoinResponse(
    InterfaceName("veth0", "eth", "eth0"),
    "10.0.0.1",
    "fd00::1",
    (StaticRoute("10.1.0.0/16", 0, "10.0.0.3"), StaticRoute("10.2.0.0/16", 1)),
    True,
)
NODE = DiscoveryData("192.0.2.1", "0.0.0.0", True)
NODE_JSON = (
    '{"DiscoveryType":1,"DiscoveryData":'
    '{"Address":"192.0.2.1","BindAddress":"0.0.0.0","Self":true}}'
)


class TestB3(Table):
    """Table B3: the calls of a NetworkDriver."""

    kind = NetworkDriver
    exchanges = (
        Exchange(
            "get_capabilities",
            (),
            "NetworkDriver.GetCapabilities",
            "",
            '{"Scope":"local","ConnectivityScope":"global","GwAllocChecker":true}',
            NetworkCapabilities("local", "global", True),
        ),
        Exchange(
            "gw_alloc_check",
            ({"a": [1]},),
            "NetworkDriver.GwAllocCheck",
            '{"Options":{"a":[1]}}',
            '{"SkipIPv4":true,"SkipIPv6":false}',
            GatewayNeeds(skip_ipv4=True),
        ),
        Exchange(
            "allocate_network",
            (NETWORK,),
            "NetworkDriver.AllocateNetwork",
            NETWORK_JSON,
            '{"Options":{"vxlan":"4096"}}',
            {"vxlan": "4096"},
        ),
        Exchange("free_network", ("n",), "NetworkDriver.FreeNetwork", '{"NetworkID":"n"}', "{}"),
        Exchange("create_network", (NETWORK,), "NetworkDriver.CreateNetwork", NETWORK_JSON, "{}"),
        Exchange(
            "delete_network", ("n",), "NetworkDriver.DeleteNetwork", '{"NetworkID":"n"}', "{}"
        ),
        Exchange(
            "create_endpoint",
            ("n", "e", EndpointInterface("10.0.0.2/24"), {"o": "1"}),
            "NetworkDriver.CreateEndpoint",
            "{" + IDS + ',"Interface":{"Address":"10.0.0.2/24","AddressIPv6":"","MacAddress":""},'
            '"Options":{"o":"1"}}',
            '{"Interface":{"Address":"10.0.0.2/24","AddressIPv6":"fd00::2/64",'
            '"MacAddress":"02:42:0a:00:00:02"}}',
            INTERFACE,
        ),
        Exchange(
            "create_endpoint",
            ("n", "e", EndpointInterface(), {}),
            "NetworkDriver.CreateEndpoint",
            "{" + IDS + ',"Interface":{"Address":"","AddressIPv6":"","MacAddress":""},'
            '"Options":{}}',
            '{"Interface":null}',
        ),
        Exchange(
            "delete_endpoint", ("n", "e"), "NetworkDriver.DeleteEndpoint", "{" + IDS + "}", "{}"
        ),
        Exchange(
            "endpoint_oper_info",
            ("n", "e"),
            "NetworkDriver.EndpointOperInfo",
            "{" + IDS + "}",
            '{"Value":{"mac":["x"]}}',
            {"mac": ["x"]},
        ),
        Exchange(
            "join",
            ("n", "e", "/var/run/s", {}),
            "NetworkDriver.Join",
            "{" + IDS + ',"SandboxKey":"/var/run/s","Options":{}}',
            '{"InterfaceName":{"SrcName":"veth0","DstPrefix":"eth","DstName":"eth0"},'
            '"Gateway":"10.0.0.1","GatewayIPv6":"fd00::1","StaticRoutes":['
            '{"Destination":"10.1.0.0/16","RouteType":0,"NextHop":"10.0.0.3"},'
            '{"Destination":"10.2.0.0/16","RouteType":1,"NextHop":""}],'
            '"DisableGatewayService":true}',
            JOINED,
        ),
        Exchange("leave", ("n", "e"), "NetworkDriver.Leave", "{" + IDS + "}", "{}"),
        Exchange(
            "program_external_connectivity",
            ("n", "e", {"p": 1}),
            "NetworkDriver.ProgramExternalConnectivity",
            "{" + IDS + ',"Options":{"p":1}}',
            "{}",
        ),
        Exchange(
            "revoke_external_connectivity",
            ("n", "e"),
            "NetworkDriver.RevokeExternalConnectivity",
            "{" + IDS + "}",
            "{}",
        ),
        Exchange("discover_new", (1, NODE), "NetworkDriver.DiscoverNew", NODE_JSON, "{}"),
        Exchange("discover_delete", (1, NODE), "NetworkDriver.DiscoverDelete", NODE_JSON, "{}"),
    )


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ({"Scope": "global"}, NetworkCapabilities("global", "global", False)),
        ({"Scope": "local", "ConnectivityScope": ""}, NetworkCapabilities("local", "local")),
    ],
)
def test_an_empty_connectivity_scope_copies_the_scope(
    reply: Any, expected: NetworkCapabilities
) -> None:
    """B3: ConnectivityScope may be absent or empty, and is then the same as Scope."""
    assert replying(NetworkDriver, "GetCapabilities", reply).get_capabilities() == expected


@pytest.mark.parametrize(
    "reply",
    [{}, {"Scope": ""}, {"Scope": "Local"}, {"Scope": "local", "ConnectivityScope": "GLOBAL"}],
)
def test_a_scope_other_than_exactly_local_or_global_is_refused(reply: Any) -> None:
    """B3: upper and lower case count, and an absent or empty Scope is an error."""
    with pytest.raises(WireError, match=r"scope"):
        replying(NetworkDriver, "GetCapabilities", reply).get_capabilities()


def test_capabilities_with_an_invalid_scope_cannot_be_made() -> None:
    """B3: an implementation gets a ValueError where it makes the mistake."""
    with pytest.raises(ValueError, match="'Global'"):
        NetworkCapabilities("Global")


EXTERNAL: list[tuple[str, str, tuple[Any, ...]]] = [
    ("program_external_connectivity", "ProgramExternalConnectivity", ("n", "e", {})),
    ("revoke_external_connectivity", "RevokeExternalConnectivity", ("n", "e")),
]


@pytest.mark.parametrize(("name", "path", "arguments"), EXTERNAL)
def test_a_network_plugin_may_lack_the_methods_of_external_connectivity(
    name: str, path: str, arguments: tuple[Any, ...]
) -> None:
    """B3: status 404 of these two methods is ignored, and no other failure is."""
    call = getattr(replying(NetworkDriver, path, status(404)), name)
    failing = getattr(replying(NetworkDriver, path, status(500, "no")), name)

    assert call(*arguments) is None
    with pytest.raises(StatusError, match="no"):
        failing(*arguments)


def test_status_404_for_any_other_method_is_an_error() -> None:
    """B3: a plugin may not lack Join, for example."""
    with pytest.raises(StatusError):
        replying(NetworkDriver, "Join", status(404)).join("n", "e", "s", {})


@pytest.mark.parametrize("reply", [{}, {"Interface": None}, None])
def test_a_response_to_create_endpoint_without_an_interface_is_none(reply: Any) -> None:
    """B3: if Interface is absent or null, the engine keeps its own addresses."""
    driver = replying(NetworkDriver, "CreateEndpoint", reply)

    assert driver.create_endpoint("n", "e", EndpointInterface(), {}) is None


def test_the_response_to_join_may_be_empty() -> None:
    """B3: each field that is absent or null has a default."""
    driver = replying(NetworkDriver, "Join", {"StaticRoutes": None, "InterfaceName": None})

    assert driver.join("n", "e", "s", {}) == JoinResponse()


def test_err_in_a_response_is_raised_before_its_other_keys_are_checked() -> None:
    """B0: a response with Err is a DriverError, although its Scope is missing, too."""
    with pytest.raises(DriverError, match=r"(?m)^NetworkDriver.GetCapabilities: not now$"):
        replying(NetworkDriver, "GetCapabilities", {"Err": "not now"}).get_capabilities()


def test_the_error_for_an_invalid_scope_is_one_sentence() -> None:
    """The error has the scope that was received, and no details of the attrs library."""
    with pytest.raises(WireError) as caught:
        replying(NetworkDriver, "GetCapabilities", {"Scope": "moon"}).get_capabilities()

    assert str(caught.value).endswith("'scope' must be in ('local', 'global') (got 'moon')")
    assert "Attribute" not in str(caught.value)


def test_null_lists_and_options_are_empty() -> None:
    """B3: an engine sends null for lists and objects that it has not set."""
    part, received = part_of(NetworkDriver, {"create_network": None})
    body = '{"NetworkID":"n","Options":null,"IPv4Data":null,"IPv6Data":null}'

    assert asked(PluginApp(part), "NetworkDriver.CreateNetwork", body) == (200, "{}")
    assert received == [("create_network", NetworkRequest("n"))]


@pytest.mark.parametrize(
    "reply",
    [
        {"Interface": {"Address": "10.0.0.2"}},
        {"Interface": {"Address": "10.0.0.2/255.255.255.0"}},
        {"Interface": {"AddressIPv6": "fe80::1%eth0/64"}},
        {"Interface": {"MacAddress": "2:42:a:0:0:2"}},
    ],
)
def test_an_interface_that_an_engine_could_not_read_is_refused(reply: Any) -> None:
    """B3: the host raises a WireError for an address that an engine could not parse."""
    with pytest.raises(WireError):
        replying(NetworkDriver, "CreateEndpoint", reply).create_endpoint(
            "n", "e", EndpointInterface(), {}
        )


@every(
    "reply",
    [
        {"Gateway": "10.0.0.1/24"},
        {"Gateway": "010.0.0.1"},
        {"GatewayIPv6": "fe80::1%eth0"},
        {"StaticRoutes": [{"Destination": "10.0.0.0"}]},
        {"StaticRoutes": [{"Destination": "10.0.0.0/08"}]},
        {"StaticRoutes": [{"Destination": "10.0.0.0/8", "NextHop": "10.0.0.1/8"}]},
    ],
)
def test_a_gateway_or_a_route_that_an_engine_could_not_read_is_refused(reply: Any) -> None:
    """B3: gateways and next hops are plain addresses, destinations are in CIDR notation."""
    with pytest.raises(WireError):
        replying(NetworkDriver, "Join", reply).join("n", "e", "s", {})


@every("value", ["10.0.0.0", "10.0.0.0/255.255.0.0", "fe80::%eth0/64", "10.0.0.0/033"])
def test_a_pool_or_a_gateway_that_an_engine_could_not_read_is_refused(value: str) -> None:
    """B3: both must be in CIDR notation, where they are sent and where they are received."""
    with pytest.raises(ValueError, match="pool"):
        IPAMData("local", pool=value)
    with pytest.raises(ValueError, match="gateway"):
        IPAMData("local", gateway=value)

    part, received = part_of(NetworkDriver, {"create_network": None})
    for name in ("Pool", "Gateway"):
        data = {"AddressSpace": "x", name: value}
        body = json.dumps({"NetworkID": "n", "IPv4Data": [data]})
        assert asked(PluginApp(part), "NetworkDriver.CreateNetwork", body)[0] == 400
    assert received == []
