"""What every transport, discovery and clock promises, as suites for pytest: subclass one.

Needs pytest (extra ``testing``); ``moby_plugins.testing`` itself does not.
"""

try:
    import pytest as _needed  # noqa: F401, PT013  looked for here, to say what to install
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        f"{__name__} needs pytest: pip install 'moby-plugins[testing]'", name="pytest"
    ) from _error

from moby_plugins.testing.contracts.beginning import BeginningTransportContract, BegunTransport
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
    "BeginningTransportContract",
    "BegunTransport",
    "ClockContract",
    "DiscoveryContract",
    "Place",
    "PluginThat",
    "Serve",
    "SocketTransportContract",
    "TransportContract",
    "Way",
]
