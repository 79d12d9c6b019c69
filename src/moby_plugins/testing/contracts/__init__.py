"""What every transport, discovery and clock promises, as suites for pytest: subclass one.

Needs pytest (extra ``testing``); ``moby_plugins.testing`` itself does not.
"""

from moby_plugins.testing.contracts.clock import ClockContract
from moby_plugins.testing.contracts.discovery import DiscoveryContract, Place
from moby_plugins.testing.contracts.transport import (
    PLUGINS,
    PluginThat,
    Serve,
    SocketTransportContract,
    TransportContract,
    Way,
)

__all__ = [
    "PLUGINS",
    "ClockContract",
    "DiscoveryContract",
    "Place",
    "PluginThat",
    "Serve",
    "SocketTransportContract",
    "TransportContract",
    "Way",
]
