"""Fakes for tests: a fake clock, plugins in memory, and the faults that plugins can have.

They pass the same contract suites as the real adapters.
"""

from typing import TYPE_CHECKING

from moby_plugins.deferred_names import deferred_names

if TYPE_CHECKING:  # a test compares these imports with ``__all__``
    from moby_plugins.adapters.memory.async_transport import AsyncMemoryTransport
    from moby_plugins.adapters.memory.calls import Call, Calls
    from moby_plugins.adapters.memory.clock import ClockStuckError, FakeClock
    from moby_plugins.adapters.memory.fake_time_loop import FakeTimeLoop
    from moby_plugins.adapters.memory.fault_server import FaultServer
    from moby_plugins.adapters.memory.jumping_selector import LoopStuckError
    from moby_plugins.adapters.memory.replay import any_body, same_body
    from moby_plugins.adapters.memory.replies import (
        Fault,
        Script,
        UnexpectedCallError,
        denied,
        drips,
        drops,
        drops_mid_body,
        hangs,
        malformed,
        missing_socket,
        not_json,
        refused,
        script,
        status,
    )
    from moby_plugins.adapters.memory.transport import MemoryDiscovery, MemoryTransport
    from moby_plugins.domain.http import Request, Response
    from moby_plugins.testing.async_live import AsyncLivePlugin, AsyncLivePlugins
    from moby_plugins.testing.async_memory_registry import (
        AsyncMemoryRegistry,
        AsyncMemoryTransports,
    )
    from moby_plugins.testing.fake_engine import FakeEngine
    from moby_plugins.testing.host_replay import Replayed, assert_replayed, replay_calls
    from moby_plugins.testing.live import LivePlugin, LivePlugins, PluginDirectory
    from moby_plugins.testing.memory_registry import MemoryRegistry, MemoryTransports

__all__ = [
    "AsyncLivePlugin",
    "AsyncLivePlugins",
    "AsyncMemoryRegistry",
    "AsyncMemoryTransport",
    "AsyncMemoryTransports",
    "Call",
    "Calls",
    "ClockStuckError",
    "FakeClock",
    "FakeEngine",
    "FakeTimeLoop",
    "Fault",
    "FaultServer",
    "LivePlugin",
    "LivePlugins",
    "LoopStuckError",
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

if not TYPE_CHECKING:  # a type checker would accept any name
    __getattr__, __dir__ = deferred_names(
        __name__,
        __all__,
        homes=(
            "domain.http",
            "adapters.memory.clock",
            "adapters.memory.calls",
            "adapters.memory.replies",
            "adapters.memory.replay",
            "adapters.memory.transport",
            "testing.memory_registry",
            "testing.fake_engine",
            "testing.host_replay",
            "testing.live",
            "adapters.memory.fault_server",
            # These modules import asyncio.
            "adapters.memory.jumping_selector",
            "adapters.memory.fake_time_loop",
            "adapters.memory.async_transport",
            "testing.async_memory_registry",
            "testing.async_live",
        ),
    )
