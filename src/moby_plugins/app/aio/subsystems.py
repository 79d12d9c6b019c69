"""The eight subsystems that engines use, for asyncio.

Each class declares the methods of its synchronous subsystem, with the same parameters, results and
docstrings. On a host's end a method is a coroutine that makes the call; on a plugin's end a
coroutine or an asynchronous generator overrides it. Methods are declared with decorators, because
pyright does not check overrides of a method that is only assigned (decision 0047).
"""

from moby_plugins.app.aio.bodies import AsyncData
from moby_plugins.app.aio.subsystem import AsyncSubsystem, awaiting, streaming
from moby_plugins.app.subsystems.authz import AuthZPlugin, AuthZRequest, Verdict, unseen
from moby_plugins.app.subsystems.graph import ApplyArchive, GraphDriver
from moby_plugins.app.subsystems.ipam import IpamDriver
from moby_plugins.app.subsystems.log import LogDriver
from moby_plugins.app.subsystems.metrics import MetricsCollector
from moby_plugins.app.subsystems.network import NetworkDriver
from moby_plugins.app.subsystems.secret import SecretProvider
from moby_plugins.app.subsystems.volume import Volume, VolumeDriver
from moby_plugins.domain.errors import DriverError, StatusError, WireError


class AsyncVolumeDriver(AsyncSubsystem):
    """The asynchronous form of ``VolumeDriver``: volumes by name.

    Examples:
        ```python
        from moby_plugins.aio import AsyncPluginApp, AsyncVolumeDriver
        from moby_plugins.subsystems import Volume


        class Shelf(AsyncVolumeDriver):
            def __init__(self):
                self.names = set()

            async def create(self, name, opts=None):
                self.names.add(name)

            async def list(self):
                return [Volume(name) for name in sorted(self.names)]


        app = AsyncPluginApp(Shelf())
        assert app.manifest.implements == ("VolumeDriver",)
        ```
    """

    @awaiting(VolumeDriver.create)
    def create(self) -> None: ...

    @awaiting(VolumeDriver.remove)
    def remove(self) -> None: ...

    @awaiting(VolumeDriver.path)
    def path(self) -> None: ...

    @awaiting(VolumeDriver.mount)
    def mount(self) -> None: ...

    @awaiting(VolumeDriver.unmount)
    def unmount(self) -> None: ...

    @awaiting(VolumeDriver.list)
    def list(self) -> None: ...

    @awaiting(VolumeDriver.get)
    def get(self) -> None: ...

    @awaiting(VolumeDriver.capabilities)
    def capabilities(self) -> None: ...

    async def find(self, name: str) -> Volume | None:
        """Return the volume, or ``None`` if an engine would treat it as absent; for hosts.

        An engine treats a volume as absent if the response contains none, reports an error, or is
        invalid: see
        ``VolumeDriver.find``.

        Args:
            name: The volume's name.

        Returns:
            The volume, or ``None``.

        Raises:
            TransportError: If no response is received.
        """
        try:
            return await self.get(name)
        except (StatusError, DriverError, WireError):
            return None


class AsyncNetworkDriver(AsyncSubsystem):
    """The asynchronous form of ``NetworkDriver``: networks and the endpoints in them."""

    @awaiting(NetworkDriver.get_capabilities)
    def get_capabilities(self) -> None: ...

    @awaiting(NetworkDriver.gw_alloc_check)
    def gw_alloc_check(self) -> None: ...

    @awaiting(NetworkDriver.allocate_network)
    def allocate_network(self) -> None: ...

    @awaiting(NetworkDriver.free_network)
    def free_network(self) -> None: ...

    @awaiting(NetworkDriver.create_network)
    def create_network(self) -> None: ...

    @awaiting(NetworkDriver.delete_network)
    def delete_network(self) -> None: ...

    @awaiting(NetworkDriver.create_endpoint)
    def create_endpoint(self) -> None: ...

    @awaiting(NetworkDriver.delete_endpoint)
    def delete_endpoint(self) -> None: ...

    @awaiting(NetworkDriver.endpoint_oper_info)
    def endpoint_oper_info(self) -> None: ...

    @awaiting(NetworkDriver.join)
    def join(self) -> None: ...

    @awaiting(NetworkDriver.leave)
    def leave(self) -> None: ...

    @awaiting(NetworkDriver.program_external_connectivity)
    def program_external_connectivity(self) -> None: ...

    @awaiting(NetworkDriver.revoke_external_connectivity)
    def revoke_external_connectivity(self) -> None: ...

    @awaiting(NetworkDriver.discover_new)
    def discover_new(self) -> None: ...

    @awaiting(NetworkDriver.discover_delete)
    def discover_delete(self) -> None: ...


