"""Observers of asynchronous clients, registries and apps get the events of synchronous ones."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import pytest

from moby_plugins import (
    Observer,
    PluginNotFoundError,
    StatusError,
    TransportError,
    TransportTimeoutError,
    WireError,
)
from moby_plugins.aio import (
    AsyncClient,
    AsyncLogDriver,
    AsyncPluginApp,
    AsyncRegistry,
    AsyncRequest,
    AsyncResponse,
    AsyncVolumeDriver,
    new_client,
    new_local_registry,
    observed,
)
from moby_plugins.ports import (
    ActivationFailed,
    CallEnded,
    CallStarted,
    HandlerFailed,
    PluginActivated,
    PluginDropped,
    RequestEnded,
    RequestStarted,
    RetryScheduled,
    RunningCall,
)
from moby_plugins.subsystems import LogEntry, Volume
from moby_plugins.testing import (
    AsyncMemoryRegistry,
    AsyncMemoryTransport,
    FakeTimeLoop,
    MemoryDiscovery,
    drips,
    drops_mid_body,
    hangs,
    not_json,
    refused,
    script,
    status,
)
from tests.observers import Failing, Notes

SPAN: ContextVar[str] = ContextVar("span", default="none")
MANIFEST = {"Implements": ["VolumeDriver"]}


@pytest.fixture
def notes() -> Notes:
    """What was told."""
    return Notes()


def calling(
    replies: Any, work: Callable[[AsyncClient], Awaitable[object]], *observers: Observer
) -> None:
    """Run ``work`` with a client of a plugin in memory, in fake time."""

    async def main() -> None:
        connect = AsyncMemoryTransport(replies).connect
        async with new_client("unix:///s.sock", connect=connect, observers=observers) as client:
            await work(client)

    loop = FakeTimeLoop()
    try:
        loop.run(main())
    finally:
        loop.close()


class Body:
    """A response body with only the methods that the port requires."""

    def __init__(self) -> None:
        self.left = [b"{}"]
        self.closed = False

    async def read(self, size: int, /) -> bytes:
        """All of it, and then nothing."""
        return self.left.pop() if self.left else b""

    def close(self) -> None:
        """Close."""
        self.closed = True


class Minimal:
    """A third-party transport, whose responses have only a status, a body and headers."""

    def __init__(self, make: Callable[[], Body] = Body) -> None:
        self.bodies: list[Body] = []
        self._make = make

    async def send(self, request: AsyncRequest, timeout: float | None) -> Any:
        """An empty answer."""
        self.bodies.append(self._make())
        return SimpleNamespace(status=200, body=self.bodies[-1], headers={})

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("observers", [0, 1])
def test_a_response_need_not_be_of_our_class(
    observers: int, notes: Notes, loop: FakeTimeLoop
) -> None:
    """The response is closed, and observers get its status and its bytes."""
    transport = Minimal()

    async def main() -> None:
        client = new_client(
            "unix:///s.sock",
            connect=lambda _, __: transport,
            observers=[notes] * observers,
        )
        assert await client.call("M.x") == {}
        async with client.stream("M.x") as stream:
            assert [chunk async for chunk in stream] == [b"{}"]

    loop.run(main())
    assert [body.closed for body in transport.bodies] == [True, True]
    told = [(each.status, each.received_bytes, each.new_connection) for each in notes.of(CallEnded)]
    assert told == ([(200, 2, None)] * 2 * observers)


def test_observers_get_an_event_when_a_call_starts_and_one_when_it_ends(notes: Notes) -> None:
    """The seconds are those of the event loop's time."""
    reply = hangs(2, then={"a": 1})
    calling({"M.x": reply}, lambda client: client.call("M.x", {"b": 22}), notes)

    started, ended = notes.events
    assert (started.method, started.attempt, started.sent_bytes) == ("M.x", 1, 9)
    assert ended.started is started
    assert (ended.seconds, ended.status, ended.error, ended.received_bytes) == (2, 200, None, 9)


@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [(status(500, "no"), StatusError, 500), (not_json(), WireError, 200)],
    ids=str,
)
def test_a_call_that_fails_is_reported_as_ended_with_its_error(
    notes: Notes, reply: Any, kind: type[Exception], code: int
) -> None:
    """The event has the same error that the caller gets."""
    with pytest.raises(kind) as caught:
        calling({"M.x": reply}, lambda client: client.call("M.x"), notes)

    [ended] = notes.of(CallEnded)
    assert (ended.error, ended.status) == (caught.value, code)


