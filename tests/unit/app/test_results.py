# mypy: disable-error-code="arg-type,dict-item,list-item"
"""What a plugin's methods return is held to its declared type before a byte is sent."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any, Generic, Literal, NewType, NotRequired, TypedDict, TypeVar

import attrs
import pytest

from moby_plugins.app.results import encode_result
from moby_plugins.domain.errors import WireError
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import (
    AuthZPlugin,
    GraphDriver,
    IpamDriver,
    JoinResponse,
    LogDriver,
    LogEntry,
    NetworkDriver,
    PartialLog,
    Secret,
    SecretProvider,
    StaticRoute,
    Subsystem,
    Verdict,
    Volume,
    VolumeDriver,
)
from tests.cases import every
from tests.unit.app.sample_types import Double
from tests.unit.app.subsystems.exchanges import asked, client_to, part_of

VolumeID = NewType("VolumeID", str)
T = TypeVar("T")


class Colour(StrEnum):
    """An enum whose members are text in JSON."""

    RED = "red"


class Level(IntEnum):
    """An enum whose members are numbers in JSON."""

    LOW = 1


@attrs.frozen
class Tree:
    """A type that holds itself."""

    name: str
    below: "tuple[Tree, ...]" = ()
    note: str | None = None


@attrs.frozen
class Snapshot(Volume):
    """A volume with one more field than its declared type."""

    size: int = 0


class Usage(TypedDict):
    """An object with the keys as they are sent."""

    size: int
    note: NotRequired[str | None]


@dataclass
class Disk:
    """A type that holds itself, as a dataclass instead of an attrs class."""

    size: int
    parts: "list[Disk]" = field(default_factory=list)


@dataclass
class Crate(Generic[T]):
    """A generic type."""

    item: T


@dataclass
class Partition(Disk):
    """A disk with one more field than its declared type."""

    number: int = 1


def sent(value: Any, kind: Any) -> Any:
    """What a host would read of a result."""
    return json.loads(encode_result(value, kind, key="Key", method="Sub.Method"))["Key"]


def refusal(kind: type[Subsystem], method: str, result: Any) -> str:
    """The error of the answer 500 that a method's result becomes."""
    part, _ = part_of(kind, {method: result})
    [remote] = [remote for remote in kind.remotes.values() if remote.name == method]
    status, text = asked(PluginApp(part), remote.method, '{"Request":{}}')
    assert status == 500
    return str(json.loads(text)["Err"])


