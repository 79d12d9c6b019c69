"""Fakes for tests: a clock of one's own, plugins in memory, and all the ways they fail.

They pass the same contract suites as the real adapters.
"""

from moby_plugins.adapters.fake_clock import ClockStuckError, FakeClock
from moby_plugins.adapters.memory_discovery import MemoryDiscovery
from moby_plugins.adapters.memory_faults import (
    Fault,
    denied,
    drips,
    drops,
    drops_mid_body,
    hangs,
    malformed,
    missing_socket,
    not_json,
    refused,
    status,
)
from moby_plugins.adapters.memory_transport import (
    Call,
    MemoryTransport,
    Script,
    UnexpectedCallError,
    script,
)
from moby_plugins.domain.exchange import Request, Response

__all__ = [
    "Call",
    "ClockStuckError",
    "FakeClock",
    "Fault",
    "MemoryDiscovery",
    "MemoryTransport",
    "Request",
    "Response",
    "Script",
    "UnexpectedCallError",
    "denied",
    "drips",
    "drops",
    "drops_mid_body",
    "hangs",
    "malformed",
    "missing_socket",
    "not_json",
    "refused",
    "script",
    "status",
]
