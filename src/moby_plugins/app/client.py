"""A client of one plugin: call, stream, send a file (protocol.md A4, A5)."""

import math
from collections.abc import Callable
from typing import Any, Self, TypeVar, overload

from attrs import evolve

from moby_plugins.app import wire
from moby_plugins.app.answer import Stream, accepted, read_whole
from moby_plugins.app.retrying import IsRetryable
from moby_plugins.app.retrying import retry as try_again
from moby_plugins.app.upload import Data, Upload
from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import TransportError, WireError
from moby_plugins.domain.http import CONTENT_TYPE, USER_AGENT, Body, Content, Request
from moby_plugins.domain.retry import RetryPolicy, is_retryable
from moby_plugins.ports import Clock, Transport

MAX_RESPONSE_BYTES = 64 << 20

T = TypeVar("T")


class Client:
    """Calls the plugin at ``address`` over ``transport``, and tries again as ``retry`` says.

    ``timeout`` (seconds) bounds each attempt, its answer's body included, where
    a call names none of its own; ``None`` is no bound. ``max_response_bytes``
    bounds what is decoded. ``name`` is the plugin's, for messages. Threads may
    share a client. Whoever made it closes it, and that closes the transport.
    """

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
    ) -> None:
        self.address = address
        self._transport = transport
        self._clock = clock
        self._retry = retry or RetryPolicy()
        self._timeout = seconds(timeout)
        self._limit = max_response_bytes
        self._name = name
        self._closed = False
        self._headers = {
            "Host": address.host_header,
            "Accept": CONTENT_TYPE,
            "User-Agent": USER_AGENT,
        }

    @overload
    def call(
        self,
        service_method: str,
        args: Any = None,
        into: None = None,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
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
    ) -> T: ...

    def call(
        self,
        service_method: str,
        args: Any = None,
        into: type[T] | None = None,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> Any:
        """The plugin's answer to ``service_method``, ``VolumeDriver.Create`` for example.

        ``args`` are sent as JSON: an attrs value, a dictionary, anything cattrs
        knows; ``None`` sends no body. The answer is read as ``into``, an attrs
        class or any type cattrs knows; without it, it is plain JSON, ``None`` for
        an empty body. ``timeout`` (seconds, ``math.inf`` for none) bounds each
        attempt, ``retry`` is the policy for this call.

        Raises ``StatusError`` for an answer other than 200, ``WireError`` for one
        that cannot be read, ``TransportError`` when no answer came in spite of
        all attempts, and ``ValueError`` for a method or arguments that cannot be
        sent.
        """
        return self._try(
            self.request(service_method, wire.encode(args)),
            lambda request: self.attempt(request, into, timeout),
            retry,
        )

    def stream(
        self,
        service_method: str,
        args: Any = None,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> Stream:
        """The answer's body as it comes, without a bound on its size: a context manager.

        The request is sent now, and raises as ``call`` does until there is a
        status line. ``timeout`` bounds the reading too.
        """
        return self._try(
            self.request(service_method, wire.encode(args)),
            lambda request: self._stream(request, timeout),
            retry,
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
    ) -> T: ...

    def send_file(
        self,
        service_method: str,
        data: Data,
        into: type[T] | None = None,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> Any:
        """The answer to ``data`` sent as the request's body; read as ``call`` reads it.

        ``data`` is bytes, a file opened in binary mode (sent from where it
        stands, and left open), or an iterable of bytes. It is sent with its
        length where that is known, in chunks otherwise. A retry sends all of it
        again, so there is none once a part was read that cannot be rewound; what
        the iterable itself raises passes unchanged. Raises as ``call`` does.
        """
        if isinstance(data, bytes):
            return self._try(
                self.request(service_method, data),
                lambda request: self.attempt(request, into, timeout),
                retry,
            )
        upload = Upload(data)
        return self._try(
            self.request(service_method, upload, upload.length),
            lambda request: self._send_upload(request, upload, into, timeout),
            retry,
            lambda error: upload.error is None and is_retryable(error),
        )

    def request(
        self,
        service_method: str,
        body: Content = b"",
        length: int | None = None,
        attempt: int = 1,
    ) -> Request:
        """A request as this client sends it, with its headers."""
        return Request(service_method, body, self._headers, length, attempt)

    def attempt(self, request: Request, into: type[T] | None, timeout: float | None) -> Any:
        """One attempt at a call, and no second: for those who retry more than the call."""
        try:
            body = self._open(request, timeout)
            try:
                data = read_whole(body, self._limit)
            finally:
                body.close()
            return wire.decode(data, into)
        except (TransportError, WireError) as error:
            self._sign(error, request)
            raise

    def close(self) -> None:
        """Give up idle connections; a later call raises ``RuntimeError``."""
        self._closed = True
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _try(
        self,
        request: Request,
        send: Callable[[Request], T],
        policy: RetryPolicy | None,
        retryable: IsRetryable = is_retryable,
    ) -> T:
        def attempt(number: int) -> T:
            if self._closed:
                raise RuntimeError("this client is closed")
            return send(request if number == 1 else evolve(request, attempt=number))

        with self._clock.working():
            return try_again(attempt, policy or self._retry, self._clock, retryable)

    def _open(self, request: Request, timeout: float | None) -> Body:
        limit = self._timeout if timeout is None else seconds(timeout)
        return accepted(self._transport.send(request, limit), request.method)

    def _stream(self, request: Request, timeout: float | None) -> Stream:
        try:
            body = self._open(request, timeout)
        except TransportError as error:
            self._sign(error, request)
            raise
        return Stream(body, request.method, self.address.text, self._name)

    def _send_upload(
        self, request: Request, upload: Upload, into: type[T] | None, timeout: float | None
    ) -> Any:
        try:
            return self.attempt(request, into, timeout)
        except TransportError as error:
            if upload.error is None:
                error.body_spent = not error.answered and not upload.rewind()
                raise
        raise upload.error

    def _sign(self, error: TransportError | WireError, request: Request) -> None:
        if isinstance(request.body, Upload) and request.body.error is error:
            return  # the caller's own, another plugin's perhaps
        error.plugin, error.address = self._name, self.address.text
        if isinstance(error, WireError):
            error.method = request.method


def seconds(timeout: float | None) -> float | None:
    """A time-out as transports take it: ``None`` for no bound; ``ValueError`` unless positive."""
    if timeout is None or timeout == math.inf:
        return None
    if not timeout > 0:
        raise ValueError(f"a time-out is a positive number of seconds, not {timeout!r}")
    return float(timeout)
