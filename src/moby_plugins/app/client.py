"""A client of one plugin: call, stream, send a file (protocol.md A4, A5).

``read_whole``, ``accepted`` and ``Stream`` read a response's body, within a bound or as it comes;
``Upload`` is a request's body that is sent as it is read. ``Client`` puts them in order.
"""

import io
import os
from collections.abc import Iterable, Iterator
from types import UnionType
from typing import Any, BinaryIO, Self, TypeAlias, TypeVar, cast, overload

from moby_plugins.app import wire
from moby_plugins.app.accounting import CLOSED, ClientBase
from moby_plugins.app.retrying import Attempt, Ending
from moby_plugins.app.retrying import retry as try_again
from moby_plugins.deferred_names import AtDoor
from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import PluginError, StatusError, TransportError, WireError
from moby_plugins.domain.http import (
    OK,
    STREAM_BYTES,
    Body,
    Content,
    ErrorText,
    Remaining,
    Request,
    Response,
    Whole,
    checked_chunks,
    too_large,
)
from moby_plugins.domain.retry import IsRetryable, RetryPolicy, is_retryable
from moby_plugins.domain.text import quoted, shown
from moby_plugins.ports import Clock, Transport, filled

_DOOR = AtDoor("moby_plugins", __name__)

# What is read of a file, and sent, at once: twice as much would no longer fit a socket.
STEP_BYTES = 128 << 10
Data: TypeAlias = bytes | BinaryIO | Iterable[bytes]
MAX_RESPONSE_BYTES = 64 << 20
T = TypeVar("T")


def read_whole(body: Body, limit: int) -> bytes:
    """All of ``body``, in at most ``limit`` bytes; more is a ``WireError``. Closes nothing."""
    if isinstance(body, io.BytesIO):  # all of it is here
        data = body.read(limit + 1)
        if len(data) > limit:
            raise too_large(limit)
        return data
    whole = Whole(limit)
    while data := body.read(whole.room):
        whole.add(data)
    return whole.value


def accepted(response: Response, method: str) -> Body:
    """The body of an answer with status 200; any other is closed and raised as ``StatusError``.

    Its text is cut after 1 MiB, and where it breaks off, what came of it counts.
    """
    if response.status == OK:
        return response.body
    text = ErrorText()
    try:
        while text.room and (data := response.body.read(text.room)):
            text.add(data)
    except (TransportError, WireError) as error:
        raise text.error(response.status, method) from error
    finally:
        response.body.close()
    raise text.error(response.status, method)


