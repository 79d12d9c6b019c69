"""``moby-plugins trace``: stand between hosts and a plugin, and show each call as it passes."""

import json
import signal
import sys
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import click

from moby_plugins import PluginNotFoundError, Settings, new_local_discovery
from moby_plugins.cli.options import Decorator, example, with_json, with_settings, with_target
from moby_plugins.cli.output import BAD, DOUBTFUL, FAINT, GOOD, PLAIN, Cell, printable, show_line
from moby_plugins.domain.address import Address
from moby_plugins.domain.text import shown
from moby_plugins.ports import Transport
from moby_plugins.tracing import (
    Interposed,
    MakeApp,
    OnCall,
    Progress,
    RecordedBody,
    RecordedCall,
    Recording,
    Trace,
    call_json,
    interposed,
    interposed_at,
    masked_call,
    open_recording,
)

# How much of a body is shown.
MOST = 2000
HEAD_BYTES = 16
_OK = 200
_WHITE = str.maketrans("\t\r\n", "   ")
# What AuthZPlugin's bodies hold of the engine's own calls, in base64.
_INNER = {"RequestBody", "ResponseBody"}

# Seconds between two lines of a body on its way.
PROGRESS = 1.0
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


def call_cells(time: str, call: RecordedCall) -> Iterator[tuple[Cell, ...]]:
    """The lines of a call: when, what, with what status and how long; then both bodies."""
    yield (
        Cell(f"{time}  ", FAINT),
        Cell(f"{shown(call.method)}  "),
        _status(call),
        Cell(f"  {duration(call.took)}", FAINT),
    )
    yield from _body(call, "→", call.request)
    yield from _body(call, "←", call.answer)
    if call.broken:
        yield (Cell(f"  ✗ {shown(call.broken)}; the host's connection was closed", BAD),)
    if call.host_left:
        yield (Cell("  ✗ the host did not wait for the end", DOUBTFUL),)


def progress_cells(time: str, passing: Progress) -> tuple[Cell, ...]:
    """The line of a body that is on its way."""
    pieces = "1 piece" if passing.pieces == 1 else f"{passing.pieces} pieces"
    said = f"{passing.part} so far: {pieces}, {passing.size:,} bytes"
    return Cell(f"{time}  ", FAINT), Cell(f"{shown(passing.method)}  "), Cell(said, FAINT)


def duration(seconds: float) -> str:
    """Seconds, or thousandths of one."""
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def body_text(method: str, body: RecordedBody) -> str:
    """A body on one line: JSON without spaces, text, or the size and the first bytes."""
    data = body.data
    text = _as_json(method, data) or _as_text(data)
    if text is None:
        pieces = f" in {len(body.pieces)} pieces" if len(body.pieces) > 1 else ""
        return f"{body.size:,} bytes{pieces}: {_head(data)}"
    if len(text) <= MOST and not body.omitted:
        return text
    return f"{text[:MOST]} … ({body.size:,} bytes)"


def _head(data: bytes) -> str:
    head = data[:HEAD_BYTES].hex(" ")
    return f"{head} …" if len(data) > HEAD_BYTES else head


def _status(call: RecordedCall) -> Cell:
    if not call.status:
        return Cell("no answer", BAD)
    return Cell(str(call.status), GOOD if call.status == _OK else BAD)


def _body(call: RecordedCall, arrow: str, body: RecordedBody) -> Iterator[tuple[Cell, ...]]:
    if body.size:
        yield Cell(f"  {arrow} ", FAINT), Cell(body_text(call.method, body), PLAIN)


def _as_json(method: str, data: bytes) -> str | None:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if method.startswith("AuthZPlugin.") and isinstance(value, dict):
        value = {key: _inner(key, item) for key, item in value.items()}
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _inner(key: str, value: Any) -> Any:
    if key not in _INNER or not isinstance(value, str):
        return value
    try:
        data = b64decode(value, validate=True)
        return json.loads(data)
    except (ValueError, RecursionError):
        return value


def _as_text(data: bytes) -> str | None:
    try:
        text = data.decode().strip()
    except UnicodeDecodeError:
        return None
    plain = text.translate(_WHITE).isprintable()
    return json.dumps(text, ensure_ascii=False) if plain else None


class Watcher:
    """Shows what passes without its secrets, and has ``writes`` write it down.

    Told by several threads; they are let through one after the other.
    """

    def __init__(
        self,
        show: Callable[[str, RecordedCall], None],
        show_progress: Callable[[str, Progress], None],
        writes: Iterable[OnCall] = (),
    ) -> None:
        self._writes = tuple(writes)
        self._show = show
        self._show_progress = show_progress
        self._began = time.monotonic()
        self._clock = datetime.now().astimezone()
        self._lock = threading.Lock()
        self._failure: Exception | None = None
        self._ending = False
        self._told: dict[float, float] = {}

    def app(self, transport: Transport) -> Trace:
        """What stands in between."""
        return Trace(transport, self.now, self.on_call, self.on_piece)

    def now(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began

    def on_call(self, call: RecordedCall) -> None:
        """Show a call, and write it down."""
        with self._failing(), self._lock:
            self._told.pop(call.at, None)
            self._show(self._at(call.at), masked_call(call))
            for write in self._writes:
                write(call)

    def on_piece(self, passing: Progress) -> None:
        """Show from time to time how far a body has come."""
        now = self.now()
        with self._failing(), self._lock:
            if now - self._told.setdefault(passing.at, now) >= PROGRESS:
                self._told[passing.at] = now
                self._show_progress(self._at(now), passing)

    def end(self) -> None:
        """Have it end; may be called by a signal handler."""
        self._ending = True

    def ending(self) -> bool:
        """Whether it is to end."""
        return self._ending

    def check(self) -> None:
        """Raise what went wrong while a call was shown or written down."""
        if self._failure is not None:
            raise self._failure

    @contextmanager
    def _failing(self) -> Iterator[None]:
        # The call goes on all the same: it is the host's and the plugin's.
        try:
            yield
        except Exception as error:
            self._failure = self._failure or error
            self.end()

    def _at(self, seconds: float) -> str:
        time = self._clock + timedelta(seconds=seconds)
        return time.isoformat(timespec="milliseconds")


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
                here, plugin = shown(there.addr), shown(there.plugin.text)
                _say(f"calls to {here} go on to {plugin}; Ctrl-C ends this")
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
