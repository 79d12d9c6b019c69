"""The contract of asynchronous transports, in memory and over sockets, as a pytest suite.

It has the tests of ``transport.py``, awaited, and those specific to asyncio: tasks that are
cancelled, deadlines that end an iterable, a ``close`` that ends pending calls.
"""

import asyncio
import contextlib
import errno
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from http.client import HTTPException
from typing import Any, ClassVar, TypeAlias

import pytest

from moby_plugins.async_ports import AsyncConnect, AsyncTransport
from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.domain.async_http import AsyncRequest, AsyncResponse
from moby_plugins.domain.errors import TransportError, TransportTimeoutError, WireError
from moby_plugins.domain.http import CLOSED_EARLY, CUT_OFF, MALFORMED, TIMED_OUT
from moby_plugins.testing import FaultServer
from moby_plugins.testing.contracts.transport import (
    ANSWER,
    BEHAVIOURS,
    BODY,
    FAILURE,
    MUCH,
    PAGE,
    TIMEOUT,
    Behaviour,
    Serve,
    origins,
)

AsyncPluginThat: TypeAlias = Callable[[Behaviour], AsyncTransport]
"""The type of the fixture ``plugin_that``: returns a transport to a plugin with a behaviour."""
Run: TypeAlias = Callable[[Coroutine[Any, Any, Any]], Any]
"""The type of the fixture ``run``: runs a coroutine in an event loop, as ``asyncio.run`` does."""

# A call is cancelled after each number of loop iterations up to this, from before its task
# starts until after its response was received.
TURNS = 24


async def parts(*chunks: bytes) -> AsyncIterator[bytes]:
    """Yield the chunks, with an iteration of the loop before each."""
    for chunk in chunks:
        await asyncio.sleep(0)
        yield chunk


BODIES: dict[str, Callable[[], AsyncRequest]] = {
    "nothing": lambda: AsyncRequest("M.x"),
    "bytes": lambda: AsyncRequest("M.x", BODY),
    "a generator": lambda: AsyncRequest(
        "M.x", parts(*(BODY[i : i + 9999] for i in range(0, len(BODY), 9999)))
    ),
    "empty chunks": lambda: AsyncRequest("M.x", parts(b"", BODY[:10], b"", BODY[10:], b"")),
    "a length": lambda: AsyncRequest("M.x", parts(BODY[:10], BODY[10:]), length=len(BODY)),
}


async def whole(response: AsyncResponse, size: int = 1 << 16) -> bytes:
    """Return the whole body, and close it; check that no read returns more than ``size`` bytes."""
    data = bytearray()
    while part := await response.body.read(size):
        assert len(part) <= size
        data += part
    response.body.close()
    return bytes(data)


async def raised_by(waiting: Awaitable[object]) -> BaseException:
    """Return the exception that awaiting ``waiting`` raises."""
    try:
        await waiting
    except (Exception, asyncio.CancelledError) as error:
        return error
    raise AssertionError("no exception was raised")


async def turns(number: int) -> None:
    """Wait for ``number`` iterations of the loop."""
    for _ in range(number):
        await asyncio.sleep(0)