def test_a_call_that_is_cancelled_is_reported_as_ended(notes: Notes) -> None:
    """The event has the ``CancelledError``, and the seconds until the cancellation."""

    async def leave(client: AsyncClient) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await client.call("M.x")

    calling({"M.x": hangs()}, leave, notes)

    [ended] = notes.of(CallEnded)
    assert isinstance(ended.error, asyncio.CancelledError)
    assert (ended.seconds, ended.status) == (3, None)


def test_the_status_is_reported_although_the_body_was_not_received(
    notes: Notes, loop: FakeTimeLoop
) -> None:
    """The call was cancelled, or its time-out expired, while the body was read."""

    class Stalls(Body):
        async def read(self, size: int, /) -> bytes:
            await asyncio.sleep(9)
            error = TransportTimeoutError("timed out")
            error.answered = True
            raise error

    transport = Minimal(Stalls)

    async def main() -> None:
        connect = lambda _, __: transport  # noqa: E731
        client = new_client("unix:///s.sock", connect=connect, observers=[notes])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await client.call("M.x")
        with pytest.raises(TransportTimeoutError):
            await client.call("M.x")
        with pytest.raises(TransportTimeoutError):
            async with client.stream("M.x") as stream:
                await stream.read()

    loop.run(main())
    assert [ended.status for ended in notes.of(CallEnded)] == [200] * 3


def test_retries_are_reported_to_observers_and_to_on_retry(notes: Notes) -> None:
    """Observers get the attempt and the delay, and ``on_retry`` gets the delay."""
    told: list[float] = []
    calling(
        {"M.x": script(refused(), refused(), {})},
        lambda client: client.call("M.x", on_retry=lambda _, delay: told.append(delay)),
        notes,
    )

    assert [(r.method, r.attempt, r.delay) for r in notes.of(RetryScheduled)] == [
        ("M.x", 1, 1.0),
        ("M.x", 2, 2.0),
    ]
    assert [event.attempt for event in notes.of(CallStarted)] == [1, 2, 3]
    assert told == [1.0, 2.0]


def test_a_stream_is_reported_as_ended_when_it_was_read_or_left_or_broke_off(notes: Notes) -> None:
    """Each stream has one event, with its bytes and its error."""

    async def stream(client: AsyncClient) -> None:
        async with client.stream("M.x") as whole:
            assert [chunk async for chunk in whole] == [b"a", b"b", b"c"]
        async with client.stream("M.x") as left:
            await left.read(1)
        async with client.stream("M.y") as broken:
            with pytest.raises(WireError):
                [chunk async for chunk in broken]

    calling({"M.x": drips(b"abc"), "M.y": drops_mid_body(b"half")}, stream, notes)

    whole, left, broken = notes.of(CallEnded)
    assert (whole.received_bytes, whole.seconds, whole.error) == (3, 3, None)
    assert (left.received_bytes, left.error) == (1, None)
    assert isinstance(broken.error, WireError)


def test_a_stream_that_was_read_to_its_end_has_ended_before_it_is_closed(
    notes: Notes, loop: FakeTimeLoop
) -> None:
    """The end is reported once, also for a stream whose body fails to close."""

    class Sticks(Body):
        def close(self) -> None:
            raise OSError("close fails")

    async def main() -> None:
        transport = Minimal(Sticks)
        connect = lambda _, __: transport  # noqa: E731
        client = new_client("unix:///s.sock", connect=connect, observers=[notes])
        with suppress(OSError):
            async with client.stream("M.x") as stream:
                assert [chunk async for chunk in stream] == [b"{}"]
                assert len(notes.of(CallEnded)) == 1
        with suppress(OSError):
            async with client.stream("M.x"):
                pass

    loop.run(main())
    assert [type(ended.error) for ended in notes.of(CallEnded)] == [type(None), OSError]


def test_an_observer_that_fails_changes_nothing(notes: Notes) -> None:
    """Other observers get all events; a client without observers is a plain ``AsyncClient``."""
    replies = {"M.x": script(refused(), {})}
    calling(replies, lambda client: client.call("M.x"), Failing(SystemExit(3)), notes)

    assert len(notes.events) == 5
    calling({}, lambda client: asyncio.sleep(0, type(client) is AsyncClient))


