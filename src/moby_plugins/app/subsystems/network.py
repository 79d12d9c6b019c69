"""The NetworkDriver subsystem (protocol.md B3)."""

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen, validators

from moby_plugins.app.subsystem import (
    RemoteMethod,
    Subsystem,
    omitempty,
    remote,
    remote_of,
    wire_name,
)
from moby_plugins.domain.formats import check_ip, check_mac, check_prefix, follows, unless_empty

Options = Mapping[str, Any]

SCOPES = ("local", "global")
# The only discovery type that engines send to plugins: a node joined or left.
NODE_DISCOVERY = 1
# The types of a static route.
NEXT_HOP, CONNECTED = 0, 1

# An engine that cannot parse such a value removes the endpoint, or disconnects the container (B3).
_cidr = follows(unless_empty(check_prefix))
_ip = follows(unless_empty(check_ip))
_mac = follows(unless_empty(check_mac))


@frozen
class NetworkCapabilities:
    """The capabilities of a network driver.

    ``scope`` is "local" or "global"; an empty ``connectivity_scope`` becomes the same as ``scope``.
    Raises ``ValueError`` for any other scope. An engine calls ``gw_alloc_check`` only if
    ``gw_alloc_checker`` is true.
    """

    scope: str = field(validator=validators.in_(SCOPES))
    connectivity_scope: str = field(default="", validator=validators.in_(("", *SCOPES)))
    gw_alloc_checker: bool = False

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "connectivity_scope", self.connectivity_scope or self.scope)


@frozen
class GatewayNeeds:
    """The address families for which the driver needs no gateway address."""

    skip_ipv4: bool = field(default=False, metadata=wire_name("SkipIPv4"))
    skip_ipv6: bool = field(default=False, metadata=wire_name("SkipIPv6"))


@frozen
class IPAMData:
    """The addresses of a network; all but ``address_space`` are in CIDR notation.

    Raises ``ValueError`` for an invalid pool or gateway. Auxiliary addresses are not checked: the
    engine's documents show them without the prefix that engines send.
    """

    address_space: str
    pool: str = field(default="", validator=_cidr, metadata=omitempty())
    gateway: str = field(default="", validator=_cidr, metadata=omitempty())
    aux_addresses: Mapping[str, str] = field(factory=dict, metadata=omitempty())


@frozen
class NetworkRequest:
    """The request to allocate or create a network."""

    network_id: str = field(metadata=wire_name("NetworkID"))
    options: Options = field(factory=dict)
    ipv4_data: tuple[IPAMData, ...] = field(default=(), metadata=wire_name("IPv4Data"))
    ipv6_data: tuple[IPAMData, ...] = field(default=(), metadata=wire_name("IPv6Data"))


@frozen
class EndpointInterface:
    """The IP addresses of an endpoint, in CIDR notation, and its MAC address; "" for none.

    Raises ``ValueError`` for an invalid address.
    """

    address: str = field(default="", validator=_cidr)
    address_ipv6: str = field(default="", validator=_cidr, metadata=wire_name("AddressIPv6"))
    mac_address: str = field(default="", validator=_mac)


@frozen
class InterfaceName:
    """The network interface to move into the container; engines do not use ``dst_name``."""

    src_name: str = ""
    dst_prefix: str = ""
    dst_name: str = ""


@frozen
class StaticRoute:
    """A route in the container, by ``next_hop`` or directly connected.

    ``destination`` is in CIDR notation, ``next_hop`` an address without a prefix. Raises
    ``ValueError`` for an invalid one.
    """

    destination: str = field(validator=_cidr)
    route_type: int = NEXT_HOP
    next_hop: str = field(default="", validator=_ip)


@frozen
class JoinResponse:
    """The connection of a container to a network.

    Gateways are addresses without a prefix; raises ``ValueError`` for an invalid one.
    """

    interface_name: InterfaceName | None = None
    gateway: str = field(default="", validator=_ip)
    gateway_ipv6: str = field(default="", validator=_ip, metadata=wire_name("GatewayIPv6"))
    static_routes: tuple[StaticRoute, ...] = ()
    disable_gateway_service: bool = False


