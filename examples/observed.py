"""A host and a plugin in one trace of OpenTelemetry, which is printed as a tree.

Both run in this process and use a real socket. In two processes the trace is the same, since the
request's headers carry it. ``pip install 'moby-plugins[otel,serve]' opentelemetry-sdk``
"""

import tempfile
from collections.abc import Iterable

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from moby_plugins import OpenTelemetryObserver, Settings, new_local_registry
from moby_plugins.serving import PluginApp, plugin_server_unix
from moby_plugins.subsystems import Volume, VolumeDriver

# In production, use an exporter that sends spans to a collector: OTLPSpanExporter().
exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("observed")


class Shelf(VolumeDriver):
    """A volume driver whose code has a span of its own."""

    def list(self) -> list[Volume]:
        with tracer.start_as_current_span("look at the shelf"):
            return [Volume("books")]


def tree(spans: Iterable[ReadableSpan], parent: int | None = None, indent: str = "") -> None:
    """Print the spans below ``parent``, in the order in which they started."""
    spans = sorted(spans, key=lambda span: span.start_time or 0)
    for span in spans:
        if (span.parent.span_id if span.parent else None) == parent and span.context:
            print(f"{indent}{span.name} ({span.kind.name.lower()})")
            tree(spans, span.context.span_id, f"{indent}  ")


def main() -> None:
    """Serve the plugin, find it, call it, and print the trace."""
    observer = OpenTelemetryObserver()
    with tempfile.TemporaryDirectory() as sockets:
        app = PluginApp(Shelf(), observers=[observer])
        settings = Settings(sockets_path=sockets)
        with (
            plugin_server_unix(app, "shelf", sockets_path=sockets),
            new_local_registry(settings, observers=[observer]) as registry,
            tracer.start_as_current_span("list all volumes"),
        ):
            registry.get("shelf", VolumeDriver).list()
    tree(exporter.get_finished_spans())


if __name__ == "__main__":
    main()
