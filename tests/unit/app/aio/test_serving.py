"""``AsyncPluginApp`` serves calls by coroutines, as ``PluginApp`` serves them by methods."""

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeVar, cast

import pytest

from moby_plugins import StatusError, WireError
from moby_plugins.aio import (
    AsyncAuthZPlugin,
    AsyncGraphDriver,
    AsyncLogDriver,
    AsyncNetworkDriver,
    AsyncPluginApp,
    AsyncRequest,
    AsyncResponse,
    AsyncSubsystem,
    AsyncVolumeDriver,
)
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import (
    AuthZRequest,
    LogEntry,
    LogInfo,
    ReadConfig,
    Streamed,
    Verdict,
    Volume,
    VolumeDriver,
    encode_frame,
    remote,
)
from tests.cases import every

INFO = b'{"Info":{"ContainerID":"c"},"Config":{}}'


async def whole(response: AsyncResponse) -> bytes:
    """All of a response's body, which is then closed."""
    body = b""
    try:
        while data := await response.body.read(1 << 16):
            body += data
    finally:
        await response.aclose()
    return body


def answered(app: AsyncPluginApp, method: str, body: Any = b"") -> tuple[int, Any]:
    """Status and JSON of one call."""

    async def ask() -> tuple[int, Any]:
        response = await app(AsyncRequest(method, body))
        return response.status, json.loads(await whole(response))

    return asyncio.run(ask())


