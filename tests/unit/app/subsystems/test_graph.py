"""GraphDriver: table B8 of protocol.md."""

from collections.abc import Iterator
from typing import Any

import pytest

from moby_plugins.domain.errors import DriverError, StatusError
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import (
    Change,
    GraphCapabilities,
    GraphDriver,
    IDMap,
    InitRequest,
    LayerRequest,
)
from moby_plugins.testing import Request, refused, status
from tests.unit.app.subsystems.exchanges import (
    Exchange,
    Table,
    asked,
    client_to,
    part_of,
    replying,
)

LAYER = LayerRequest("a", "b", "label", {"size": "1G"})
LAYER_JSON = '{"ID":"a","Parent":"b","MountLabel":"label","StorageOpt":{"size":"1G"}}'
PAIR_JSON = '{"ID":"a","Parent":"b"}'


class TestB8(Table):
    """Table B8: the calls of a GraphDriver."""

    kind = GraphDriver
    apart = frozenset({"GraphDriver.Diff", "GraphDriver.ApplyDiff"})
    exchanges = (
        Exchange(
            "init",
            (InitRequest("/var/x", ("o=1",), (IDMap(0, 100000, 65536),)),),
            "GraphDriver.Init",
            '{"Home":"/var/x","Opts":["o=1"],'
            '"UIDMaps":[{"container_id":0,"host_id":100000,"size":65536}],"GIDMaps":[]}',
            "{}",
        ),
        Exchange(
            "capabilities",
            (),
            "GraphDriver.Capabilities",
            "{}",
            '{"Capabilities":{"ReproducesExactDiffs":true}}',
            GraphCapabilities(reproduces_exact_diffs=True),
        ),
        Exchange("create", (LAYER,), "GraphDriver.Create", LAYER_JSON, "{}"),
        Exchange(
            "create_read_write",
            (LayerRequest("a"),),
            "GraphDriver.CreateReadWrite",
            '{"ID":"a"}',
            "{}",
        ),
        Exchange("remove", ("a",), "GraphDriver.Remove", '{"ID":"a"}', "{}"),
        Exchange("put", ("a",), "GraphDriver.Put", '{"ID":"a"}', "{}"),
        Exchange(
            "get",
            (LayerRequest("a", mount_label="l"),),
            "GraphDriver.Get",
            '{"ID":"a","MountLabel":"l"}',
            '{"Dir":"/mnt/a"}',
            "/mnt/a",
        ),
        Exchange("exists", ("a",), "GraphDriver.Exists", '{"ID":"a"}', '{"Exists":true}', True),
        Exchange(
            "status",
            (),
            "GraphDriver.Status",
            "{}",
            '{"Status":[["Backing","xfs"],["Free","1"]]}',
            (("Backing", "xfs"), ("Free", "1")),
        ),
        Exchange(
            "get_metadata",
            ("a",),
            "GraphDriver.GetMetadata",
            '{"ID":"a"}',
            '{"Metadata":{"k":"v"}}',
            {"k": "v"},
        ),
        Exchange("cleanup", (), "GraphDriver.Cleanup", "{}", "{}"),
        Exchange(
            "changes",
            ("a", "b"),
            "GraphDriver.Changes",
            PAIR_JSON,
            '{"Changes":[{"Path":"/x","Kind":2},{"Path":"/y","Kind":0}]}',
            (Change("/x", 2), Change("/y")),
        ),
        Exchange("diff_size", ("a", "b"), "GraphDriver.DiffSize", PAIR_JSON, '{"Size":42}', 42),
        Exchange("diff_size", ("a", ""), "GraphDriver.DiffSize", '{"ID":"a"}', '{"Size":0}', 0),
    )


@pytest.mark.parametrize(
    ("method", "arguments", "path", "result"),
    [("exists", ("a",), "Exists", False), ("status", (), "Status", ())],
)
@pytest.mark.parametrize("reply", [status(404), status(500), b"", [], refused()])
def test_a_failed_call_of_exists_or_status_gives_false_or_no_pairs(
    method: str, arguments: tuple[str, ...], path: str, result: Any, reply: Any
) -> None:
    """B8: any failure of these two calls counts as such a result, and raises nothing."""
    assert getattr(replying(GraphDriver, path, reply), method)(*arguments) == result


def test_err_in_the_response_to_exists_means_false() -> None:
    """B8: Err is a failure too, even beside a true Exists."""
    reply = {"Exists": True, "Err": "no idea"}

    assert replying(GraphDriver, "Exists", reply).exists("a") is False


def test_err_in_the_responses_to_capabilities_and_status_is_ignored() -> None:
    """B8: Err beside the other keys of these two responses raises nothing."""
    capabilities = {"Capabilities": {"ReproducesExactDiffs": True}, "Err": "x"}
    state = {"Status": [["a", "b"]], "Err": "x"}

    assert replying(GraphDriver, "Capabilities", capabilities).capabilities() == (
        GraphCapabilities(reproduces_exact_diffs=True)
    )
    assert replying(GraphDriver, "Status", state).status() == (("a", "b"),)


