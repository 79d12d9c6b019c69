"""Contract suites for pytest, for transports, discoveries and clocks: subclass one.

Needs pytest (extra ``testing``); ``moby_plugins.testing`` itself does not.
"""

try:
    import pytest as _needed  # noqa: F401, PT013  checked here, to say what to install
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        f"{__name__} needs pytest: pip install 'moby-plugins[testing]'", name="pytest"
    ) from _error

from moby_plugins.testing.contracts.async_app import AsyncAppContract, Served
from moby_plugins.testing.contracts.async_transport import (
    AsyncPluginThat,
    AsyncSocketTransportContract,
    AsyncTransportContract,
    Run,
)
from moby_plugins.testing.contracts.beginning import BeginningTransportContract, BegunTransport
from moby_plugins.testing.contracts.bridge import BridgedConnect, BridgedTransport, LoopThread
from moby_plugins.testing.contracts.clock import ClockContract
from moby_plugins.testing.contracts.discovery import DiscoveryContract, Place
from moby_plugins.testing.contracts.transport import (
    BEHAVIOURS,
    Behaviour,
    PluginThat,
    Serve,
    SocketTransportContract,
    TransportContract,
)

__all__ = [
    "BEHAVIOURS",
    "AsyncAppContract",
    "AsyncPluginThat",
    "AsyncSocketTransportContract",
    "AsyncTransportContract",
    "BeginningTransportContract",
    "BegunTransport",
    "Behaviour",
    "BridgedConnect",
    "BridgedTransport",
    "ClockContract",
    "DiscoveryContract",
    "LoopThread",
    "Place",
    "PluginThat",
    "Run",
    "Serve",
    "Served",
    "SocketTransportContract",
    "TransportContract",
]
