"""The asynchronous client of one plugin; ``app/client.py`` is the synchronous one."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import UnionType
from typing import Any, Self, TypeVar, overload

from moby_plugins.app import wire
from moby_plugins.app.accounting import CLOSED, ClientBase
from moby_plugins.app.aio.attempts import AsyncAttempt, pause
from moby_plugins.app.aio.attempts import retry as try_again
from moby_plugins.app.aio.bodies import AsyncData, AsyncUpload, read_limited, refuse
from moby_plugins.app.bodies import is_callers
from moby_plugins.app.client import MAX_RESPONSE_BYTES
from moby_plugins.app.retrying import Ending, OnRetry, chance, delay_after
from moby_plugins.async_ports import AsyncTransport
from moby_plugins.deferred_names import AtDoor
from moby_plugins.domain.address import Address
from moby_plugins.domain.async_http import AsyncBody, AsyncBytes, AsyncRequest
from moby_plugins.domain.errors import (
    PluginError,
    StatusError,
    TransportError,
    WaitCancelledError,
    WireError,
)
from moby_plugins.domain.http import OK, STREAM_BYTES
from moby_plugins.domain.retry import IsRetryable, RetryPolicy, Tries, is_retryable, policy_given
from moby_plugins.domain.text import quoted, shown
from moby_plugins.ports import callable_or_none, filled

_DOOR = AtDoor("moby_plugins.aio", __name__)

T = TypeVar("T")


class AsyncStream:
    """A streamed response: iterate over its chunks with ``async for``, or ``read`` it.

    ``async with client.stream(…)`` returns and closes it. Only one task at a time may read it. If
    the whole body was read, the connection is kept for the next call.

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
        self._is_reading = False

    async def read(self, size: int = STREAM_BYTES) -> bytes:
        """Read the next part of the body, as soon as some of it has been received.

        Args:
            size: The largest number of bytes to return, 1 or more.

        Returns:
            The bytes; ``b""`` at the end of the body.

        Raises:
            TransportError: If the connection breaks, or the time-out expires
                (``TransportTimeoutError``); ``answered`` is true.
            WireError: If the body is cut off.
            WaitCancelledError: If the client is closed before the end of the body.
            ValueError: If ``size`` is less than 1.
            RuntimeError: If another task is reading the stream.
        """
        if size < 1:
            raise ValueError("the size for reading a stream must be 1 or more")
        if self._is_reading:
            raise RuntimeError("another task is reading this stream")
        self._is_reading = True
        try:
            return await self._body.read(size)
        except PluginError as error:
            vars(error).update(self._names)
            if self._ending.reason:
                raise self._cut_off() from error
            raise
        finally:
            self._is_reading = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        data = await self.read()
        if not data:
            raise StopAsyncIteration
        return data

    def close(self) -> None:
        """Release the connection, or close it if a part of the body is unread. Never waits."""
        self._body.close()

    def _cut_off(self) -> WaitCancelledError:
        """Return the error of a read after the client was closed."""
        return self._ending.error(1)

    def __repr__(self) -> str:
        names = self._names
        return f"<AsyncStream of {shown(names['method'])} from {shown(names['address'])}>"


