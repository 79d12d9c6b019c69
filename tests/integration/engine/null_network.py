"""A network that connects nothing, and addresses for it: both in one plugin.

``python null_network.py SOCKET``; it prints each call as ``METHOD BODY``.
"""

import ipaddress
import sys
import threading
from collections.abc import Mapping

from moby_plugins import Request, Response
from moby_plugins.serving import PluginApp, serve_unix
from moby_plugins.subsystems import (
    AddressResponse,
    AddressSpaces,
    EndpointInterface,
    IpamCapabilities,
    IpamDriver,
    JoinResponse,
    NetworkCapabilities,
    NetworkDriver,
    NetworkRequest,
    PoolResponse,
)

GATEWAY = "com.docker.network.gateway"


class NullNetwork(NetworkDriver):
    """Accepts every network and endpoint, and moves no interface anywhere."""

    def get_capabilities(self) -> NetworkCapabilities:
        return NetworkCapabilities("local")

    def create_network(self, network: NetworkRequest) -> None:
        if dict(network.options.get("com.docker.network.generic", {})).get("fail"):
            raise ValueError("asked to fail")

    def delete_network(self, network_id: str) -> None:
        pass

    def create_endpoint(
        self,
        network_id: str,
        endpoint_id: str,
        interface: EndpointInterface,
        options: Mapping[str, object],
    ) -> EndpointInterface | None:
        return None if interface.mac_address else EndpointInterface(mac_address="02:00:00:00:00:01")

    def delete_endpoint(self, network_id: str, endpoint_id: str) -> None:
        pass

    def endpoint_oper_info(self, network_id: str, endpoint_id: str) -> Mapping[str, object]:
        return {}

    def join(
        self, network_id: str, endpoint_id: str, sandbox_key: str, options: Mapping[str, object]
    ) -> JoinResponse:
        return JoinResponse(disable_gateway_service=True)

    def leave(self, network_id: str, endpoint_id: str) -> None:
        pass


class Counting(IpamDriver):
    """Gives the addresses of a pool one after the other; a pool's id is the pool."""

    def __init__(self) -> None:
        self._taken: dict[str, set[str]] = {}
        self._lock = threading.Lock()

    def get_capabilities(self) -> IpamCapabilities:
        return IpamCapabilities()

    def get_default_address_spaces(self) -> AddressSpaces:
        return AddressSpaces("null-local", "null-global")

    def request_pool(
        self,
        address_space: str,
        pool: str = "",
        sub_pool: str = "",
        options: Mapping[str, str] | None = None,
        v6: bool = False,  # noqa: FBT001, FBT002  the protocol's own
    ) -> PoolResponse:
        with self._lock:
            pool = pool or f"10.231.{len(self._taken)}.0/24"
            if pool in self._taken:
                raise ValueError(f"pool {pool} is taken")
            self._taken[pool] = set()
            return PoolResponse(pool_id=pool, pool=pool)

    def release_pool(self, pool_id: str) -> None:
        with self._lock:
            self._taken.pop(pool_id)

    def request_address(
        self, pool_id: str, address: str = "", options: Mapping[str, str] | None = None
    ) -> AddressResponse:
        with self._lock:
            network, taken = ipaddress.ip_network(pool_id), self._taken[pool_id]
            free = (str(host) for host in network.hosts() if str(host) not in taken)
            address = address or next(free)
            taken.add(address)
            return AddressResponse(f"{address}/{network.prefixlen}")

    def release_address(self, pool_id: str, address: str) -> None:
        with self._lock:
            self._taken[pool_id].discard(address)


def main() -> None:
    """Serve both until stopped."""
    app = PluginApp(NullNetwork(), Counting())

    def noted(request: Request) -> Response:
        print(request.method, request.read().decode().strip(), flush=True)  # noqa: T201
        return app(request)

    serve_unix(noted, sys.argv[1])


if __name__ == "__main__":
    main()
