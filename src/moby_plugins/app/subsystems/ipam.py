"""IpamDriver (protocol.md B4)."""

from collections.abc import Mapping
from typing import Any, ClassVar

from attrs import Attribute, field, frozen

from moby_plugins.app.subsystem import Subsystem, remote, wired
from moby_plugins.domain.formats import check_prefix, follows

# In a pool's data, this CIDR becomes the network's gateway without a request for it.
GATEWAY = "com.docker.network.gateway"
# In a request's options: which address is asked for, if it is the gateway's.
REQUEST_TYPE = "RequestAddressType"


# What an engine would refuse: no address, or one without a prefix (B4).
_cidr = follows(check_prefix)


def _gateway(instance: object, attribute: "Attribute[Any]", data: Any) -> None:
    if isinstance(data, Mapping) and GATEWAY in data:
        _cidr(instance, attribute, data[GATEWAY])


@frozen
class IpamCapabilities:
    """What the engine is to send along, and whether it replays its requests at start."""

    requires_mac_address: bool = field(default=False, metadata=wired("RequiresMACAddress"))
    requires_request_replay: bool = False


@frozen
class AddressSpaces:
    """The default address spaces."""

    local_default_address_space: str = ""
    global_default_address_space: str = ""


@frozen
class Pool:
    """A pool of addresses: ``pool`` is CIDR, and so is the gateway in ``data``.

    Raises ``ValueError`` for what is none.
    """

    pool_id: str = field(metadata=wired("PoolID"))
    pool: str = field(validator=_cidr)
    data: Mapping[str, str] = field(factory=dict, validator=_gateway)


@frozen
class Lease:
    """An address in CIDR; ``ValueError`` for what is none."""

    address: str = field(validator=_cidr)
    data: Mapping[str, str] = field(factory=dict)


class IpamDriver(Subsystem):
    """Pools of addresses, and the addresses in them.

    An error in an answer 200 is under ``Error``; ``Err``, which engines take for a
    success without content there, is an error too (trap 7).
    """

    error_keys: ClassVar[tuple[str, ...]] = ("Error", "Err")

    @remote(sends_body=False, failed=IpamCapabilities())
    def get_capabilities(self) -> IpamCapabilities:
        """Asked at activation; to a host any failure means neither."""
        raise NotImplementedError

    @remote(sends_body=False)
    def get_default_address_spaces(self) -> AddressSpaces:
        """Asked before each ``request_pool``."""
        raise NotImplementedError

    @remote()
    def request_pool(
        self,
        address_space: str,
        pool: str = "",
        sub_pool: str = "",
        options: Mapping[str, str] | None = None,
        v6: bool = False,  # noqa: FBT001, FBT002  the protocol's own
    ) -> Pool:
        """Give a pool: the one asked for, or one of the driver's choice.

        A pool that overlaps the host's networks is kept, and the request
        repeated without limit: a driver gives another one each time.
        """
        raise NotImplementedError

    @remote()
    def release_pool(self, pool_id: str) -> None:
        """Take a pool back."""
        raise NotImplementedError

    @remote()
    def request_address(
        self, pool_id: str, address: str = "", options: Mapping[str, str] | None = None
    ) -> Lease:
        """Give an address: ``address`` (plain) if that is set, else one of the driver's choice."""
        raise NotImplementedError

    @remote()
    def release_address(self, pool_id: str, address: str) -> None:
        """Take an address (plain) back; also a gateway's that was never requested."""
        raise NotImplementedError
