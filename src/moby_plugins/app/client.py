"""The client of one plugin: call a method, stream a response, send a file (protocol.md A4, A5)."""

from collections.abc import Iterator
from types import UnionType
from typing import Any, Self, TypeVar, overload

from moby_plugins.app import wire
from moby_plugins.app.accounting import CLOSED, ClientBase
from moby_plugins.app.bodies import Data, Upload, is_callers, raise_for_status, read_limited
from moby_plugins.app.retrying import Attempt, Ending, OnRetry
from moby_plugins.app.retrying import retry as try_again
from moby_plugins.deferred_names import AtDoor
from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import (
    PluginError,
    StatusError,
    TransportError,
    WaitCancelledError,
    WireError,
)
from moby_plugins.domain.http import STREAM_BYTES, Body, Request
from moby_plugins.domain.retry import IsRetryable, RetryPolicy, is_retryable, policy_given
from moby_plugins.domain.text import quoted, shown
from moby_plugins.ports import (
    BeginningTransport,
    Clock,
    PendingResponse,
    Transport,
    callable_or_none,
    filled,
)

_DOOR = AtDoor("moby_plugins", __name__)

MAX_RESPONSE_BYTES = 64 << 20
T = TypeVar("T")


class Stream:
    """A streamed response, returned by ``Client.stream``: iterate over its chunks, or ``read`` it.

    Only one thread at a time may read it; any thread may close it. The caller closes it, for
    example with a ``with`` block. If the whole body was read, the connection is kept for the next
    call.

    Examples:
        ```python
        from moby_plugins import new_client
        from moby_plugins.testing import FaultServer

        with FaultServer.tcp({"LogDriver.ReadLogs": b"line after line"}) as plugin:
            with new_client(plugin.addr) as client, client.stream("LogDriver.ReadLogs") as stream:
                assert b"".join(stream) == b"line after line"
        ```
    """

    __module__ = _DOOR

    def __init__(
        self, body: Body, method: str, address: str, plugin: str, ending: Ending | None = None
    ) -> None:
        self._body = body
        self._ending = ending or Ending()
        self._names = {"method": method, "address": address, "plugin": plugin}
        self._closed = False

    def read(self, size: int = STREAM_BYTES) -> bytes:
        """Read the next part of the body, as soon as some of it has been received.

        Args:
            size: The largest number of bytes to return, 1 or more.

        Returns:
            The bytes; ``b""`` at the end of the body.

        Raises:
            TransportError: If the connection breaks, the time-out expires
                (``TransportTimeoutError``), or another thread closes the stream during the read;
                ``answered`` is true.
            WireError: If the body is cut off.
            WaitCancelledError: If the client is closed before the end of the body.
            ValueError: If ``size`` is less than 1.
        """
        if size < 1:
            raise ValueError("the size for reading a stream must be 1 or more")
        was_closed = self._closed
        try:
            data = self._body.read(size)
        except Exception as error:
            if isinstance(error, PluginError):
                vars(error).update(self._names)
            if self._ending.reason:
                raise self._cut_off() from error
            # An HTTP library may raise anything if its connection is closed under it, or take the
            # body for one that was cut off.
            if self._closed and not isinstance(error, TransportError):
                raise self._closed_during_a_read() from error
            raise
        if not data and self._closed and not was_closed:
            raise self._closed_during_a_read()
        return data

    def __iter__(self) -> Iterator[bytes]:
        while data := self.read():
            yield data

    def close(self) -> None:
        """Release the connection; close it if a part of the body is unread.

        May be called more than once, by any thread.
        """
        self._closed = True
        self._body.close()

    def _closed_during_a_read(self) -> TransportError:
        error = TransportError("the stream was closed while it was read")
        error.answered = True
        vars(error).update(self._names)
        return error

    def _cut_off(self) -> WaitCancelledError:
        """Return the error of a read after the client was closed."""
        return self._ending.error(1)

    def __repr__(self) -> str:
        names = self._names
        return f"<Stream of {shown(names['method'])} from {shown(names['address'])}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Client(ClientBase[Request]):
    """A client of one plugin, made by ``new_client`` or by a registry. Threads may share it.

    The caller of ``new_client`` closes it; a registry closes the clients of its plugins. Closing a
    client closes its transport, and ends each call that is running with ``WaitCancelledError``.

    Args:
        transport: Sends the requests; closed with the client.
        address: The plugin's address.
        clock: The clock that retries sleep on.
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
        from moby_plugins import Settings, StatusError, new_client
        from moby_plugins.testing import MemoryTransport, status

        plugin = MemoryTransport({"Shelf.List": ["a"], "Shelf.Burn": status(500, "no fire here")})
        settings = Settings(transports={"unix": plugin.connect})
        with new_client("unix:///shelf.sock", settings=settings) as client:
            assert client.call("Shelf.List", {}, into=list[str], timeout=2.5) == ["a"]
            try:
                client.call("Shelf.Burn")
            except StatusError as error:
                assert str(error) == "Shelf.Burn: no fire here"
        ```
    """

    __module__ = _DOOR

    def __init__(
        self,
        transport: Transport,
        address: Address,
        *,
        clock: Clock,
        retry: RetryPolicy | None = None,
        timeout: float | None = None,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
        name: str = "",
        on_retry: OnRetry | None = None,
    ) -> None:
        super().__init__(address, retry, timeout, max_response_bytes, name)
        self._on_retry = on_retry and callable_or_none("on_retry", on_retry)
        self._transport = filled("transport", transport, "send", "close")
        self._clock = filled("clock", clock, "now", "sleep", "wait", "working")

    @overload
    def call(
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
    def call(
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
    def call(
        self,
        service_method: str,
        args: Any = None,
        into: UnionType = ...,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
        on_retry: OnRetry | None = None,
    ) -> Any: ...

    def call(
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
            ValueError: If the method, the time-out or the arguments cannot be sent.
            RuntimeError: If the client was closed before the call.
        """
        request = self.request(service_method, wire.encode(args))
        # The retry loop calls this for each attempt; ``attempt`` sends the request once.
        return self._try(
            lambda number: self.attempt(self._numbered(request, number), into, timeout),
            retry,
            on_retry,
        )

    def stream(
        self,
        service_method: str,
        args: Any = None,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
        on_retry: OnRetry | None = None,
    ) -> Stream:
        """Call a method, and return a stream of the response's body, whose size is not limited.

        The request is sent before this method returns. Until the status line of a response is
        received, this method retries as the policy allows.

        Args:
            service_method: The method's name, for example ``LogDriver.ReadLogs``.
            args: The arguments, sent as JSON; ``None`` sends no body.
            timeout: Seconds for the request and for reading the whole body; ``math.inf`` for no
                limit; ``None`` for the client's time-out.
            retry: The policy for this call, instead of the client's.
            on_retry: Called before each wait for another attempt, with the error and the length of
                the wait in seconds; instead of the client's.

        Returns:
            The stream; the caller closes it.

        Raises:
            StatusError: If the response has another status than 200.
            TransportError: If no attempt received a status line; ``TransportTimeoutError`` if the
                time-out expired.
            WaitCancelledError: If the client is closed before the call ends.
            ValueError: If the method, the time-out or the arguments cannot be sent.
            RuntimeError: If the client was closed before the call.
        """
        request = self.request(service_method, wire.encode(args))
        # The retry loop calls this for each attempt; ``_stream`` sends the request once.
        return self._try(
            lambda number: self._stream(self._numbered(request, number), timeout), retry, on_retry
        )

    @overload
    def send_file(
        self,
        service_method: str,
        data: Data,
        into: None = None,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
        on_retry: OnRetry | None = None,
    ) -> Any: ...

    @overload
    def send_file(
        self,
        service_method: str,
        data: Data,
        into: type[T] = ...,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
        on_retry: OnRetry | None = None,
    ) -> T: ...

    @overload
    def send_file(
        self,
        service_method: str,
        data: Data,
        into: UnionType = ...,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
        on_retry: OnRetry | None = None,
    ) -> Any: ...

    def send_file(
        self,
        service_method: str,
        data: Data,
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
                closed), or an iterable of bytes. Sent with a ``Content-Length`` if its length is
                known, and in chunks otherwise.
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
            return self._try(
                lambda number: self.attempt(self._numbered(whole, number), into, timeout),
                retry,
                on_retry,
            )
        upload = Upload(data)
        request = self.request(service_method, upload, upload.length)
        try:
            return self._try(
                lambda number: self._send_upload(
                    self._numbered(request, number), upload, into, timeout
                ),
                retry,
                on_retry,
                lambda error: upload.error is None and is_retryable(error),
            )
        finally:
            upload.end()

    def begin(self, request: Request, timeout: float | None) -> PendingResponse | None:
        """Begin an attempt without waiting for the response.

        Raises ``TransportError`` if the plugin cannot be reached, and ``WaitCancelledError`` if the
        client is closed.

        Args:
            request: A request that ``self.request`` made.
            timeout: Seconds, the response's body included; ``None`` for the client's time-out.

        Returns:
            The pending response, to be passed to ``attempt``; ``None`` if the transport cannot
            begin a request without waiting.
        """
        # Test the class: ``issubclass`` caches its result, ``isinstance`` looks at each method.
        if not issubclass(type(self._transport), BeginningTransport):
            return None
        transport: Any = self._transport
        try:
            begun: PendingResponse | None = transport.begin(request, self._time_out(timeout))
        except TransportError as error:
            self._account(error, request)
            raise
        return begun

    def attempt(
        self,
        request: Request,
        into: type[T] | UnionType | None,
        timeout: float | None,
        pending: PendingResponse | None = None,
    ) -> Any:
        """Send a request once, without a retry, and return the decoded response.

        Args:
            request: A request that ``self.request`` made.
            into: The type of the result: an attrs class or any other type that cattrs can
                structure; ``None`` for the JSON value itself.
            timeout: Seconds, the response's body included; ``None`` for the client's time-out.
            pending: The response that ``begin`` returned, if the attempt was begun.

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
            if pending is None:
                response = self._transport.send(request, self._time_out(timeout))
            else:
                response = pending.finish()
            body = raise_for_status(response, request.method)
            try:
                data = read_limited(body, self._most(request))
            finally:
                body.close()
            return wire.decode(data, into)
        except (TransportError, WireError, StatusError) as error:
            if not is_callers(error, request.body):
                self._account(error, request)
            raise

    def close(self) -> None:
        """Close the connections; a later call raises ``RuntimeError``.

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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _try(
        self,
        attempt: Attempt[T],
        policy: RetryPolicy | None,
        on_retry: OnRetry | None,
        retryable: IsRetryable = is_retryable,
    ) -> T:
        with self._clock.working():
            return try_again(
                attempt,
                self._retry if policy is None else policy_given(policy),
                self._clock,
                retryable,
                self._on_retry if on_retry is None else self._telling(on_retry),
                ending=self._ending,
            )

    def _telling(self, on_retry: OnRetry) -> OnRetry:
        """Return the callback for retries of one call: ``on_retry``; a subclass may wrap it.

        Raises ``TypeError`` if ``on_retry`` cannot be called.
        """
        return callable_or_none("on_retry", on_retry)

    def _stream(self, request: Request, timeout: float | None) -> Stream:
        try:
            response = self._transport.send(request, self._time_out(timeout))
            body = raise_for_status(response, request.method)
        except (TransportError, StatusError) as error:
            self._account(error, request)
            raise
        return Stream(body, request.method, self.address.text, self._name, self._ending)

    def _send_upload(
        self,
        request: Request,
        upload: Upload,
        into: type[T] | UnionType | None,
        timeout: float | None,
    ) -> Any:
        try:
            return self.attempt(request, into, timeout)
        except TransportError as error:
            if upload.error is None:
                upload.account(error)
                raise
        raise upload.error
