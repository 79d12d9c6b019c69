"""``moby-plugins wait``: until a plugin is there and active, for scripts that need it."""

import sys
import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeAlias

import click
from attrs import evolve

from moby_plugins import (
    ActivePlugin,
    PluginError,
    PluginNotFoundError,
    Settings,
    TransportTimeoutError,
    new_local_registry,
)
from moby_plugins.cli.errors import in_brief
from moby_plugins.cli.options import example, subsystems, with_name, with_settings, with_timeout
from moby_plugins.cli.output import StatusLine
from moby_plugins.domain.text import shown

# Seconds: between two looks at the clock, and at most between two attempts.
TICK, PAUSE = 0.2, 1.0

# What the thread that tries tells: an attempt's error, and true with how it all ended.
News: TypeAlias = tuple[bool, ActivePlugin | Exception]


@click.command(epilog=example("moby-plugins wait shelf VolumeDriver --timeout 120"))
@with_name
@click.argument("subsystem", required=False, shell_complete=subsystems)
@with_timeout(30.0, "Seconds to wait at most.")
@with_settings
def wait(name: str, subsystem: str | None, timeout: float, settings: Settings) -> None:
    """Wait until a plugin is there and active, and implements SUBSYSTEM, if given.

    While it is missing, or nobody answers, it is tried again, at least once a
    second; standard error says what is wrong. A plugin that answers, but with
    an error or without the subsystem, is not waited for. Ctrl-C ends it at once.
    """
    limit = min(settings.activation_timeout or timeout, timeout)
    policy = evolve(
        settings.retry,
        initial=min(settings.retry.initial, PAUSE / 4),
        max_delay=min(settings.retry.max_delay, PAUSE),
        budget=timeout,
    )
    registry = new_local_registry(evolve(settings, activation_timeout=limit))
    news: SimpleQueue[News] = SimpleQueue()

    def activate() -> None:
        try:
            told = registry.get(
                name, subsystem, retry=policy, on_retry=lambda error, _: news.put((False, error))
            )
            news.put((True, told))
        except Exception as error:  # the main thread's to raise
            news.put((True, error))

    # In a thread of its own, because a system call may hang that no signal ends.
    threading.Thread(target=activate, daemon=True).start()
    outcome = _outcome(name, news, timeout)
    if isinstance(outcome, Exception):
        raise outcome
    print(f"{shown(name)} is active", file=sys.stderr)


def _outcome(name: str, news: "SimpleQueue[News]", timeout: float) -> ActivePlugin | Exception:
    line = StatusLine(sys.stderr)
    ends, state = time.monotonic() + timeout, "no answer yet"
    try:
        while (left := ends - time.monotonic()) > 0:
            with suppress(Empty):
                final, told = news.get(timeout=min(TICK, left))
                if final:
                    return told
                state = _state(told)
            line.say(f"waiting for {shown(name)}: {state}", f" ({left:.0f} s left)")
    finally:
        line.clear()
    return TransportTimeoutError(f"{shown(name)} is not active after {timeout:g} s: {state}")


def _state(trouble: object) -> str:
    if isinstance(trouble, PluginNotFoundError):
        return "there is no socket and no spec"
    return in_brief(trouble) if isinstance(trouble, PluginError) else shown(trouble)
