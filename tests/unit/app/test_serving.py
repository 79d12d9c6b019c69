"""The plugin's end: the handshake, good calls and bad ones; none of them stops the next."""

import logging
from typing import Any

import pytest

from moby_plugins.app.serving import is_async_app
from moby_plugins.domain.errors import StatusError, WireError
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import (
    AuthZPlugin,
    GraphDriver,
    IpamDriver,
    NetworkDriver,
    Subsystem,
    Verdict,
    VolumeDriver,
)
from moby_plugins.testing import Request
from tests.cases import every
from tests.unit.app.subsystems.exchanges import asked, part_of

CREATE = "VolumeDriver.Create"


class Volumes(VolumeDriver):
    """Remembers names; ``raises`` is what ``remove`` raises."""

    def __init__(self, raises: Exception | None = None) -> None:
        self.names: list[str] = []
        self.raises = raises

    def create(self, name: str, opts: Any = None) -> None:
        self.names.append(name)

    def remove(self, name: str) -> None:
        if self.raises is not None:
            raise self.raises

    def path(self, name: str) -> Any:
        return object()


class Authorizer(AuthZPlugin):
    """Allows all."""

    def authorize_request(self, request: Any) -> Verdict:
        return Verdict(True)


@pytest.fixture
def part() -> Volumes:
    """The part of an app."""
    return Volumes()


@pytest.fixture
def app(part: Volumes) -> PluginApp:
    """An app of one part, which takes bodies up to 100 bytes."""
    return PluginApp(part, max_request_bytes=100)


@pytest.mark.parametrize(
    ("kinds", "names"),
    [
        ([Volumes], '["VolumeDriver"]'),
        ([Volumes, Authorizer], '["VolumeDriver","authz"]'),
        ([Authorizer, Volumes], '["authz","VolumeDriver"]'),
        ([], "[]"),
    ],
)
@pytest.mark.parametrize("body", [b"", b"{}", b"no JSON"])
def test_the_handshake_names_what_the_parts_implement(
    kinds: list[type[Subsystem]], names: str, body: bytes
) -> None:
    """The list has the order of the parts given to ``PluginApp``; the request body is ignored."""
    app = PluginApp(*[kind() for kind in kinds])

    assert asked(app, "Plugin.Activate", body) == (200, f'{{"Implements":{names}}}')


def test_a_subsystem_that_two_parts_share_is_listed_once() -> None:
    """Two parts may implement different methods of the same subsystem."""
    removing, received = part_of(VolumeDriver, {"mount": "/v"})
    app = PluginApp(Volumes(), removing)

    assert asked(app, "Plugin.Activate") == (200, '{"Implements":["VolumeDriver"]}')
    assert asked(app, CREATE, '{"Name":"db"}') == (200, "{}")
    assert asked(app, "VolumeDriver.Mount", "{}")[0] == 200
    assert received == [("mount", "", "")]


def test_two_parts_cannot_implement_the_same_method() -> None:
    """``PluginApp`` raises a ``ValueError`` that names the method."""
    with pytest.raises(ValueError, match=r"^two parts implement the method VolumeDriver\.Create$"):
        PluginApp(Volumes(), Volumes())


@pytest.mark.parametrize("kind", [VolumeDriver, Subsystem])
def test_a_part_must_implement_a_method(kind: type[Subsystem]) -> None:
    """An interface alone, such as ``VolumeDriver()``, is refused with a ``TypeError``."""
    with pytest.raises(
        TypeError, match=f"^{kind.__name__} does not implement any method of a subsystem$"
    ):
        PluginApp(kind())


@pytest.mark.parametrize(
    "path", ["VolumeDriver.Mount", "VolumeDriver.create", "NetworkDriver.Join", "Plugin.Stop", "x"]
)
def test_a_method_that_no_part_implements_is_status_404(path: str, app: PluginApp) -> None:
    """Methods of other subsystems, inherited ones and names in another case are not found."""
    assert asked(app, path, "{}") == (404, f'{{"Err":"this plugin has no method {path}"}}')


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "empty where JSON was expected"),
        (b" \n", "empty where JSON was expected"),
        (b"{", "not JSON: Expecting property name enclosed in double quotes"),
        (b"\xff\xfe", "not UTF-8: invalid start byte at byte 0"),
        (b'{"Name":"\xe9"}', "not UTF-8: invalid continuation byte at byte 9"),
        (b"[]", "an object expected, not an array"),
        (b'"x"', "an object expected, not a string"),
        (b'{"Name":1}', "Name: a string expected, not a number"),
        (b'{"Name":["x"]}', "Name: a string expected, not an array"),
        (b'{"Name":"x","Opts":[]}', "Opts: an object expected, not an array"),
        (b'{"Name":"x","Opts":{"a":true}}', "Opts.a: a string expected, not a boolean"),
        (b'{"Name":NaN}', "a number in JSON must be finite, not NaN"),
    ],
)
def test_arguments_that_cannot_be_read_are_a_bad_request(
    body: bytes, message: str, app: PluginApp, part: Volumes
) -> None:
    """The status is 400; the message says what is wrong and where, and the part is not called."""
    status, text = asked(app, CREATE, body)

    assert status == 400
    assert text.startswith(f'{{"Err":"{message}')
    assert part.names == []


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("key", ["Name", "Opts", "More"])
def test_json_nested_10_000_levels_deep_is_refused_with_status_400(
    opening: str, closing: str, key: str, part: Volumes
) -> None:
    """The nesting may be in a field that is read or in one that is ignored."""
    value = opening * 10_000 + "1" + closing * 10_000
    app = PluginApp(part)

    answer = asked(app, CREATE, f'{{"{key}":{value}}}')

    assert answer == (400, '{"Err":"nested deeper than 200"}')
    assert part.names == []


