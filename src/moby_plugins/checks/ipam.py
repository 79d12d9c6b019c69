"""Checks of IpamDriver: pools, and the addresses in them (protocol.md B4)."""

from functools import partial
from ipaddress import (
    IPv4Interface,
    IPv4Network,
    IPv6Interface,
    IPv6Network,
    ip_interface,
    ip_network,
)
from typing import Any

from moby_plugins.checks.answer import Answer, object_or_empty, text_or_empty, texts_or_empty
from moby_plugins.checks.outcome import check, fail, require, skip, warn
from moby_plugins.checks.session import Session
from moby_plugins.domain.formats import check_prefix
from moby_plugins.domain.http import OK

SUBSYSTEM = "IpamDriver"
CAPABILITIES = "IpamDriver.GetCapabilities"
SPACES = "IpamDriver.GetDefaultAddressSpaces"
REQUEST_POOL, RELEASE_POOL = "IpamDriver.RequestPool", "IpamDriver.ReleasePool"
# An address range for documentation, which no real network uses (RFC 5737).
POOL = "198.51.100.0/24"

REQUEST_ADDRESS, RELEASE_ADDRESS = "IpamDriver.RequestAddress", "IpamDriver.ReleaseAddress"
GATEWAY = {"RequestAddressType": "com.docker.network.gateway"}
FEW = 8


def space(plugin: Session) -> str:
    """Return the name of the local default address space, from the plugin."""
    name = plugin.call(SPACES).get("localdefaultaddressspace")
    return text_or_empty(name, f"LocalDefaultAddressSpace is {name!r}")


def request(plugin: Session, wanted: str = POOL, **changes: Any) -> Answer:
    """Call RequestPool and return its response, not judged; the check's end releases the pool."""
    args = {"AddressSpace": space(plugin), "Pool": wanted, "SubPool": "", "Options": {}}
    answer = plugin.send(REQUEST_POOL, args | {"V6": False} | changes)
    if not answer.error and answer.fields.get("poolid"):
        plugin.undo(RELEASE_POOL, {"PoolID": answer.fields["poolid"]})
    return answer


def pool(plugin: Session, wanted: str = POOL, **changes: Any) -> tuple[str, Any]:
    """Request a pool, which is released when the check ends; return its ID and its network.

    ``wanted`` is the argument Pool; ``changes`` are other arguments. The check fails if the plugin
    responds with an error, or without a PoolID.
    """
    answer = request(plugin, wanted, **changes)
    require(not answer.error, answer)
    pool_id = answer.fields.get("poolid")
    require(isinstance(pool_id, str) and pool_id, f"PoolID is {pool_id!r}")
    return str(pool_id), _network(answer.fields.get("pool"))


def _network(value: object) -> IPv4Network | IPv6Network:
    try:
        require("/" in str(value), f"Pool is {value!r}, without a prefix")
        return ip_network(str(value), strict=False)
    except ValueError as error:
        fail(f"Pool is {value!r}: {error}")


@check(SUBSYSTEM, source="B4", reads_only=True)
def capabilities(plugin: Session) -> None:
    """GetCapabilities returns RequiresMACAddress and RequiresRequestReplay, each true, false or
    absent; after any failure engines take both for false.
    """
    answer = plugin.send(CAPABILITIES)
    warn(not answer.error, answer)
    fields = answer.fields
    kinds = [
        type(fields.get(key, False)) for key in ("requiresmacaddress", "requiresrequestreplay")
    ]
    require(kinds == [bool, bool], answer)


@check(SUBSYSTEM, source="B4", reads_only=True)
def address_spaces(plugin: Session) -> None:
    """GetDefaultAddressSpaces names a local or a global space, or both, the same each time."""
    first, second = plugin.call(SPACES), plugin.call(SPACES)
    keys = ("localdefaultaddressspace", "globaldefaultaddressspace")
    require(all(isinstance(first.get(key, ""), str) for key in keys), first)
    require(any(first.get(key) for key in keys), f"{first}: no space has a name")
    require(first == second, f"{first!r}, then {second!r}")


@check(SUBSYSTEM, source="B4")
def request_pool(plugin: Session) -> None:
    """RequestPool returns the requested pool, in CIDR notation, with a PoolID."""
    _, network = pool(plugin)
    require(str(network) == POOL, f"{network} instead of {POOL}")


@check(SUBSYSTEM, source="B0, B4")
def any_pool(plugin: Session) -> None:
    """RequestPool without a Pool, and with Options null, returns a pool of the driver's choice."""
    pool(plugin, "", Options=None)


@check(SUBSYSTEM, source="B4")
def another_pool_each_time(plugin: Session) -> None:
    """a second RequestPool without a Pool returns one that does not overlap the first: engines
    repeat the call, for ever, while the returned pool overlaps a network of the machine.
    """
    first, second = pool(plugin, "")[1], pool(plugin, "")[1]
    require(not first.overlaps(second), f"{first}, then {second}")


