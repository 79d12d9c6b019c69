"""Fakes for tests: a clock of one's own, plugins in memory, and all the ways they fail.

They pass the same contract suites as the real adapters.
"""

from typing import TYPE_CHECKING

from moby_plugins.deferred_names import deferred_names

if TYPE_CHECKING:  # what each name is, for type checkers; ``_HOMES`` is what happens
    from moby_plugins.adapters.fakes.calls import Call, Calls
    from moby_plugins.adapters.fakes.fake_clock import ClockStuckError, FakeClock
    from moby_plugins.adapters.fakes.fault_server import FaultServer
    from moby_plugins.adapters.fakes.faults import (
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
    from moby_plugins.adapters.fakes.memory_discovery import MemoryDiscovery
    from moby_plugins.adapters.fakes.memory_replay import any_body, same_body
    from moby_plugins.adapters.fakes.memory_transport import MemoryTransport
    from moby_plugins.adapters.fakes.replies import Script, UnexpectedCallError, script
    from moby_plugins.domain.exchange import Request, Response
    from moby_plugins.testing.host_replay import Replayed, assert_replayed, replay_calls
    from moby_plugins.testing.live_plugin import LivePlugin, LivePlugins
    from moby_plugins.testing.memory_registry import MemoryRegistry, MemoryTransports
    from moby_plugins.testing.plugin_directory import PluginDirectory

__all__ = [
    "Call",
    "Calls",
    "ClockStuckError",
    "FakeClock",
    "Fault",
    "FaultServer",
    "LivePlugin",
    "LivePlugins",
    "MemoryDiscovery",
    "MemoryRegistry",
    "MemoryTransport",
    "MemoryTransports",
    "PluginDirectory",
    "Replayed",
    "Request",
    "Response",
    "Script",
    "UnexpectedCallError",
    "any_body",
    "assert_replayed",
    "denied",
    "drips",
    "drops",
    "drops_mid_body",
    "hangs",
    "malformed",
    "missing_socket",
    "not_json",
    "refused",
    "replay_calls",
    "same_body",
    "script",
    "status",
]

# Where each name lives: a module is imported with the first use of one of its names.
_HOMES = {
    "adapters.fakes.calls": ("Call", "Calls"),
    "adapters.fakes.fake_clock": ("ClockStuckError", "FakeClock"),
    "adapters.fakes.fault_server": ("FaultServer",),
    "adapters.fakes.faults": (
        "Fault",
        "denied",
        "drips",
        "drops",
        "drops_mid_body",
        "hangs",
        "malformed",
        "missing_socket",
        "not_json",
        "refused",
        "status",
    ),
    "adapters.fakes.memory_discovery": ("MemoryDiscovery",),
    "adapters.fakes.memory_replay": ("any_body", "same_body"),
    "adapters.fakes.memory_transport": ("MemoryTransport",),
    "adapters.fakes.replies": ("Script", "UnexpectedCallError", "script"),
    "domain.exchange": ("Request", "Response"),
    "testing.host_replay": ("Replayed", "assert_replayed", "replay_calls"),
    "testing.live_plugin": ("LivePlugin", "LivePlugins"),
    "testing.memory_registry": ("MemoryRegistry", "MemoryTransports"),
    "testing.plugin_directory": ("PluginDirectory",),
}
if not TYPE_CHECKING:  # else any name would pass
    __getattr__, __dir__ = deferred_names(__name__, _HOMES)
