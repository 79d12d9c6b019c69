"""``moby-plugins trace``: stands between a host and a plugin, and shows each call."""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeAlias

import click

from moby_plugins import PluginNotFoundError, Settings, new_local_discovery
from moby_plugins.cli.call_text import call_cells, progress_cells
from moby_plugins.cli.options import Decorator, example, with_json, with_settings
from moby_plugins.cli.output import printable, show_line
from moby_plugins.cli.target import with_target
from moby_plugins.cli.watcher import Watcher
from moby_plugins.domain.address import Address
from moby_plugins.tracing import (
    Interposed,
    MakeApp,
    OnCall,
    Progress,
    RecordedCall,
    Recording,
    call_json,
    interposed,
    interposed_at,
    masked_call,
    open_recording,
)

# Seconds between looks at whether to end.
TICK = 0.1

# Where an app stands in between, once it is made.
Place: TypeAlias = Callable[[MakeApp], AbstractContextManager[Interposed]]

_with_listen: Decorator = click.option(
    "--listen",
    metavar="ADDRESS",
    help="Wait for hosts at unix:///PATH, and leave the plugin's own socket alone.",
)
_with_record: Decorator = click.option(
    "--record", metavar="FILE", type=click.Path(), help="Write the calls down, for tests."
)
_with_secrets: Decorator = click.option(
    "--record-secrets", is_flag=True, help="Do not mask secrets in what is written down."
)


@click.command(
    epilog=example(
        "moby-plugins trace shelf --record calls.jsonl",
        "moby-plugins trace tcp://10.0.0.7:8080 --listen unix:///tmp/far.sock",
    )
)
@with_target
@_with_listen
@_with_record
@_with_secrets
@with_settings
@with_json
def trace(
    *,
    target: str,
    listen: str | None,
    record: str | None,
    record_secrets: bool,
    settings: Settings,
    as_json: bool,
) -> None:
    """Stand between the hosts of a plugin and the plugin, and show each call.

    The socket of the plugin is moved aside, and put back when Ctrl-C or SIGTERM
    ends it. Secrets are masked. Connections that a host has open already pass by:
    start it anew, or the plugin, if nothing is seen.
    """
    place = _place(target, listen, settings)
    show, progress = (_json_line, _no_line) if as_json else (_show_call, _show_progress)
    with ExitStack() as stack:
        writes: list[OnCall] = []
        if record is not None:
            heading = Recording(plugin=target, masked=not record_secrets)
            add = stack.enter_context(open_recording(record, heading)).add
            writes = [add if record_secrets else lambda call: add(masked_call(call))]
        watcher = Watcher(show, progress, writes)
        stack.enter_context(_ended_by_signals(watcher))
        _watch(lambda: place(watcher.app), watcher)
    watcher.check()


def _place(target: str, listen: str | None, settings: Settings) -> Place:
    if listen is None:
        if "/" in target:
            raise click.UsageError("the plugin at an address is traced with --listen")
        return lambda app: interposed(target, app, settings)
    here = Address(listen)
    if "/" in target:
        return lambda app: interposed_at(here, Address(target), app, settings)
    plugin = new_local_discovery(settings).lookup(target)
    return lambda app: interposed_at(here, plugin.address, app, settings, plugin.tls_config)


def _watch(place: Callable[[], AbstractContextManager[Interposed]], watcher: Watcher) -> None:
    seen = False
    while not watcher.ending():
        try:
            with place() as there:
                seen = True
                _say(f"calls to {there.addr} go on to {there.plugin.text}; Ctrl-C ends this")
                while not watcher.ending() and not there.lost():
                    time.sleep(TICK)
        except PluginNotFoundError:
            if not seen:
                raise
            time.sleep(TICK)
        else:
            if not watcher.ending():
                _say("the plugin's socket was removed or replaced")


@contextmanager
def _ended_by_signals(watcher: Watcher) -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {n: signal.signal(n, lambda *_: watcher.end()) for n in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _json_line(time: str, call: RecordedCall) -> None:
    print(json.dumps({"time": time} | call_json(call)), flush=True)


def _no_line(_: str, __: Progress) -> None:
    """A line is a call."""


def _show_call(time: str, call: RecordedCall) -> None:
    for cells in call_cells(_clock(time), call):
        show_line(*cells)


def _show_progress(time: str, passing: Progress) -> None:
    show_line(*progress_cells(_clock(time), passing))


def _clock(time: str) -> str:
    # The day and the zone are the reader's.
    return time[11:23]


def _say(text: str) -> None:
    print(printable(text), file=sys.stderr, flush=True)
