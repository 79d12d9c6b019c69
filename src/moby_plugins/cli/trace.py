"""The command ``moby-plugins trace``, a proxy between hosts and a plugin that shows each call."""

import json
import os
import sys
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import click
from attrs import asdict

from moby_plugins import PluginNotFoundError, Settings, TransportError, new_local_discovery
from moby_plugins.app.recordings import load_whole_calls
from moby_plugins.cli.options import (
    Decorator,
    example,
    is_address,
    plugin_names,
    with_json,
    with_settings,
)
from moby_plugins.cli.output import (
    BAD,
    DOUBTFUL,
    FAINT,
    GOOD,
    PLAIN,
    Cell,
    Table,
    drawn_text,
    is_terminal,
    plain_columns,
)
from moby_plugins.cli.screen import Screen, line_of
from moby_plugins.cli.streams import UnwrittenError
from moby_plugins.domain.address import Address
from moby_plugins.domain.masking import MASK, mask_method
from moby_plugins.domain.plugin import check_protocol
from moby_plugins.domain.summary import MethodSummary, Summary
from moby_plugins.domain.text import shown
from moby_plugins.platforms import ending_signals_handled
from moby_plugins.ports import Transport
from moby_plugins.tracing import (
    MakeApp,
    OnCall,
    Progress,
    RecordedBody,
    RecordedCall,
    Recording,
    Trace,
    TracingProxy,
    call_json,
    export_trace,
    masked_call,
    open_recording,
    tracing_proxy,
    tracing_proxy_at,
)

# How many characters of a body are shown.
MOST = 2000
HEAD_BYTES = 16
_OK = 200
_WHITE = str.maketrans("\t\r\n", "   ")
# Keys of AuthZPlugin's bodies that hold bodies of the engine's API, in base64.
_INNER = {"RequestBody", "ResponseBody"}

# Seconds between two progress lines for one body.
PROGRESS = 1.0
# Python's switch interval in seconds; the default of 5 ms would delay calls noticeably.
SWITCH = 2e-4
# Seconds between two checks of whether to end.
TICK = 0.1
# How many ticks pass between two looks for hosts whose connections were open before the trace.
TICKS_OF_A_LOOK = 10
# A function that takes a factory of the app, and returns a context manager for the proxy.
OpenProxy: TypeAlias = Callable[[MakeApp], AbstractContextManager[TracingProxy]]
_with_listen: Decorator = click.option(
    "--listen",
    metavar="ADDRESS",
    help="Listen at this unix:///PATH, and move no socket.",
)
_with_record: Decorator = click.option(
    "--record", metavar="FILE", type=click.Path(), help="Record the calls to a file, for tests."
)
_with_secrets: Decorator = click.option(
    "--record-secrets", is_flag=True, help="Do not mask secrets in the recording."
)
_with_export: Decorator = click.option(
    "--export",
    metavar="FILE",
    type=click.Path(),
    help="Turn recordings into a trace for Perfetto.",
)
_with_targets: Decorator = click.argument(
    "targets",
    metavar="NAME|ADDRESS|RECORDING...",
    nargs=-1,
    required=True,
    shell_complete=plugin_names,
)
_with_summary: Decorator = click.option(
    "--summary", is_flag=True, help="Show calls, errors and latencies by method."
)


def call_cells(time: str, call: RecordedCall) -> Iterator[tuple[Cell, ...]]:
    """Yield the lines of text that show ``call``, each as a tuple of its coloured parts.

    The first line has ``time``, the method, the status and the duration; the next lines have the
    request's body, the response's body, and how the call was broken off, if it was.
    """
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
    """Return a line about how many chunks and bytes of a body were forwarded so far."""
    pieces = "1 piece" if passing.pieces == 1 else f"{passing.pieces} pieces"
    text = f"{passing.part} so far: {pieces}, {passing.size:,} bytes"
    method = shown(mask_method(passing.method))
    return Cell(f"{time}  ", FAINT), Cell(f"{method}  "), Cell(text, FAINT)


def duration(seconds: float) -> str:
    """Return a duration as text, in seconds or milliseconds."""
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def body_text(method: str, body: RecordedBody) -> str:
    """Return a body as one line: compact JSON, text, or the size and the first bytes."""
    data = body.data
    text = _as_json(method, data) or _as_text(data)
    if text is None:
        pieces = f" in {len(body.pieces)} pieces" if len(body.pieces) > 1 else ""
        return f"{body.size:,} bytes{pieces}: {_head(data)}"
    if text.strip('"').startswith(f"{MASK} (") or (len(text) <= MOST and not body.omitted):
        return text
    return f"{text[:MOST]} … ({body.size:,} bytes)"


def _head(data: bytes) -> str:
    head = data[:HEAD_BYTES].hex(" ")
    return f"{head} …" if len(data) > HEAD_BYTES else head