class AsyncClient(ClientBase[AsyncRequest]):
    """An asynchronous client of one plugin, made by ``new_client`` or by an ``AsyncRegistry``.

    Tasks may share it, and so may event loops, at the same time or in sequence. A cancelled call
    ends at once, and its connection is not used again. The caller of ``new_client`` closes the
    client; a registry closes the clients of its plugins. Closing a client closes its transport, and
    ends each running call with ``WaitCancelledError``.

    Args:
        transport: Sends the requests; closed with the client.
        address: The plugin's address.
        retry: The policy that decides when a call is tried again.
        timeout: The default time-out: seconds for each attempt, the response's body included;
            ``None`` means no limit.
        max_response_bytes: The most bytes that a response may have; the response to a handshake may
            have at most 1 MiB.
        name: The plugin's name, for messages.
        on_retry: The default callback for retries: called before each wait for another attempt,
            with the error and the length of the wait in seconds.

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
        """Call a method of the plugin, and return the decoded response.

        Args:
            service_method: The method's name, for example ``VolumeDriver.Create``.
            args: The arguments, sent as JSON: an attrs value, a dictionary, or any other value that
                cattrs can convert; ``None`` sends no body.
            into: The type of the result: an attrs class or any other type that cattrs can
                structure, such as ``Volume | None``.
            timeout: Seconds for each attempt, the response's body included; ``math.inf`` for no
                limit; ``None`` for the client's time-out. To limit all attempts together, use
                ``asyncio.timeout``.
            retry: The policy for this call, instead of the client's.
            on_retry: Called before each wait for another attempt, with the error and the length of
                the wait in seconds; instead of the client's.

        Returns:
            A value of the type ``into``; without ``into`` the JSON value, ``None`` for an empty
            body.

        Raises:
            StatusError: If the response has another status than 200.
            WireError: If the response is not valid, does not fit ``into``, or is too large.
            TransportError: If no attempt received a whole response; ``TransportTimeoutError`` if
                the time-out expired.
            WaitCancelledError: If the client is closed before the call ends.
            ValueError: If the method, the time-out or the arguments cannot be sent.
            RuntimeError: If the client was closed before the call.
        """
        request = self.request(service_method, wire.encode(args))
        policy = self._retry if retry is None else policy_given(retry)
        if on_retry is not None:
            callable_or_none("on_retry", on_retry)
        if self._ending.reason:
            raise RuntimeError(CLOSED)
        started = asyncio.get_running_loop().time()
        # Most first attempts succeed, so ``Tries`` is made only after a failure.
        try:
            return await self.attempt(request, into, timeout)
        except PluginError as error:
            tries, callback = (
                Tries(policy, is_retryable, started, chance),
                self._retry_callback(on_retry),
            )
            delay = delay_after(error, tries, asyncio.get_running_loop().time(), callback)
            if delay is None:
                raise
        await pause(self._ending, tries, delay)
        return await try_again(
            lambda number: self.attempt(self._numbered(request, number), into, timeout),
            tries,
            callback,
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
        """Call a method, and return a stream of the response's body, whose size is not limited.

        ``async with client.stream(…) as stream:`` sends the request. Until the status line of a
        response is received, it retries as the policy allows.

        Args:
            service_method: The method's name, for example ``LogDriver.ReadLogs``.
            args: The arguments, sent as JSON; ``None`` sends no body.
            timeout: Seconds for the request and for reading the whole body; ``math.inf`` for no
                limit; ``None`` for the client's time-out.
            retry: The policy for this call, instead of the client's.
            on_retry: Called before each wait for another attempt, with the error and the length of
                the wait in seconds; instead of the client's.

        Returns:
            An asynchronous context manager that gives the stream, and closes it.

        Raises:
            StatusError: If the response has another status than 200.
            TransportError: If no attempt received a status line; ``TransportTimeoutError`` if the
                time-out expired.
            WaitCancelledError: If the client is closed before the call ends.
            ValueError: If the method, the time-out or the arguments cannot be sent.
            RuntimeError: If the client was closed before the call.
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
        """Send data as the request's body, and return the decoded response.

        A retry sends all of the data again. If a part of the data was read and cannot be rewound,
        the call is not retried. An exception that is raised by reading the data passes unchanged.

        Args:
            service_method: The method's name and query, for example ``GraphDriver.ApplyDiff?id=1``.
            data: Bytes, a file opened in binary mode (sent from its current position, and not
                closed), an iterable or an asynchronous iterable of bytes. Sent with a
                ``Content-Length`` if its length is known, and in chunks otherwise. Reading a file
                or an iterable blocks the event loop.
            into: The type of the result: an attrs class or any other type that cattrs can
                structure; ``None`` for the JSON value itself.
            timeout: Seconds for each attempt, the response's body included; ``math.inf`` for no
                limit; ``None`` for the client's time-out.
            retry: The policy for this call, instead of the client's.
            on_retry: Called before each wait for another attempt, with the error and the length of
                the wait in seconds; instead of the client's.

        Returns:
            A value of the type ``into``; without ``into`` the JSON value, ``None`` for an empty
            body.

        Raises:
            StatusError: If the response has another status than 200.
            WireError: If the response is not valid, does not fit ``into``, or is too large.
            TransportError: If no attempt received a whole response; ``TransportTimeoutError`` if
                the time-out expired.
            WaitCancelledError: If the client is closed before the call ends.
            ValueError: If the method, the time-out or the data cannot be sent.
            RuntimeError: If the client was closed before the call.
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
            upload.error = None  # its traceback refers to the upload: break the cycle

    async def attempt(
        self, request: AsyncRequest, into: type[T] | UnionType | None, timeout: float | None
    ) -> Any:
        """Send a request once, without a retry, and return the decoded response.

        Args:
            request: A request that ``self.request`` made.
            into: The type of the result: an attrs class or any other type that cattrs can
                structure; ``None`` for the JSON value itself.
            timeout: Seconds, the response's body included; ``None`` for the client's time-out.

        Returns:
            A value of the type ``into``; without ``into`` the JSON value, ``None`` for an empty
            body.

        Raises:
            StatusError: If the response has another status than 200.
            WireError: If the response is not valid, does not fit ``into``, or is too large.
            TransportError: If no whole response was received; ``TransportTimeoutError`` if
                the time-out expired.
            WaitCancelledError: If the client is closed before the call ends.
            ValueError: If the time-out is not valid.
        """
        try:
            response = await self._transport.send(request, self._time_out(timeout))
            if response.status != OK:
                await refuse(response, request.method)
            body, most = response.body, self._most(request)
            # A body that is complete in memory is read without another coroutine.
            if type(body) is AsyncBytes and len(body.whole) <= most:
                return wire.decode(body.whole, into)
            return wire.decode(await read_limited(body, most), into)
        except (TransportError, WireError, StatusError) as error:
            if not is_callers(error, request.body):
                self._account(error, request)
            raise

    def close(self) -> None:
        """Close the connections; a later call raises ``RuntimeError``. Never waits.

        Running calls, and reads of a stream, end at once with ``WaitCancelledError`` and are not
        retried. May be called more than once, by any thread.
        """
        try:
            self._ending.end(CLOSED)
        finally:
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
        return try_again(attempt, tries, self._retry_callback(on_retry), ending=self._ending)

    def _retry_callback(self, on_retry: OnRetry | None) -> OnRetry | None:
        """Return the function to call before a retry: ``on_retry``, checked, or the client's."""
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
    """The context manager of a stream; not a generator, which could be left unfinished."""

    def __init__(self, send: Callable[[], Awaitable[AsyncStream]]) -> None:
        self._send = send
        self._streams: list[AsyncStream] = []

    async def __aenter__(self) -> AsyncStream:
        self._streams.append(await self._send())
        return self._streams[-1]

    async def __aexit__(self, *_: object) -> None:
        self._streams.pop().close()