@every(
    ("kind", "method", "result", "error"),
    [
        (
            VolumeDriver,
            "list",
            [Volume("a"), None],
            "List: Volumes[1]: an object expected, not null",
        ),
        (VolumeDriver, "list", None, "List: Volumes: an array expected, not null"),
        (VolumeDriver, "list", "abc", "List: Volumes: an array expected, not a string"),
        (VolumeDriver, "list", {"a": 1}, "List: Volumes: an array expected, not an object"),
        (VolumeDriver, "list", [Volume("a"), "b"], "List: Volumes[1]: an object expected, not a s"),
        (VolumeDriver, "list", [{"Name": 5}], "List: Volumes[0].Name: a string expected, not a n"),
        (
            VolumeDriver,
            "list",
            [Volume(None)],
            "List: Volumes[0].Name: a string expected, not null",
        ),
        (VolumeDriver, "mount", None, "Mount: Mountpoint: a string expected, not null"),
        (
            VolumeDriver,
            "mount",
            b"/v",
            "Mount: Mountpoint: a string expected, not a value of type b",
        ),
        (VolumeDriver, "create", "done", "Create: nothing expected, not a string"),
        (
            VolumeDriver,
            "capabilities",
            None,
            "Capabilities: Capabilities: an object expected, not n",
        ),
        (VolumeDriver, "get", Volume("a", status=None), "Get: Volume.Status: an object expected"),
        (
            VolumeDriver,
            "get",
            Volume("a", status={"x": math.nan}),
            "Get: Volume.Status.x: a number",
        ),
        (
            VolumeDriver,
            "get",
            Volume("a", status={"x": b""}),
            "Get: Volume.Status.x: a JSON value expected",
        ),
        (
            VolumeDriver,
            "get",
            Volume("a", status={5: 1}),
            "Get: Volume.Status.5: a string expected",
        ),
        (
            VolumeDriver,
            "get",
            Volume("a", created_at="now"),
            "Get: Volume.CreatedAt: 'now' is not a t",
        ),
        (
            VolumeDriver,
            "get",
            Volume("a", created_at=5),
            "Get: Volume.CreatedAt: a string expected",
        ),
        (
            AuthZPlugin,
            "authorize_response",
            Verdict(1),
            "AuthZRes: Allow: a boolean expected, not a",
        ),
        (NetworkDriver, "join", None, "Join: an object expected, not null"),
        (
            NetworkDriver,
            "join",
            JoinResponse(gateway=None),
            "Join: Gateway: a string expected, not null",
        ),
        (
            NetworkDriver,
            "join",
            JoinResponse(static_routes=[StaticRoute("10.0.0.0/8", "0")]),
            "Join: StaticRoutes[0].RouteType: a whole number expected, not a string",
        ),
        (NetworkDriver, "endpoint_oper_info", {"x": 1j}, "EndpointOperInfo: Value.x: JSON exp"),
        (NetworkDriver, "allocate_network", {"x": 1}, "AllocateNetwork: Options.x: a string expec"),
        (IpamDriver, "request_pool", ("p", "10.0.0.0/8"), "RequestPool: an object expected, not a"),
        (GraphDriver, "exists", "yes", "Exists: Exists: a boolean expected, not a string"),
        (GraphDriver, "diff_size", True, "DiffSize: Size: a whole number expected, not a boolean"),
        (GraphDriver, "diff_size", 1 << 63, "DiffSize: Size: a whole number of 64 bits expected"),
        (
            NetworkDriver,
            "join",
            {"InterfaceName": {"SrcName": "veth1", "DstPrefix": None}},
            "Join: InterfaceName.DstPrefix: a string expected, not null",
        ),
        (
            NetworkDriver,
            "join",
            {"staticroutes": [{"Destination": "10.0.0.0/8", "RouteType": None}]},
            "Join: StaticRoutes[0].RouteType: a whole number expected, not null",
        ),
        (
            IpamDriver,
            "request_pool",
            {"PoolID": "p", "Pool": "10.0.0.0/8", "Data": {"a": None}},
            "RequestPool: Data.a: a string expected, not null",
        ),
        (
            GraphDriver,
            "status",
            [["a", 1]],
            "Status: Status[0][1]: a string expected, not a number",
        ),
        (
            SecretProvider,
            "get_secret",
            Secret("text"),
            "GetSecret: Value: bytes expected, not a str",
        ),
    ],
)
def test_a_result_of_another_type_is_a_500_that_names_method_and_field(
    kind: type[Subsystem], method: str, result: Any, error: str
) -> None:
    """Nested values are checked, too, and so is ``None`` where the type is not optional."""
    assert refusal(kind, method, result).startswith(f"{kind.interface}.{error}")