def _status(call: RecordedCall) -> Cell:
    if not call.status:
        return Cell("no response", BAD)
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
    except ValueError:
        return value
    if data.startswith(MASK.encode()):
        return data.decode(errors="replace")
    try:
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
    """A receiver of forwarded calls: passes each to the functions ``writes``, then to ``see``.

    ``writes`` record the call, and ``see`` shows it; ``see_progress`` shows how much of a body was
    forwarded. Threads may share the object; it calls these functions while it holds a lock, so they
    must not block.
    """

    def __init__(
        self,
        see: OnCall,
        see_progress: Callable[[float, Progress], None],
        writes: Iterable[OnCall] = (),
    ) -> None:
        self._writes = tuple(writes)
        self._see = see
        self._see_progress = see_progress
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._failure: Exception | None = None
        self._ending = False
        self._shown_since: dict[float, float] = {}

    def app(self, transport: Transport) -> Trace:
        """Return the app that forwards calls over ``transport`` and reports them to the watcher."""
        return Trace(transport, self.now, self.on_call, self.on_piece)

    def now(self) -> float:
        """Return the seconds since the watcher was created."""
        return time.monotonic() - self._began

    def on_call(self, call: RecordedCall) -> None:
        """Record and show a call."""
        with self._failing(), self._lock:
            self._shown_since.pop(call.at, None)
            for write in self._writes:
                write(call)
            self._see(call)

    def on_piece(self, passing: Progress) -> None:
        """Show the progress of a body, at most once per ``PROGRESS`` seconds."""
        now = self.now()
        with self._failing(), self._lock:
            if now - self._shown_since.setdefault(passing.at, now) >= PROGRESS:
                self._shown_since[passing.at] = now
                self._see_progress(now, passing)

    def end(self) -> None:
        """Request the end of the command; may be called by a signal handler."""
        self._ending = True

    def ending(self) -> bool:
        """Return whether the command should end."""
        return self._ending

    def check(self) -> None:
        """Raise the first error that occurred while a call was recorded or shown, if any."""
        if self._failure is not None:
            raise self._failure

    @contextmanager
    def _failing(self) -> Iterator[None]:
        # An error here must not disturb the call between host and plugin.
        try:
            yield
        except Exception as error:
            self._failure = self._failure or error
            self.end()


class Counts:
    """A counter of calls by method, for a summary; threads may share it."""

    def __init__(self) -> None:
        self._summary = Summary()
        self._lock = threading.Lock()

    def call(self, call: RecordedCall) -> None:
        """Count a call."""
        with self._lock:
            self._summary.add(call)

    def text(self) -> str:
        """Return the counts as the text of a table, with a row for each method."""
        table = Table(("method", "calls", "errors", "p50", "p95", "p99"))
        for method in self._methods():
            table.add(
                method.method,
                str(method.calls),
                Cell(str(method.errors), BAD if method.errors else PLAIN),
                *map(duration, (method.p50, method.p95, method.p99)),
            )
        if is_terminal(sys.stdout):
            return drawn_text(table)
        return "".join(f"{line}\n" for line in plain_columns(table))

    def json(self) -> str:
        """Return the counts as JSON, with latencies in seconds."""
        return json.dumps({"methods": list(map(asdict, self._methods()))}, indent=2) + "\n"

    def _methods(self) -> list[MethodSummary]:
        with self._lock:
            return self._summary.methods()


class Lines:
    """A view with lines for each finished call, and for the progress of slow bodies."""

    def __init__(self, screen: Screen, make: Callable[[str, RecordedCall], str]) -> None:
        self._screen = screen
        self._make = make
        self._clock = datetime.now().astimezone()

    def call(self, call: RecordedCall) -> None:
        """Queue a call to be shown; the writing thread masks its secrets."""
        kept_bytes = sum(map(len, (*call.request.pieces, *call.answer.pieces)))
        self._screen.show(lambda: self._make(self._at(call.at), masked_call(call)), kept_bytes)

    def progress(self, now: float, passing: Progress) -> None:
        """Queue a line about the progress of a body."""
        self._screen.show_if_there_is_room(
            lambda: line_of(*progress_cells(_time(self._at(now)), passing))
        )

    def _at(self, seconds: float) -> str:
        time = self._clock + timedelta(seconds=seconds)
        return time.isoformat(timespec="milliseconds")


