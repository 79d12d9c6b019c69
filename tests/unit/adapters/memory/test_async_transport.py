"""``AsyncMemoryTransport``: what can be its plugin, how calls end, and what is recorded."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from moby_plugins import TransportError, TransportTimeoutError, WireError
from moby_plugins.aio import AsyncRequest, AsyncResponse
from moby_plugins.domain.address import Address
from moby_plugins.domain.recording import RecordedBody, RecordedCall, Recording
from moby_plugins.serving import NoAnswerError, PluginApp, hung_up
from moby_plugins.subsystems import VolumeDriver
from moby_plugins.testing import (
    AsyncMemoryTransport,
    FakeTimeLoop,
    Fault,
    Request,
    Response,
    UnexpectedCallError,
    drips,
    drops,
    hangs,
    missing_socket,
    script,
)
from moby_plugins.tracing import open_recording

ADDR = "memory://plugin"


@pytest.fixture
def loop() -> Iterator[FakeTimeLoop]:
    """A loop on which nothing is reported to its exception handler."""
    reported: list[dict[str, object]] = []
    with closing(FakeTimeLoop()) as made:
        made.set_exception_handler(lambda _, context: reported.append(context))
        yield made
    assert reported == []


async def whole(response: AsyncResponse) -> bytes:
    """All of a body, which is then closed."""
    parts = []
    while data := await response.body.read(1 << 16):
        parts.append(data)
    response.body.close()
    return b"".join(parts)


async def asked(
    transport: AsyncMemoryTransport, method: str = "M.x", timeout: float | None = None
) -> bytes:
    """What a plugin replies."""
    return await whole(await transport.send(AsyncRequest(method, b"{}"), timeout))


class Shelf(VolumeDriver):
    """A plugin whose methods are plain functions."""

    def list(self) -> Any:
        return []


async def echo(request: AsyncRequest) -> AsyncResponse:
    """An asynchronous plugin."""
    await asyncio.sleep(1)
    return AsyncResponse(200, request.method.encode() + await request.read())


async def numbers(_: AsyncRequest) -> Any:
    """A reply that is found out later."""
    await asyncio.sleep(1)
    return [1, 2]


async def chunks() -> AsyncIterator[bytes]:
    """A body that is found out later."""
    for chunk in (b"one ", b"two"):
        await asyncio.sleep(1)
        yield chunk


@pytest.mark.parametrize(
    ("plugin", "method", "expected", "seconds"),
    [
        (PluginApp(Shelf()), "VolumeDriver.List", b'{"Volumes":[]}\n', 0.0),
        (echo, "M.x", b"M.x{}", 1.0),
        ({"M.x": numbers}, "M.x", b"[1, 2]\n", 1.0),
        ({"M.x": partial(numbers)}, "M.x", b"[1, 2]\n", 1.0),
        ({"M.x": lambda _: numbers(_)}, "M.x", b"[1, 2]\n", 1.0),  # noqa: PLW0108  no coroutine
        ({"M.x": lambda request: request.read().decode()}, "M.x", b'"{}"\n', 0.0),
        ({"M.x": lambda _: chunks()}, "M.x", b"one two", 2.0),
        ({"M.x": lambda _: iter([b"a", b"b"])}, "M.x", b"ab", 0.0),
        ({"M.x": AsyncResponse(200, b"as it is")}, "M.x", b"as it is", 0.0),
        ({"M.x": Response(200, b"as it is")}, "M.x", b"as it is", 0.0),
        (script(hangs(2, then=numbers)), "M.x", b"[1, 2]\n", 3.0),
        ({"M.x": drips(b"abc", every=2)}, "M.x", b"abc", 6.0),
    ],
)
def test_a_plugin_in_memory_can_be_an_app_a_coroutine_function_or_a_table(
    plugin: Any, method: str, expected: bytes, seconds: float, loop: FakeTimeLoop
) -> None:
    """A table has values, functions, coroutine functions, streams or faults, in fake time."""
    transport = AsyncMemoryTransport(plugin)

    assert loop.run(asked(transport, method)) == expected
    assert loop.time() == seconds
    assert [str(call) for call in transport.calls] == [f"t = 0, attempt 1: {method} {{}}"]


def test_a_response_in_a_table_can_be_given_more_than_once(loop: FakeTimeLoop) -> None:
    """Its body is read from its beginning each time."""
    transport = AsyncMemoryTransport({"M.x": AsyncResponse(200, b"again")})

    assert [loop.run(asked(transport)) for _ in range(2)] == [b"again"] * 2


def test_a_call_of_a_method_without_a_reply_is_an_error() -> None:
    """It names the known methods; an object that cannot be a plugin is a ``TypeError``."""
    with pytest.raises(UnexpectedCallError, match=r"M\.y; known methods: M\.x"):
        asyncio.run(asked(AsyncMemoryTransport({"M.x": 1}), "M.y"))
    with pytest.raises(TypeError, match="plugin must be"):
        AsyncMemoryTransport(5)  # type: ignore[arg-type]


async def hanging(_: AsyncRequest) -> Any:
    """A plugin that takes no notice of its host."""
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(100)


async def endless() -> AsyncIterator[bytes]:
    """A body without an end."""
    while True:
        await asyncio.sleep(100)
        yield b""


class TestEnds:
    """Calls end as over a real transport, whatever the plugin does."""

    @pytest.mark.parametrize(
        ("reply", "answered"),
        [
            (hangs(), False),
            (hanging, False),
            (drips(b"0123456789"), True),
            (lambda _: endless(), True),
        ],
        ids=["hangs", "coroutine", "drips", "generator"],
    )
    def test_a_call_ends_exactly_at_its_timeout(
        self, reply: Any, answered: Any, loop: FakeTimeLoop
    ) -> None:
        """``answered`` says whether a part of the response had come."""
        transport = AsyncMemoryTransport({"M.x": reply})

        async def main() -> None:
            await asyncio.sleep(0.1)
            with pytest.raises(TransportTimeoutError, match="timed out") as caught:
                await asked(transport, timeout=0.2)
            assert caught.value.answered == answered
            assert loop.time() == 0.3

        loop.run(main())

    @pytest.mark.parametrize("reply", [hangs(), hanging, drips(b"01"), lambda _: endless()])
    def test_closing_a_transport_ends_its_calls_at_once(
        self, reply: Any, loop: FakeTimeLoop
    ) -> None:
        """Calls by another transport to the same plugin go on."""
        transport = AsyncMemoryTransport({"M.x": reply, "M.y": 1})
        mine, other = transport.connect(Address(ADDR)), transport.connect(Address("memory://b"))

        async def main() -> None:
            loop.call_later(0.5, mine.close)
            with pytest.raises(TransportError, match="closed by this process"):
                await asked(mine)
            assert loop.time() == 0.5
            with pytest.raises(TransportError, match="closed by this process"):
                await asked(mine, "M.y")
            assert await asked(other, "M.y") == b"1\n"

        loop.run(main())

    @pytest.mark.parametrize("reply", [hangs(), hanging, drips(b"01"), lambda _: endless()])
    def test_a_call_whose_caller_is_cancelled_ends_at_once(
        self, reply: Any, loop: FakeTimeLoop
    ) -> None:
        """The transport can be used as before."""
        transport = AsyncMemoryTransport({"M.x": reply, "M.y": 1})

        async def main() -> None:
            with pytest.raises(TimeoutError) as caught:
                async with asyncio.timeout(0.5):
                    await asked(transport, timeout=3)
            assert not isinstance(caught.value, TransportError)
            assert loop.time() == 0.5
            assert await asked(transport, "M.y") == b"1\n"

        loop.run(main())

    def test_a_plugin_whose_host_has_left_is_cancelled(self, loop: FakeTimeLoop) -> None:
        """It may clean up in its own time; what it raises then does not reach the host."""
        log: list[tuple[str, float]] = []

        async def plugin(_: AsyncRequest) -> Any:
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                log.append(("cancelled", loop.time()))
                await asyncio.sleep(2)
                log.append(("cleaned up", loop.time()))
                raise LookupError from None

        async def main() -> None:
            with pytest.raises(TransportTimeoutError):
                await asked(AsyncMemoryTransport(plugin), timeout=1)
            assert loop.time() == 1.0
            await asyncio.sleep(9)

        loop.run(main())
        assert log == [("cancelled", 1.0), ("cleaned up", 3.0)]

    def test_closing_an_unread_body_closes_the_generator_in_the_plugin(
        self, loop: FakeTimeLoop
    ) -> None:
        """The generator runs its ``finally``; ``close`` itself does not wait for that."""
        log: list[str] = []

        async def body() -> AsyncIterator[bytes]:
            try:
                yield b"one"
                yield b"two"
            finally:
                await asyncio.sleep(1)
                log.append("closed")

        async def main() -> None:
            transport = AsyncMemoryTransport({"M.x": lambda _: body()})
            response = await transport.send(AsyncRequest("M.x"), None)
            assert await response.body.read(9) == b"one"
            response.body.close()
            response.body.close()
            assert log == []
            await asyncio.sleep(2)

        loop.run(main())
        assert log == ["closed"]

    @pytest.mark.parametrize("by", ["deadline", "close"])
    def test_a_plugin_whose_response_is_not_read_is_cancelled(
        self, by: str, loop: FakeTimeLoop
    ) -> None:
        """This happens at the deadline of the call, and when the transport is closed."""
        log: list[tuple[float, bool]] = []

        async def body() -> AsyncIterator[bytes]:
            yield b"one"
            try:
                await asyncio.sleep(100)
            finally:
                log.append((loop.time(), hung_up().is_set()))

        async def app(_: AsyncRequest) -> AsyncResponse:
            return AsyncResponse(200, body())

        async def main() -> None:
            transport = AsyncMemoryTransport(app)
            if by == "close":
                loop.at(3, transport.close)
            response = await transport.send(AsyncRequest("M.x"), 3 if by == "deadline" else None)
            assert await response.body.read(9) == b"one"
            await asyncio.sleep(9)
            with pytest.raises(TransportError) as caught:
                await response.body.read(9)
            assert isinstance(caught.value, TransportTimeoutError) == (by == "deadline")
            assert caught.value.answered

        loop.run(main())
        assert log == [(3.0, True)]

    @pytest.mark.parametrize(
        ("reply", "kind"),
        [
            (drops(), TransportError),
            (missing_socket(), TransportError),
            (NoAnswerError("gone"), TransportError),
            (asyncio.CancelledError(), TransportError),
        ],
        ids=repr,
    )
    def test_a_plugin_that_gives_no_response_is_a_transport_error(
        self, reply: Any, kind: type[Exception], loop: FakeTimeLoop
    ) -> None:
        """The plugin's coroutine may return a fault for that, or raise an exception."""

        async def raising(_: AsyncRequest) -> Any:
            if isinstance(reply, BaseException):
                raise reply
            return reply

        with pytest.raises(kind, match=r"without a response|no socket there"):
            loop.run(asked(AsyncMemoryTransport({"M.x": raising})))

    def test_a_body_whose_generator_raises_no_answer_error_is_cut_off(
        self, loop: FakeTimeLoop
    ) -> None:
        """The caller gets a ``WireError``."""

        async def body() -> AsyncIterator[bytes]:
            yield b"one"
            raise NoAnswerError("gone")

        with pytest.raises(WireError, match="cut off"):
            loop.run(asked(AsyncMemoryTransport({"M.x": lambda _: body()})))

    def test_a_mistake_in_the_plugin_reaches_the_test(self, loop: FakeTimeLoop) -> None:
        """Any exception of the plugin's code is raised to the caller as it is."""

        async def wrong(_: AsyncRequest) -> Any:
            raise ZeroDivisionError("mine")

        with pytest.raises(ZeroDivisionError, match="mine"):
            loop.run(asked(AsyncMemoryTransport(wrong)))

    def test_a_fault_that_would_block_the_loop_is_refused(self, loop: FakeTimeLoop) -> None:
        """The error says to return ``hangs`` instead."""
        fault = Fault("mine", lambda exchange: exchange.pause(3, answered=False))

        with pytest.raises(TypeError, match="would block the event loop: return hangs"):
            loop.run(asked(AsyncMemoryTransport({"M.x": fault})))


