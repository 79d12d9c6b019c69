"""A plugin that implements every subsystem, and keeps to the protocol in all."""

import threading
from collections import Counter
from collections.abc import Mapping
from ipaddress import ip_network
from itertools import count
from typing import Any

from moby_plugins import Request, Response
from moby_plugins.domain.http import App
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import (
    AddressResponse,
    AddressSpaces,
    AuthZPlugin,
    AuthZRequest,
    DiscoveryData,
    EndpointInterface,
    GatewayNeeds,
    InterfaceName,
    IpamCapabilities,
    IpamDriver,
    JoinResponse,
    MetricsCollector,
    NetworkCapabilities,
    NetworkDriver,
    NetworkRequest,
    PoolResponse,
    Secret,
    SecretProvider,
    SecretRequest,
    Verdict,
    Volume,
    VolumeCapabilities,
    VolumeDriver,
)
from tests.unit.checks.good_storage import Layers, Logs

GATEWAY = "com.docker.network.gateway"


class Volumes(VolumeDriver):
    """A volume driver that keeps names, and how often each volume is mounted."""

    def __init__(self) -> None:
        self._mounts: dict[str, Counter[str]] = {}

    def create(self, name: str, opts: Mapping[str, str] | None = None) -> None:
        self._mounts.setdefault(name, Counter())

    def remove(self, name: str) -> None:
        del self._mounts[name]

    def path(self, name: str) -> str:
        return f"/mnt/{name}" if self._mounts[name].total() else ""

    def mount(self, name: str, id: str) -> str:
        self._mounts[name][id] += 1
        return self.path(name)

    def unmount(self, name: str, id: str) -> None:
        self._mounts[name][id] = max(self._mounts[name][id] - 1, 0)

    def list(self) -> tuple[Volume, ...]:
        return tuple(map(self._volume, [*self._mounts]))

    def get(self, name: str) -> Volume | None:
        return self._volume(name) if name in self._mounts else None

    def capabilities(self) -> VolumeCapabilities:
        return VolumeCapabilities()

    def _volume(self, name: str) -> Volume:
        return Volume(name, self.path(name), "2024-02-29T12:00:00Z", {"Mounts": 0})


class Networks(NetworkDriver):
    """A network driver that keeps IDs of networks, and of endpoints in them."""

    def __init__(self) -> None:
        self._networks: dict[str, set[str]] = {}

    def get_capabilities(self) -> NetworkCapabilities:
        return NetworkCapabilities("global", gw_alloc_checker=True)

    def gw_alloc_check(self, options: Mapping[str, Any]) -> GatewayNeeds:
        return GatewayNeeds(skip_ipv4=True)

    def allocate_network(self, network: NetworkRequest) -> Mapping[str, str]:
        return {"vni": "7"}

    def free_network(self, network_id: str) -> None:
        """Nothing was kept."""

    def create_network(self, network: NetworkRequest) -> None:
        if network.network_id in self._networks:
            raise ValueError("there is such a network")
        self._networks[network.network_id] = set()

    def delete_network(self, network_id: str) -> None:
        del self._networks[network_id]

    def create_endpoint(
        self,
        network_id: str,
        endpoint_id: str,
        interface: EndpointInterface,
        options: Mapping[str, Any],
    ) -> EndpointInterface | None:
        if endpoint_id in self._networks[network_id]:
            raise ValueError("there is such an endpoint")
        self._networks[network_id].add(endpoint_id)
        return EndpointInterface(mac_address="02:42:c0:00:02:0b", address_ipv6="2001:db8::7/64")

    def delete_endpoint(self, network_id: str, endpoint_id: str) -> None:
        self._networks[network_id].remove(endpoint_id)

    def endpoint_oper_info(self, network_id: str, endpoint_id: str) -> Mapping[str, Any]:
        return {"known": endpoint_id in self._networks[network_id]}

    def join(
        self, network_id: str, endpoint_id: str, sandbox_key: str, options: Mapping[str, Any]
    ) -> JoinResponse:
        if endpoint_id not in self._networks[network_id]:
            raise ValueError("no such endpoint")
        return JoinResponse(InterfaceName("veth7", "eth"), gateway="192.0.2.1")

    def leave(self, network_id: str, endpoint_id: str) -> None:
        if endpoint_id not in self._networks[network_id]:
            raise ValueError("no such endpoint")

    def discover_new(self, discovery_type: int, discovery_data: DiscoveryData) -> None:
        """A node more."""

    def discover_delete(self, discovery_type: int, discovery_data: DiscoveryData) -> None:
        """A node less."""


