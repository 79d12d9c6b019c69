"""Plugins whose process is left with something once they were called."""

from attrs import evolve

from moby_plugins.checks import CheckOutcome
from tests.unit.checks.broken import Broken, adds, warned
from tests.unit.checks.processes import Process

ANY = adds("Plugin.Activate")
IDLE, CLOSED = "Plugin: idle after its calls", "Plugin: descriptors are closed"


def left_with(process: Process | None) -> Broken:
    """A plugin that does as it should, in this process."""
    return evolve(warned(ANY), process=process)


def unknown(process: Process | None) -> Broken:
    """The same, where the machine does not tell."""
    return evolve(left_with(process), outcome=CheckOutcome.SKIPPED)


BROKEN = {IDLE: left_with(Process(core=0.95)), CLOSED: left_with(Process(leak=1))}
MORE = (
    (IDLE, left_with(Process(core=0.3))),
    (IDLE, unknown(None)),
    (IDLE, unknown(Process(core=None))),
    (CLOSED, left_with(Process(leak=0.2))),
    (CLOSED, unknown(None)),
    (CLOSED, unknown(Process(leak=None))),
)