class AsyncIpamDriver(AsyncSubsystem):
    """The asynchronous form of ``IpamDriver``: pools of addresses and the addresses in them."""

    @awaiting(IpamDriver.get_capabilities)
    def get_capabilities(self) -> None: ...

    @awaiting(IpamDriver.get_default_address_spaces)
    def get_default_address_spaces(self) -> None: ...

    @awaiting(IpamDriver.request_pool)
    def request_pool(self) -> None: ...

    @awaiting(IpamDriver.release_pool)
    def release_pool(self) -> None: ...

    @awaiting(IpamDriver.request_address)
    def request_address(self) -> None: ...

    @awaiting(IpamDriver.release_address)
    def release_address(self) -> None: ...


class AsyncLogDriver(AsyncSubsystem):
    """The asynchronous form of ``LogDriver``: the output of containers.

    Opening or reading a FIFO blocks the event loop. Use ``asyncio.to_thread``, or open it with
    ``os.O_NONBLOCK`` and read it with ``loop.connect_read_pipe``.
    """

    @awaiting(LogDriver.start_logging)
    def start_logging(self) -> None: ...

    @awaiting(LogDriver.stop_logging)
    def stop_logging(self) -> None: ...

    @awaiting(LogDriver.capabilities)
    def capabilities(self) -> None: ...

    @streaming(LogDriver.read_logs)
    def read_logs(self) -> None: ...


class AsyncAuthZPlugin(AsyncSubsystem):
    """The asynchronous form of ``AuthZPlugin``: allows or denies requests to the engine's API."""

    @awaiting(AuthZPlugin.authorize_request)
    def authorize_request(self) -> None: ...

    @awaiting(AuthZPlugin.authorize_response)
    def authorize_response(self) -> None: ...

    async def authorize_unseen(self, request: AuthZRequest) -> Verdict:
        """Decide on a request whose ``body_withheld`` is true; unless overridden, deny it.

        Args:
            request: The request, as far as the engine shows it.

        Returns:
            The verdict.
        """
        return unseen(request)


class AsyncMetricsCollector(AsyncSubsystem):
    """The asynchronous form of ``MetricsCollector``: reads the engine's metrics."""

    @awaiting(MetricsCollector.start_metrics)
    def start_metrics(self) -> None: ...

    @awaiting(MetricsCollector.stop_metrics)
    def stop_metrics(self) -> None: ...


class AsyncSecretProvider(AsyncSubsystem):
    """The asynchronous form of ``SecretProvider``: gives secrets to swarm tasks."""

    @awaiting(SecretProvider.get_secret)
    def get_secret(self) -> None: ...


class AsyncGraphDriver(AsyncSubsystem):
    """The asynchronous form of ``GraphDriver``: stores the layers of images and containers."""

    @awaiting(GraphDriver.init)
    def init(self) -> None: ...

    @awaiting(GraphDriver.capabilities)
    def capabilities(self) -> None: ...

    @awaiting(GraphDriver.create)
    def create(self) -> None: ...

    @awaiting(GraphDriver.create_read_write)
    def create_read_write(self) -> None: ...

    @awaiting(GraphDriver.remove)
    def remove(self) -> None: ...

    @awaiting(GraphDriver.put)
    def put(self) -> None: ...

    @awaiting(GraphDriver.get)
    def get(self) -> None: ...

    @awaiting(GraphDriver.exists)
    def exists(self) -> None: ...

    @awaiting(GraphDriver.status)
    def status(self) -> None: ...

    @awaiting(GraphDriver.get_metadata)
    def get_metadata(self) -> None: ...

    @awaiting(GraphDriver.cleanup)
    def cleanup(self) -> None: ...

    @streaming(GraphDriver.diff)
    def diff(self) -> None: ...

    @awaiting(GraphDriver.changes)
    def changes(self) -> None: ...

    @awaiting(GraphDriver.diff_size)
    def diff_size(self) -> None: ...

    # Declared again, because its archive may be an asynchronous iterable.
    @ApplyArchive(result="Size")
    async def apply_diff(self, id: str, parent: str, archive: AsyncData) -> int:
        """Unpack an uncompressed tar archive into a layer, and return the layer's size.

        Args:
            id: The layer's id.
            parent: The id of the layer below.
            archive: The archive. A host may pass bytes, a binary file, or an iterable of bytes,
                asynchronous or not. A plugin gets bytes if the archive's length is known and at
                most 1 MiB, and otherwise an asynchronous iterable of bytes that reads from the
                connection.

        Returns:
            The layer's size in bytes.
        """
        raise NotImplementedError
