"""A broken plugin for each check of LogDriver."""

import json
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

from attrs import evolve

from moby_plugins import Request, Response
from moby_plugins.domain.http import App
from moby_plugins.subsystems import LogEntry, decode_frames, encode_frame
from tests.unit.checks.broken import (
    OPTIONS,
    Breaks,
    Broken,
    args_of,
    at_once,
    body_of,
    does,
    never,
    refuses,
    says,
    warned,
)
from tests.unit.checks.broken_volumes import no, refuses_if, swallows

CAPABILITIES = "LogDriver.Capabilities"
START, STOP, READ = "LogDriver.StartLogging", "LogDriver.StopLogging", "LogDriver.ReadLogs"
HASTY = evolve(OPTIONS, timeout=0.05)


def entries_as(edit: Callable[[list[LogEntry]], list[LogEntry]]) -> Breaks:
    """ReadLogs gives what ``edit`` makes of what it should."""

    def app(request: Request, good: App) -> Any:
        answer = good(request)
        if answer.status != 200:
            return answer
        entries = edit([*decode_frames(BytesIO(body_of(answer)).read)])
        return Response(200, b"".join(map(encode_frame, entries)))

    return does(app, READ)


def each(**keys: Any) -> Breaks:
    """ReadLogs gives entries with ``keys`` changed."""
    return entries_as(lambda entries: [evolve(entry, **keys) for entry in entries])


def without_newline(entries: list[LogEntry]) -> list[LogEntry]:
    """Lines as they stood in the FIFO."""
    return [evolve(entry, line=entry.line.removesuffix(b"\n")) for entry in entries]


def as_text(entries: list[LogEntry]) -> list[LogEntry]:
    """Lines, with other bytes for what is not text."""
    return [evolve(each, line=each.line.decode(errors="replace").encode()) for each in entries]


def deaf(config_key: str) -> Breaks:
    """ReadLogs pays no heed to this key of its configuration."""

    def app(request: Request, good: App) -> Any:
        args = args_of(request)
        args["Config"].pop(config_key)
        return good(evolve(request, body=json.dumps(args).encode()))

    return does(app, READ)


def loses(config_key: str, unset: Any, kept: slice) -> Breaks:
    """ReadLogs keeps part of the lines if this is asked for."""
    part = entries_as(lambda entries: entries[kept])

    def breaks(good: App) -> App:
        def app(request: Request) -> Response:
            asked = request.method == READ and args_of(request)["Config"][config_key] != unset
            return part(good)(request) if asked else good(request)

        return app

    return breaks


def first_container_only() -> Breaks:
    """All logs are those of one container."""
    known: list[str] = []

    def app(request: Request, good: App) -> Any:
        args = args_of(request)
        known.append(args["Info"]["ContainerID"])
        args["Info"]["ContainerID"] = known[0]
        return good(evolve(request, body=json.dumps(args).encode()))

    return does(app, START, READ)


def ends_at_once(request: Request, good: App) -> Any:
    """Follow is not understood."""
    args = args_of(request)
    args["Config"]["Follow"] = False
    return body_of(good(evolve(request, body=json.dumps(args).encode())))


def dies_when_cut_off() -> Breaks:
    """After a stream that follows, nothing more is read."""
    followed: list[bool] = []

    def app(request: Request, good: App) -> Any:
        if args_of(request)["Config"]["Follow"]:
            followed.append(True)
        elif followed:
            return Response(500, b'{"Err": "broken pipe"}')
        return good(request)

    return does(app, READ)


def runs_out_of_threads() -> Breaks:
    """Each stream that follows takes up a thread for ever, of 256."""
    followed: list[bool] = []

    def app(request: Request, good: App) -> Any:
        if request.method == READ and args_of(request)["Config"]["Follow"]:
            followed.append(True)
        if len(followed) >= 256:
            return Response(503, b'{"Err": "no thread is free"}')
        return good(request)

    return does(app, START, READ)


