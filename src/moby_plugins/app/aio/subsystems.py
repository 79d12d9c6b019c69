"""The eight subsystems that engines speak, for programs that run on asyncio.

Each is a line for each method of its ``definition``, whose docstrings tell what the methods are:
on a host's end awaited calls, on a plugin's what coroutines and asynchronous generators override.
"""

from moby_plugins.app.aio.bodies import AsyncData
from moby_plugins.app.aio.subsystem import AsyncSubsystem, awaited, streamed
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
    """Volumes by name, as ``VolumeDriver``.

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

    definition = VolumeDriver
    create = awaited(VolumeDriver.create)
    remove = awaited(VolumeDriver.remove)
    path = awaited(VolumeDriver.path)
    mount = awaited(VolumeDriver.mount)
    unmount = awaited(VolumeDriver.unmount)
    list = awaited(VolumeDriver.list)
    get = awaited(VolumeDriver.get)
    capabilities = awaited(VolumeDriver.capabilities)

    async def find(self, name: str) -> Volume | None:
        """Return the volume, or ``None`` where an engine takes it for absent: for hosts.

        As ``VolumeDriver.find``.

        Args:
            name: The volume's.

        Returns:
            The volume, if there is one.

        Raises:
            TransportError: When no response came.
        """
        try:
            return await self.get(name)
        except (StatusError, DriverError, WireError):
            return None


class AsyncNetworkDriver(AsyncSubsystem):
    """Networks, and the endpoints that containers have in them, as ``NetworkDriver``."""

    definition = NetworkDriver
    get_capabilities = awaited(NetworkDriver.get_capabilities)
    gw_alloc_check = awaited(NetworkDriver.gw_alloc_check)
    allocate_network = awaited(NetworkDriver.allocate_network)
    free_network = awaited(NetworkDriver.free_network)
    create_network = awaited(NetworkDriver.create_network)
    delete_network = awaited(NetworkDriver.delete_network)
    create_endpoint = awaited(NetworkDriver.create_endpoint)
    delete_endpoint = awaited(NetworkDriver.delete_endpoint)
    endpoint_oper_info = awaited(NetworkDriver.endpoint_oper_info)
    join = awaited(NetworkDriver.join)
    leave = awaited(NetworkDriver.leave)
    program_external_connectivity = awaited(NetworkDriver.program_external_connectivity)
    revoke_external_connectivity = awaited(NetworkDriver.revoke_external_connectivity)
    discover_new = awaited(NetworkDriver.discover_new)
    discover_delete = awaited(NetworkDriver.discover_delete)


class AsyncIpamDriver(AsyncSubsystem):
    """Pools of addresses, and the addresses in them, as ``IpamDriver``."""

    definition = IpamDriver
    get_capabilities = awaited(IpamDriver.get_capabilities)
    get_default_address_spaces = awaited(IpamDriver.get_default_address_spaces)
    request_pool = awaited(IpamDriver.request_pool)
    release_pool = awaited(IpamDriver.release_pool)
    request_address = awaited(IpamDriver.request_address)
    release_address = awaited(IpamDriver.release_address)


class AsyncLogDriver(AsyncSubsystem):
    """Takes the output of containers from FIFOs, and gives it back, as ``LogDriver``.

    To open a FIFO and to read one blocks an event loop: ``asyncio.to_thread``, or
    ``loop.connect_read_pipe`` of one that was opened with ``os.O_NONBLOCK``.
    """

    definition = LogDriver
    start_logging = awaited(LogDriver.start_logging)
    stop_logging = awaited(LogDriver.stop_logging)
    capabilities = awaited(LogDriver.capabilities)
    read_logs = streamed(LogDriver.read_logs)


class AsyncAuthZPlugin(AsyncSubsystem):
    """Allows or denies requests to the engine's API, as ``AuthZPlugin``."""

    definition = AuthZPlugin
    authorize_request = awaited(AuthZPlugin.authorize_request)
    authorize_response = awaited(AuthZPlugin.authorize_response)

    async def authorize_unseen(self, request: AuthZRequest) -> Verdict:
        """Decide on a request whose ``body_withheld`` is true: deny, unless overridden.

        Args:
            request: What the engine shows of it.

        Returns:
            The verdict.
        """
        return unseen(request)


class AsyncMetricsCollector(AsyncSubsystem):
    """Reads the engine's metrics while it may, as ``MetricsCollector``."""

    definition = MetricsCollector
    start_metrics = awaited(MetricsCollector.start_metrics)
    stop_metrics = awaited(MetricsCollector.stop_metrics)


class AsyncSecretProvider(AsyncSubsystem):
    """Gives secrets to swarm tasks, as ``SecretProvider``."""

    definition = SecretProvider
    get_secret = awaited(SecretProvider.get_secret)


class AsyncGraphDriver(AsyncSubsystem):
    """Keeps the layers of images and containers, as ``GraphDriver``."""

    definition = GraphDriver
    init = awaited(GraphDriver.init)
    capabilities = awaited(GraphDriver.capabilities)
    create = awaited(GraphDriver.create)
    create_read_write = awaited(GraphDriver.create_read_write)
    remove = awaited(GraphDriver.remove)
    put = awaited(GraphDriver.put)
    get = awaited(GraphDriver.get)
    exists = awaited(GraphDriver.exists)
    status = awaited(GraphDriver.status)
    get_metadata = awaited(GraphDriver.get_metadata)
    cleanup = awaited(GraphDriver.cleanup)
    diff = streamed(GraphDriver.diff)
    changes = awaited(GraphDriver.changes)
    diff_size = awaited(GraphDriver.diff_size)

    # Said again, because its archive may be an asynchronous iterable.
    @ApplyArchive(result="Size")
    async def apply_diff(self, id: str, parent: str, archive: AsyncData) -> int:
        """Unpack an uncompressed tar archive into a layer; return the bytes it takes.

        Args:
            id: The layer's.
            parent: That of the layer below.
            archive: For a plugin bytes, or an asynchronous iterable that reads the connection.

        Returns:
            The layer's size.
        """
        raise NotImplementedError
