"""NetworkDriver (protocol.md B3)."""

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen, validators

from moby_plugins.app.subsystem import Remote, Subsystem, omitempty, remote, remote_of, wired
from moby_plugins.domain.formats import check_ip, check_mac, check_prefix, follows, unless_empty

Options = Mapping[str, Any]

SCOPES = ("local", "global")
# The only kind of discovery that reaches a plugin: a node that came or went.
NODE_DISCOVERY = 1
# How a static route is reached.
NEXT_HOP, CONNECTED = 0, 1

# An engine that cannot read one of them undoes the endpoint, or has the container leave (B3).
_cidr = follows(unless_empty(check_prefix))
_ip = follows(unless_empty(check_ip))
_mac = follows(unless_empty(check_mac))


@frozen
class NetworkCapabilities:
    """``scope`` is exactly "local" or "global"; an empty ``connectivity_scope`` copies it.

    Only with ``gw_alloc_checker`` does an engine send ``gw_alloc_check``.
    """

    scope: str = field(validator=validators.in_(SCOPES))
    connectivity_scope: str = field(default="", validator=validators.in_(("", *SCOPES)))
    gw_alloc_checker: bool = False

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "connectivity_scope", self.connectivity_scope or self.scope)


@frozen
class GatewayNeeds:
    """For which families the driver needs no gateway address."""

    skip_ipv4: bool = field(default=False, metadata=wired("SkipIPv4"))
    skip_ipv6: bool = field(default=False, metadata=wired("SkipIPv6"))


@frozen
class IPAMData:
    """Addresses of a network: ``pool`` and ``gateway`` are CIDR, so are the auxiliary ones."""

    address_space: str
    pool: str = field(default="", metadata=omitempty())
    gateway: str = field(default="", metadata=omitempty())
    aux_addresses: Mapping[str, str] = field(factory=dict, metadata=omitempty())


@frozen
class NetworkRequest:
    """A network to allocate or to create."""

    network_id: str = field(metadata=wired("NetworkID"))
    options: Options = field(factory=dict)
    ipv4_data: tuple[IPAMData, ...] = field(default=(), metadata=wired("IPv4Data"))
    ipv6_data: tuple[IPAMData, ...] = field(default=(), metadata=wired("IPv6Data"))


@frozen
class EndpointInterface:
    """Addresses of an endpoint in CIDR, "" where unset; ``ValueError`` for what is none."""

    address: str = field(default="", validator=_cidr)
    address_ipv6: str = field(default="", validator=_cidr, metadata=wired("AddressIPv6"))
    mac_address: str = field(default="", validator=_mac)


@frozen
class InterfaceName:
    """The interface to move into the container: ``dst_name`` is read, but never used."""

    src_name: str = ""
    dst_prefix: str = ""
    dst_name: str = ""


@frozen
class StaticRoute:
    """A route in the container: by ``next_hop``, or directly connected.

    ``destination`` is CIDR, ``next_hop`` a plain address; ``ValueError`` for what is none.
    """

    destination: str = field(validator=_cidr)
    route_type: int = NEXT_HOP
    next_hop: str = field(default="", validator=_ip)


@frozen
class Joined:
    """How a container is connected; gateways are plain addresses, or ``ValueError``."""

    interface_name: InterfaceName | None = None
    gateway: str = field(default="", validator=_ip)
    gateway_ipv6: str = field(default="", validator=_ip, metadata=wired("GatewayIPv6"))
    static_routes: tuple[StaticRoute, ...] = ()
    disable_gateway_service: bool = False


@frozen
class DiscoveryData:
    """A node that came or went; ``self_`` where it is this one."""

    address: str = ""
    bind_address: str = ""
    self_: bool = field(default=False, alias="self_", metadata=wired("Self"))


class _Discovery(Remote):
    """A call that a driver need not care for: one that does not override it does nothing."""

    has_default = True

    def invoke(self, part: Any, *arguments: Any) -> Any:
        """What ``part`` makes of it, if it overrides the method."""
        if remote_of(getattr(type(part), self.name)) is self:
            return None
        return super().invoke(part, *arguments)


class NetworkDriver(Subsystem):
    """Networks, and the endpoints that containers have in them.

    Errors of ``delete_network``, ``delete_endpoint`` and ``leave`` an engine
    logs and ignores. ``options`` are as B3's second table has them.
    """

    @remote(sends_body=False)
    def get_capabilities(self) -> NetworkCapabilities:
        """Asked at activation; any failure keeps the driver out until the engine restarts."""
        raise NotImplementedError

    @remote()
    def gw_alloc_check(self, options: Options) -> GatewayNeeds:
        """Whether a network with these options needs gateway addresses."""
        raise NotImplementedError

    @remote(result="Options")
    def allocate_network(self, network: NetworkRequest) -> Mapping[str, str]:
        """Asked by a swarm manager; what is returned goes into the agents' ``create_network``."""
        raise NotImplementedError

    @remote()
    def free_network(self, network_id: str) -> None:
        """Undo ``allocate_network``."""
        raise NotImplementedError

    @remote()
    def create_network(self, network: NetworkRequest) -> None:
        """Make a network."""
        raise NotImplementedError

    @remote()
    def delete_network(self, network_id: str) -> None:
        """Remove a network."""
        raise NotImplementedError

    @remote(result="Interface")
    def create_endpoint(
        self, network_id: str, endpoint_id: str, interface: EndpointInterface, options: Options
    ) -> EndpointInterface | None:
        """Make an endpoint; return what was not set and the driver chose, ``None`` to keep all.

        A MAC address in ``options`` is base64 of its bytes, in ``interface`` text (trap 18).
        """
        raise NotImplementedError

    @remote()
    def delete_endpoint(self, network_id: str, endpoint_id: str) -> None:
        """Remove an endpoint."""
        raise NotImplementedError

    @remote(result="Value")
    def endpoint_oper_info(self, network_id: str, endpoint_id: str) -> Options:
        """What the driver knows of a running endpoint."""
        raise NotImplementedError

    @remote()
    def join(self, network_id: str, endpoint_id: str, sandbox_key: str, options: Options) -> Joined:
        """Connect a container."""
        raise NotImplementedError

    @remote()
    def leave(self, network_id: str, endpoint_id: str) -> None:
        """Disconnect it."""
        raise NotImplementedError

    @remote(absent=None)
    def program_external_connectivity(
        self, network_id: str, endpoint_id: str, options: Options
    ) -> None:
        """Open the endpoint's ports to the outside; a plugin may lack this."""
        raise NotImplementedError

    @remote(absent=None)
    def revoke_external_connectivity(self, network_id: str, endpoint_id: str) -> None:
        """Close them again; a plugin may lack this."""
        raise NotImplementedError

    @_Discovery()
    def discover_new(self, discovery_type: int, discovery_data: DiscoveryData) -> None:
        """A node came; nothing to do, unless overridden."""
        raise NotImplementedError

    @_Discovery()
    def discover_delete(self, discovery_type: int, discovery_data: DiscoveryData) -> None:
        """A node went; nothing to do, unless overridden."""
        raise NotImplementedError