def forgets() -> Breaks:
    """A second start begins with no lines."""
    so_far: dict[str, int] = {}

    def app(request: Request, good: App) -> Any:
        name = args_of(request)["Info"]["ContainerID"]
        if request.method == START:
            so_far[name] = so_far.get(name, 0) + 1
            return good(request)
        skip = so_far.get(name, 0) - 1
        return entries_as(lambda entries: entries[skip:])(good)(request)

    return does(app, START, READ)


def frames(*lines: bytes) -> Iterator[bytes]:
    """Entries as frames."""
    return (encode_frame(LogEntry("stdout", 1, line)) for line in lines)


def reads_all_the_same(request: Request, good: App) -> Any:
    """Neither what it can nor what it does fits."""
    return {"Cap": {}} if request.method == CAPABILITIES else b""


BROKEN = {
    "LogDriver: capabilities": Broken(says(CAPABILITIES, {"ReadLogs": True})),
    "LogDriver: start before a line": Broken(does(never, START)),
    "LogDriver: start with little info": Broken(
        refuses_if(lambda args: args["Info"]["ContainerEnv"] is None, START)
    ),
    "LogDriver: start without a FIFO": Broken(swallows(START)),
    "LogDriver: large info": Broken(
        does(lambda r, good: Response(413, b"") if len(r.read()) > 1 << 17 else good(r), START)
    ),
    "LogDriver: stop while the FIFO is open": Broken(does(never, STOP)),
    "LogDriver: stop of unknown": warned(refuses(STOP)),
    "LogDriver: FIFO is read": Broken(swallows(START), options=HASTY),
    "LogDriver: unusual lines": Broken(swallows(START), options=HASTY),
    "LogDriver: start again": Broken(refuses(START)),
    "LogDriver: containers side by side": Broken(at_once(START)),
    "LogDriver: no reading without the capability": Broken(
        does(reads_all_the_same, CAPABILITIES, READ)
    ),
    "LogDriver: lines come back": Broken(entries_as(lambda entries: entries[::-1])),
    "LogDriver: lines end": Broken(entries_as(without_newline)),
    "LogDriver: sources": Broken(each(source="stdout")),
    "LogDriver: times": Broken(each(time_nano=1)),
    "LogDriver: bytes": warned(entries_as(as_text)),
    "LogDriver: stop at once": warned(entries_as(lambda entries: entries[:-1])),
    "LogDriver: pieces of a line": Broken(entries_as(lambda entries: entries[-1:]), options=HASTY),
    "LogDriver: tail": Broken(deaf("Tail")),
    "LogDriver: since": Broken(loses("Since", "0001-01-01T00:00:00Z", slice(2, None))),
    "LogDriver: until": Broken(loses("Until", "0001-01-01T00:00:00Z", slice(1))),
    "LogDriver: logs of one container": Broken(first_container_only(), options=HASTY),
    "LogDriver: logs after a second start": Broken(forgets(), options=HASTY),
    "LogDriver: docker logs of a stopped container": Broken(forgets(), options=HASTY),
    "LogDriver: logs of a stranger": Broken(does(lambda _, __: b"".join(frames(b"x\n")), READ)),
    "LogDriver: follow": Broken(does(ends_at_once, READ)),
    "LogDriver: follow cut off": Broken(dies_when_cut_off(), options=HASTY),
    "LogDriver: follow and hang up": Broken(runs_out_of_threads()),
}
MORE = (
    ("LogDriver: capabilities", warned(refuses(CAPABILITIES))),
    ("LogDriver: capabilities", Broken(says(CAPABILITIES, {"Cap": {"ReadLogs": "yes"}}))),
    ("LogDriver: lines end", warned(each(line=b"one\n\n"))),
    ("LogDriver: lines come back", Broken(entries_as(lambda entries: entries[:-1]), options=HASTY)),
    ("LogDriver: lines come back", Broken(does(lambda _, __: b"\0\0\0\7x", READ), options=HASTY)),
    ("LogDriver: sources", Broken(each(source="console"))),
    ("LogDriver: stop of unknown", Broken(does(never, STOP))),
    ("LogDriver: large info", Broken(refuses(START))),
    ("LogDriver: large info", Broken(does(lambda *_: no("no such file or directory"), START))),
    ("LogDriver: lines come back", Broken(swallows(START), options=HASTY)),
)
