"""IpamDriver: addresses in a pool (protocol.md B4)."""

from functools import partial
from ipaddress import (
    IPv4Interface,
    IPv6Interface,
    ip_interface,
)
from typing import Any

from moby_plugins.checks.check import check, fail, require, skip
from moby_plugins.checks.ipam import pool, request
from moby_plugins.checks.probe import Probe
from moby_plugins.domain.http import OK

SUBSYSTEM = "IpamDriver"
REQUEST_ADDRESS, RELEASE_ADDRESS = "IpamDriver.RequestAddress", "IpamDriver.ReleaseAddress"
GATEWAY = {"RequestAddressType": "com.docker.network.gateway"}
FEW = 8


def address(
    plugin: Probe, pool_id: str, wanted: str = "", options: Any = None
) -> IPv4Interface | IPv6Interface:
    """A new address from a pool, released at the end."""
    asked = {"PoolID": pool_id, "Address": wanted, "Options": options}
    told = plugin.call(REQUEST_ADDRESS, asked).get("address")
    require(told and "/" in str(told), f"Address is {told!r}, without a prefix")
    try:
        found = ip_interface(str(told))
    except ValueError as error:
        fail(f"Address is {told!r}: {error}")
    plugin.undo(RELEASE_ADDRESS, {"PoolID": pool_id, "Address": str(found.ip)})
    return found


@check(
    SUBSYSTEM,
    "request address",
    expects="RequestAddress gives an address in the pool, in CIDR",
    source="B4",
)
def request_address(plugin: Probe) -> None:
    pool_id, network = pool(plugin)
    found = address(plugin, pool_id)
    require(found.ip in network, f"{found} is not in {network}")


@check(
    SUBSYSTEM,
    "request that address",
    expects="RequestAddress gives the very address that is asked for, if it is free",
    source="B4",
)
def request_that_address(plugin: Probe) -> None:
    wanted = "198.51.100.77"
    found = address(plugin, pool(plugin)[0], wanted)
    require(str(found.ip) == wanted, f"{found} instead of {wanted}")


@check(
    SUBSYSTEM,
    "gateway",
    expects="RequestAddress for a gateway gives an address, which is given to nobody else",
    source="B4",
)
def gateway(plugin: Probe) -> None:
    pool_id, _ = pool(plugin)
    first = address(plugin, pool_id, options=GATEWAY)
    second = address(plugin, pool_id)
    require(first.ip != second.ip, f"{first} is given twice")


@check(
    SUBSYSTEM,
    "addresses side by side",
    expects=f"{FEW} addresses that are requested at once are {FEW}",
    source="B0, B4",
)
def addresses_side_by_side(plugin: Probe) -> None:
    pool_id, _ = pool(plugin)
    found = plugin.side_by_side(*[partial(address, plugin, pool_id)] * FEW)
    require(len({each.ip for each in found}) == FEW, ", ".join(sorted(map(str, found))))


@check(
    SUBSYSTEM,
    "release address",
    expects="ReleaseAddress succeeds, and the same address can be requested again",
    source="B4",
)
def release_address(plugin: Probe) -> None:
    pool_id, _ = pool(plugin)
    for _ in range(2):
        found = address(plugin, pool_id, "198.51.100.78")
        plugin.call(RELEASE_ADDRESS, {"PoolID": pool_id, "Address": str(found.ip)})


@check(
    SUBSYSTEM,
    "release of a gateway that nobody requested",
    expects="ReleaseAddress of an address that RequestPool gave as gateway succeeds",
    source="B4",
)
def release_of_a_gateway(plugin: Probe) -> None:
    answer = request(plugin)
    require(not answer.error, answer)
    told = (answer.fields.get("data") or {}).get("com.docker.network.gateway")
    if not told:
        skip("RequestPool gives no gateway")
    address_given = str(told).partition("/")[0]
    plugin.call(RELEASE_ADDRESS, {"PoolID": answer.fields["poolid"], "Address": address_given})


@check(
    SUBSYSTEM,
    "error key",
    expects="an address from a pool that there is not is an error, under Error or with another"
    " status than 200: Err in a 200 is a success",
    source="B4, B11 trap 7",
)
def error_key(plugin: Probe) -> None:
    answer = plugin.send(REQUEST_ADDRESS, {"PoolID": plugin.name(), "Address": "", "Options": None})
    hidden = answer.status == OK and answer.told("err")
    require(not hidden, f"{answer}: engines look for Error")
    require(answer.error, answer)