def registered(notes: Notes, work: Callable[[AsyncRegistry], Awaitable[object]]) -> None:
    """Run ``work`` with a registry of ``shelf`` and ``dead``, in fake time."""
    discovery = MemoryDiscovery(["shelf", "dead"])
    shelf = AsyncMemoryTransport({"Plugin.Activate": script(refused(), MANIFEST, MANIFEST)})
    dead = AsyncMemoryTransport({"Plugin.Activate": refused()})

    def connect(address: Any, tls: Any) -> AsyncMemoryTransport:
        return dead if "dead" in address.text else shelf

    async def main() -> None:
        async with new_local_registry(
            discovery=discovery, connect=connect, observers=[notes]
        ) as registry:
            await work(registry)

    loop = FakeTimeLoop()
    try:
        loop.run(main())
    finally:
        loop.close()


def test_activations_and_drops_of_plugins_are_reported(notes: Notes) -> None:
    """An event has the seconds of the activation, and a second ``get`` reports nothing."""

    async def work(registry: AsyncRegistry) -> None:
        await registry.get("shelf", "VolumeDriver")
        await registry.get("shelf", "VolumeDriver")
        registry.invalidate("shelf")
        await registry.get("shelf")

    registered(notes, work)

    first, second = notes.of(PluginActivated)
    assert (first.plugin.name, first.seconds, second.seconds) == ("shelf", 1, 0)
    assert [event.plugin.name for event in notes.of(PluginDropped)] == ["shelf"] * 2
    assert [(r.plugin, r.method) for r in notes.of(RetryScheduled)] == [
        ("shelf", "Plugin.Activate")
    ]


def test_a_plugin_invalidated_during_its_activation_is_reported_as_dropped_at_once(
    notes: Notes, loop: FakeTimeLoop
) -> None:
    """Observers see as many plugins dropped as activated."""

    async def main() -> None:
        async with AsyncMemoryRegistry(observers=[notes]) as registry:
            registry.add("shelf", {"Plugin.Activate": script(refused(), MANIFEST, MANIFEST)})
            loop.at(0.5, lambda: registry.invalidate("shelf"))
            await registry.get("shelf")
            await registry.get("shelf")

    loop.run(main())

    assert [type(e) for e in notes.events if isinstance(e, PluginActivated | PluginDropped)] == [
        *(PluginActivated, PluginDropped) * 2
    ]


def test_activations_and_handlers_that_fail_are_reported(notes: Notes) -> None:
    """Both ``get`` and ``get_all`` report them."""

    def handler(_: str, __: object) -> None:
        raise ValueError

    async def work(registry: AsyncRegistry) -> None:
        await registry.handle("VolumeDriver", handler)
        assert [plugin.name for plugin in await registry.get_all(None)] == ["shelf"]
        with pytest.raises(PluginNotFoundError):
            await registry.get("nothing")

    registered(notes, work)

    assert [event.name for event in notes.of(ActivationFailed)] == ["dead", "nothing"]
    assert [event.plugin for event in notes.of(HandlerFailed)] == ["shelf"]
    assert notes.of(ActivationFailed)[1].seconds == 15


class Shelf(AsyncVolumeDriver):
    """Volumes that take some seconds."""

    spans: list[str]

    async def list(self) -> list[Volume]:
        self.spans.append(SPAN.get())
        await asyncio.sleep(2)
        return [Volume("books")]

    async def remove(self, name: str) -> None:
        raise StatusError(409, "VolumeDriver.Remove", f"{name} is in use")


class Logs(AsyncLogDriver):
    """Two entries."""

    spans: list[str]

    async def read_logs(self, info: Any, config: Any) -> AsyncIterator[LogEntry]:
        for line in (b"one", b"two"):
            self.spans.append(SPAN.get())
            yield LogEntry("stdout", 0, line)


class Tracing(Observer):
    """Sets a context variable when a request starts."""

    def request_started(self, event: RequestStarted, /) -> None:
        """Set it."""
        SPAN.set("t1")


async def answered(app: AsyncPluginApp, method: str, body: bytes = b"{}") -> bytes:
    """All that the app answers."""
    response = await app(AsyncRequest(method, body))
    whole = b""
    while chunk := await response.body.read(1 << 16):
        whole += chunk
    return whole


