"""A broken plugin for each check of IpamDriver."""

from tests.unit.checks.broken import (
    Broken,
    adds,
    after,
    at_once,
    refuses,
    says,
    warned,
)
from tests.unit.checks.broken_volumes import no, only_once, refuses_if

CAPABILITIES = "IpamDriver.GetCapabilities"
SPACES = "IpamDriver.GetDefaultAddressSpaces"
REQUEST_POOL, RELEASE_POOL = "IpamDriver.RequestPool", "IpamDriver.ReleasePool"
REQUEST_ADDRESS, RELEASE_ADDRESS = "IpamDriver.RequestAddress", "IpamDriver.ReleaseAddress"
GATEWAY = "com.docker.network.gateway"


def pool(**keys: object) -> Broken:
    """RequestPool answers this."""
    return Broken(says(REQUEST_POOL, keys))


BROKEN = {
    "IpamDriver: capabilities": warned(refuses(CAPABILITIES)),
    "IpamDriver: address spaces": Broken(says(SPACES, {})),
    "IpamDriver: request pool": pool(PoolID="p", PoolResponse="10.0.0.0/8"),
    "IpamDriver: any pool": Broken(refuses_if(lambda args: args["Options"] is None, REQUEST_POOL)),
    "IpamDriver: another pool each time": pool(PoolID="p", PoolResponse="10.0.0.0/8"),
    "IpamDriver: pool of version 6": pool(PoolID="p", PoolResponse="10.0.0.0/8"),
    "IpamDriver: data of a pool": Broken(adds(REQUEST_POOL, Data={GATEWAY: "198.51.100.1"})),
    "IpamDriver: release pool": Broken(refuses(RELEASE_POOL)),
    "IpamDriver: request address": Broken(says(REQUEST_ADDRESS, {"Address": "10.0.0.1/8"})),
    "IpamDriver: request that address": Broken(
        says(REQUEST_ADDRESS, {"Address": "198.51.100.2/24"})
    ),
    "IpamDriver: gateway": Broken(says(REQUEST_ADDRESS, {"Address": "198.51.100.1/24"})),
    "IpamDriver: addresses side by side": Broken(at_once(REQUEST_ADDRESS)),
    "IpamDriver: release address": Broken(only_once(REQUEST_ADDRESS)),
    "IpamDriver: release of a gateway that nobody requested": Broken(refuses(RELEASE_ADDRESS)),
    "IpamDriver: error key": Broken(says(REQUEST_ADDRESS, {"Err": "no such pool"})),
    "IpamDriver: pool that is none": pool(PoolID="p", PoolResponse="10.0.0.0/8"),
}
MORE = (
    ("IpamDriver: capabilities", Broken(adds(CAPABILITIES, RequiresMACAddress="no"))),
    ("IpamDriver: address spaces", Broken(after(1, lambda _, __: no(), SPACES))),
    ("IpamDriver: address spaces", Broken(adds(SPACES, LocalDefaultAddressSpace=1))),
    ("IpamDriver: request pool", pool(PoolID="", PoolResponse="198.51.100.0/24")),
    ("IpamDriver: request pool", pool(PoolID="p", PoolResponse="198.51.100.0")),
    ("IpamDriver: request pool", pool(PoolID="p", PoolResponse="here/24")),
    ("IpamDriver: request pool", pool(Error="no")),
    ("IpamDriver: data of a pool", Broken(adds(REQUEST_POOL, Data={"size": 1}))),
    ("IpamDriver: data of a pool", Broken(adds(REQUEST_POOL, Data=[]))),
    ("IpamDriver: data of a pool", Broken(adds(REQUEST_POOL, Data={GATEWAY: "here/24"}))),
    ("IpamDriver: request address", Broken(says(REQUEST_ADDRESS, {"Address": ""}))),
    ("IpamDriver: request address", Broken(says(REQUEST_ADDRESS, {"Address": "here/24"}))),
    ("IpamDriver: error key", Broken(says(REQUEST_ADDRESS, {"Address": "10.0.0.1/8"}))),
)