@check(SUBSYSTEM, source="B4")
def pool_of_version_6(plugin: Session) -> None:
    """RequestPool with V6 returns an IPv6 pool, or an error."""
    answer = request(plugin, "", V6=True)
    if answer.error:
        return
    network = _network(answer.fields.get("pool"))
    require(network.version == 6, network)  # noqa: PLR2004


@check(SUBSYSTEM, source="B4")
def data_of_a_pool(plugin: Session) -> None:
    """Data of RequestPool maps names to strings; a gateway in it is in CIDR notation."""
    answer = request(plugin)
    require(not answer.error, answer)
    data = answer.fields.get("data")
    gateway = texts_or_empty(data, f"Data is {data!r}").get("com.docker.network.gateway")
    if gateway is not None:
        try:
            check_prefix(gateway)
        except ValueError as error:
            fail(f"the gateway is not in CIDR notation: {error}")


@check(SUBSYSTEM, source="B4")
def release_pool(plugin: Session) -> None:
    """ReleasePool succeeds, and the same pool can be requested again."""
    for _ in range(2):
        pool_id, network = pool(plugin)
        require(str(network) == POOL, f"{network} instead of {POOL}")
        plugin.call(RELEASE_POOL, {"PoolID": pool_id})


@check(SUBSYSTEM, source="B4, B11 trap 7")
def pool_that_is_none(plugin: Session) -> None:
    """RequestPool of a pool that is not in CIDR notation is an error."""
    answer = request(plugin, "nonsense")
    require(answer.error, answer)


def address(
    plugin: Session, pool_id: str, wanted: str = "", options: Any = None
) -> IPv4Interface | IPv6Interface:
    """Request and return an address from a pool; it is released when the check ends."""
    args = {"PoolID": pool_id, "Address": wanted, "Options": options}
    text = plugin.call(REQUEST_ADDRESS, args).get("address")
    require(text and "/" in str(text), f"Address is {text!r}, without a prefix")
    try:
        interface = ip_interface(str(text))
    except ValueError as error:
        fail(f"Address is {text!r}: {error}")
    plugin.undo(RELEASE_ADDRESS, {"PoolID": pool_id, "Address": str(interface.ip)})
    return interface


@check(SUBSYSTEM, source="B4")
def request_address(plugin: Session) -> None:
    """RequestAddress returns an address in the pool, in CIDR notation."""
    pool_id, network = pool(plugin)
    interface = address(plugin, pool_id)
    require(interface.ip in network, f"{interface} is not in {network}")


@check(SUBSYSTEM, source="B4")
def request_that_address(plugin: Session) -> None:
    """RequestAddress returns the requested address, if it is free."""
    wanted = "198.51.100.77"
    interface = address(plugin, pool(plugin)[0], wanted)
    require(str(interface.ip) == wanted, f"{interface} instead of {wanted}")


@check(SUBSYSTEM, source="B4")
def gateway(plugin: Session) -> None:
    """RequestAddress for a gateway returns an address, which is not returned again."""
    pool_id, _ = pool(plugin)
    first = address(plugin, pool_id, options=GATEWAY)
    second = address(plugin, pool_id)
    require(first.ip != second.ip, f"{first} is given twice")


@check(
    SUBSYSTEM,
    expects=f"{FEW} addresses that are requested at once are all different",
    source="B0, B4",
)
def addresses_side_by_side(plugin: Session) -> None:
    pool_id, _ = pool(plugin)
    interfaces = plugin.side_by_side(*[partial(address, plugin, pool_id)] * FEW)
    require(len({each.ip for each in interfaces}) == FEW, ", ".join(sorted(map(str, interfaces))))


@check(SUBSYSTEM, source="B4")
def release_address(plugin: Session) -> None:
    """ReleaseAddress succeeds, and the same address can be requested again."""
    pool_id, _ = pool(plugin)
    for _ in range(2):
        interface = address(plugin, pool_id, "198.51.100.78")
        plugin.call(RELEASE_ADDRESS, {"PoolID": pool_id, "Address": str(interface.ip)})


@check(SUBSYSTEM, "release of a gateway that nobody requested", source="B4")
def release_of_a_gateway(plugin: Session) -> None:
    """ReleaseAddress of an address that RequestPool returned as gateway succeeds."""
    answer = request(plugin)
    require(not answer.error, answer)
    gateway = object_or_empty(answer.fields.get("data"), answer).get("com.docker.network.gateway")
    if not gateway:
        skip("RequestPool gives no gateway")
    address_given = str(gateway).partition("/")[0]
    plugin.call(RELEASE_ADDRESS, {"PoolID": answer.fields["poolid"], "Address": address_given})


@check(SUBSYSTEM, source="B4, B11 trap 7")
def error_key(plugin: Session) -> None:
    """an address from an unknown pool is an error, under Error or with a status other than 200:
    engines take Err in a 200 for a success.
    """
    answer = plugin.send(REQUEST_ADDRESS, {"PoolID": plugin.name(), "Address": "", "Options": None})
    hidden = answer.status == OK and answer.text("err")
    require(not hidden, f"{answer}: engines look for Error")
    require(answer.error, answer)