def served(*parts: Any, notes: Notes, work: Callable[[AsyncPluginApp], Awaitable[object]]) -> None:
    """Run ``work`` with an app of ``parts``, in fake time."""
    app = AsyncPluginApp(*parts, observers=[Tracing(), notes])
    loop = FakeTimeLoop()
    try:
        loop.run(asyncio.wait_for(work(app), 100))
    finally:
        loop.close()


def test_a_served_request_is_reported_when_it_ends(notes: Notes) -> None:
    """A method, a refusal and a stream are reported; their code sees what observers set."""
    shelf, logs = Shelf(), Logs()
    shelf.spans, logs.spans = [], []
    whole: list[bytes] = []

    async def work(app: AsyncPluginApp) -> None:
        whole.append(await answered(app, "VolumeDriver.List"))
        await answered(app, "VolumeDriver.Remove", b'{"Name":"a"}')
        whole.append(await answered(app, "LogDriver.ReadLogs"))

    served(shelf, logs, notes=notes, work=work)

    listed, refused_, streamed = notes.of(RequestEnded)
    assert (listed.seconds, listed.status, listed.error) == (2, 200, None)
    assert (listed.sent_bytes, streamed.sent_bytes) == tuple(map(len, whole))
    assert (refused_.status, type(refused_.error)) == (409, StatusError)
    assert [each.hung_up for each in (listed, refused_, streamed)] == [False] * 3
    assert shelf.spans + logs.spans == ["t1"] * 3


@pytest.mark.parametrize("error", [None, ValueError("instead")])
def test_a_method_that_ignores_its_cancellation_is_reported_as_hung_up(
    notes: Notes, error: Exception | None
) -> None:
    """What the method then returns or raises does not reach the host."""
    call = RunningCall()

    class Deaf(AsyncVolumeDriver):
        async def list(self) -> tuple[Volume, ...]:
            call.hang_up()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(1)
            if error is not None:
                raise error
            return ()

    async def work(app: AsyncPluginApp) -> None:
        with call:
            task = asyncio.create_task(answered(app, "VolumeDriver.List"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})

    served(Deaf(), notes=notes, work=work)

    (ended,) = notes.of(RequestEnded)
    assert (ended.error, ended.hung_up) == (error, True)


def test_a_coroutine_function_can_be_observed(notes: Notes, loop: FakeTimeLoop) -> None:
    """Responses, streams and failures are reported, with the given methods as routes."""

    async def app(request: AsyncRequest) -> AsyncResponse:
        await asyncio.sleep(1)
        if request.method == "M.fails":
            raise ValueError("no")
        body = request.method.encode() + SPAN.get().encode()
        return AsyncResponse(200, chunks(body) if request.method == "M.y" else body)

    async def chunks(body: bytes) -> AsyncIterator[bytes]:
        await asyncio.sleep(1)
        yield body

    async def work() -> None:
        made: Any = observed(app, [Tracing(), notes], methods=["M.x", "M.y"])
        assert [await answered(made, method) for method in ("M.x", "M.y")] == [b"M.xt1", b"M.yt1"]
        with pytest.raises(ValueError, match="no"):
            await made(AsyncRequest("M.fails"))

    loop.run(work())

    ends = notes.of(RequestEnded)
    assert [event.started.route for event in ends] == ["M.x", "M.y", ""]
    assert [(event.status, event.seconds, event.hung_up) for event in ends] == [
        *((200, 1, False), (200, 2, False), (500, 1, False))
    ]
    assert type(ends[-1].error) is ValueError


def test_an_observer_given_twice_gets_each_event_once(notes: Notes, loop: FakeTimeLoop) -> None:
    """No request of a plugin or of a coroutine function is counted twice."""

    async def app(_: AsyncRequest) -> AsyncResponse:
        return AsyncResponse(200, b"{}")

    shelf = Shelf()
    shelf.spans = []
    apps: list[Any] = [
        observed(AsyncPluginApp(shelf, observers=[notes]), [notes]),
        observed(app, [notes, notes]),
        observed(observed(app, [notes]), [notes], methods=["VolumeDriver.List"]),
    ]
    for made in apps:
        loop.run(answered(made, "VolumeDriver.List"))

    assert len(notes.of(RequestEnded)) == 3
    assert notes.of(RequestEnded)[-1].started.route == "VolumeDriver.List"


