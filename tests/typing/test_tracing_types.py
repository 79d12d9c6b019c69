"""The types of tracing, recordings and diagnoses: read, and never run."""

import time
from pathlib import Path
from typing import assert_type

import moby_plugins as mp
from moby_plugins.diagnosis import Finding, diagnose
from moby_plugins.ports import Transport
from moby_plugins.serving import NoAnswerError, PluginApp
from moby_plugins.testing import (
    MemoryTransport,
    Replayed,
    any_body,
    assert_replayed,
    replay_calls,
    same_body,
)
from moby_plugins.tracing import (
    RecordedCall,
    Recording,
    Trace,
    TracingProxy,
    load_recording,
    masked_call,
    open_recording,
    tracing_proxy,
)


def a_trace_is_an_app(transport: Transport, settings: mp.Settings) -> None:
    """A trace takes a transport, and a function that it calls with each recorded call."""
    calls: list[RecordedCall] = []
    app = Trace(transport, time.monotonic, calls.append)
    assert_type(app(mp.Request("M.x")), mp.Response)

    def make(over: Transport) -> Trace:
        return Trace(over, time.monotonic, calls.append)

    with tracing_proxy("shelf", make, settings) as there:
        assert_type(there, TracingProxy)
        assert_type(there.lost(), bool)


def a_recording_is_written_and_read(path: Path, call: RecordedCall) -> None:
    """Calls are added to a file, and loaded as a tuple."""
    with open_recording(path, Recording(plugin="shelf")) as file:
        file.add(masked_call(call))
    assert_type(load_recording(path).calls, tuple[RecordedCall, ...])


def a_recording_replays_a_plugin_or_a_host(path: Path, app: PluginApp) -> None:
    """A test may compare bodies, ignore them, or use a function of its own."""
    assert_type(MemoryTransport.replay(path), MemoryTransport)
    MemoryTransport.replay("file", any_body)
    MemoryTransport.replay("file", lambda recorded, actual: same_body(recorded, actual[:4]))
    assert_type(replay_calls(path, app), list[Replayed])
    assert_replayed(path, app, lambda body: body.replace(b"/a", b"/b"))


def a_diagnosis_is_a_tuple_of_findings(settings: mp.Settings) -> None:
    """Each finding has texts, such as its remedy."""
    assert_type(diagnose(settings), tuple[Finding, ...])
    assert_type([finding.remedy for finding in diagnose()], list[str])


def an_app_without_an_answer(_: mp.Request) -> mp.Response:
    """``NoAnswerError`` takes the reason, which is logged."""
    raise NoAnswerError("gone")