@every(
    ("value", "kind", "plain"),
    [
        ("a", str, "a"),
        (Colour.RED, str, "red"),
        (Level.LOW, int, 1),
        (2, float, 2),
        (b"ab", bytes, "YWI="),
        (bytearray(b"ab"), bytes, "YWI="),
        (None, Volume | None, None),
        (5, str | int, 5),
        ("x", Annotated[str, "note"], "x"),
        ("x", VolumeID, "x"),
        ("a", Literal["a", "b"], "a"),
        (Colour.RED, Colour, "red"),
        ([1, 2], tuple[int, ...], [1, 2]),
        (range(1, 3), tuple[int, ...], [1, 2]),
        ({1: "a"}.values(), tuple[str, ...], ["a"]),
        ({"a"}, frozenset[str], ["a"]),
        ((1,), Sequence[int], [1]),
        ({"a": 1}, Mapping[str, int], {"a": 1}),
        ({"a": [(1, None)]}, Mapping[str, Any], {"a": [[1, None]]}),
        ({"a": Tree("x")}, dict[str, Any], {"a": {"Name": "x", "Below": [], "Note": None}}),
        (Tree("a", (Tree("b"),)), Tree, {"Name": "a", "Below": [
            {"Name": "b", "Below": [], "Note": None}], "Note": None}),
        (Snapshot("a", size=5), Volume, {"Name": "a", "Mountpoint": "", "Size": 5}),
        ({"name": "a"}, Volume, {"Name": "a", "Mountpoint": ""}),
        ({"size": 1, "more": [2]}, Usage, {"size": 1, "more": [2]}),
        ({"size": 1, "note": None}, Usage, {"size": 1, "note": None}),
        (Disk(1, [Disk(2)]), Disk, {"size": 1, "parts": [{"size": 2, "parts": []}]}),
        (Partition(1), Disk, {"size": 1, "parts": [], "number": 1}),
        ({"size": 1}, Disk, {"size": 1, "parts": []}),
        ({"a": Disk(1)}, dict[str, Any], {"a": {"size": 1, "parts": []}}),
        (Crate(Tree("x")), Any, {"item": {"Name": "x", "Below": [], "Note": None}}),
        ({"size": 1}, Tree | Disk, {"size": 1, "parts": []}),
        ([{"size": 1}], tuple[Tree, ...] | tuple[Disk, ...], [{"size": 1, "parts": []}]),
        (Disk(1), Annotated[Tree | Disk, "inside"] | None, {"size": 1, "parts": []}),
        ({"name": "a", "NAME": "b"}, Volume, {"Name": "b", "Mountpoint": ""}),
        (Volume("a", created_at=datetime(2026, 8, 1, tzinfo=UTC)), Volume,
         {"Name": "a", "Mountpoint": "", "CreatedAt": "2026-08-01T00:00:00Z"}),
    ],
)  # fmt: skip
def test_a_result_of_the_declared_type_is_sent_as_json(value: Any, kind: Any, plain: Any) -> None:
    """Any iterable may be an array, any mapping an object, and an enum is sent as its value."""
    assert sent(value, kind) == plain


def test_a_mapping_need_not_have_what_the_class_computes() -> None:
    """The key is sent with the value that the class has computed."""
    assert sent({"Single": 2}, Double) == {"Single": 2, "Double": 4}


def test_an_iterator_is_sent_as_an_array() -> None:
    """Checking the type of the items does not consume them before they are sent."""
    assert sent(iter([1, 2]), tuple[int, ...]) == [1, 2]
    assert sent(iter("abc"), tuple[int, ...] | tuple[str, ...]) == ["a", "b", "c"]
    assert sent((c for c in "ab"), list[int] | Iterable[str]) == ["a", "b"]


class Odd(Enum):
    """Neither text nor a number."""

    ONE = object()


def _cycle() -> dict[str, Any]:
    endless: dict[str, Any] = {}
    endless["again"] = endless
    return endless


@every(
    ("value", "kind"),
    [
        (True, int),
        (1, bool),
        (math.inf, float),
        (10**400, float),
        (10**400, Any),
        ("x", bytes),
        ("abc", tuple[str, ...]),
        (b"abc", tuple[int, ...]),
        (Volume, Volume),
        (Volume, Any),
        (Odd.ONE, Any),
        (object(), Any),
        (_cycle(), Any),
        (_cycle(), Mapping[str, Any]),
        (1, Literal[True]),
        ("c", Literal["a", "b"]),
        ("green", Colour),
        (None, str | int),
        ({1: "a"}, Mapping[str, str]),
        ([("a", 1)], Mapping[str, int]),
        ({"Name": None}, Volume),
        ({"Mountpoint": "/a", "Nmae": "a"}, Volume),
        ({"parts": []}, Disk),
        ({"size": "1"}, Usage),
        ({"size": None}, Usage),
        ({"note": "x"}, Usage),
        ([("size", 1)], Usage),
        (Disk(None), Disk),
        (Disk(1, [Disk(None)]), Disk),
        (Disk(1, [None]), Disk),
        (Partition(1, number="1"), Disk),
        ({"size": None}, Disk),
        ({"a": Disk("1")}, dict[str, Any]),
        (Crate(None), Crate[int]),
        (Crate(1 << 70), Crate[int]),
        (Crate(None), Crate[Volume]),
    ],
)
def test_a_result_that_does_not_match_the_declared_type_is_refused(value: Any, kind: Any) -> None:
    """The ``WireError`` names the method and the key."""
    with pytest.raises(WireError, match=r"^Sub\.Method: Key"):
        sent(value, kind)


