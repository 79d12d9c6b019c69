"""Checks of NetworkDriver: networks, endpoints, and containers that join them (protocol.md B3)."""

import base64
from functools import partial
from ipaddress import ip_address, ip_interface
from typing import Any

from moby_plugins.checks.answer import folded, object_or_empty, text_or_empty, texts_or_empty
from moby_plugins.checks.outcome import Check, check, fail, items, require, skip, warn
from moby_plugins.checks.session import Session

SUBSYSTEM = "NetworkDriver"
CAPABILITIES = "NetworkDriver.GetCapabilities"
CREATE, DELETE = "NetworkDriver.CreateNetwork", "NetworkDriver.DeleteNetwork"
DISCOVERY = ("DiscoverNew", "DiscoverDelete")

IPV4 = [{"AddressSpace": "LocalDefault", "Pool": "192.0.2.0/24", "Gateway": "192.0.2.1/24"}]
OPTIONS: dict[str, Any] = {
    "com.docker.network.generic": {},
    "com.docker.network.enable_ipv4": True,
    "com.docker.network.enable_ipv6": False,
}
NODE: dict[str, Any] = {
    "DiscoveryType": 1,
    "DiscoveryData": {"Address": "192.0.2.9", "BindAddress": "", "Self": False},
}

CREATE_ENDPOINT, DELETE_ENDPOINT = "NetworkDriver.CreateEndpoint", "NetworkDriver.DeleteEndpoint"
JOIN, LEAVE = "NetworkDriver.Join", "NetworkDriver.Leave"
FEW = 4
NOT_FOUND = 404
MAC = "02:42:c0:00:02:0a"
UNSET = {"Address": "", "AddressIPv6": "", "MacAddress": ""}


def network(plugin: Session, network_id: str = "", **addresses: Any) -> str:
    """Create a network, which is deleted when the check ends, and return its ID.

    ``addresses`` replace the arguments IPv4Data and IPv6Data.
    """
    ids = {"NetworkID": network_id or plugin.id()}
    args = {**ids, "Options": OPTIONS, "IPv4Data": IPV4, "IPv6Data": [], **addresses}
    plugin.make(CREATE, args, DELETE, ids)
    return ids["NetworkID"]


@check(SUBSYSTEM, source="B3", reads_only=True)
def capabilities(plugin: Session) -> None:
    """GetCapabilities returns Scope, exactly local or global; otherwise the driver is refused."""
    fields = plugin.call(CAPABILITIES)
    require(fields.get("scope") in ("local", "global"), f"Scope is {fields.get('scope')!r}")


@check(SUBSYSTEM, source="B3", reads_only=True)
def connectivity_scope(plugin: Session) -> None:
    """ConnectivityScope is absent, empty, local or global; else the driver is refused."""
    scope = plugin.call(CAPABILITIES).get("connectivityscope")
    require(scope in (None, "", "local", "global"), f"ConnectivityScope is {scope!r}")


@check(SUBSYSTEM, source="B11 trap 5", reads_only=True)
def capabilities_at_once(plugin: Session) -> None:
    """GetCapabilities succeeds straight after each handshake: one failure keeps a driver out until
    the engine restarts.
    """
    for _ in range(5):
        if plugin.options.managed_for is None:
            plugin.send("Plugin.Activate")
        plugin.call(CAPABILITIES)


@check(SUBSYSTEM, source="B3")
def gateway_allocation(plugin: Session) -> None:
    """if GwAllocChecker is true, GwAllocCheck succeeds: SkipIPv4 and SkipIPv6 are true, false or
    absent.
    """
    if not plugin.call(CAPABILITIES).get("gwallocchecker"):
        skip("GwAllocChecker is false, so engines never call GwAllocCheck")
    fields = plugin.call("NetworkDriver.GwAllocCheck", {"Options": OPTIONS})
    kinds = [type(fields.get(key, False)) for key in ("skipipv4", "skipipv6")]
    require(kinds == [bool, bool], fields)


@check(SUBSYSTEM, source="B3")
def allocate_network(plugin: Session) -> None:
    """for a driver of global scope, AllocateNetwork and FreeNetwork succeed; Options of the former
    is a map of names to strings, or absent.
    """
    if plugin.call(CAPABILITIES).get("scope") != "global":
        skip("only swarm managers call AllocateNetwork, and only for drivers of global scope")
    ids = {"NetworkID": plugin.id()}
    args: dict[str, Any] = {**ids, "Options": {}, "IPv4Data": IPV4, "IPv6Data": None}
    free = "NetworkDriver.FreeNetwork"
    options = plugin.make("NetworkDriver.AllocateNetwork", args, free, ids).get("options")
    texts_or_empty(options, f"Options are {options!r}")
    plugin.call(free, ids)