class TestUploads:
    """Requests with an asynchronous iterator as body, which is read within the time-out."""

    def test_an_upload_is_read_whole_before_a_plain_function_is_called(
        self, loop: FakeTimeLoop
    ) -> None:
        """The call is recorded with the whole body, at the time of its last chunk."""
        transport = AsyncMemoryTransport({"M.x": lambda request: request.read().decode()})

        async def main() -> bytes:
            return await whole(await transport.send(AsyncRequest("M.x", chunks()), 5))

        assert loop.run(main()) == b'"one two"\n'
        assert transport.calls[0].body == b"one two"
        assert transport.calls.times == [2.0]

    def test_an_upload_that_is_too_slow_ends_at_the_timeout_of_its_call(
        self, loop: FakeTimeLoop
    ) -> None:
        """The call is not recorded."""
        transport = AsyncMemoryTransport({"M.x": 1})

        async def main() -> None:
            with pytest.raises(TransportTimeoutError):
                await transport.send(AsyncRequest("M.x", endless()), 5)
            assert loop.time() == 5.0
            assert len(transport.calls) == 0

        loop.run(main())

    def test_a_call_with_an_early_response_is_recorded(self, loop: FakeTimeLoop) -> None:
        """The record has what was sent until then, and the time of the response."""

        async def app(request: AsyncRequest) -> AsyncResponse:
            await asyncio.sleep(1.5)
            return AsyncResponse(413, b"")

        transport = AsyncMemoryTransport(app)

        async def main() -> None:
            response = await transport.send(AsyncRequest("M.x", chunks()), 5)
            assert (response.status, loop.time()) == (413, 1.5)

        loop.run(main())
        assert (transport.calls[0].body, transport.calls.times) == (b"one ", [1.5])

    def test_an_upload_waits_for_a_plugin_that_reads_slowly(self, loop: FakeTimeLoop) -> None:
        """As over a socket, sending pauses while too much of the body is unread."""
        sent: list[float] = []

        async def much() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield bytes(200 << 10)
                sent.append(loop.time())

        async def app(request: AsyncRequest) -> AsyncResponse:
            await asyncio.sleep(1)
            return AsyncResponse(200, b"%d" % len(await request.read()))

        async def main() -> bytes:
            request = AsyncRequest("M.x", much())
            return await whole(await AsyncMemoryTransport(app).send(request, 5))

        assert loop.run(main()) == b"614400"
        assert sent == [0.0, 1.0, 1.0]

    def test_an_exception_of_an_uploads_iterator_is_raised_by_the_call(
        self, loop: FakeTimeLoop
    ) -> None:
        """Even a ``TimeoutError`` is raised as it is, and not as a time-out of the call."""

        async def failing() -> AsyncIterator[bytes]:
            yield b"one"
            raise TimeoutError("mine")

        async def main() -> None:
            transport = AsyncMemoryTransport({"M.x": 1})
            with pytest.raises(TimeoutError, match="mine") as caught:
                await transport.send(AsyncRequest("M.x", failing()), 5)
            assert not isinstance(caught.value, TransportError)

        loop.run(main())

    def test_an_upload_to_an_unreachable_plugin_is_not_read(self, loop: FakeTimeLoop) -> None:
        """So the next attempt can send all of it."""
        transport = AsyncMemoryTransport(missing_socket())
        data = chunks()

        async def main() -> None:
            with pytest.raises(TransportError):
                await transport.send(AsyncRequest("M.x", data), None)
            assert [chunk async for chunk in data] == [b"one ", b"two"]

        loop.run(main())
        assert transport.calls[0].body == b""