@click.command(
    epilog=example(
        "moby-plugins trace shelf --record calls.jsonl",
        "moby-plugins trace tcp://10.0.0.7:8080 --listen unix:///tmp/far.sock",
        "moby-plugins trace calls.jsonl --export trace.json",
    )
)
@_with_targets
@_with_listen
@_with_summary
@_with_record
@_with_export
@_with_secrets
@with_settings
@with_json
def trace(
    *,
    targets: tuple[str, ...],
    listen: str | None,
    summary: bool,
    record: str | None,
    export: str | None,
    record_secrets: bool,
    settings: Settings,
    as_json: bool,
) -> None:
    """Show each call between a plugin and its hosts.

    The plugin's socket is moved aside, and moved back when Ctrl-C or SIGTERM ends the
    trace. Secrets are masked. Connections that were open before are only counted.
    """
    if export is not None:
        if listen or summary or record or record_secrets or as_json:
            raise click.UsageError("--export takes recordings, and no other option")
        _export(targets, export)
        return
    if len(targets) > 1:
        raise click.UsageError("one plugin is traced at a time; --export takes many recordings")
    target = targets[0]
    # Limits how long the thread that shows calls can delay those that pass them on.
    sys.setswitchinterval(SWITCH)
    open_proxy = _open_proxy(target, listen, settings)
    counts = Counts()
    live = counts.text if summary and not as_json else None
    if record_secrets and record is None:
        raise click.UsageError("--record-secrets needs --record")
    with ExitStack() as stack:
        writes: list[OnCall] = []
        if record is not None:
            heading = Recording(plugin=target, masked=not record_secrets)
            add = stack.enter_context(open_recording(record, heading)).add
            writes = [add if record_secrets else lambda call: add(masked_call(call))]
        screen = Screen(lambda: watcher.end(), live)  # noqa: PLW0108  it is made below
        lines = Lines(screen, _json_line if as_json else _text_lines)
        if summary:
            watcher = Watcher(counts.call, _unseen, writes)
        else:
            watcher = Watcher(lines.call, _unseen if as_json else lines.progress, writes)
        stack.enter_context(ending_signals_handled(lambda *_: watcher.end()))
        stack.enter_context(screen)
        _watch(lambda: open_proxy(watcher.app), watcher, screen.say)
        if summary and (as_json or not is_terminal(sys.stdout)):
            screen.show(counts.json if as_json else counts.text)
    watcher.check()
    if screen.failure is not None:
        raise UnwrittenError from screen.failure


def _export(files: Sequence[str], export: str) -> None:
    recordings = []
    for file in files:
        recording, is_whole = load_whole_calls(file)
        if os.path.exists(export) and os.path.samefile(file, export):
            raise click.UsageError(f"--export would replace the recording {shown(file)}")
        if not is_whole:
            click.echo(f"{shown(file)}: the last line is cut off, and is left out", err=True)
        recordings.append(recording)
    export_trace(recordings, export)


def _open_proxy(target: str, listen: str | None, settings: Settings) -> OpenProxy:
    if listen is None:
        if is_address(target) and Address(target).scheme != "unix":
            raise click.UsageError(
                "a plugin at an address other than unix:///PATH can be traced only with --listen"
            )
        return lambda app: tracing_proxy(target, app, settings)
    address = Address(listen)
    if is_address(target):
        return lambda app: tracing_proxy_at(address, Address(target), app, settings)
    plugin = check_protocol(new_local_discovery(settings).lookup(target))
    return lambda app: tracing_proxy_at(address, plugin.address, app, settings, plugin.tls_config)


def _watch(
    open_proxy: Callable[[], AbstractContextManager[TracingProxy]],
    watcher: Watcher,
    say: Callable[[str], None],
) -> None:
    seen = False
    while not watcher.ending():
        try:
            with open_proxy() as there:
                seen = True
                proxy_address, plugin = shown(there.addr), shown(there.plugin.text)
                say(f"calls to {proxy_address} go on to {plugin}; Ctrl-C ends this")
                _watch_one(there, watcher, say)
        except (PluginNotFoundError, TransportError):
            if not seen:
                raise
        else:
            if not watcher.ending():
                say("the plugin's socket was removed or replaced")
        # A plugin that starts there binds its socket first, and listens a moment later.
        time.sleep(TICK)


def _watch_one(there: TracingProxy, watcher: Watcher, say: Callable[[str], None]) -> None:
    before, ticks = 0, 0
    while not watcher.ending() and not there.lost():
        if ticks % TICKS_OF_A_LOOK == 0:
            open_now = there.passed_by()
            if open_now != before:
                say(_passed_by(open_now, before))
            before = open_now
        ticks += 1
        time.sleep(TICK)


def _passed_by(count: int, before: int) -> str:
    if not count:
        return "no connection is left that was open before: all calls are seen"
    connections = "1 connection was" if count == 1 else f"{count} connections were"
    still = "" if not before else f", of {before} a moment ago"
    return (
        f"{connections} open before{still}: calls over them are not seen;"
        " restart the plugin, or its hosts, to see all"
    )


def _unseen(_: float, __: Progress) -> None:
    """Ignore the progress of a body."""


def _json_line(time: str, call: RecordedCall) -> str:
    return json.dumps({"time": time} | call_json(call)) + "\n"


def _text_lines(time: str, call: RecordedCall) -> str:
    return "".join(line_of(*cells) for cells in call_cells(_time(time), call))


def _time(time: str) -> str:
    # Date and time zone are left out.
    return time[11:23]
