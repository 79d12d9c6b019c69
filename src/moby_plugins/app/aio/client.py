"""A client of one plugin for programs on asyncio: what ``app/client.py`` does, with ``await``."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import UnionType
from typing import Any, Self, TypeVar, overload

from moby_plugins.app import wire
from moby_plugins.app.accounting import CLOSED, ClientBase
from moby_plugins.app.aio.attempts import AsyncAttempt, delay_after, pause
from moby_plugins.app.aio.attempts import retry as try_again
from moby_plugins.app.aio.bodies import AsyncData, AsyncUpload, read_whole, refuse
from moby_plugins.app.client import MAX_RESPONSE_BYTES
from moby_plugins.app.retrying import Ending, OnRetry, chance
from moby_plugins.async_ports import AsyncTransport
from moby_plugins.deferred_names import AtDoor
from moby_plugins.domain.address import Address
from moby_plugins.domain.async_http import AsyncBody, AsyncBytes, AsyncContent, AsyncRequest
from moby_plugins.domain.errors import PluginError, StatusError, TransportError, WireError
from moby_plugins.domain.http import OK, STREAM_BYTES
from moby_plugins.domain.retry import IsRetryable, RetryPolicy, Tries, is_retryable, policy_given
from moby_plugins.domain.text import quoted, shown
from moby_plugins.ports import callable_or_none, filled

_DOOR = AtDoor("moby_plugins.aio", __name__)

T = TypeVar("T")


class AsyncStream:
    """A streamed response: ``async for`` gives its chunks, or ``read``.

    Given by ``async with client.stream(…)``, which closes it. One task at a time reads it. Where
    all was read, the connection is kept for the next call.

    Examples:
        ```python
        import asyncio

        from moby_plugins.aio import new_client
        from moby_plugins.testing import AsyncMemoryTransport

        plugin = AsyncMemoryTransport({"LogDriver.ReadLogs": b"line after line"})


        async def main():
            async with new_client("unix:///a.sock", connect=plugin.connect) as client:
                async with client.stream("LogDriver.ReadLogs") as stream:
                    assert [chunk async for chunk in stream] == [b"line after line"]


        asyncio.run(main())
        ```
    """

    __module__ = _DOOR

    def __init__(
        self, body: AsyncBody, method: str, address: str, plugin: str, ending: Ending | None = None
    ) -> None:
        self._body = body
        self._ending = ending or Ending()
        self._names = {"method": method, "address": address, "plugin": plugin}

    async def read(self, size: int = STREAM_BYTES) -> bytes:
        """Read a part of the body, as soon as there is any.

        Args:
            size: How many bytes to return at most, 1 or more.

        Returns:
            The bytes; ``b""`` at the end.

        Raises:
            TransportError: When the connection breaks or the time-out (``TransportTimeoutError``)
                runs out; ``answered`` is true.
            WireError: For a body that is cut off.
            WaitCancelledError: When the client is closed before the end.
        """
        if size < 1:
            raise ValueError("a stream is read by one byte or more at a time")
        try:
            return await self._body.read(size)
        except PluginError as error:
            vars(error).update(self._names)
            if self._ending.reason:
                raise self._ending.error(1) from error
            raise

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        data = await self.read()
        if not data:
            raise StopAsyncIteration
        return data

    def close(self) -> None:
        """Give the connection back, or close it where not all was read. Never waits."""
        self._body.close()

    def __repr__(self) -> str:
        names = self._names
        return f"<AsyncStream of {shown(names['method'])} from {shown(names['address'])}>"


class AsyncClient(ClientBase[AsyncRequest]):
    """Calls one plugin from asyncio: what ``new_client`` and an ``AsyncRegistry`` make.

    Tasks share it, and event loops may, at the same time or one after the other. A call that is
    cancelled ends at once, and leaves no connection that another call could use. Who made it closes
    it, and that closes the transport: calls under way end at once with ``WaitCancelledError``. A
    registry closes the clients of its plugins itself.

    Args:
        transport: Carries the requests; closed with the client.
        address: The plugin's.
        retry: When a call is tried again.
        timeout: Seconds for each attempt, the response's body included, where a call gives none;
            ``None`` is no bound.
        max_response_bytes: How many bytes of a response are decoded; a handshake's has at most 1
            MiB.
        name: The plugin's, for messages.
        on_retry: Called before each wait for another attempt, with the error and the seconds, where
            a call gives none.

    Examples:
        ```python
        import asyncio

        from moby_plugins import StatusError
        from moby_plugins.aio import new_client
        from moby_plugins.testing import AsyncMemoryTransport, status

        plugin = AsyncMemoryTransport({"Shelf.List": ["a"], "Shelf.Burn": status(500, "no fire")})


        async def main():
            async with new_client("unix:///shelf.sock", connect=plugin.connect) as client:
                assert await client.call("Shelf.List", {}, into=list[str], timeout=2.5) == ["a"]
                try:
                    await client.call("Shelf.Burn")
                except StatusError as error:
                    assert str(error) == "Shelf.Burn: no fire"


        asyncio.run(main())
        ```
    """

    __module__ = _DOOR
    _request_class = AsyncRequest

    def __init__(
        self,
        transport: AsyncTransport,
        address: Address,
        *,
        retry: RetryPolicy | None = None,
        timeout: float | None = None,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
        name: str = "",
        on_retry: OnRetry | None = None,
    ) -> None:
        super().__init__(address, retry, timeout, max_response_bytes, name)
        self._transport = filled("transport", transport, "send", "close")
        self._on_retry = on_retry and callable_or_none("on_retry", on_retry)

    @overload
    async def call(
        self,
        service_method: str,
        args: Any = None,
        into: None = None,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
        on_retry: OnRetry | None = None,
    ) -> Any: ...

    @overload
    async def call(
        self,
        service_method: str,
        args: Any = None,
        into: type[T] = ...,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
        on_retry: OnRetry | None = None,
    ) -> T: ...

    @overload
    async def call(
        self,
        service_method: str,
        args: Any = None,
        into: UnionType = ...,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
        on_retry: OnRetry | None = None,
    ) -> Any: ...

    async def call(
        self,
        service_method: str,
        args: Any = None,
        into: type[T] | UnionType | None = None,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
        on_retry: OnRetry | None = None,
    ) -> Any:
        """Call a method of the plugin, and return its answer.

        Args:
            service_method: ``VolumeDriver.Create``, for example.
            args: Sent as JSON: an attrs value, a dictionary, anything cattrs knows; ``None`` sends
                no body.
            into: The type of the result: an attrs class or any type cattrs knows, ``Volume | None``
                too.
            timeout: Seconds for each attempt, the response's body included; ``math.inf`` for no
                bound. All attempts together are bounded by ``asyncio.timeout``, say.
            retry: The policy for this call, in place of the client's.
            on_retry: Called before each wait for another attempt, with the error and the seconds;
                in place of the client's.

        Returns:
            A value of ``into``; without it plain JSON, ``None`` for an empty body.

        Raises:
            StatusError: For a response other than 200.
            WireError: For a response that cannot be read, is no ``into``, or is too large.
            TransportError: When no response came in any attempt, or it broke off;
                ``TransportTimeoutError`` where the time-out ran out.
            WaitCancelledError: When the client is closed before the end.
            ValueError: For a method, a time-out or arguments that cannot be sent.
            RuntimeError: When the client was closed before.
        """
        request = self.request(service_method, wire.encode(args))
        policy = self._retry if retry is None else policy_given(retry)
        if on_retry is not None:
            callable_or_none("on_retry", on_retry)
        if self._ending.reason:
            raise RuntimeError(CLOSED)
        started = asyncio.get_running_loop().time()
        # Nearly always the first attempt is the last: what others need is made for them alone.
        try:
            return await self.attempt(request, into, timeout)
        except PluginError as error:
            tries, told = Tries(policy, is_retryable, started, chance), self._told(on_retry)
            delay = delay_after(error, tries, told)
        await pause(self._ending, tries, delay)
        return await try_again(
            lambda number: self.attempt(self._numbered(request, number), into, timeout),
            tries,
            told,
            ending=self._ending,
        )

    def stream(
        self,
        service_method: str,
        args: Any = None,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
        on_retry: OnRetry | None = None,
    ) -> AbstractAsyncContextManager[AsyncStream]:
        """Call a method, and read the response's body as it comes, without a bound on its size.

        ``async with client.stream(…) as stream:`` sends the request; it is tried again, and raises,
        as ``call`` until there is a status line.

        Args:
            service_method: ``LogDriver.ReadLogs``, for example.
            args: As ``call`` takes them.
            timeout: Seconds for the request and all of the reading.
            retry: The policy for this call.
            on_retry: As ``call`` takes it.

        Returns:
            What gives the stream, and closes it at the end of the block.
        """
        request = self.request(service_method, wire.encode(args))
        return _Opening(
            lambda: self._try(
                lambda number: self._stream(self._numbered(request, number), timeout),
                retry,
                on_retry,
            )
        )

    @overload
    async def send_file(
        self,
        service_method: str,
        data: AsyncData,
        into: None = None,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
        on_retry: OnRetry | None = None,
    ) -> Any: ...

    @overload
    async def send_file(
        self,
        service_method: str,
        data: AsyncData,
        into: type[T] = ...,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
        on_retry: OnRetry | None = None,
    ) -> T: ...

    @overload
    async def send_file(
        self,
        service_method: str,
        data: AsyncData,
        into: UnionType = ...,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
        on_retry: OnRetry | None = None,
    ) -> Any: ...

    async def send_file(
        self,
        service_method: str,
        data: AsyncData,
        into: type[T] | UnionType | None = None,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
        on_retry: OnRetry | None = None,
    ) -> Any:
        """Send data as the request's body, and return the answer; raises as ``call``.

        A retry sends all of the data again: there is none once a part was read that cannot be
        rewound. What reading the data raises passes unchanged.

        Args:
            service_method: ``GraphDriver.ApplyDiff?id=1``, for example.
            data: Bytes, a file opened in binary mode (sent from where it stands, left open), an
                iterable or an asynchronous iterable of bytes. Sent with its length where that is
                known, in chunks otherwise. Reading a file or an iterable blocks the event loop.
            into: As ``call`` takes it.
            timeout: Seconds for each attempt.
            retry: The policy for this call.
            on_retry: As ``call`` takes it.

        Returns:
            What ``call`` returns.
        """
        if isinstance(data, bytes):
            whole = self.request(service_method, data)
            return await self._try(
                lambda number: self.attempt(self._numbered(whole, number), into, timeout),
                retry,
                on_retry,
            )
        upload = AsyncUpload(data)
        request = self.request(service_method, upload, upload.length)
        try:
            return await self._try(
                lambda number: self._send_upload(
                    self._numbered(request, number), upload, into, timeout
                ),
                retry,
                on_retry,
                lambda error: upload.error is None and is_retryable(error),
            )
        finally:
            upload.error = None  # its traceback refers to the upload

    async def attempt(
        self, request: AsyncRequest, into: type[T] | UnionType | None, timeout: float | None
    ) -> Any:
        """Send a request once, without a second attempt; raises as ``call``.

        Args:
            request: What ``request`` made.
            into: As ``call`` takes it.
            timeout: Seconds, the response's body included; ``None`` for the client's.

        Returns:
            What ``call`` returns.
        """
        try:
            response = await self._transport.send(request, self._time_out(timeout))
            if response.status != OK:
                await refuse(response, request.method)
            body, most = response.body, self._most(request)
            # Without a step where all of it is here.
            if type(body) is AsyncBytes and len(body.whole) <= most:
                return wire.decode(body.whole, into)
            return wire.decode(await read_whole(body, most), into)
        except (TransportError, WireError, StatusError) as error:
            if not _is_callers(error, request.body):
                self._account(error, request)
            raise

    def close(self) -> None:
        """Close the connections; a later call raises ``RuntimeError``. Never waits.

        Calls under way, and streams that are being read, end at once with ``WaitCancelledError``,
        and are not tried again. May be called more than once, by any thread.
        """
        self._ending.end(CLOSED)
        self._transport.close()

    def __repr__(self) -> str:
        named = f" {quoted(self._name)}" if self._name else ""
        return (
            f"<{type(self).__name__} of{named} {shown(self.address.text)} "
            f"over {shown(self._transport)}>"
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def _try(
        self,
        attempt: AsyncAttempt[T],
        policy: RetryPolicy | None,
        on_retry: OnRetry | None,
        retryable: IsRetryable = is_retryable,
    ) -> Awaitable[T]:
        policy = self._retry if policy is None else policy_given(policy)
        started = asyncio.get_running_loop().time()
        tries = Tries(policy, retryable, started, chance)
        return try_again(attempt, tries, self._told(on_retry), ending=self._ending)

    def _told(self, on_retry: OnRetry | None) -> OnRetry | None:
        """Return what is called before a call's next attempt."""
        return self._on_retry if on_retry is None else callable_or_none("on_retry", on_retry)

    async def _stream(self, request: AsyncRequest, timeout: float | None) -> AsyncStream:
        try:
            response = await self._transport.send(request, self._time_out(timeout))
            if response.status != OK:
                await refuse(response, request.method)
        except (TransportError, StatusError) as error:
            self._account(error, request)
            raise
        return AsyncStream(
            response.body, request.method, self.address.text, self._name, self._ending
        )

    async def _send_upload(
        self,
        request: AsyncRequest,
        upload: AsyncUpload,
        into: type[T] | UnionType | None,
        timeout: float | None,
    ) -> Any:
        try:
            return await self.attempt(request, into, timeout)
        except TransportError as error:
            if upload.error is None:
                upload.account(error)
                raise
        raise upload.error


class _Opening:
    """A stream for one ``async with``. No generator: one that is left would be left open."""

    def __init__(self, send: Callable[[], Awaitable[AsyncStream]]) -> None:
        self._send = send
        self._streams: list[AsyncStream] = []

    async def __aenter__(self) -> AsyncStream:
        self._streams.append(await self._send())
        return self._streams[-1]

    async def __aexit__(self, *_: object) -> None:
        self._streams.pop().close()


def _is_callers(error: PluginError, body: AsyncContent) -> bool:
    # Out of the data that the caller gave: another plugin's perhaps.
    return isinstance(body, AsyncUpload) and body.error is error
