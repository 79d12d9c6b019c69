"""Which call a method makes of its arguments, decided without a client."""

import io
from typing import Any

from moby_plugins.app.accounting import Ask, Follow, Plan, Send, Tell
from moby_plugins.app.streamed import Streamed
from moby_plugins.subsystems import (
    GraphDriver,
    LogDriver,
    LogEntry,
    LogInfo,
    MetricsCollector,
    ReadConfig,
    RemoteMethod,
    Subsystem,
    VolumeDriver,
    encode_frame,
    remote,
)
from tests.cases import every

ARCHIVE = io.BytesIO(b"tar")
INFO, CONFIG = LogInfo(), ReadConfig()


def of(subsystem: type[Subsystem], wire: str) -> RemoteMethod:
    """The method that is called so on the wire."""
    return subsystem.remotes[wire]


@every(
    ("method", "arguments", "plan"),
    [
        (
            of(VolumeDriver, "Mount"),
            ("books", "7"),
            Ask("VolumeDriver.Mount", {"Name": "books", "ID": "7"}),
        ),
        (of(VolumeDriver, "List"), (), Ask("VolumeDriver.List", {})),
        (of(LogDriver, "Capabilities"), (), Ask("LogDriver.Capabilities", None)),
        (of(MetricsCollector, "StartMetrics"), (), Tell("MetricsCollector.StartMetrics")),
        (
            of(GraphDriver, "ApplyDiff"),
            ("a", "b", ARCHIVE),
            Send("GraphDriver.ApplyDiff?id=a&parent=b", ARCHIVE),
        ),
        (
            of(GraphDriver, "Diff"),
            ("a", ""),
            Follow("GraphDriver.Diff", {"ID": "a"}),
        ),
        (
            of(LogDriver, "ReadLogs"),
            (INFO, CONFIG),
            Follow("LogDriver.ReadLogs", {"Info": INFO, "Config": CONFIG}),
        ),
    ],
)
def test_each_remote_method_plans_the_kind_of_call_that_it_needs(
    method: RemoteMethod, arguments: tuple[Any, ...], plan: Plan
) -> None:
    """A method makes a JSON call, a notice without a result, an upload, or a stream."""
    assert method.plan(*arguments) == plan


def test_a_stream_is_read_by_the_methods_own_reader() -> None:
    """``Diff`` gives chunks of bytes as they are, and ``ReadLogs`` makes log entries of them."""
    chunks, entries = of(GraphDriver, "Diff"), of(LogDriver, "ReadLogs")
    assert isinstance(chunks, Streamed)
    assert isinstance(entries, Streamed)
    entry = LogEntry("stdout", 1, b"line\n")

    assert list(chunks.reader().feed(b"tar")) == [b"tar"]
    assert list(entries.reader().feed(encode_frame(entry))) == [entry]


def test_a_method_of_a_custom_subsystem_plans_a_call_in_json() -> None:
    """Marking the method with ``@remote`` is enough."""

    class Greeter(Subsystem):
        @remote(result="Greeting")
        def greet(self, name: str) -> str:
            raise NotImplementedError

    assert of(Greeter, "Greet").plan("Ada") == Ask("Greeter.Greet", {"Name": "Ada"})