@frozen
class DiscoveryData:
    """A node that joined or left a cluster; ``self_`` is true if it is the driver's own node."""

    address: str = ""
    bind_address: str = ""
    self_: bool = field(default=False, alias="self_", metadata=wire_name("Self"))


class _Discovery(RemoteMethod):
    """A method that a driver need not override: calls of it then do nothing."""

    has_default = True

    def invoke(self, part: Any, *arguments: Any) -> Any:
        """Call the method of ``part``, if its class overrides the method; else do nothing."""
        if remote_of(getattr(type(part), self.name)) is self:
            return None
        return super().invoke(part, *arguments)


class NetworkDriver(Subsystem):
    """A driver of networks, and of the endpoints of containers in them.

    An engine logs and ignores errors of ``delete_network``, ``delete_endpoint`` and ``leave``. The
    second table of B3 in docs/protocol.md describes ``options``.
    """

    @remote(sends_body=False)
    def get_capabilities(self) -> NetworkCapabilities:
        """Return the capabilities.

        If the call fails, the engine ignores the driver until the engine is restarted.
        """
        raise NotImplementedError

    @remote()
    def gw_alloc_check(self, options: Options) -> GatewayNeeds:
        """Return the address families for which a network with these options needs no gateway."""
        raise NotImplementedError

    @remote(result="Options")
    def allocate_network(self, network: NetworkRequest) -> Mapping[str, str]:
        """Allocate a network for a swarm manager.

        Return options that ``create_network`` gets on the nodes.
        """
        raise NotImplementedError

    @remote()
    def free_network(self, network_id: str) -> None:
        """Free a network that ``allocate_network`` allocated."""
        raise NotImplementedError

    @remote()
    def create_network(self, network: NetworkRequest) -> None:
        """Create a network, in which endpoints can then be created."""
        raise NotImplementedError

    @remote()
    def delete_network(self, network_id: str) -> None:
        """Remove a network."""
        raise NotImplementedError

    @remote(result="Interface")
    def create_endpoint(
        self, network_id: str, endpoint_id: str, interface: EndpointInterface, options: Options
    ) -> EndpointInterface | None:
        """Create an endpoint; return only the addresses that the driver chose, or ``None``.

        The driver may choose only addresses that ``interface`` leaves unset. A MAC address in
        ``options`` is the base64 of its bytes; in ``interface`` it is text (trap 18 in
        docs/protocol.md).
        """
        raise NotImplementedError

    @remote()
    def delete_endpoint(self, network_id: str, endpoint_id: str) -> None:
        """Remove an endpoint."""
        raise NotImplementedError

    @remote(result="Value")
    def endpoint_oper_info(self, network_id: str, endpoint_id: str) -> Options:
        """Return what the driver knows about a running endpoint, for users."""
        raise NotImplementedError

    @remote()
    def join(
        self, network_id: str, endpoint_id: str, sandbox_key: str, options: Options
    ) -> JoinResponse:
        """Connect a container to a network, by an endpoint that was created in the network."""
        raise NotImplementedError

    @remote()
    def leave(self, network_id: str, endpoint_id: str) -> None:
        """Disconnect a container from a network."""
        raise NotImplementedError

    @remote(default_if_missing=None)
    def program_external_connectivity(
        self, network_id: str, endpoint_id: str, options: Options
    ) -> None:
        """Open the endpoint's network ports to the outside; a plugin need not implement this."""
        raise NotImplementedError

    @remote(default_if_missing=None)
    def revoke_external_connectivity(self, network_id: str, endpoint_id: str) -> None:
        """Close the endpoint's network ports to the outside; a plugin need not implement this."""
        raise NotImplementedError

    @_Discovery()
    def discover_new(self, discovery_type: int, discovery_data: DiscoveryData) -> None:
        """React to a node that joined; does nothing unless overridden."""
        raise NotImplementedError

    @_Discovery()
    def discover_delete(self, discovery_type: int, discovery_data: DiscoveryData) -> None:
        """React to a node that left; does nothing unless overridden."""
        raise NotImplementedError