class AsyncTransportContract:
    """The contract of every ``AsyncTransport``, as a suite for pytest: subclass it.

    Give it a fixture ``plugin_that`` and the constant ``REFUSED``. ``plugin_that(behaviour)``
    returns a transport to a plugin with this behaviour (see ``BEHAVIOURS``), and closes it at the
    test's end. A fixture ``run`` may run the tests' coroutines in another loop.

    Attributes:
        SLACK: Seconds by which a time-out may be late.
        REFUSED: The reason of the transport's error if nothing listens.
        REFUSED_ERRNO: The system's error number if nothing listens.
    """

    SLACK: ClassVar[float] = 0.25
    REFUSED: ClassVar[str]
    REFUSED_ERRNO: ClassVar[int] = errno.ECONNREFUSED

    @pytest.fixture
    def run(self) -> Run:
        """Return a function that runs a coroutine, here in asyncio's own loop."""
        return asyncio.run

    def test_an_answer_has_its_status_and_an_unread_body(
        self, plugin_that: AsyncPluginThat, run: Run
    ) -> None:
        """A response has a status and an unread body; after its end, reads return ``b""``."""
        transport = plugin_that("answers")

        async def test() -> None:
            response = await transport.send(AsyncRequest("M.x", b"{}"), None)
            first = await response.body.read(3)
            assert response.status == 200
            assert 1 <= len(first) <= 3
            assert first + await whole(response, 7) == ANSWER
            assert [await response.body.read(1), await response.body.read(1 << 16)] == [b"", b""]

        run(test())

    def test_an_empty_answer_is_empty(self, plugin_that: AsyncPluginThat, run: Run) -> None:
        """The first read of a response without a body returns ``b""``."""
        assert run(self._whole(plugin_that("answers nothing"), AsyncRequest("M.x"))) == b""

    @pytest.mark.parametrize("kind", BODIES)
    def test_a_request_body_arrives_whole(
        self, kind: str, plugin_that: AsyncPluginThat, run: Run
    ) -> None:
        """Bytes, and an iterable with or without a length, all arrive as they are."""
        transport = plugin_that("echoes")

        async def test() -> bytes:
            return await self._whole(transport, BODIES[kind]())

        assert run(test()) == (b"" if kind == "nothing" else BODY)

    def test_method_and_headers_are_passed_on(self, plugin_that: AsyncPluginThat, run: Run) -> None:
        """The plugin receives the method and the headers of the request."""
        request = AsyncRequest("VolumeDriver.Get?a=b", b"{}", {"X-One": "1", "User-Agent": "me"})

        received = json.loads(run(self._whole(plugin_that("tells"), request)))

        assert (received["method"], received["body"]) == ("VolumeDriver.Get?a=b", "{}")
        assert (received["headers"]["x-one"], received["headers"]["user-agent"]) == ("1", "me")

    def test_any_status_is_an_answer(self, plugin_that: AsyncPluginThat, run: Run) -> None:
        """A status other than 200 is returned like any other, not raised."""
        transport = plugin_that("fails")

        async def test() -> None:
            response = await transport.send(AsyncRequest("M.x"), None)
            assert response.status == 500
            assert await whole(response) == FAILURE

        run(test())

    def test_what_is_not_json_is_passed_on(self, plugin_that: AsyncPluginThat, run: Run) -> None:
        """A transport does not look into a body."""
        data = run(self._whole(plugin_that("sends a page"), AsyncRequest("M.x")))

        assert data.startswith(PAGE)

    def test_a_large_body_comes_in_bits(self, plugin_that: AsyncPluginThat, run: Run) -> None:
        """However much the plugin sends, no read returns more than requested."""
        transport = plugin_that("sends much")

        assert len(run(self._whole(transport, AsyncRequest("M.x"), 50_000))) == MUCH

    def test_refused_is_an_error_that_was_not_answered(
        self, plugin_that: AsyncPluginThat, run: Run
    ) -> None:
        """If nothing listens, the reason is ``REFUSED``, and the system's error is a cause."""
        error = run(self._error(plugin_that("refuses")))

        assert type(error) is TransportError
        assert error.reason == self.REFUSED
        assert not error.answered
        assert self.REFUSED_ERRNO in {getattr(e, "errno", None) for e in origins(error)}

    def test_a_plugin_that_hangs_ends_at_the_time_out(
        self, plugin_that: AsyncPluginThat, run: Run
    ) -> None:
        """A call of a plugin that never responds ends at the time-out."""
        error = run(self._timed(plugin_that("hangs"), AsyncRequest("M.x", b"{}")))

        assert (error.reason, error.answered) == (TIMED_OUT, False)

    @pytest.mark.parametrize("timeout", [3e6, 1e300])
    def test_a_time_out_may_be_longer_than_the_system_can_wait(
        self, timeout: float, plugin_that: AsyncPluginThat, run: Run
    ) -> None:
        """A time-out that is too long for the system's functions is accepted."""
        transport = plugin_that("answers")

        async def test() -> bytes:
            return await whole(await transport.send(AsyncRequest("M.x", b"{}"), timeout))

        assert run(test()) == ANSWER

    def test_a_dripping_body_ends_at_the_time_out(
        self, plugin_that: AsyncPluginThat, run: Run
    ) -> None:
        """The time-out bounds the exchange as a whole, however slowly the body drips."""
        error = run(self._timed(plugin_that("drips"), AsyncRequest("M.x")))

        assert (error.reason, error.answered) == (TIMED_OUT, True)

    @pytest.mark.parametrize("between", [0.01, 1e6], ids=["drips", "waits"])
    def test_the_time_out_ends_an_iterable_that_is_being_sent(
        self, between: float, plugin_that: AsyncPluginThat, run: Run
    ) -> None:
        """The time-out ends an iterable that keeps yielding, and one that waits for ever."""
        transport = plugin_that("hangs")

        async def body() -> AsyncIterator[bytes]:
            for _ in range(10_000):
                yield b"some"
                await asyncio.sleep(between)

        async def test() -> TransportTimeoutError:
            return await self._timed(transport, AsyncRequest("M.x", body()))

        assert run(test()).reason == TIMED_OUT

    def test_a_dropped_connection_was_not_answered(
        self, plugin_that: AsyncPluginThat, run: Run
    ) -> None:
        """If a plugin hangs up instead of responding, the error allows another attempt."""
        error = run(self._error(plugin_that("drops")))

        assert type(error) is TransportError
        assert (error.reason, error.answered) == (CLOSED_EARLY, False)

    def test_what_is_not_http_was_not_answered(
        self, plugin_that: AsyncPluginThat, run: Run
    ) -> None:
        """After something that is not HTTP, the error allows another attempt."""
        error = run(self._error(plugin_that("is malformed")))

        assert type(error) is TransportError
        assert error.reason.startswith(MALFORMED)
        assert not error.answered

    def test_a_body_that_is_cut_off_is_a_wire_error(
        self, plugin_that: AsyncPluginThat, run: Run
    ) -> None:
        """A body that ends before its announced end raises an error."""
        error = run(self._error(plugin_that("drops mid-body")))

        assert isinstance(error, WireError)
        assert error.reason == CUT_OFF

    @pytest.mark.parametrize(
        "error",
        [
            ValueError("no more"),
            OSError(errno.EIO, "disk"),
            BrokenPipeError(errno.EPIPE, "pipe"),
            ConnectionResetError(errno.ECONNRESET, "reset"),
            TimeoutError("slow disk"),
            HTTPException("from a download"),
            asyncio.CancelledError("from a task of its own"),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_an_exception_of_the_callers_iterable_passes_unchanged(
        self, error: BaseException, plugin_that: AsyncPluginThat, run: Run
    ) -> None:
        """An exception of the caller's own iterable is raised unchanged: the same object."""
        transport = plugin_that("echoes")

        async def body() -> AsyncIterator[bytes]:
            yield b"some"
            raise error

        async def test() -> BaseException:
            return await raised_by(transport.send(AsyncRequest("M.x", body()), TIMEOUT * 5))

        assert run(test()) is error

    def test_closing_twice_is_closing_once(self, plugin_that: AsyncPluginThat, run: Run) -> None:
        """Bodies and transports may be closed more than once, read or not."""
        transport = plugin_that("answers")

        async def test() -> None:
            response = await transport.send(AsyncRequest("M.x"), None)
            for close in (response.body.close, transport.close):
                close()
                close()

        run(test())
        transport.close()

    def test_a_body_left_unread_does_not_disturb_the_next_call(
        self, plugin_that: AsyncPluginThat, run: Run
    ) -> None:
        """After a body is closed unread, the next response is that of the next request."""
        transport = plugin_that("echoes")

        async def test() -> bytes:
            (await transport.send(AsyncRequest("M.x", BODY), None)).body.close()
            return await self._whole(transport, AsyncRequest("M.x", b"second"))

        assert run(test()) == b"second"

    def test_tasks_share_a_transport(self, plugin_that: AsyncPluginThat, run: Run) -> None:
        """Many tasks may send at once, and each gets the response to its own request."""
        transport = plugin_that("echoes")
        bodies = [b"%d " % number * 1000 for number in range(100)]

        async def test() -> list[bytes]:
            calls = (self._whole(transport, AsyncRequest("M.x", body)) for body in bodies)
            return await asyncio.gather(*calls)

        assert run(test()) == bodies

    def test_a_cancelled_call_leaves_no_answer_to_the_next(
        self, plugin_that: AsyncPluginThat, run: Run
    ) -> None:
        """Whenever a call is cancelled, the next call gets its own response."""
        transport = plugin_that("echoes")

        async def test() -> None:
            for number in range(TURNS):
                body = b"cancelled %d" % number * 2000
                task = asyncio.create_task(self._whole(transport, AsyncRequest("M.x", body)))
                await turns(number)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    assert await task == body
                own_body = b"mine %d" % number
                assert await self._whole(transport, AsyncRequest("M.x", own_body)) == own_body

        run(test())

    def test_a_task_that_waits_for_an_answer_can_be_cancelled(
        self, plugin_that: AsyncPluginThat, run: Run
    ) -> None:
        """A time-out of asyncio itself ends the call, with the plain ``TimeoutError``."""
        transport = plugin_that("hangs")

        async def test() -> None:
            loop = asyncio.get_running_loop()
            began = loop.time()
            with pytest.raises(TimeoutError) as caught:
                async with asyncio.timeout(TIMEOUT):
                    await transport.send(AsyncRequest("M.x", b"{}"), None)
            assert TIMEOUT - 0.01 <= loop.time() - began <= TIMEOUT + self.SLACK
            assert type(caught.value) is TimeoutError

        run(test())

    def test_a_read_that_was_cancelled_is_followed_by_none(
        self, plugin_that: AsyncPluginThat, run: Run
    ) -> None:
        """After a cancelled read, the next one raises, so that the rest is not lost unnoticed."""
        transport = plugin_that("drips")

        async def test() -> BaseException:
            response = await transport.send(AsyncRequest("M.x"), None)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(TIMEOUT):
                    await whole(response)
            return await raised_by(whole(response))

        assert isinstance(run(test()), TransportError)

    def test_closing_the_transport_ends_what_waits_for_an_answer(
        self, plugin_that: AsyncPluginThat, run: Run
    ) -> None:
        """Calls that wait, and later ones, end at once with ``TransportError``."""
        transport = plugin_that("hangs")

        async def test() -> None:
            waiting = [
                asyncio.create_task(self._error(transport, AsyncRequest("M.x", body)))
                for body in (b"{}", parts(b"some", b"more"))
            ]
            await asyncio.sleep(TIMEOUT / 2)
            transport.close()
            for error in (*await asyncio.gather(*waiting), await self._error(transport)):
                assert type(error) is TransportError
                assert not error.answered

        run(test())

    def test_closing_the_transport_ends_what_reads(
        self, plugin_that: AsyncPluginThat, run: Run
    ) -> None:
        """A read that waits ends at once, with a ``TransportError`` whose ``answered`` is true."""
        transport = plugin_that("drips")

        async def test() -> BaseException:
            response = await transport.send(AsyncRequest("M.x"), None)
            reading = asyncio.create_task(raised_by(whole(response)))
            await asyncio.sleep(TIMEOUT / 2)
            transport.close()
            error = await reading
            response.body.close()
            return error

        error = run(test())
        assert type(error) is TransportError
        assert error.answered

    async def _whole(
        self, transport: AsyncTransport, request: AsyncRequest, size: int = 1 << 16
    ) -> bytes:
        return await whole(await transport.send(request, None), size)

    async def _error(
        self, transport: AsyncTransport, request: AsyncRequest | None = None
    ) -> BaseException:
        return await raised_by(self._whole(transport, request or AsyncRequest("M.x", b"{}")))

    async def _timed(
        self, transport: AsyncTransport, request: AsyncRequest
    ) -> TransportTimeoutError:
        """Return the error of a call's time-out; check that it is neither early nor late."""

        async def call() -> None:
            await whole(await transport.send(request, TIMEOUT))

        loop = asyncio.get_running_loop()
        began = loop.time()
        error = await raised_by(call())
        assert TIMEOUT - 0.01 <= loop.time() - began <= TIMEOUT + self.SLACK
        assert isinstance(error, TransportTimeoutError)
        return error


class AsyncSocketTransportContract(AsyncTransportContract):
    """The contract of asynchronous HTTP transports over sockets: subclass it.

    Give it a fixture ``connect``, the ``AsyncConnect`` under test. The plugins are on TCP, unless a
    fixture ``serve`` creates servers of another kind; then ``REFUSED`` must be the reason of the
    error for that kind. A fixture ``tls`` may return the options of the transport.
    """

    REFUSED: ClassVar[str] = "connection refused: no process listens there"

    @pytest.fixture
    def tls(self) -> TLSOptions | None:
        """Return the TLS options of the transport."""
        return None

    @pytest.fixture
    def serve(self) -> Serve:
        """Return a function that creates the servers."""
        return lambda behaviour: FaultServer.tcp(BEHAVIOURS[behaviour])

    @pytest.fixture
    def plugin_that(
        self, connect: AsyncConnect, serve: Serve, tls: TLSOptions | None
    ) -> Iterator[AsyncPluginThat]:
        """Return a factory of transports to plugins on real sockets, closed when the test ends."""
        with contextlib.ExitStack() as stack:

            def start(behaviour: Behaviour) -> AsyncTransport:
                server = stack.enter_context(serve(behaviour))
                return stack.enter_context(contextlib.closing(connect(Address(server.addr), tls)))

            yield start
