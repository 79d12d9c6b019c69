"""Recordings converted to trace-event JSON, which Perfetto opens."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from moby_plugins.domain.recording import RecordedBody, RecordedCall, Recording
from moby_plugins.domain.trace_events import trace_events, trace_text


def call(method: str, at: float, took: float, **more: Any) -> RecordedCall:
    """A recorded call, with status 200 unless told otherwise."""
    return RecordedCall(method, at=at, took=took, **({"status": 200} | more))


def events(*recordings: Recording, phase: str) -> list[dict[str, Any]]:
    """The events of one kind in the trace of ``recordings``."""
    return [event for event in trace_events(recordings) if event["ph"] == phase]


def test_a_call_is_a_slice_of_its_host_and_of_its_plugin() -> None:
    """Both slices have the call's beginning and length in microseconds; an arrow joins them."""
    recording = Recording([call("VolumeDriver.Mount", 0.5, 0.002)], "shelf")

    host, plugin = events(recording, phase="X")
    (begins,), (ends,) = events(recording, phase="s"), events(recording, phase="f")

    assert [each["name"] for each in (host, plugin)] == ["VolumeDriver.Mount"] * 2
    assert [(each["ts"], each["dur"]) for each in (host, plugin)] == [(500_000, 2_000)] * 2
    assert host["cat"] == "VolumeDriver"
    assert begins["id"] == ends["id"]
    assert (begins["pid"], ends["pid"]) == (host["pid"], plugin["pid"])


def test_hosts_and_plugins_have_names_in_a_trace() -> None:
    """Each recording adds two processes; a plugin without a name gets a number."""
    recordings = Recording([], "shelf"), Recording([], "")

    named = [
        event["args"]["name"]
        for event in events(*recordings, phase="M")
        if event["name"] == "process_name"
    ]

    assert named == ["hosts of shelf", "shelf", "hosts of plugin 2", "plugin 2"]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=40))
def test_slices_of_one_track_never_overlap(times: list[tuple[int, int]]) -> None:
    """Calls at the same time have separate tracks, and as few of them as possible."""
    recording = Recording([call("M.x", at, took) for at, took in times], "p")
    slices = [event for event in events(recording, phase="X") if event["pid"] == 1002]
    ends: dict[int, float] = {}
    for event in slices:
        assert event["ts"] >= ends.get(event["tid"], 0)
        ends[event["tid"]] = event["ts"] + event["dur"]

    # A call that took no time is running at the moment at which it began.
    most = max((sum(a == t or a <= t < a + d for a, d in times) for t, _ in times), default=0)
    assert len(ends) <= max(most, 1)


def test_a_failed_call_has_a_mark_at_its_end() -> None:
    """The mark is on the plugin's track if the plugin failed, on the host's if the host left."""
    calls = [
        call("M.a", 0, 1, status=500),
        call("M.b", 2, 1, status=0, broken="the response's body is cut off"),
        call("M.c", 4, 1, host_left=True),
        call("M.d", 6, 1),
    ]

    marks = events(Recording(calls, "p"), phase="i")

    assert [(mark["pid"], mark["ts"], mark["name"]) for mark in marks] == [
        (1002, 1_000_000, "status 500"),
        (1002, 3_000_000, "the response's body is cut off"),
        (1001, 5_000_000, "the host did not wait for the end"),
    ]


def test_secrets_are_masked_in_a_trace_even_if_they_were_recorded() -> None:
    """A trace is made to be shown to other people."""
    body = RecordedBody([b'{"Name":"a","Password":"hunter2"}'])
    recording = Recording([call("VolumeDriver.Create", 0, 1, request=body)], "p", masked=False)

    text = "".join(trace_text([recording]))

    assert "hunter2" not in text
    assert "Password" in text


def test_a_large_body_is_cut_in_a_trace_and_its_size_is_given() -> None:
    """A slice shows the beginning of each body."""
    body = RecordedBody([b"x" * 1_000_000], omitted=5)
    (first, _) = events(Recording([call("M.x", 0, 1, answer=body)], "p"), phase="X")

    assert len(first["args"]["answer"]) < 2_100
    assert first["args"]["answer_bytes"] == 1_000_005


def test_the_text_of_a_trace_is_valid_json_for_any_calls() -> None:
    """Hostile names, methods and bodies are escaped, and there may be no calls."""
    hostile = call("M.x?id=\"'", 0, 1, request=RecordedBody([b"\xff\x00\x1b[2J"]))

    one = json.loads("".join(trace_text([Recording([hostile], 'a"\n')])))
    none = json.loads("".join(trace_text([])))

    assert one["traceEvents"]
    assert "\x1b" not in json.dumps(one, ensure_ascii=False)
    assert none["traceEvents"] == []


@given(st.lists(st.tuples(st.floats(0, 1e-5), st.floats(0, 1e-3)), max_size=40))
def test_slices_of_one_track_do_not_overlap_after_rounding(
    times: list[tuple[float, float]],
) -> None:
    """A call may begin at the moment at which the call before it has ended."""
    at, calls = 86_400.0, []
    for pause, took in times:
        at += pause
        calls.append(call("M.x", at, took))
        at += took
    ends: dict[int, int] = {}
    for event in events(Recording(calls, "p"), phase="X"):
        key = event["pid"] * 1000 + event["tid"]
        began = round(event["ts"] * 1000)
        assert began >= ends.get(key, 0)
        ends[key] = began + round(event["dur"] * 1000)


