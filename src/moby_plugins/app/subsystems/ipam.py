"""The IpamDriver subsystem (protocol.md B4)."""

from collections.abc import Mapping
from typing import Any, ClassVar

from attrs import Attribute, field, frozen

from moby_plugins.app.subsystem import Subsystem, remote, wire_name
from moby_plugins.domain.formats import check_prefix, follows

# The key in a pool's data of a CIDR that becomes the network's gateway without a further request.
GATEWAY = "com.docker.network.gateway"
# The key in a request's options that says that the requested address is the gateway's.
REQUEST_TYPE = "RequestAddressType"


# An engine refuses a value that is not an address with a prefix (B4).
_cidr = follows(check_prefix)


def _gateway(instance: object, attribute: "Attribute[Any]", data: Any) -> None:
    if isinstance(data, Mapping) and GATEWAY in data:
        _cidr(instance, attribute, data[GATEWAY])


@frozen
class IpamCapabilities:
    """The driver's needs: MAC addresses in requests, and a replay of requests at engine start."""

    requires_mac_address: bool = field(default=False, metadata=wire_name("RequiresMACAddress"))
    requires_request_replay: bool = False


@frozen
class AddressSpaces:
    """The names of the driver's default address spaces, the local and the global one."""

    local_default_address_space: str = ""
    global_default_address_space: str = ""


@frozen
class PoolResponse:
    """A pool of addresses; ``pool``, and the gateway in ``data``, are in CIDR notation.

    Raises ``ValueError`` for an invalid address.
    """

    pool_id: str = field(metadata=wire_name("PoolID"))
    pool: str = field(validator=_cidr)
    data: Mapping[str, str] = field(factory=dict, validator=_gateway)


@frozen
class AddressResponse:
    """An allocated address in CIDR notation; raises ``ValueError`` for an invalid one."""

    address: str = field(validator=_cidr)
    data: Mapping[str, str] = field(factory=dict)


class IpamDriver(Subsystem):
    """A manager of pools of addresses, and of the addresses in them.

    A response with status 200 reports an error under the key ``Error``. An engine ignores the key
    ``Err`` in IPAM responses, and takes such a response for an empty success (trap 7 in
    docs/protocol.md). A proxy raises ``DriverError`` for either key.
    """

    error_keys: ClassVar[tuple[str, ...]] = ("Error", "Err")

    @remote(sends_body=False, default_on_error=IpamCapabilities())
    def get_capabilities(self) -> IpamCapabilities:
        """Return the driver's capabilities; called at activation.

        On a host, no ``PluginError`` is raised: after a failed call the result is
        ``IpamCapabilities()``.
        """
        raise NotImplementedError

    @remote(sends_body=False)
    def get_default_address_spaces(self) -> AddressSpaces:
        """Return the default address spaces; called before each ``request_pool``."""
        raise NotImplementedError

    @remote()
    def request_pool(
        self,
        address_space: str,
        pool: str = "",
        sub_pool: str = "",
        options: Mapping[str, str] | None = None,
        v6: bool = False,  # noqa: FBT001, FBT002  the protocol's own
    ) -> PoolResponse:
        """Allocate and return a pool: ``pool`` if it is given, else one of the driver's choice.

        If a pool of the driver's choice overlaps a network of the engine's machine, the engine
        keeps the pool and repeats the request without limit: the driver must return another pool
        each time.
        """
        raise NotImplementedError

    @remote()
    def release_pool(self, pool_id: str) -> None:
        """Release a pool that ``request_pool`` returned."""
        raise NotImplementedError

    @remote()
    def request_address(
        self, pool_id: str, address: str = "", options: Mapping[str, str] | None = None
    ) -> AddressResponse:
        """Allocate ``address``, or an address of the driver's choice if it is "", and return it.

        ``address`` has no prefix; the address that is returned has one.
        """
        raise NotImplementedError

    @remote()
    def release_address(self, pool_id: str, address: str) -> None:
        """Release ``address``, which has no prefix.

        It may be the gateway in a pool's ``data``, which was never requested.
        """
        raise NotImplementedError
