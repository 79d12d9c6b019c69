"""The command ``moby-plugins wait``, which waits until a plugin is active."""

import sys
import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

import click
from attrs import evolve, frozen

from moby_plugins import (
    ActivePlugin,
    Plugin,
    PluginError,
    PluginNotFoundError,
    Registry,
    RetryPolicy,
    Settings,
    TransportTimeoutError,
    new_local_registry,
)
from moby_plugins.app.config import connect_by_scheme, system_clock
from moby_plugins.cli.errors import error_as_json, exit_code, in_brief, not_found
from moby_plugins.cli.options import (
    example,
    is_address,
    plugin_at,
    subsystems,
    with_json,
    with_settings,
    with_target,
    with_timeout,
)
from moby_plugins.cli.output import is_terminal, show_json
from moby_plugins.cli.progress import StatusLine
from moby_plugins.domain.text import shown

# Seconds between two updates of the status, and the longest delay between two attempts.
TICK, PAUSE = 0.2, 1.0
# The last attempt begins this many seconds before the end.
LAST = 0.1
# Seconds before a script's first status line without an error: a running plugin is faster.
QUIET = 0.5

UNANSWERED = "no response yet"

# Reports of the activating thread: false with an attempt's error, true with the final outcome.
Update: TypeAlias = tuple[bool, ActivePlugin | Exception]


@click.command(epilog=example("moby-plugins wait shelf VolumeDriver --timeout 120"))
@with_target
@click.argument("subsystem", required=False, shell_complete=subsystems)
@with_timeout(30.0, "Seconds to wait at most.")
@with_settings
@with_json
def wait(
    target: str, subsystem: str | None, timeout: float, settings: Settings, as_json: bool
) -> None:
    """Wait until a plugin is found and active, and implements SUBSYSTEM, if given.

    While it is missing or does not respond, it is tried again, at least once a
    second; standard error says what is wrong. A plugin that answers, but with
    an error or without the subsystem, is not waited for. Ctrl-C ends it at once.
    """
    limit = min(settings.activation_timeout or timeout, timeout)
    policy = _UpToTheEnd(
        initial=min(settings.retry.initial, PAUSE / 4),
        factor=settings.retry.factor,
        max_delay=min(settings.retry.max_delay, PAUSE),
        budget=timeout,
        jitter=settings.retry.jitter,
    )
    name, registry = _registry(target, evolve(settings, activation_timeout=limit))
    updates: SimpleQueue[Update] = SimpleQueue()

    def activate() -> None:
        try:
            result = registry.get(
                name, subsystem, retry=policy, on_retry=lambda error, _: updates.put((False, error))
            )
            updates.put((True, result))
        except Exception as error:  # raised in the main thread
            updates.put((True, error))

    # In a separate thread, because a system call that hangs may not be interrupted by signals.
    threading.Thread(target=activate, daemon=True).start()
    began = time.monotonic()
    missing = "there is no socket and no spec"
    if settings.engine is not None:
        missing = f"the engine has no such plugin, and {missing}"
    outcome = _outcome(target, updates, timeout, missing)
    if not isinstance(outcome, (ActivePlugin, PluginError)):
        raise outcome
    if as_json:
        show_json(_as_json(target, outcome, time.monotonic() - began))
    if isinstance(outcome, ActivePlugin):
        print(f"{shown(target)} is active", file=sys.stderr)
        return
    if isinstance(outcome, PluginNotFoundError) and not as_json:
        # Shorter than ``report``, which would also list the searched paths.
        print(f"moby-plugins: {not_found(outcome)}", file=sys.stderr)
    elif not as_json:
        raise outcome
    sys.exit(exit_code(outcome))


class _UpToTheEnd(RetryPolicy):
    """A policy with a last attempt just before the end, however long the delay would be."""

    def next_delay(self, retries: int, elapsed: float) -> float | None:
        """Compute the delay before the next attempt."""
        delay = super().next_delay(retries, elapsed)
        left = self.budget - LAST - elapsed
        return left if delay is None and left > 0 else delay


@frozen
class _OnePlugin:
    """A discovery with one plugin, which it returns for any name."""

    plugin: Plugin

    def scan(self) -> list[str]:
        """Return the plugin's name."""
        return [self.plugin.name]

    def lookup(self, _: str, /) -> Plugin:
        """Return the plugin."""
        return self.plugin


def _registry(target: str, settings: Settings) -> tuple[str, Registry]:
    """Return the name of the plugin ``target``, and a registry that finds it by this name."""
    if not is_address(target):
        return target, new_local_registry(settings)
    plugin = plugin_at(target)
    registry = Registry(
        discovery=_OnePlugin(plugin),
        connect=connect_by_scheme(settings),
        clock=system_clock(),
        timeout=settings.timeout,
        activation_timeout=settings.activation_timeout,
        max_response_bytes=settings.max_response_bytes,
    )
    return plugin.name, registry


def _as_json(target: str, outcome: ActivePlugin | PluginError, seconds: float) -> dict[str, Any]:
    fields: dict[str, Any] = {"plugin": target, "seconds": round(seconds, 3)}
    if isinstance(outcome, ActivePlugin):
        implements = outcome.manifest.implements
        return fields | {"address": outcome.addr, "implements": implements, "error": None}
    return fields | {"address": None, "implements": None, "error": error_as_json(outcome)}


def _outcome(
    name: str, updates: SimpleQueue[Update], timeout: float, missing: str
) -> ActivePlugin | Exception:
    line = StatusLine(sys.stderr)
    ends, state = time.monotonic() + timeout, ""
    quiet = 0.0 if is_terminal(sys.stderr) else QUIET
    try:
        while (left := ends - time.monotonic()) > 0:
            with suppress(Empty):
                final, result = updates.get(timeout=min(TICK, left))
                if final:
                    return result
                state = missing if isinstance(result, PluginNotFoundError) else _state(result)
            if state or left < timeout - quiet:
                waits = state or UNANSWERED
                line.say(f"waiting for {shown(name)}: {waits}", f" ({left:.0f} s left)")
    finally:
        line.clear()
    return TransportTimeoutError(
        f"{shown(name)} is not active after {timeout:g} s: {state or UNANSWERED}"
    )


def _state(trouble: object) -> str:
    return in_brief(trouble) if isinstance(trouble, PluginError) else shown(trouble)