class Stream:
    """A streamed answer: ``with client.stream(…) as stream``; iterating gives chunks.

    One thread at a time reads it. ``close`` gives the connection back if all was
    read, and gives it up otherwise; leaving the ``with`` block closes.
    """

    __module__ = _DOOR

    def __init__(
        self, body: Body, method: str, address: str, plugin: str, ending: Ending | None = None
    ) -> None:
        self._body = body
        self._ending = ending or Ending()
        self._names = {"method": method, "address": address, "plugin": plugin}

    def read(self, size: int = STREAM_BYTES) -> bytes:
        """At most ``size`` bytes, as soon as there are any; ``b""`` at the end.

        Raises ``TransportError`` with ``answered`` when the connection breaks or
        the time-out runs out, ``WireError`` for a body that is cut off, and
        ``WaitCancelledError`` when the client is closed before its end.
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
        """Give the connection back or up; may be called twice."""
        self._body.close()

    def __repr__(self) -> str:
        names = self._names
        return f"<Stream of {shown(names['method'])} from {shown(names['address'])}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Upload:
    """``data`` as an iterable of chunks, for all attempts of one call.

    ``length`` is the number of bytes where that is known beforehand. ``error``
    is what reading the caller's data raised, if it did. The data stays open.
    """

    def __init__(self, data: BinaryIO | Iterable[bytes]) -> None:
        self.error: BaseException | None = None
        self.length: int | None = None
        self._data = data
        self._start: int | None = None
        self._touched = False
        if hasattr(data, "read") and cast("BinaryIO", data).seekable():
            file = cast("BinaryIO", data)
            self._start = file.tell()
            self.length = file.seek(0, os.SEEK_END) - self._start
            file.seek(self._start)

    def __iter__(self) -> Iterator[bytes]:
        self._touched = True
        try:
            for chunk in checked_chunks(self._chunks()):
                yield bytes(chunk)
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = error
            raise

    def rewind(self) -> bool:
        """Make ready for another attempt; false where a part that was read is gone."""
        if self._start is not None:
            cast("BinaryIO", self._data).seek(self._start)
            return True
        # An iterable that is not its own iterator, a list say, begins anew by itself.
        one_shot = hasattr(self._data, "read") or isinstance(self._data, Iterator)
        return not (one_shot and self._touched)

    def account(self, error: TransportError) -> None:
        """Say in ``error`` whether a part of the body was read that is gone, and rewind it."""
        error.body_spent = not error.answered and not self.rewind()

    def _chunks(self) -> Iterator[bytes]:
        if not hasattr(self._data, "read"):
            yield from self._data
            return
        file, left = cast("BinaryIO", self._data), Remaining(self.length, STEP_BYTES)
        while left.room:
            chunk = file.read(left.room)
            left.take(chunk)
            if chunk:
                yield chunk


class Client(ClientBase):
    """A client of the plugin at ``address`` over ``transport``; ``retry`` says when it tries again.

    ``timeout`` (seconds) bounds each attempt, the response's body included, where a call has no
    time-out of its own; ``None`` is no bound. ``max_response_bytes`` bounds what is decoded; a
    handshake's response is at most 1 MiB. ``name`` is the plugin's, for messages. Threads may
    share a client. Its maker closes it, and that closes the transport: calls that are under way
    then end at once with ``WaitCancelledError``.
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
    ) -> None:
        super().__init__(address, retry, timeout, max_response_bytes, name)
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

    @overload
    def call(
        self,
        service_method: str,
        args: Any = None,
        into: UnionType = ...,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> Any: ...

    def call(
        self,
        service_method: str,
        args: Any = None,
        into: type[T] | UnionType | None = None,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> Any:
        """The plugin's answer to ``service_method``, ``VolumeDriver.Create`` for example.

        ``args`` are sent as JSON: an attrs value, a dictionary, anything cattrs
        knows; ``None`` sends no body. The answer is read as ``into``, an attrs
        class or any type cattrs knows, ``Volume | None`` too; without it, it is plain
        JSON, ``None`` for an empty body. ``timeout`` (seconds, ``math.inf`` for none) bounds each
        attempt, ``retry`` is the policy for this call.

        Raises ``StatusError`` for an answer other than 200, ``WireError`` for one
        that cannot be read, ``TransportError`` when no answer came in spite of
        all attempts, ``WaitCancelledError`` when the client is closed before that, and
        ``ValueError`` for a method or arguments that cannot be sent.
        """
        request = self.request(service_method, wire.encode(args))
        return self._try(
            lambda number: self.attempt(self._numbered(request, number), into, timeout), retry
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
        request = self.request(service_method, wire.encode(args))
        return self._try(
            lambda number: self._stream(self._numbered(request, number), timeout), retry
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

    @overload
    def send_file(
        self,
        service_method: str,
        data: Data,
        into: UnionType = ...,
        *,
        timeout: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> Any: ...

    def send_file(
        self,
        service_method: str,
        data: Data,
        into: type[T] | UnionType | None = None,
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
            whole = self.request(service_method, data)
            return self._try(
                lambda number: self.attempt(self._numbered(whole, number), into, timeout), retry
            )
        upload = Upload(data)
        request = self.request(service_method, upload, upload.length)
        try:
            return self._try(
                lambda number: self._send_upload(
                    self._numbered(request, number), upload, into, timeout
                ),
                retry,
                lambda error: upload.error is None and is_retryable(error),
            )
        finally:
            upload.error = None  # its traceback refers to the upload

    def attempt(
        self, request: Request, into: type[T] | UnionType | None, timeout: float | None
    ) -> Any:
        """One attempt at a call, and no second: for those who retry more than the call."""
        try:
            body = self._open(request, timeout)
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

        A call that is under way, and a stream that is being read, end at once with
        ``WaitCancelledError``, and are not tried again. May be called more than once, by any
        thread.
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
        retryable: IsRetryable = is_retryable,
    ) -> T:
        with self._clock.working():
            return try_again(
                attempt, policy or self._retry, self._clock, retryable, ending=self._ending
            )

    def _open(self, request: Request, timeout: float | None) -> Body:
        response = self._transport.send(request, self._time_out(timeout))
        return accepted(response, request.method)

    def _stream(self, request: Request, timeout: float | None) -> Stream:
        try:
            body = self._open(request, timeout)
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
