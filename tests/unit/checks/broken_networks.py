"""A broken plugin for each check of NetworkDriver."""

from typing import Any

from tests.unit.checks.broken import (
    Broken,
    adds,
    after,
    at_once,
    edits,
    refuses,
    says,
    warned,
)
from tests.unit.checks.broken_volumes import no, only_once, refuses_if

CAPABILITIES = "NetworkDriver.GetCapabilities"
CREATE, DELETE = "NetworkDriver.CreateNetwork", "NetworkDriver.DeleteNetwork"
CREATE_ENDPOINT, DELETE_ENDPOINT = "NetworkDriver.CreateEndpoint", "NetworkDriver.DeleteEndpoint"
JOIN, LEAVE = "NetworkDriver.Join", "NetworkDriver.Leave"


def interface(**keys: Any) -> Broken:
    """CreateEndpoint answers this."""
    return Broken(says(CREATE_ENDPOINT, {"Interface": keys}))


def has(option: str) -> Any:
    """Whether that is among the options."""
    return lambda args: option in args["Options"]


def routes(*found: Any) -> Broken:
    """Join answers these."""
    return Broken(adds(JOIN, StaticRoutes=list(found)))


BROKEN = {
    "NetworkDriver: capabilities": Broken(adds(CAPABILITIES, Scope="Local")),
    "NetworkDriver: connectivity scope": Broken(adds(CAPABILITIES, ConnectivityScope="here")),
    "NetworkDriver: capabilities at once": Broken(after(3, lambda _, __: no(), CAPABILITIES)),
    "NetworkDriver: gateway allocation": Broken(
        says("NetworkDriver.GwAllocCheck", {"SkipIPv4": "yes"})
    ),
    "NetworkDriver: allocate network": Broken(
        says("NetworkDriver.AllocateNetwork", {"Options": {"vni": 7}})
    ),
    "NetworkDriver: create network": Broken(refuses(DELETE)),
    "NetworkDriver: create network without addresses": Broken(
        refuses_if(lambda args: args["IPv4Data"] is None, CREATE)
    ),
    "NetworkDriver: create network after delete": Broken(only_once(CREATE)),
    "NetworkDriver: delete of unknown": Broken(says(DELETE, b"gone")),
    "NetworkDriver: create endpoint": interface(Address="192.0.2.7/24"),
    "NetworkDriver: addresses of an endpoint": interface(MacAddress="here"),
    "NetworkDriver: address of hardware in options": Broken(
        refuses_if(has("com.docker.network.endpoint.macaddress"), CREATE_ENDPOINT)
    ),
    "NetworkDriver: ports in options": Broken(
        refuses_if(has("com.docker.network.portmap"), CREATE_ENDPOINT)
    ),
    "NetworkDriver: delete endpoint": Broken(only_once(CREATE_ENDPOINT)),
    "NetworkDriver: endpoints side by side": Broken(at_once(CREATE_ENDPOINT)),
    "NetworkDriver: join": Broken(adds(JOIN, InterfaceName="eth0")),
    "NetworkDriver: gateways of join": Broken(adds(JOIN, Gateway="192.0.2.1/24")),
    "NetworkDriver: routes of join": routes({"Destination": "198.51.100.0/24", "RouteType": 0}),
    "NetworkDriver: leave": Broken(refuses(LEAVE)),
    "NetworkDriver: operational data": Broken(
        says("NetworkDriver.EndpointOperInfo", {"Value": "fine"})
    ),
    "NetworkDriver: ProgramExternalConnectivity": Broken(
        refuses("NetworkDriver.ProgramExternalConnectivity")
    ),
    "NetworkDriver: RevokeExternalConnectivity": Broken(
        refuses("NetworkDriver.RevokeExternalConnectivity")
    ),
    "NetworkDriver: DiscoverNew": warned(refuses("NetworkDriver.DiscoverNew")),
    "NetworkDriver: DiscoverDelete": warned(refuses("NetworkDriver.DiscoverDelete")),
}
MORE = (
    ("NetworkDriver: capabilities", Broken(refuses(CAPABILITIES))),
    ("NetworkDriver: create network", Broken(refuses(CREATE))),
    ("NetworkDriver: create endpoint", Broken(says(CREATE_ENDPOINT, {"Interface": "eth0"}))),
    ("NetworkDriver: addresses of an endpoint", interface(AddressIPv6="2001:db8::7")),
    ("NetworkDriver: addresses of an endpoint", interface(AddressIPv6="here/64")),
    ("NetworkDriver: create endpoint", interface(Address=0)),
    ("NetworkDriver: addresses of an endpoint", interface(MacAddress=False)),
    ("NetworkDriver: join", Broken(adds(JOIN, InterfaceName={"SrcName": 1}))),
    ("NetworkDriver: join", Broken(adds(JOIN, InterfaceName={"SrcName": 0}))),
    ("NetworkDriver: gateways of join", Broken(adds(JOIN, GatewayIPv6="here"))),
    ("NetworkDriver: routes of join", routes({"Destination": "", "RouteType": 1})),
    ("NetworkDriver: routes of join", routes({"Destination": "192.0.2.0", "RouteType": 1})),
    ("NetworkDriver: routes of join", routes("192.0.2.0/24")),
    (
        "NetworkDriver: operational data",
        warned(refuses("NetworkDriver.EndpointOperInfo", status=404)),
    ),
    ("NetworkDriver: join", Broken(edits(JOIN, lambda told: [told]))),
)