class Shelves(AsyncVolumeDriver):
    """Volumes in memory."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.raises: BaseException = ValueError("no such volume")

    async def create(self, name: str, opts: Mapping[str, str] | None = None) -> None:
        await asyncio.sleep(0)
        self.names.append(name)

    async def list(self) -> tuple[Volume, ...]:
        return tuple(map(Volume, self.names))

    async def path(self, name: str) -> str:
        raise self.raises

    async def mount(self, name: str, id: str) -> str:
        return 5  # type: ignore[return-value]  # what an author got wrong


def test_calls_are_served_by_coroutines() -> None:
    """Arguments, results and the handshake are those of a ``PluginApp``."""
    app = AsyncPluginApp(Shelves())

    assert answered(app, "Plugin.Activate") == (200, {"Implements": ["VolumeDriver"]})
    assert answered(app, "VolumeDriver.Create", b'{"Name":"books"}') == (200, {})
    assert answered(app, "VolumeDriver.List") == (
        200,
        {"Volumes": [{"Name": "books", "Mountpoint": ""}]},
    )
    assert repr(app) == "<AsyncPluginApp of VolumeDriver>"
    assert app.manifest.implements == ("VolumeDriver",)


def test_failures_have_the_same_status_as_in_a_plugin_app() -> None:
    """An unknown method is 404, bad arguments 400, a large body 413, and a wrong result 500."""
    app = AsyncPluginApp(Shelves(), max_request_bytes=100)

    assert answered(app, "VolumeDriver.Remove") == (
        404,
        {"Err": "this plugin has no method VolumeDriver.Remove"},
    )
    assert answered(app, "VolumeDriver.Create", b'{"Name":')[0] == 400
    assert answered(app, "VolumeDriver.Create", bytes(101))[0] == 413
    assert answered(app, "VolumeDriver.Mount", b'{"Name":"a","ID":"b"}') == (
        500,
        {"Err": "VolumeDriver.Mount: Mountpoint: a string expected, not a number"},
    )


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    """A body that comes in parts."""
    for part in parts:
        yield part


def test_a_body_that_comes_in_parts_is_read_within_the_bound() -> None:
    """More is refused with status 413; the length need not be known."""
    app = AsyncPluginApp(Shelves(), max_request_bytes=100)

    assert answered(app, "VolumeDriver.Create", chunks(b'{"Name":', b'"a"}')) == (200, {})
    assert answered(app, "VolumeDriver.Create", chunks(bytes(60), bytes(60)))[0] == 413
    assert answered(app, "VolumeDriver.List", chunks(bytes(60), bytes(60)))[0] == 200


def test_a_body_that_is_badly_chunked_is_400() -> None:
    """The mistake is in the request, not in the plugin."""

    async def bad() -> AsyncIterator[bytes]:
        yield b"{"
        raise WireError("badly chunked")

    assert answered(AsyncPluginApp(Shelves()), "VolumeDriver.Create", bad()) == (
        400,
        {"Err": "badly chunked"},
    )


RAISED: dict[str, tuple[BaseException, int, str]] = {
    "a refusal": (ValueError("no such volume"), 500, "no such volume"),
    "a status": (StatusError(409, "", "in use"), 409, "in use"),
    "an exit": (SystemExit(3), 500, "3"),
    "an interrupt": (KeyboardInterrupt(), 500, "KeyboardInterrupt"),
    "a cancellation that is not the server's": (
        asyncio.CancelledError(),
        500,
        "CancelledError",
    ),
    "a time-out": (TimeoutError(), 500, "TimeoutError"),
}


@every("case", RAISED)
def test_an_exception_of_a_coroutine_becomes_a_response(case: str) -> None:
    """A ``SystemExit``, an interrupt or a cancellation does, too, and the event loop goes on."""
    raised, status, text = RAISED[case]
    shelves = Shelves()
    shelves.raises = raised

    assert answered(AsyncPluginApp(shelves), "VolumeDriver.Path", b'{"Name":"a"}') == (
        status,
        {"Err": text},
    )


def test_a_call_that_the_server_cancels_has_no_response() -> None:
    """The method sees the ``CancelledError`` where it waits, and the error is raised on."""
    seen: list[str] = []

    class Waiting(AsyncVolumeDriver):
        async def create(self, name: str, opts: Mapping[str, str] | None = None) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                seen.append(name)

    async def cancel() -> None:
        app = AsyncPluginApp(Waiting())
        task = asyncio.ensure_future(app(AsyncRequest("VolumeDriver.Create", b'{"Name":"a"}')))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert seen == ["a"]


class Lines(AsyncLogDriver):
    """Logs that are made as they are read."""

    def __init__(self, *entries: object) -> None:
        self.entries = entries
        self.closed = 0

    async def read_logs(self, info: LogInfo, config: ReadConfig) -> AsyncIterator[LogEntry]:
        try:
            for entry in self.entries:
                if isinstance(entry, BaseException):
                    raise entry
                await asyncio.sleep(0)
                yield entry  # type: ignore[misc]  # whatever an author gives
        finally:
            self.closed += 1


def test_the_items_of_an_asynchronous_generator_are_sent_as_a_stream() -> None:
    """Items are encoded as those of a plain generator, and the generator is then closed."""
    lines = Lines(LogEntry("stdout", 1, b"one"), LogEntry("stderr", 2, b"two\n"))

    async def ask() -> bytes:
        response = await AsyncPluginApp(lines)(AsyncRequest("LogDriver.ReadLogs", INFO))
        assert response.status == 200
        return await whole(response)

    assert asyncio.run(ask()) == encode_frame(LogEntry("stdout", 1, b"one\n")) + encode_frame(
        LogEntry("stderr", 2, b"two\n")
    )
    assert lines.closed == 1


@pytest.mark.parametrize(
    ("first", "text"),
    [
        (OSError("no such container"), "no such container"),
        (b"a line", "LogDriver.ReadLogs: [0]: a LogEntry expected, not a value of type bytes"),
        (LogEntry("stdin"), "a log entry's source is not stdout or stderr: 'stdin'"),
    ],
)
def test_a_stream_that_fails_before_its_first_item_is_status_500(first: object, text: str) -> None:
    """The first item is made before the status is sent, and the generator is closed."""
    lines = Lines(first)

    assert answered(AsyncPluginApp(lines), "LogDriver.ReadLogs", INFO) == (500, {"Err": text})
    assert lines.closed == 1


def test_a_stream_that_fails_later_is_cut_off() -> None:
    """The status was sent already, so reading the rest raises a ``WireError``."""
    lines = Lines(LogEntry("stdout", 1, b"one"), OSError("the disk is gone"))

    async def ask() -> None:
        response = await AsyncPluginApp(lines)(AsyncRequest("LogDriver.ReadLogs", INFO))
        assert await response.body.read(1 << 16)
        with pytest.raises(WireError, match="cut off"):
            await response.body.read(1 << 16)
        await response.aclose()

    asyncio.run(ask())


def test_closing_a_streamed_response_early_closes_its_generator() -> None:
    """``aclose`` waits until the generator's ``finally`` has run."""
    lines = Lines(*[LogEntry("stdout", 1, b"one")] * 3)

    async def ask() -> None:
        response = await AsyncPluginApp(lines)(AsyncRequest("LogDriver.ReadLogs", INFO))
        await response.aclose()
        assert lines.closed == 1

    asyncio.run(ask())


class Own(AsyncSubsystem):
    """A subsystem of one's own, that nothing synchronous defines."""

    @remote(result="Said")
    async def say(self, text: str) -> str:
        """The same again."""
        raise NotImplementedError

    @Streamed()
    def tail(self, lines: int) -> AsyncIterator[bytes]:
        """So many lines."""
        raise NotImplementedError


class Says(Own):
    """Both methods."""

    async def say(self, text: str) -> str:
        return text

    async def tail(self, lines: int) -> AsyncIterator[bytes]:
        for line in range(lines):
            yield b"%d\n" % line


def test_a_custom_asynchronous_subsystem_can_be_served() -> None:
    """One class defines both its calls and its streams."""
    app = AsyncPluginApp(Says())

    async def ask() -> bytes:
        return await whole(await app(AsyncRequest("Own.Tail", b'{"Lines":2}')))

    assert answered(app, "Own.Say", b'{"Text":"a"}') == (200, {"Said": "a"})
    assert asyncio.run(ask()) == b"0\n1\n"