@check(SUBSYSTEM, source="B3")
def create_network(plugin: Session) -> None:
    """CreateNetwork and DeleteNetwork succeed."""
    plugin.call(DELETE, {"NetworkID": network(plugin)})


@check(SUBSYSTEM, source="B0, B3")
def create_network_without_addresses(plugin: Session) -> None:
    """CreateNetwork accepts IPv4Data and IPv6Data that are null."""
    network(plugin, IPv4Data=None, IPv6Data=None)


@check(SUBSYSTEM, source="B3")
def create_network_after_delete(plugin: Session) -> None:
    """an id can be used again once its network was deleted."""
    network_id = network(plugin)
    plugin.call(DELETE, {"NetworkID": network_id})
    network(plugin, network_id)
    plugin.call(DELETE, {"NetworkID": network_id})


@check(SUBSYSTEM, source="B3")
def delete_of_unknown(plugin: Session) -> None:
    """DeleteNetwork, DeleteEndpoint and Leave of unknown ids are answered, with success or an
    error: engines forget the network or endpoint in any case.
    """
    ids = {"NetworkID": plugin.id(), "EndpointID": plugin.id()}
    for method in ("NetworkDriver.Leave", "NetworkDriver.DeleteEndpoint", DELETE):
        answer = plugin.send(method, ids)
        if not answer.error:
            answer.fields  # noqa: B018  an object, or the check fails


def _discovery(name: str) -> Check:
    @check(
        SUBSYSTEM,
        name,
        expects=f"{name} of a node, with the keys BindAddress and Self, succeeds",
        source="B3",
    )
    def run_check(plugin: Session) -> None:
        # Both calls, so that no node is left behind.
        answers = {kind: plugin.send(f"NetworkDriver.{kind}", NODE) for kind in DISCOVERY}
        warn(not answers[name].error, f"{answers[name]}; engines log that")

    return run_check


discover_new: Check
discover_delete: Check
discover_new, discover_delete = map(_discovery, DISCOVERY)


def endpoint(plugin: Session, number: int = 10, options: Any = None) -> dict[str, str]:
    """Create an endpoint in a new network, and return the IDs; delete both when the check ends."""
    return endpoint_in(plugin, network(plugin), number, options)[0]


def endpoint_in(
    plugin: Session, network_id: str, number: int = 10, options: Any = None
) -> tuple[dict[str, str], dict[str, Any]]:
    """Create an endpoint; return the IDs, and Interface of the response with case-folded keys.

    ``number`` is the last part of its IPv4 address. It is deleted when the check ends.
    """
    ids = {"NetworkID": network_id, "EndpointID": plugin.id()}
    requested = UNSET | {"Address": f"192.0.2.{number}/24"}
    args = ids | {"Interface": requested, "Options": options or {}}
    answer = plugin.make(CREATE_ENDPOINT, args, DELETE_ENDPOINT, ids)
    interface = answer.get("interface")
    return ids, object_or_empty(interface, f"{answer}: Interface is not an object")


def joined(plugin: Session) -> tuple[dict[str, str], dict[str, Any]]:
    """Join a container to a new endpoint; return the IDs and the response of Join."""
    ids = endpoint(plugin)
    args = {**ids, "SandboxKey": f"/var/run/docker/netns/{plugin.name()}", "Options": {}}
    return ids, plugin.make(JOIN, args, LEAVE, ids)


@check(SUBSYSTEM, source="B3")
def create_endpoint(plugin: Session) -> None:
    """CreateEndpoint returns no Interface, or one with only values that the engine left unset."""
    _, interface = endpoint_in(plugin, network(plugin))
    refused = f"Address is {interface.get('address')!r}, but was set: engines delete the endpoint"
    require(not text_or_empty(interface.get("address"), refused), refused)


@check(SUBSYSTEM, source="B3")
def addresses_of_an_endpoint(plugin: Session) -> None:
    """values that CreateEndpoint chooses are valid: MacAddress, and AddressIPv6 in CIDR form."""
    _, interface = endpoint_in(plugin, network(plugin))
    _require_address(interface.get("addressipv6"), prefix=True)
    refused = f"MacAddress is {interface.get('macaddress')!r}: the engine deletes the endpoint"
    mac = text_or_empty(interface.get("macaddress"), refused)
    octets = mac.replace("-", ":").split(":")
    require(not mac or [len(octet) for octet in octets] == [2] * 6, refused)


@check(SUBSYSTEM, source="B11 trap 18")
def address_of_hardware_in_options(plugin: Session) -> None:
    """CreateEndpoint accepts a MAC address in Options, as base64 of its bytes."""
    raw = base64.b64encode(bytes.fromhex(MAC.replace(":", ""))).decode()
    endpoint(plugin, options={"com.docker.network.endpoint.macaddress": raw})