@every(
    ("value", "kind", "reason"),
    [
        (Disk("x"), Tree | Disk, "Key.size: a whole number expected, not a string"),
        (Disk("x"), Disk | str, "Key.size: a whole number expected, not a string"),
        ({"size": "x"}, Disk | Tree, "Key.size: a whole number expected, not a string"),
        ({"parts": []}, Disk, "Key: 'size' is missing"),
    ],
)
def test_an_error_of_a_union_is_of_the_type_that_the_value_is_of(
    value: Any, kind: Any, reason: str
) -> None:
    """The class of the value counts, and not the order of the union."""
    with pytest.raises(WireError) as caught:
        sent(value, kind)
    assert caught.value.reason == reason


def test_an_exception_raised_while_a_result_is_read_is_reported_unchanged() -> None:
    """A generator of volumes raises; the response has its message, not one about types."""

    def volumes() -> Iterator[Volume]:
        yield Volume("a")
        raise OSError("disk full")

    assert refusal(VolumeDriver, "list", volumes()) == "disk full"


@every(
    ("kind", "method", "items", "error"),
    [
        (GraphDriver, "diff", None, "GraphDriver.Diff: a stream expected, not null"),
        (GraphDriver, "diff", 5, "GraphDriver.Diff: a stream expected, not a number"),
        (GraphDriver, "diff", "text", "GraphDriver.Diff: [0]: bytes expected, not a string"),
        (GraphDriver, "diff", ["text"], "GraphDriver.Diff: [0]: bytes expected, not a string"),
        (LogDriver, "read_logs", None, "LogDriver.ReadLogs: a stream expected, not null"),
        (LogDriver, "read_logs", [b"x"], "LogDriver.ReadLogs: [0]: a LogEntry expected, not a v"),
        (LogDriver, "read_logs", [LogEntry("stdout", 1, "x")], "a log entry's line: bytes expect"),
        (LogDriver, "read_logs", [LogEntry("stdout", 1.5, b"x")], "a log entry's time_nano: int"),
        (LogDriver, "read_logs", [LogEntry("stdout", 1 << 63, b"x")], "a log entry's time_nano is"),
        (
            LogDriver,
            "read_logs",
            [LogEntry("stdout", 1, b"x", partial_log_metadata=PartialLog(1, "i", 1))],
            "a log entry's last: bool",
        ),
        (
            LogDriver,
            "read_logs",
            [LogEntry("stdout", 1, b"x", attrs={"a": 1})],
            "a log entry's attr",
        ),
        (LogDriver, "read_logs", [LogEntry("stdout", 1, b"x" * (16 << 20))], "a log frame of"),
    ],
)
def test_a_stream_whose_first_item_has_a_wrong_type_is_status_500(
    kind: type[Subsystem], method: str, items: Any, error: str
) -> None:
    """A result that is no stream at all gives the same status."""
    assert refusal(kind, method, items).startswith(error)


@pytest.mark.parametrize(
    ("good", "bad"), [(LogEntry("stdout", 1, b"a\n"), "b"), (LogEntry("stdout", 1, b"a\n"), None)]
)
def test_a_stream_that_goes_wrong_later_ends_after_a_whole_frame(
    good: Any, bad: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The entries before the wrong one arrive, then the stream is cut off and an error logged."""
    part, _ = part_of(LogDriver, {"read_logs": iter([good, bad])})
    client, _ = client_to(PluginApp(part))
    entries: list[LogEntry] = []

    with pytest.raises(WireError, match="cut off"):
        entries.extend(LogDriver(client).read_logs(None, None))

    assert entries == [good] or not entries
    assert "LogDriver.ReadLogs failed in the middle" in caplog.text


def test_a_file_opened_as_text_is_refused_as_an_archive(tmp_path: Any) -> None:
    """A file of bytes is needed, and the error comes before the first byte is sent."""
    path = tmp_path / "layer"
    path.write_text("text")

    with path.open() as file:
        assert refusal(GraphDriver, "diff", file) == (
            "GraphDriver.Diff: a file of bytes expected, not a string"
        )


@pytest.mark.parametrize("make", [lambda: b"tar", lambda: bytearray(b"tar"), lambda: [b"t", b"ar"]])
def test_a_stream_of_bytes_is_sent_as_it_is(make: Callable[[], Any]) -> None:
    """``bytes``, a ``bytearray`` and a list of chunks reach the host unchanged."""
    part, _ = part_of(GraphDriver, {"diff": make()})

    assert asked(PluginApp(part), "GraphDriver.Diff", '{"ID":"a"}') == (200, "tar")
