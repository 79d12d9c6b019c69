"""The process of a plugin that is in memory: what a machine would tell of it."""

from pathlib import Path

from attrs import evolve, field, frozen

from moby_plugins.testing import FakeClock, MemoryTransport


@frozen
class Process:
    """Uses ``core`` of a processor core, and leaves ``leak`` descriptors for each call.

    ``visible`` says whether it sees this process's files. What is ``None`` cannot be told.
    """

    core: float | None = 0.0
    leak: float | None = 0.0
    visible: bool | None = True
    clock: FakeClock = field(factory=FakeClock, eq=False)
    plugin: MemoryTransport = field(factory=lambda: MemoryTransport({}), eq=False)

    def of(self, clock: FakeClock, plugin: MemoryTransport) -> "Process":
        """The same, of this plugin, on this clock."""
        return evolve(self, clock=clock, plugin=plugin)

    def cpu_seconds(self) -> float | None:
        """Time that it used so far."""
        return None if self.core is None else self.core * self.clock.now()

    def descriptors(self) -> int | None:
        """Seven, and those that it leaves open."""
        return None if self.leak is None else 7 + int(self.leak * len(self.plugin.calls))

    def sees(self, path: Path) -> bool | None:
        """Whether it sees a file."""
        return self.visible


IDLE = Process()