def test_hung_up_is_set_for_a_plain_function_whose_host_has_left(loop: FakeTimeLoop) -> None:
    """``hung_up()`` returns the event of the call in which it is called."""
    events = []

    def plugin(_: Request) -> Iterator[bytes]:
        events.append(hung_up())
        yield b"one"
        yield b"two"

    async def main() -> None:
        response = await AsyncMemoryTransport({"M.x": plugin}).send(AsyncRequest("M.x"), None)
        assert await response.body.read(9) == b"one"
        assert not events[0].is_set()
        response.body.close()
        assert events[0].is_set()

    loop.run(main())


def test_an_asynchronous_transport_replays_a_recording(tmp_path: Path, loop: FakeTimeLoop) -> None:
    """Each recorded call gives its response once."""
    file = tmp_path / "calls.jsonl"
    with open_recording(file, Recording(plugin="shelf", masked=False)) as recording:
        recording.add(
            RecordedCall("M.x", RecordedBody([b"{}"]), 200, RecordedBody([b'{"A":1}']), at=0.0)
        )
    transport = AsyncMemoryTransport.replay(file)

    assert json.loads(loop.run(asked(transport))) == {"A": 1}
    transport.assert_used_up()


def test_the_repr_of_an_asynchronous_transport_shows_its_address() -> None:
    """It also shows how often the plugin was called."""
    assert repr(AsyncMemoryTransport({})) == f"<AsyncMemoryTransport at {ADDR}: 0 calls>"
