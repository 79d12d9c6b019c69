"""Tracing: a proxy between hosts and a plugin, and recordings of the calls that pass it."""

from moby_plugins.app.recordings import export_trace, load_recording, open_recording
from moby_plugins.app.tracing import (
    MakeApp,
    OnCall,
    Progress,
    Trace,
    TracingProxy,
    tracing_proxy,
    tracing_proxy_at,
)
from moby_plugins.domain.recording import (
    RecordedBody,
    RecordedCall,
    Recording,
    call_json,
    masked_call,
)

__all__ = [
    "MakeApp",
    "OnCall",
    "Progress",
    "RecordedBody",
    "RecordedCall",
    "Recording",
    "Trace",
    "TracingProxy",
    "call_json",
    "export_trace",
    "load_recording",
    "masked_call",
    "open_recording",
    "tracing_proxy",
    "tracing_proxy_at",
]
