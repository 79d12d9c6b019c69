"""IpamDriver (protocol.md B4)."""

from ipaddress import (
    IPv4Network,
    IPv6Network,
    ip_network,
)
from typing import Any

from moby_plugins.checks.answer import Answer
from moby_plugins.checks.check import advise, check, fail, require
from moby_plugins.checks.probe import Probe

SUBSYSTEM = "IpamDriver"
CAPABILITIES = "IpamDriver.GetCapabilities"
SPACES = "IpamDriver.GetDefaultAddressSpaces"
REQUEST_POOL, RELEASE_POOL = "IpamDriver.RequestPool", "IpamDriver.ReleasePool"
# A pool for documentation, which nobody's network overlaps (RFC 5737).
POOL = "198.51.100.0/24"


def space(plugin: Probe) -> str:
    """The local default address space."""
    return str(plugin.call(SPACES).get("localdefaultaddressspace") or "")


def request(plugin: Probe, wanted: str = POOL, **changes: Any) -> Answer:
    """RequestPool's answer, not judged; what it gives is released at the end."""
    asked = {"AddressSpace": space(plugin), "Pool": wanted, "SubPool": "", "Options": {}}
    answer = plugin.send(REQUEST_POOL, asked | {"V6": False} | changes)
    if not answer.error and answer.fields.get("poolid"):
        plugin.undo(RELEASE_POOL, {"PoolID": answer.fields["poolid"]})
    return answer


def pool(plugin: Probe, wanted: str = POOL, **changes: Any) -> tuple[str, Any]:
    """The id of a new pool and its network; released at the end."""
    answer = request(plugin, wanted, **changes)
    require(not answer.error, answer)
    pool_id = answer.fields.get("poolid")
    require(isinstance(pool_id, str) and pool_id, f"PoolID is {pool_id!r}")
    return str(pool_id), _network(answer.fields.get("pool"))


def _network(told: object) -> IPv4Network | IPv6Network:
    try:
        require("/" in str(told), f"Pool is {told!r}, without a prefix")
        return ip_network(str(told), strict=False)
    except ValueError as error:
        fail(f"Pool is {told!r}: {error}")


@check(
    SUBSYSTEM,
    "capabilities",
    expects="GetCapabilities tells RequiresMACAddress and RequiresRequestReplay; on any failure"
    " both are taken for false",
    source="B4",
    reads_only=True,
)
def capabilities(plugin: Probe) -> None:
    answer = plugin.send(CAPABILITIES)
    advise(not answer.error, answer)
    told = answer.fields
    kinds = [type(told.get(key, False)) for key in ("requiresmacaddress", "requiresrequestreplay")]
    require(kinds == [bool, bool], answer)


@check(
    SUBSYSTEM,
    "address spaces",
    expects="GetDefaultAddressSpaces names a local and a global one, the same each time",
    source="B4",
    reads_only=True,
)
def address_spaces(plugin: Probe) -> None:
    first, second = plugin.call(SPACES), plugin.call(SPACES)
    keys = ("localdefaultaddressspace", "globaldefaultaddressspace")
    require(all(isinstance(first.get(key, ""), str) for key in keys), first)
    require(any(first.get(key) for key in keys), f"{first}: no space has a name")
    require(first == second, f"{first!r}, then {second!r}")


@check(
    SUBSYSTEM,
    "request pool",
    expects="RequestPool gives the pool that is asked for, in CIDR, with a PoolID",
    source="B4",
)
def request_pool(plugin: Probe) -> None:
    _, network = pool(plugin)
    require(str(network) == POOL, f"{network} instead of {POOL}")


@check(
    SUBSYSTEM,
    "any pool",
    expects="RequestPool without a Pool gives one of the driver's choice, its Options null",
    source="B0, B4",
)
def any_pool(plugin: Probe) -> None:
    pool(plugin, "", Options=None)


@check(
    SUBSYSTEM,
    "another pool each time",
    expects="RequestPool without a Pool gives another one each time: engines repeat it, without"
    " end, while the pool overlaps",
    source="B4",
)
def another_pool_each_time(plugin: Probe) -> None:
    first, second = pool(plugin, "")[1], pool(plugin, "")[1]
    require(not first.overlaps(second), f"{first}, then {second}")


@check(
    SUBSYSTEM,
    "pool of version 6",
    expects="RequestPool with V6 gives a pool of IPv6, or an error",
    source="B4",
)
def pool_of_version_6(plugin: Probe) -> None:
    answer = request(plugin, "", V6=True)
    if answer.error:
        return
    network = _network(answer.fields.get("pool"))
    require(network.version == 6, network)  # noqa: PLR2004


@check(
    SUBSYSTEM,
    "data of a pool",
    expects="Data of RequestPool are texts by name; a gateway among them is in CIDR, in the pool",
    source="B4",
)
def data_of_a_pool(plugin: Probe) -> None:
    answer = request(plugin)
    require(not answer.error, answer)
    data = answer.fields.get("data") or {}
    texts = isinstance(data, dict) and all(isinstance(text, str) for text in data.values())
    require(texts, f"Data is {data!r}")
    gateway = data.get("com.docker.network.gateway")
    require(gateway is None or "/" in gateway, f"the gateway is {gateway!r}, without a prefix")


@check(
    SUBSYSTEM,
    "release pool",
    expects="ReleasePool succeeds, and the same pool can be requested again",
    source="B4",
)
def release_pool(plugin: Probe) -> None:
    for _ in range(2):
        pool_id, network = pool(plugin)
        require(str(network) == POOL, f"{network} instead of {POOL}")
        plugin.call(RELEASE_POOL, {"PoolID": pool_id})


@check(
    SUBSYSTEM,
    "pool that is none",
    expects="RequestPool of what is no CIDR is an error",
    source="B4, B11 trap 7",
)
def pool_that_is_none(plugin: Probe) -> None:
    answer = request(plugin, "nonsense")
    require(answer.error, answer)
