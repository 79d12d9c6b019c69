"""Checks of the processor time and descriptors of the plugin's process after it was called.

They run after all others.
"""

from moby_plugins.checks.handshake import ACTIVATE, PLUGIN, implemented_by
from moby_plugins.checks.methods import FAMILIES
from moby_plugins.checks.outcome import HOSTS, CheckOutcome, check, fail, require, skip
from moby_plugins.checks.process import PluginProcess
from moby_plugins.checks.session import Session

# Seconds of one measurement of an idle plugin, the most measurements, and the share of a core that
# is too much.
LOOK, LOOKS, TOO_MUCH = 0.5, 4, 0.2
ROUNDS = 50
# Allows for connections that this host keeps open, and for files that a plugin opens once.
SPARE = 28
# Seconds in which a plugin may still close descriptors that it no longer needs.
SETTLE = 3.0


@check(PLUGIN, source="B0", reads_only=True, worst=CheckOutcome.WARNED, hosts=HOSTS)
def idle_after_its_calls(plugin: Session) -> None:
    """after it was called, the plugin is idle: it does not keep using a processor core."""
    process = _process(plugin)
    plugin.send(ACTIVATE)
    shares = []
    for _ in range(LOOKS):
        shares.append(_share(plugin, process))
        if shares[-1] < TOO_MUCH:
            return
    used = ", ".join(f"{share:.0%}" for share in shares)
    fail(f"without calls, it uses {used} of a core, in periods of {LOOK:g} s")


@check(
    PLUGIN,
    expects=f"after the other checks, and {ROUNDS} handshakes and calls that change nothing, at"
    f" most {SPARE} descriptors more than before are open",
    source="B0",
    reads_only=True,
    worst=CheckOutcome.WARNED,
    hosts=HOSTS,
)
def descriptors_are_closed(plugin: Session) -> None:
    process = _process(plugin)
    before = plugin.target.descriptors
    if before is None:
        skip("the descriptors of the plugin's process cannot be counted: it runs as another user")
    implemented = implemented_by(plugin.target)
    # Only what succeeds: a plugin may log each error, at length.
    families = [each for each in FAMILIES if each.reads and each.subsystem in implemented]
    for _ in range(ROUNDS):
        plugin.send(ACTIVATE)
        for family in families:
            plugin.send(f"{family.interface}.{family.reads}", family.read_args)
    count = before

    def few() -> bool:
        nonlocal count
        count = process.descriptors() or 0
        return count <= before + SPARE

    closed = plugin.until(few, SETTLE)
    require(closed, f"{count} descriptors are open; {before} were before the first call")


def _process(plugin: Session) -> PluginProcess:
    process = plugin.target.process
    if process is None:
        skip(
            "the plugin's process is unknown: it is behind TCP, is this process, or is not visible"
        )
    return process


def _share(plugin: Session, process: PluginProcess) -> float:
    clock = plugin.target.clock
    began, used = clock.now(), process.cpu_seconds()
    clock.sleep(LOOK)
    now = process.cpu_seconds()
    if used is None or now is None:
        skip("the processor time of the plugin's process cannot be read")
    return (now - used) / (clock.now() - began)
