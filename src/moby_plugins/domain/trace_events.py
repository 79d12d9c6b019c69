"""Convert recorded calls to trace-event JSON, which Perfetto and ``chrome://tracing`` open.

Each plugin is shown as a process with tracks, and its hosts as another. A call is a slice in both,
with the same beginning and end, since it was recorded between them, and an arrow from host to
plugin. Overlapping calls have separate tracks, because slices of one track must nest.

Source: the "Trace Event Format": complete, flow, instant and metadata events in a JSON object.
"""

import heapq
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from moby_plugins.domain.http import OK
from moby_plugins.domain.recording import RecordedBody, RecordedCall, Recording, masked_call
from moby_plugins.domain.text import shown

# Above the numbers of tracks: a viewer labels a track with its process's number "main thread".
_FIRST_PROCESS = 1001
# How many characters of a body are shown with its slice.
MAX_BODY_TEXT = 2000


def trace_text(recordings: Sequence[Recording]) -> Iterator[str]:
    """Yield the text of a trace of ``recordings``, with one event on each line.

    The times of each recording are relative to its own beginning, so all begin at 0. Secrets are
    masked, even if the recording has them.
    """
    yield '{"displayTimeUnit": "ms", "traceEvents": [\n'
    separator = ""
    for event in trace_events(recordings):
        yield f"{separator}{json.dumps(event)}"
        separator = ",\n"
    yield "\n]}\n"


def trace_events(recordings: Sequence[Recording]) -> Iterator[dict[str, Any]]:
    """Yield the events of a trace: for each recording its participants, then its calls in order."""
    arrow = 0
    for index, recording in enumerate(recordings):
        name = recording.plugin or f"plugin {index + 1}"
        hosts, plugin = _FIRST_PROCESS + 2 * index, _FIRST_PROCESS + 2 * index + 1
        tracks = _tracks(recording.calls)
        yield from _participant(hosts, f"hosts of {name}", "host", tracks)
        yield from _participant(plugin, name, "call", tracks)
        for call, track in zip(recording.calls, tracks, strict=True):
            arrow += 1
            yield from _call_events(masked_call(call), track, hosts, plugin, arrow)


def _participant(
    process: int, name: str, track_name: str, tracks: Iterable[int]
) -> Iterator[dict[str, Any]]:
    yield {"ph": "M", "pid": process, "name": "process_name", "args": {"name": shown(name)}}
    yield {"ph": "M", "pid": process, "name": "process_sort_index", "args": {"sort_index": process}}
    for track in sorted({*tracks}):
        # Viewers add the track's number to the name.
        named = {"name": track_name}
        yield {"ph": "M", "pid": process, "tid": track, "name": "thread_name", "args": named}


def _tracks(calls: Iterable[RecordedCall]) -> list[int]:
    """Return a track number for each call, from 1: the lowest on which no call is running."""
    tracks: list[int] = []
    free: list[int] = []
    # Pairs of a call's end and the track that becomes free.
    ends: list[tuple[int, int]] = []
    for call in calls:
        began, ended = _nanoseconds(call)
        while ends and ends[0][0] <= began:
            heapq.heappush(free, heapq.heappop(ends)[1])
        track = heapq.heappop(free) if free else len(ends) + 1
        heapq.heappush(ends, (ended, track))
        tracks.append(track)
    return tracks


def _call_events(
    call: RecordedCall, track: int, hosts: int, plugin: int, arrow: int
) -> Iterator[dict[str, Any]]:
    began, ended = _nanoseconds(call)
    name, _, query = call.method.partition("?")
    category = name.partition(".")[0]
    details = {
        "query": query,
        "status": call.status,
        "request": _text(call.request),
        "request_bytes": call.request.size,
        "answer": _text(call.answer),
        "answer_bytes": call.answer.size,
    }
    for process in (hosts, plugin):
        slice_ = {
            "ph": "X",
            "name": name,
            "cat": category,
            "ts": began / 1000,
            "dur": (ended - began) / 1000,
            "args": details,
        }
        yield {**slice_, "pid": process, "tid": track}
    flow = {"name": name, "cat": category, "id": arrow, "ts": began / 1000, "tid": track}
    yield {**flow, "ph": "s", "pid": hosts}
    yield {**flow, "ph": "f", "bp": "e", "pid": plugin}
    for process, failure in ((hosts, _host_failure(call)), (plugin, _plugin_failure(call))):
        if failure:
            instant = {"ph": "i", "s": "t", "name": failure, "cat": "failure"}
            yield {**instant, "ts": ended / 1000, "pid": process, "tid": track}


def _host_failure(call: RecordedCall) -> str:
    return "the host did not wait for the end" if call.host_left else ""


def _plugin_failure(call: RecordedCall) -> str:
    if call.broken:
        return shown(call.broken)
    if call.status not in {0, OK}:
        return f"status {call.status}"
    return ""


def _text(body: RecordedBody) -> str:
    # Decode only the part that is shown, since a body may have any size.
    text = body.data[: 4 * MAX_BODY_TEXT].decode(errors="replace")
    return shown(text.strip(), MAX_BODY_TEXT)


def _nanoseconds(call: RecordedCall) -> tuple[int, int]:
    """Return the beginning and the end of a call, rounded so that both keep their order."""
    return round(call.at * 1e9), round((call.at + call.took) * 1e9)