def test_a_graph_driver_may_lack_the_method_capabilities() -> None:
    """B8: status 404 gives the defaults, another error status is raised."""
    assert replying(GraphDriver, "Capabilities", status(404)).capabilities() == GraphCapabilities()
    with pytest.raises(StatusError):
        replying(GraphDriver, "Capabilities", status(500)).capabilities()


@pytest.mark.parametrize("reply", [status(500, "x"), b"", refused()])
def test_a_failed_call_of_cleanup_is_ignored(reply: Any, caplog: pytest.LogCaptureFixture) -> None:
    """B8: a cleanup that fails is logged, but raises nothing."""
    assert replying(GraphDriver, "Cleanup", reply).cleanup() is None
    assert ["cleaning up failed" in record.getMessage() for record in caplog.records] == [True]


def test_err_in_the_response_to_cleanup_is_raised() -> None:
    """B8: an error that the driver reports with status 200 is not ignored."""
    with pytest.raises(DriverError, match="busy"):
        replying(GraphDriver, "Cleanup", {"Err": "busy"}).cleanup()


def test_diff_streams_an_archive() -> None:
    """B8: the response's body is the archive; the request leaves an empty parent out."""
    client, line = client_to({"GraphDriver.Diff": iter([b"ta", b"r"])})

    assert list(GraphDriver(client).diff("a", "")) == [b"ta", b"r"]
    assert line.requests[0].read() == b'{"ID":"a"}\n'


@pytest.mark.parametrize("archive", [b"tar", [b"t", b"", b"ar"]])
def test_an_archive_that_the_plugin_returns_from_diff_arrives_at_the_host(archive: Any) -> None:
    """B8: the plugin returns bytes, or an iterable of chunks."""
    part, received = part_of(GraphDriver, {"diff": archive})
    client, _ = client_to(PluginApp(part))

    assert b"".join(GraphDriver(client).diff("a", "b")) == b"tar"
    assert received == [("diff", "a", "b")]


def test_an_exception_of_diff_is_a_status_error_for_the_host() -> None:
    """B8: as the body with status 200 is the archive, an error needs another status."""
    part, _ = part_of(GraphDriver, {"diff": OSError("no layer")})
    client, _ = client_to(PluginApp(part))

    with pytest.raises(StatusError, match=r"(?m)^GraphDriver.Diff: no layer$"):
        list(GraphDriver(client).diff("a", ""))


class Unpacking(GraphDriver):
    """A graph driver that returns an archive's size, and records the archive's type."""

    def __init__(self) -> None:
        self.received: list[Any] = []

    def apply_diff(self, id: str, parent: str, archive: Any) -> int:
        self.received.append((id, parent, type(archive)))
        return len(archive) if isinstance(archive, bytes) else sum(map(len, archive))


def test_apply_diff_has_its_arguments_in_the_query() -> None:
    """B8: the body is the archive alone, and the response is its size."""
    client, line = client_to({"GraphDriver.ApplyDiff": {"Size": 3}})

    assert GraphDriver(client).apply_diff("a", "b", iter([b"t", b"ar"])) == 3
    [request] = line.requests
    assert (request.method, request.length) == ("GraphDriver.ApplyDiff?id=a&parent=b", None)


@pytest.mark.parametrize(
    ("query", "layers"),
    [("id=a&parent=b", ("a", "b")), ("parent=b&id=a", ("a", "b")), ("id=a&parent=", ("a", ""))],
)
def test_the_implementation_of_apply_diff_gets_the_archive_unread(query: str, layers: Any) -> None:
    """B8: the archive may be larger than ``max_request_bytes``."""
    part = Unpacking()

    def chunks() -> Iterator[bytes]:
        yield from [bytes(8)] * 3

    request = Request(f"GraphDriver.ApplyDiff?{query}", chunks())
    response = PluginApp(part, max_request_bytes=10)(request)

    assert (response.status, response.body.read(99)) == (200, b'{"Size":24}\n')
    assert part.received == [(*layers, type(chunks()))]


def test_an_archive_that_the_host_sends_by_apply_diff_arrives_at_the_plugin() -> None:
    """B8: the size that the plugin returns arrives at the host."""
    part = Unpacking()
    client, _ = client_to(PluginApp(part))

    assert GraphDriver(client).apply_diff("a", "", b"tar") == 3
    assert part.received == [("a", "", bytes)]


@pytest.mark.parametrize("path", ["GraphDriver.ApplyDiff", "GraphDriver.ApplyDiff?id=&parent=b"])
def test_apply_diff_without_the_id_of_a_layer_is_refused_with_status_400(path: str) -> None:
    """B8: without an id in the query there is nothing to apply to."""
    part = Unpacking()

    assert asked(PluginApp(part), path, b"tar") == (400, '{"Err":"the query has no id"}')
    assert part.received == []


def test_err_in_the_response_to_apply_diff_is_raised() -> None:
    """B8: Err in a response with status 200 is a DriverError."""
    with pytest.raises(DriverError, match="full"):
        replying(GraphDriver, "ApplyDiff", {"Err": "full"}).apply_diff("a", "b", b"tar")
