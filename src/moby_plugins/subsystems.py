"""The subsystems that engines use, and the classes for defining further subsystems.

``VolumeDriver(plugin.client)`` is a host's typed proxy; a class derived from
``VolumeDriver`` is a plugin's implementation (``moby_plugins.serving``).
"""

from moby_plugins.app.streamed import Streamed
from moby_plugins.app.subsystem import (
    RemoteMethod,
    Subsystem,
    omitempty,
    remote,
    timed,
    wire_name,
)
from moby_plugins.app.subsystems.authz import AuthZPlugin, AuthZRequest, Verdict
from moby_plugins.app.subsystems.graph import (
    Change,
    GraphCapabilities,
    GraphDriver,
    IDMap,
    InitRequest,
    LayerRequest,
)
from moby_plugins.app.subsystems.ipam import (
    AddressResponse,
    AddressSpaces,
    IpamCapabilities,
    IpamDriver,
    PoolResponse,
)
from moby_plugins.app.subsystems.log import (
    LogCapabilities,
    LogDriver,
    LogEntry,
    LogInfo,
    PartialLog,
    ReadConfig,
    decode_frames,
    encode_frame,
)
from moby_plugins.app.subsystems.log_lines import whole_lines
from moby_plugins.app.subsystems.metrics import METRICS_SOCKET, MetricsCollector
from moby_plugins.app.subsystems.network import (
    DiscoveryData,
    EndpointInterface,
    GatewayNeeds,
    InterfaceName,
    IPAMData,
    JoinResponse,
    NetworkCapabilities,
    NetworkDriver,
    NetworkRequest,
    StaticRoute,
)
from moby_plugins.app.subsystems.secret import (
    EndpointSpec,
    PortConfig,
    Secret,
    SecretProvider,
    SecretRequest,
)
from moby_plugins.app.subsystems.volume import Volume, VolumeCapabilities, VolumeDriver

ENGINE_SUBSYSTEMS: tuple[type[Subsystem], ...] = (
    AuthZPlugin,
    GraphDriver,
    IpamDriver,
    LogDriver,
    MetricsCollector,
    NetworkDriver,
    SecretProvider,
    VolumeDriver,
)
"""The subsystems that engines use; a manifest lists a subsystem by its ``implements``."""

__all__ = [
    "ENGINE_SUBSYSTEMS",
    "METRICS_SOCKET",
    "AddressResponse",
    "AddressSpaces",
    "AuthZPlugin",
    "AuthZRequest",
    "Change",
    "DiscoveryData",
    "EndpointInterface",
    "EndpointSpec",
    "GatewayNeeds",
    "GraphCapabilities",
    "GraphDriver",
    "IDMap",
    "IPAMData",
    "InitRequest",
    "InterfaceName",
    "IpamCapabilities",
    "IpamDriver",
    "JoinResponse",
    "LayerRequest",
    "LogCapabilities",
    "LogDriver",
    "LogEntry",
    "LogInfo",
    "MetricsCollector",
    "NetworkCapabilities",
    "NetworkDriver",
    "NetworkRequest",
    "PartialLog",
    "PoolResponse",
    "PortConfig",
    "ReadConfig",
    "RemoteMethod",
    "Secret",
    "SecretProvider",
    "SecretRequest",
    "StaticRoute",
    "Streamed",
    "Subsystem",
    "Verdict",
    "Volume",
    "VolumeCapabilities",
    "VolumeDriver",
    "decode_frames",
    "encode_frame",
    "omitempty",
    "remote",
    "timed",
    "whole_lines",
    "wire_name",
]