@pytest.mark.parametrize(
    "body",
    ['{"Name":"db"}', '{"NAME":"db"}', '{"Name":"db","Opts":null,"New":{"a":[1]}} more'],
)
def test_absent_null_and_unknown_fields_are_accepted(
    body: str, app: PluginApp, part: Volumes
) -> None:
    """Calls of newer engines are served, and those of older ones."""
    assert asked(app, CREATE, body) == (200, "{}")
    assert part.names == ["db"]


@every(
    ("raised", "answer"),
    [
        (OSError("disk full"), (500, '{"Err":"disk full"}')),
        (KeyError(), (500, '{"Err":"KeyError"}')),
        (RecursionError("too deep"), (500, '{"Err":"too deep"}')),
        (StatusError(404, "x", "no such volume"), (404, '{"Err":"no such volume"}')),
        (StatusError(409, "M.x", ""), (409, '{"Err":"M.x: "}')),
        (StatusError(200, "x", "odd"), (500, '{"Err":"odd"}')),
        (WireError("another plugin's answer"), (500, '{"Err":"another plugin\'s answer"}')),
    ],
)
def test_an_exception_of_a_method_becomes_a_response_with_its_message(
    raised: Exception, answer: tuple[int, str]
) -> None:
    """The status is 500, or that of a ``StatusError``, and the next call is served."""
    app = PluginApp(Volumes(raised))

    assert asked(app, "VolumeDriver.Remove", '{"Name":"db"}') == answer
    assert asked(app, CREATE, '{"Name":"db"}') == (200, "{}")


def test_an_exception_of_a_method_is_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log shows the plugin's author where the exception came from."""
    app = PluginApp(Volumes(RuntimeError("a mistake")))

    with caplog.at_level(logging.ERROR, logger="moby_plugins"):
        asked(app, "VolumeDriver.Remove", "{}")

    [record] = caplog.records
    assert record.getMessage() == "VolumeDriver.Remove failed"
    assert record.exc_info is not None


def test_a_result_that_has_no_json_form_is_an_error(app: PluginApp) -> None:
    """The status is 500; the message names the method, the field and the type of the value."""
    assert asked(app, "VolumeDriver.Path", "{}") == (
        500,
        '{"Err":"VolumeDriver.Path: Mountpoint: a string expected, not a value of type object"}',
    )


def test_every_response_has_the_content_type_of_the_protocol(app: PluginApp) -> None:
    """The handshake, a call and a refusal all have the same ``Content-Type``."""
    for path in ("Plugin.Activate", CREATE, "No.Such"):
        assert app(Request(path, b"{}")).headers == {
            "Content-Type": "application/vnd.docker.plugins.v1.2+json"
        }


def test_parts_of_all_kinds_share_an_app() -> None:
    """A method belongs to its subsystem, though others have one by the same name."""
    networks, joined = part_of(NetworkDriver, {"leave": None})
    pools, released = part_of(IpamDriver, {"release_pool": None})
    layers, removed = part_of(GraphDriver, {"remove": None})
    app = PluginApp(networks, pools, layers, Volumes(OSError("other")))

    assert repr(app) == "<PluginApp of NetworkDriver, IpamDriver, GraphDriver, VolumeDriver>"
    paths = ["NetworkDriver.Leave", "IpamDriver.ReleasePool", "GraphDriver.Remove"]

    assert [asked(app, path, "{}") for path in paths] == [(200, "{}")] * 3
    assert [len(calls) for calls in (joined, released, removed)] == [1, 1, 1]


def test_is_async_app_recognizes_coroutine_functions() -> None:
    """An object is asynchronous if its ``__call__`` is a coroutine function."""

    async def function(_: Any) -> None: ...

    class Called:
        async def __call__(self, _: Any) -> None: ...

    class Plain:
        def __call__(self, _: Any) -> None: ...

    assert is_async_app(function)
    assert is_async_app(Called())
    for app in (Plain(), print, PluginApp(), None):
        assert not is_async_app(app)
