"""NetworkDriver (protocol.md B3)."""

from typing import Any

from moby_plugins.checks.check import advise, check, require, skip
from moby_plugins.checks.probe import Probe

SUBSYSTEM = "NetworkDriver"
CAPABILITIES = "NetworkDriver.GetCapabilities"
CREATE, DELETE = "NetworkDriver.CreateNetwork", "NetworkDriver.DeleteNetwork"
DISCOVERY = ("DiscoverNew", "DiscoverDelete")

IPV4 = [{"AddressSpace": "LocalDefault", "Pool": "192.0.2.0/24", "Gateway": "192.0.2.1/24"}]
OPTIONS = {
    "com.docker.network.generic": {},
    "com.docker.network.enable_ipv4": True,
    "com.docker.network.enable_ipv6": False,
}
NODE = {
    "DiscoveryType": 1,
    "DiscoveryData": {"Address": "192.0.2.9", "BindAddress": "", "Self": False},
}


def network(plugin: Probe, network_id: str = "", **addresses: Any) -> str:
    """The id of a new network, deleted at the end."""
    ids = {"NetworkID": network_id or plugin.id()}
    args = {**ids, "Options": OPTIONS, "IPv4Data": IPV4, "IPv6Data": [], **addresses}
    plugin.make(CREATE, args, DELETE, ids)
    return ids["NetworkID"]


@check(
    SUBSYSTEM,
    "capabilities",
    expects="GetCapabilities tells Scope, exactly local or global; else the driver is refused",
    source="B3",
    reads_only=True,
)
def capabilities(plugin: Probe) -> None:
    told = plugin.call(CAPABILITIES)
    require(told.get("scope") in ("local", "global"), f"Scope is {told.get('scope')!r}")


@check(
    SUBSYSTEM,
    "connectivity scope",
    expects="ConnectivityScope is absent, empty, local or global; else the driver is refused",
    source="B3",
    reads_only=True,
)
def connectivity_scope(plugin: Probe) -> None:
    told = plugin.call(CAPABILITIES).get("connectivityscope")
    require(told in (None, "", "local", "global"), f"ConnectivityScope is {told!r}")


@check(
    SUBSYSTEM,
    "capabilities at once",
    expects="GetCapabilities succeeds straight after each handshake: one failure keeps a driver"
    " out until the engine restarts",
    source="B11 trap 5",
    reads_only=True,
)
def capabilities_at_once(plugin: Probe) -> None:
    for _ in range(5):
        plugin.send("Plugin.Activate")
        plugin.call(CAPABILITIES)


@check(
    SUBSYSTEM,
    "gateway allocation",
    expects="a driver with GwAllocChecker answers GwAllocCheck: SkipIPv4 and SkipIPv6",
    source="B3",
)
def gateway_allocation(plugin: Probe) -> None:
    if not plugin.call(CAPABILITIES).get("gwallocchecker"):
        skip("GwAllocChecker is false, so it is never asked")
    told = plugin.call("NetworkDriver.GwAllocCheck", {"Options": OPTIONS})
    kinds = [type(told.get(key, False)) for key in ("skipipv4", "skipipv6")]
    require(kinds == [bool, bool], told)


@check(
    SUBSYSTEM,
    "allocate network",
    expects="a driver of global scope answers AllocateNetwork with Options, texts by name, and"
    " FreeNetwork",
    source="B3",
)
def allocate_network(plugin: Probe) -> None:
    if plugin.call(CAPABILITIES).get("scope") != "global":
        skip("only a swarm manager asks, and only drivers of global scope")
    ids = {"NetworkID": plugin.id()}
    args: dict[str, Any] = {**ids, "Options": {}, "IPv4Data": IPV4, "IPv6Data": None}
    free = "NetworkDriver.FreeNetwork"
    options = plugin.make("NetworkDriver.AllocateNetwork", args, free, ids).get("options") or {}
    texts = isinstance(options, dict) and all(isinstance(text, str) for text in options.values())
    require(texts, f"Options are {options!r}")
    plugin.call(free, ids)


@check(
    SUBSYSTEM,
    "create network",
    expects="CreateNetwork and DeleteNetwork succeed",
    source="B3",
)
def create_network(plugin: Probe) -> None:
    plugin.call(DELETE, {"NetworkID": network(plugin)})


@check(
    SUBSYSTEM,
    "create network without addresses",
    expects="CreateNetwork takes IPv4Data and IPv6Data that are null",
    source="B0, B3",
)
def create_network_without_addresses(plugin: Probe) -> None:
    network(plugin, IPv4Data=None, IPv6Data=None)


@check(
    SUBSYSTEM,
    "create network after delete",
    expects="an id can be used again once its network was deleted",
    source="B3",
)
def create_network_after_delete(plugin: Probe) -> None:
    network_id = network(plugin)
    plugin.call(DELETE, {"NetworkID": network_id})
    network(plugin, network_id)
    plugin.call(DELETE, {"NetworkID": network_id})


@check(
    SUBSYSTEM,
    "delete of unknown",
    expects="DeleteNetwork, DeleteEndpoint and Leave of what there is not are answered: an engine"
    " forgets it whatever they say",
    source="B3",
)
def delete_of_unknown(plugin: Probe) -> None:
    ids = {"NetworkID": plugin.id(), "EndpointID": plugin.id()}
    for method in ("NetworkDriver.Leave", "NetworkDriver.DeleteEndpoint", DELETE):
        answer = plugin.send(method, ids)
        if not answer.error:
            answer.fields  # noqa: B018  an object, or the check fails


def _discovery(name: str) -> object:
    @check(
        SUBSYSTEM,
        name,
        expects=f"{name} of a node is answered with success, BindAddress and Self included",
        source="B3",
    )
    def made(plugin: Probe) -> None:
        # Both, so that no node is left behind.
        answers = {kind: plugin.send(f"NetworkDriver.{kind}", NODE) for kind in DISCOVERY}
        advise(not answers[name].error, f"{answers[name]}; engines log that")

    return made


discover_new, discover_delete = map(_discovery, DISCOVERY)