class Addresses(IpamDriver):
    """An IPAM driver that keeps pools by their CIDR, and the addresses in use."""

    def __init__(self) -> None:
        self._taken: dict[str, set[str]] = {}
        self._lock = threading.Lock()

    def get_capabilities(self) -> IpamCapabilities:
        return IpamCapabilities(requires_mac_address=True)

    def get_default_address_spaces(self) -> AddressSpaces:
        return AddressSpaces("near", "far")

    def request_pool(
        self,
        address_space: str,
        pool: str = "",
        sub_pool: str = "",
        options: Mapping[str, str] | None = None,
        v6: bool = False,  # noqa: FBT001, FBT002
    ) -> PoolResponse:
        with self._lock:
            free = (f"10.{number}.0.0/16" for number in count() if not self._has(number))
            network = ip_network(pool or ("2001:db8::/64" if v6 else next(free)))
            self._taken[str(network)] = set()
            gateway = f"{network[1]}/{network.prefixlen}"
            self._taken[str(network)].add(str(network[1]))
            return PoolResponse(str(network), str(network), {GATEWAY: gateway})

    def _has(self, number: int) -> bool:
        return f"10.{number}.0.0/16" in self._taken

    def release_pool(self, pool_id: str) -> None:
        del self._taken[pool_id]

    def request_address(
        self, pool_id: str, address: str = "", options: Mapping[str, str] | None = None
    ) -> AddressResponse:
        with self._lock:
            taken, network = self._taken[pool_id], ip_network(pool_id)
            free = (str(host) for host in network.hosts() if str(host) not in taken)
            given = address or next(free)
            if given in taken:
                raise ValueError(f"{given} is taken")
            taken.add(given)
            return AddressResponse(f"{given}/{network.prefixlen}")

    def release_address(self, pool_id: str, address: str) -> None:
        self._taken[pool_id].discard(address)


class Doorman(AuthZPlugin):
    """An authorization plugin that allows GET alone."""

    def authorize_request(self, request: AuthZRequest) -> Verdict:
        allowed = request.request_method == "GET"
        return Verdict(allowed, "" if allowed else "look, do not touch")

    def authorize_response(self, request: AuthZRequest) -> Verdict:
        return Verdict(True)


class Meter(MetricsCollector):
    """Does nothing with the engine's metrics."""

    def start_metrics(self) -> None:
        """There is nothing to start."""

    def stop_metrics(self) -> None:
        """There is nothing to stop."""


class Secrets(SecretProvider):
    """A secret provider with one secret."""

    def get_secret(self, request: SecretRequest) -> Secret:
        if request.secret_name != "password":
            raise LookupError(f"no secret is called {request.secret_name!r}")
        return Secret(b"s3cret")


PARTS = (Volumes, Networks, Addresses, Doorman, Logs, Meter, Layers, Secrets)
BY_SUBSYSTEM = {part.implements: part for part in PARTS}
# Nothing is kept here: it tells the handshake, and which methods there are none of.
WHOLE = PluginApp(*(part() for part in PARTS))


class _GoodPlugin:
    """A plugin of all parts; each is made at its first call, as most checks call only one."""

    def __init__(self) -> None:
        self._apps: dict[str, PluginApp] = {}
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Response:
        subsystem = request.method.partition(".")[0]
        if subsystem not in BY_SUBSYSTEM:
            return WHOLE(request)
        with self._lock:
            if subsystem not in self._apps:
                self._apps[subsystem] = PluginApp(BY_SUBSYSTEM[subsystem]())
        return self._apps[subsystem](request)


def good_plugin() -> App:
    """Every subsystem in one plugin."""
    return _GoodPlugin()