@pytest.mark.parametrize("wrong", [print, AsyncPluginApp, 5, lambda request: request])
def test_observed_refuses_what_is_not_an_asynchronous_app(wrong: Any) -> None:
    """A coroutine function that returns no ``AsyncResponse`` raises when it is called."""
    with pytest.raises(TypeError, match="app must be an AsyncPluginApp or a coroutine function"):
        observed(wrong, [Observer()])

    async def returning(_: AsyncRequest) -> Any:
        return 5

    with pytest.raises(TypeError, match="returns an AsyncResponse, not 5"):
        asyncio.run(observed(returning, [])(AsyncRequest("M.x")))  # type: ignore[arg-type]


def test_a_request_whose_host_hung_up_is_reported_as_such(notes: Notes) -> None:
    """The method is cancelled, or the stream is closed before its end."""
    shelf, logs = Shelf(), Logs()
    shelf.spans, logs.spans = [], []

    async def work(app: AsyncPluginApp) -> None:
        task = asyncio.create_task(answered(app, "VolumeDriver.List"))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait({task})
        response = await app(AsyncRequest("LogDriver.ReadLogs", b"{}"))
        await response.aclose()

    served(shelf, logs, notes=notes, work=work)

    method, stream = notes.of(RequestEnded)
    assert (method.hung_up, method.seconds, stream.hung_up) == (True, 1, True)
    assert [(ended.status, ended.error) for ended in (method, stream)] == [(200, None)] * 2


def test_a_call_that_fails_before_a_response_is_reported_without_a_status(notes: Notes) -> None:
    """The plugin refuses the connection, and ``status`` is ``None`` in each event."""
    with pytest.raises(TransportError):
        calling({"M.x": refused()}, lambda client: client.call("M.x"), notes)

    assert {event.status for event in notes.of(CallEnded)} == {None}


class Pieces:
    """A body of an app of a program, whose ``read`` returns or raises what it is given."""

    def __init__(self, *pieces: Any) -> None:
        self.left = list(pieces)

    async def read(self, _: int, /) -> bytes:
        """The next one, then the end."""
        piece = self.left.pop(0) if self.left else b""
        if isinstance(piece, BaseException):
            raise piece
        whole: bytes = piece
        return whole

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(
    ("outcome", "code", "failure"),
    [
        ((404, b"no"), 404, type(None)),
        ((404, b"no", KeyError("late")), 404, KeyError),
        ((200, KeyError("early")), 500, KeyError),
        ((200, StatusError(418, "M.x", "tea")), 418, StatusError),
        ((200, "text"), 500, TypeError),
        (AsyncResponse(999, b""), 500, ValueError),
        (StatusError(418, "M.x", "tea"), 418, StatusError),
        (WireError("malformed"), 400, WireError),
        (SystemExit(3), 500, SystemExit),
    ],
)
def test_the_reported_status_is_the_one_that_the_host_gets(
    notes: Notes, outcome: Any, code: int, failure: type
) -> None:
    """A status that the server sends instead of the app's response is reported, too."""

    async def app(_: AsyncRequest) -> AsyncResponse:
        if isinstance(outcome, BaseException):
            raise outcome
        if isinstance(outcome, tuple):
            return AsyncResponse(outcome[0], Pieces(*outcome[1:]))
        response: AsyncResponse = outcome
        return response

    async def main() -> None:
        with suppress(BaseException):
            made: Any = observed(app, [notes])
            await answered(made, "M.x")

    asyncio.run(main())

    [ended] = notes.of(RequestEnded)
    assert (ended.status, type(ended.error), ended.hung_up) == (code, failure, False)


def test_an_interrupt_of_an_observer_changes_no_request(notes: Notes) -> None:
    """A plugin has no caller that the ``KeyboardInterrupt`` could be raised to."""

    async def main() -> None:
        app = AsyncPluginApp(Shelf(), observers=[Failing(KeyboardInterrupt()), notes])
        await answered(app, "Plugin.Activate")

    asyncio.run(main())

    assert notes.of(RequestEnded)[0].status == 200


def test_without_observers_a_request_calls_no_function_for_them() -> None:
    """A profiler sees that the app begins to serve the request at once."""
    app, called = AsyncPluginApp(Shelf()), []

    def count(frame: Any, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.endswith("app/aio/serving.py"):
            called.append(frame.f_code.co_name)

    async def main() -> None:
        sys.setprofile(count)
        try:
            await app(AsyncRequest("VolumeDriver.Remove", b'{"Name": "a"}'))
        finally:
            sys.setprofile(None)

    asyncio.run(main())

    assert called[:2] == ["__call__", "_answered"]