def named(process: int, what: str, name: str, track: int) -> list[dict[str, Any]]:
    """The events that name a participant and its tracks."""
    meta = {"ph": "M", "pid": process}
    return [
        meta | {"name": "process_name", "args": {"name": what}},
        meta | {"name": "process_sort_index", "args": {"sort_index": process}},
        *(
            meta | {"tid": tid, "name": "thread_name", "args": {"name": name}}
            for tid in range(1, track + 1)
        ),
    ]


def test_a_trace_has_exactly_the_events_that_viewers_read() -> None:
    """Every field of every event is compared; times are in microseconds."""
    listed = call(
        "VolumeDriver.List?a=b",
        0.5,
        0.25,
        request=RecordedBody([b" {} "]),
        answer=RecordedBody([b'{"Volumes":', b"[]}\n"]),
    )
    got = call("VolumeDriver.Get", 0.6, 0.5, status=404, host_left=True)
    args = {"query": "a=b", "status": 200, "request": "{}", "request_bytes": 4}
    args |= {"answer": '{"Volumes":[]}', "answer_bytes": 15}
    none = {"query": "", "status": 404, "request": "", "request_bytes": 0}
    none |= {"answer": "", "answer_bytes": 0}
    slices, arrows = [], []
    for number, name, at, took, details in (
        (1, "VolumeDriver.List", 500_000, 250_000, args),
        (2, "VolumeDriver.Get", 600_000, 500_000, none),
    ):
        shared: dict[str, Any] = {"name": name, "cat": "VolumeDriver", "ts": at, "tid": number}
        both = shared | {"ph": "X", "dur": took, "args": details}
        slices.append([both | {"pid": 1001}, both | {"pid": 1002}])
        flow = shared | {"id": number}
        arrows.append([flow | {"ph": "s", "pid": 1001}, flow | {"ph": "f", "bp": "e", "pid": 1002}])
    mark = {"ph": "i", "s": "t", "cat": "failure", "ts": 1_100_000, "tid": 2}
    first, second = Recording([listed, got], "shelf"), Recording([], "")

    assert [*trace_events([first, second])] == [
        *named(1001, "hosts of shelf", "host", 2),
        *named(1002, "shelf", "call", 2),
        *slices[0],
        *arrows[0],
        *slices[1],
        *arrows[1],
        mark | {"name": "the host did not wait for the end", "pid": 1001},
        mark | {"name": "status 404", "pid": 1002},
        *named(1003, "hosts of plugin 2", "host", 0),
        *named(1004, "plugin 2", "call", 0),
    ]


def test_arrows_are_numbered_through_all_recordings() -> None:
    """Arrows with the same number would join slices of different calls."""
    recording = Recording([call("M.x", 0, 1), call("M.x", 2, 1)], "p")

    assert [each["id"] for each in events(recording, recording, phase="s")] == [1, 2, 3, 4]


def test_a_trace_has_one_event_on_each_line() -> None:
    """The lines before the first event and after the last are the same in every trace."""
    first, *lines, last, end = "".join(trace_text([Recording([], "p")])).split("\n")

    assert (first, last, end) == ('{"displayTimeUnit": "ms", "traceEvents": [', "]}", "")
    assert [line[-1:] for line in lines] == [",", ",", ",", "}"]
    assert [json.loads(line.rstrip(",")) for line in lines] == [
        *named(1001, "hosts of p", "host", 0),
        *named(1002, "p", "call", 0),
    ]


def test_a_body_that_just_fits_is_shown_whole_in_a_trace() -> None:
    """White space around the body is dropped; a longer body is cut and ends with its length."""
    fits, cut = RecordedBody([b"\n" + b"x" * 2000 + b"\n"]), RecordedBody([b"x" * 2001])
    (event, _) = events(Recording([call("M.x", 0, 1, request=fits, answer=cut)], "p"), phase="X")

    assert event["args"]["request"] == "x" * 2000
    assert event["args"]["answer"] == "x" * 2000 + "… of 2001"


def test_calls_one_after_the_other_share_a_track() -> None:
    """Calls share a track even if one begins at the moment at which the other ends."""
    recording = Recording([call("M.x", 0.0, 1.0), call("M.x", 1.0, 1.0)], "shelf")
    assert {event["tid"] for event in events(recording, phase="X")} == {1}


def test_the_category_of_a_slice_is_the_subsystem_of_its_call() -> None:
    """The subsystem is the part of the method before the first dot."""
    assert {e["cat"] for e in events(Recording([call("A.b.c", 0.0, 1.0)], "p"), phase="X")} == {"A"}


def test_a_call_without_a_response_is_not_marked_with_a_status() -> None:
    """The only mark says that the host did not wait for the end."""
    left = call("M.x", 0.0, 1.0, status=0, host_left=True)
    (mark,) = events(Recording([left], "p"), phase="i")
    assert mark["name"] == "the host did not wait for the end"
