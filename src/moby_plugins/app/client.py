"""A client of one plugin: call, stream, send a file (protocol.md A4, A5)."""

from collections.abc import Iterator
from types import UnionType
from typing import Any, Self, TypeVar, cast, overload

from moby_plugins.app import wire
from moby_plugins.app.accounting import CLOSED, ClientBase
from moby_plugins.app.bodies import Data, Upload, accepted, read_whole
from moby_plugins.app.retrying import Attempt, Ending, OnRetry
from moby_plugins.app.retrying import retry as try_again
from moby_plugins.deferred_names import AtDoor
from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import PluginError, StatusError, TransportError, WireError
from moby_plugins.domain.http import (
    STREAM_BYTES,
    Body,
    Content,
    Request,
)
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
    """A streamed response: iterate over it for chunks, or ``read``. Made by ``Client.stream``.

    One thread at a time reads it; any thread may close it. Who asked for it closes it, as leaving a
    ``with`` block does. Where all was read, the connection is kept for the next call.

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

    def read(self, size: int = STREAM_BYTES) -> bytes:
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
            return self._body.read(size)
        except PluginError as error:
            vars(error).update(self._names)
            if self._ending.reason:
                raise self._ending.error(1) from error
            raise

    def __iter__(self) -> Iterator[bytes]:
        while data := self.read():
            yield data

    def close(self) -> None:
        """Give the connection back, or close it where not all was read; may be called twice."""
        self._body.close()

    def __repr__(self) -> str:
        names = self._names
        return f"<Stream of {shown(names['method'])} from {shown(names['address'])}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Client(ClientBase[Request]):
    """Calls one plugin: what ``new_client`` and a registry make. Threads may share it.

    Who made it closes it, and that closes the transport: calls under way end at once with
    ``WaitCancelledError``. A registry closes the clients of its plugins itself.

    Args:
        transport: Carries the requests; closed with the client.
        address: The plugin's.
        clock: What retries sleep on.
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
        """Call a method of the plugin, and return its answer.

        Args:
            service_method: ``VolumeDriver.Create``, for example.
            args: Sent as JSON: an attrs value, a dictionary, anything cattrs knows; ``None`` sends
                no body.
            into: The type of the result: an attrs class or any type cattrs knows, ``Volume | None``
                too.
            timeout: Seconds for each attempt, the response's body included; ``math.inf`` for no
                bound.
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
        """Call a method, and return the response's body as it comes, without a bound on its size.

        The request is sent now; it is tried again, and raises, as ``call`` until there is a status
        line.

        Args:
            service_method: ``LogDriver.ReadLogs``, for example.
            args: As ``call`` takes them.
            timeout: Seconds for the request and all of the reading.
            retry: The policy for this call.
            on_retry: As ``call`` takes it.

        Returns:
            The stream, for the caller to close.
        """
        request = self.request(service_method, wire.encode(args))
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
        """Send data as the request's body, and return the answer; raises as ``call``.

        A retry sends all of the data again: there is none once a part was read that cannot be
        rewound. What reading the data raises passes unchanged.

        Args:
            service_method: ``GraphDriver.ApplyDiff?id=1``, for example.
            data: Bytes, a file opened in binary mode (sent from where it stands, left open), or an
                iterable of bytes. Sent with its length where that is known, in chunks otherwise.
            into: As ``call`` takes it.
            timeout: Seconds for each attempt.
            retry: The policy for this call.
            on_retry: As ``call`` takes it.

        Returns:
            What ``call`` returns.
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
        """Begin an attempt without a wait; raises as ``call``.

        Args:
            request: What ``request`` made.
            timeout: Seconds, the response's body included; ``None`` for the client's.

        Returns:
            The response, for ``attempt``; ``None`` where the transport cannot begin without a wait.
        """
        # Of its class, as Python remembers the answer; of an instance it looks at each method.
        if not issubclass(type(self._transport), BeginningTransport):
            return None
        transport = cast("BeginningTransport", self._transport)
        try:
            return transport.begin(request, self._time_out(timeout))
        except TransportError as error:
            self._account(error, request)
            raise

    def attempt(
        self,
        request: Request,
        into: type[T] | UnionType | None,
        timeout: float | None,
        pending: PendingResponse | None = None,
    ) -> Any:
        """Send a request once, without a second attempt; raises as ``call``.

        Args:
            request: What ``request`` made.
            into: As ``call`` takes it.
            timeout: Seconds, the response's body included; ``None`` for the client's.
            pending: The response, where the attempt was begun.

        Returns:
            What ``call`` returns.
        """
        try:
            if pending is None:
                response = self._transport.send(request, self._time_out(timeout))
            else:
                response = pending.finish()
            body = accepted(response, request.method)
            try:
                data = read_whole(body, self._most(request))
            finally:
                body.close()
            return wire.decode(data, into)
        except (TransportError, WireError, StatusError) as error:
            if not _is_callers(error, request.body):
                self._account(error, request)
            raise

    def close(self) -> None:
        """Close the connections; a later call raises ``RuntimeError``.

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
        """Return what is called before each wait for another attempt."""
        return callable_or_none("on_retry", on_retry)

    def _stream(self, request: Request, timeout: float | None) -> Stream:
        try:
            response = self._transport.send(request, self._time_out(timeout))
            body = accepted(response, request.method)
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


def _is_callers(error: PluginError, body: Content) -> bool:
    # Out of the data that the caller gave: another plugin's perhaps.
    return isinstance(body, Upload) and body.error is error