class Doorman(AsyncAuthZPlugin):
    """Allows what it sees."""

    async def authorize_request(self, request: AuthZRequest) -> Verdict:
        return Verdict(True)


def test_authorization_of_a_request_whose_body_was_not_sent_is_denied_by_default() -> None:
    """``authorize_unseen`` decides on such requests, as in the synchronous subsystem."""
    app = AsyncPluginApp(Doorman())

    assert answered(app, "AuthZPlugin.AuthZReq", b'{"RequestMethod":"GET"}')[1]["Allow"] is True
    assert answered(app, "AuthZPlugin.AuthZReq", b'{"RequestMethod":"POST"}')[1]["Allow"] is False


def test_a_method_with_a_default_need_not_be_there() -> None:
    """``DiscoverNew`` of a network driver succeeds without an implementation."""

    class Networks(AsyncNetworkDriver):
        async def delete_network(self, network_id: str) -> None:
            """Nothing to do."""

    body = b'{"DiscoveryType":1,"DiscoveryData":{}}'
    assert answered(AsyncPluginApp(Networks()), "NetworkDriver.DiscoverNew", body) == (200, {})


def test_an_archive_is_handed_on_as_it_comes() -> None:
    """The method gets bytes, or an asynchronous iterable of them, of any size."""

    class Layers(AsyncGraphDriver):
        async def apply_diff(self, id: str, parent: str, archive: Any) -> int:
            if isinstance(archive, bytes):
                return len(archive)
            return sum([len(part) async for part in archive])

    app = AsyncPluginApp(Layers(), max_request_bytes=10)
    for body in (bytes(20), chunks(bytes(15), bytes(5))):
        assert answered(app, "GraphDriver.ApplyDiff?id=a", body) == (200, {"Size": 20})


class Misspelt(AsyncVolumeDriver):
    """A part with a method whose name is misspelt."""

    async def unmont(self, name: str, id: str) -> None:
        """Nothing that is known."""


class OtherArguments(AsyncVolumeDriver):
    """A part whose method does not take the arguments of the protocol."""

    async def create(self, name: str) -> None:  # type: ignore[override]
        """Takes no options."""


class Nothing(AsyncVolumeDriver):
    """A part without a method."""


class Plain(VolumeDriver):
    """A synchronous part."""

    def create(self, name: str, opts: Mapping[str, str] | None = None) -> None:
        """In a thread."""


def in_place() -> AsyncVolumeDriver:
    """A part whose method was put in place afterwards."""
    part = Shelves()
    part.create = lambda name, opts=None: None  # type: ignore[return-value,assignment]
    return part


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "a misspelt name": (Misspelt, r"Misspelt\.unmont is not a method of VolumeDriver: is unmount"),
    "other arguments": (OtherArguments, r"OtherArguments\.create.* cannot be called as \(self, n"),
    "nothing": (Nothing, "Nothing does not implement any method"),
    "a class": (lambda: Shelves, r"Shelves is a class, not an instance: pass Shelves\(\)"),
    "a synchronous part": (Plain, "^Plain is synchronous: use PluginApp$"),
    "no part": (object, "is not an implementation of a subsystem"),
    "a plain method of an instance": (in_place, "create is a plain method, not a coroutine"),
}


@every("case", REFUSED)
def test_a_part_that_cannot_be_served_is_refused_when_the_app_is_made(case: str) -> None:
    """The ``TypeError`` says what is wrong with the part."""
    make, message = REFUSED[case]
    with pytest.raises(TypeError, match=message):
        AsyncPluginApp(make())  # type: ignore[arg-type]


def test_an_asynchronous_part_is_refused_by_a_plugin_app() -> None:
    """The ``TypeError`` says to use ``AsyncPluginApp``."""
    with pytest.raises(TypeError, match=r"^Shelves is asynchronous: use AsyncPluginApp$"):
        PluginApp(Shelves())  # type: ignore[arg-type]


def test_two_parts_that_implement_the_same_method_are_refused() -> None:
    """The ``ValueError`` names the method, as that of a ``PluginApp`` does."""
    with pytest.raises(ValueError, match="two parts implement the method VolumeDriver"):
        AsyncPluginApp(Shelves(), Shelves())


F = TypeVar("F", bound=Callable[..., Any])


def traced(method: F) -> F:
    """A decorator that makes a plain function of a coroutine."""

    @functools.wraps(method)
    def call(*args: Any, **named: Any) -> Any:
        return method(*args, **named)

    return cast("F", call)


def test_a_decorated_coroutine_function_is_accepted_as_a_method() -> None:
    """``functools.wraps`` shows what the decorator has wrapped."""

    class Traced(AsyncVolumeDriver):
        @traced
        async def path(self, name: str) -> str:
            return f"/{name}"

    app = AsyncPluginApp(Traced())
    assert answered(app, "VolumeDriver.Path", b'{"Name":"a"}') == (200, {"Mountpoint": "/a"})
