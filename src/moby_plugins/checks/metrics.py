"""Checks of MetricsCollector (protocol.md B7)."""

from moby_plugins.checks.handshake import implemented_by
from moby_plugins.checks.outcome import check, require, warn
from moby_plugins.checks.session import Session

SUBSYSTEM = "MetricsCollector"
START, STOP = "MetricsCollector.StartMetrics", "MetricsCollector.StopMetrics"


@check(SUBSYSTEM, source="B7")
def start_and_stop(plugin: Session) -> None:
    """StartMetrics and StopMetrics are answered with 200."""
    plugin.make(START, None, STOP, None)
    plugin.call(STOP)


@check(SUBSYSTEM, source="B7")
def errors_by_status(plugin: Session) -> None:
    """no response of StartMetrics with status 200 has Err: engines do not read it."""
    answer = plugin.send(START)
    plugin.send(STOP)
    require(not (answer.status == 200 and answer.text("err")), answer)  # noqa: PLR2004


@check(SUBSYSTEM, source="B7")
def start_twice(plugin: Session) -> None:
    """a second StartMetrics is not an error: an engine that was killed never sent StopMetrics."""
    plugin.make(START, None, STOP, None)
    plugin.call(START)


@check(SUBSYSTEM, source="B7")
def stop_without_start(plugin: Session) -> None:
    """StopMetrics without StartMetrics is not an error."""
    plugin.call(STOP)
    plugin.call(STOP)


@check(SUBSYSTEM, source="B7")
def start_again(plugin: Session) -> None:
    """StartMetrics succeeds again after StopMetrics."""
    for _ in range(2):
        plugin.make(START, None, STOP, None)
        plugin.call(STOP)


@check(SUBSYSTEM, source="B11 trap 6", reads_only=True)
def managed_plugin(plugin: Session) -> None:
    """a metrics collector is a managed plugin: an engine that finds it by a socket or spec
    deadlocks.
    """
    if plugin.options.managed_for is not None:
        return
    answer = plugin.send("Plugin.Activate")
    if answer.error or SUBSYSTEM not in implemented_by(plugin.target):
        return  # as it should be: a managed plugin has no handshake
    path = plugin.options.path
    require(not path, f"hosts find {path}, and its handshake names {SUBSYSTEM}")
    warn(
        condition=False,
        came_back=f"its handshake names {SUBSYSTEM}: never put it where hosts look for sockets",
    )
