"""Tracing: a proxy between hosts and a plugin, and recordings of the calls that pass it."""

from moby_plugins.app.recordings import export_trace, load_recording, open_recording
from moby_plugins.app.tracing import (
    Interposed,
    MakeApp,
    OnCall,
    Progress,
    Trace,
    interposed,
    interposed_at,
)
from moby_plugins.domain.recording import (
    RecordedBody,
    RecordedCall,
    Recording,
    call_json,
    masked_call,
)

__all__ = [
    "Interposed",
    "MakeApp",
    "OnCall",
    "Progress",
    "RecordedBody",
    "RecordedCall",
    "Recording",
    "Trace",
    "call_json",
    "export_trace",
    "interposed",
    "interposed_at",
    "load_recording",
    "masked_call",
    "open_recording",
]