@check(SUBSYSTEM, source="B3")
def ports_in_options(plugin: Session) -> None:
    """CreateEndpoint accepts the ports that a container exposes and publishes."""
    published = {"Proto": 6, "IP": "", "Port": 80, "HostIP": "", "HostPort": 0, "HostPortEnd": 0}
    options = {
        "com.docker.network.endpoint.exposedports": [{"Proto": 6, "Port": 80}],
        "com.docker.network.portmap": [published],
    }
    endpoint(plugin, options=options)


@check(SUBSYSTEM, source="B3")
def delete_endpoint(plugin: Session) -> None:
    """DeleteEndpoint succeeds, and the endpoint's id can be used again."""
    ids = endpoint(plugin)
    plugin.call(DELETE_ENDPOINT, ids)
    args = ids | {"Interface": UNSET | {"Address": "192.0.2.10/24"}, "Options": {}}
    plugin.make(CREATE_ENDPOINT, args, DELETE_ENDPOINT, ids)


@check(SUBSYSTEM, expects=f"{FEW} endpoints can be created in a network at once", source="B0, B3")
def endpoints_side_by_side(plugin: Session) -> None:
    network_id = network(plugin)
    make = [partial(endpoint_in, plugin, network_id, number) for number in range(10, 10 + FEW)]
    plugin.side_by_side(*make)


@check(SUBSYSTEM, source="B3")
def join(plugin: Session) -> None:
    """Join returns no InterfaceName, or one whose SrcName, DstName and DstPrefix are strings."""
    _, answer = joined(plugin)
    interface_name = answer.get("interfacename")
    refused = f"InterfaceName is {interface_name!r}"
    names = object_or_empty(interface_name, refused)
    for key in ("srcname", "dstname", "dstprefix"):
        text_or_empty(names.get(key), refused)


@check(SUBSYSTEM, source="B3")
def gateways_of_join(plugin: Session) -> None:
    """Gateway and GatewayIPv6 of Join are addresses without a prefix, or empty; otherwise the
    engine calls Leave.
    """
    _, answer = joined(plugin)
    for key in ("gateway", "gatewayipv6"):
        _require_address(answer.get(key), prefix=False)


@check(SUBSYSTEM, source="B3")
def routes_of_join(plugin: Session) -> None:
    """StaticRoutes of Join have a Destination in CIDR notation, and a NextHop if RouteType is 0."""
    _, answer = joined(plugin)
    routes = answer.get("staticroutes")
    for entry in items(routes, f"StaticRoutes is {routes!r}, not an array"):
        route = folded(entry, f"StaticRoutes has {entry!r}, which is not an object")
        require(route.get("destination"), f"{entry!r} has no destination")
        _require_address(route.get("destination"), prefix=True)
        require(route.get("routetype") or route.get("nexthop"), f"{entry!r} has no next hop")
        _require_address(route.get("nexthop"), prefix=False)


@check(SUBSYSTEM, source="B3")
def leave(plugin: Session) -> None:
    """Leave succeeds, and the endpoint can be joined again."""
    ids, _ = joined(plugin)
    plugin.call(LEAVE, ids)
    plugin.make(JOIN, ids | {"SandboxKey": "/var/run/docker/netns/x", "Options": {}}, LEAVE, ids)


@check(SUBSYSTEM, source="B3")
def operational_data(plugin: Session) -> None:
    """EndpointOperInfo of a joined endpoint returns Value, an object or nothing."""
    ids, _ = joined(plugin)
    answer = plugin.send("NetworkDriver.EndpointOperInfo", ids)
    warn(not answer.error, f"{answer}; engines ignore this error")
    value = answer.fields.get("value")
    require(value is None or isinstance(value, dict), f"Value is {value!r}")


def _tolerated(name: str) -> Check:
    @check(
        SUBSYSTEM,
        name,
        expects=f"{name} succeeds for a joined endpoint, or is answered with 404 by a driver that"
        " lacks it",
        source="B3",
    )
    def run_check(plugin: Session) -> None:
        ids, _ = joined(plugin)
        options: dict[str, Any] = {} if name.startswith("Revoke") else {"Options": {}}
        answer = plugin.send(f"NetworkDriver.{name}", ids | options)
        require(answer.status == NOT_FOUND or not answer.error, answer)

    return run_check


def _require_address(address: object, *, prefix: bool) -> None:
    if address in (None, ""):
        return
    try:
        (ip_interface if prefix else ip_address)(str(address))
    except ValueError as error:
        fail(f"{address!r}: {error}")
    require(not prefix or "/" in str(address), f"{address!r} has no prefix")


program: Check
revoke: Check
program, revoke = map(_tolerated, ("ProgramExternalConnectivity", "RevokeExternalConnectivity"))
