"""A client that reports its attempts to observers. Without observers, ``Client`` is used."""

from io import BytesIO
from types import UnionType
from typing import Any, TypeVar

from moby_plugins.app import wire
from moby_plugins.app.accounting import ClientBase
from moby_plugins.app.bodies import UploadBase, is_callers, raise_for_status, read_limited
from moby_plugins.app.client import Client, Stream
from moby_plugins.app.observed import ObservedCall, ObservedReading, observe
from moby_plugins.app.observing import Observers, notifying_retries
from moby_plugins.app.retrying import OnRetry
from moby_plugins.deferred_names import AtDoor
from moby_plugins.domain.address import Address
from moby_plugins.domain.async_http import AsyncRequest
from moby_plugins.domain.errors import (
    DriverError,
    StatusError,
    TransportError,
    WaitCancelledError,
    WireError,
)
from moby_plugins.domain.http import (
    OK,
    STREAM_BYTES,
    Body,
    Request,
    Response,
    Whole,
    too_large,
)
from moby_plugins.domain.observing import CallStarted, DriverFailed
from moby_plugins.ports import PendingResponse, Transport, callable_or_none

_DOOR = AtDoor("moby_plugins", __name__)

T = TypeVar("T")
R = TypeVar("R", Request, AsyncRequest)


class ObservedClientBase(ClientBase[R]):
    """The base of synchronous and asynchronous clients that report attempts to observers."""

    def _observe(self, observers: Observers) -> None:
        self._observers = observers
        self._takers = observers.taking(CallStarted)
        self._address_text = self.address.text

    def sign(self, error: StatusError | DriverError) -> None:
        """Set the plugin's name and address in ``error``; report a ``DriverError`` to observers."""
        super().sign(error)
        if isinstance(error, DriverError):
            self._observers.notify(
                DriverFailed, self._name, self._address_text, error.method, error
            )

    def _ended(self, observed: ObservedCall[R], error: BaseException) -> None:
        """Set the method and the plugin in ``error``, and report that the attempt ended with it.

        If the client was closed, report and raise ``WaitCancelledError`` instead.
        """
        request, body = observed.request, observed.request.body
        try:
            if isinstance(error, TransportError | WireError | StatusError) and not is_callers(
                error, body
            ):
                self._account(error, request)
        except WaitCancelledError as instead:
            observed.end(instead)
            raise
        if isinstance(error, TransportError) and isinstance(body, UploadBase):
            error = body.error or error  # the transport failed because reading the data did
        observed.end(error)


class ObservedClient(ObservedClientBase[Request], Client):
    """A ``Client`` that reports each attempt and each retry to ``observers``."""

    __module__ = _DOOR

    def __init__(
        self, transport: Transport, address: Address, *, observers: Observers, **named: Any
    ) -> None:
        super().__init__(transport, address, **named)
        self._observe(observers)
        self._now = self._clock.now
        self._on_retry = self._telling(self._on_retry)

    def begin(self, request: Request, timeout: float | None) -> PendingResponse | None:
        """Return ``None``, as for a transport that cannot begin: ``attempt`` sends the request.

        So an observed attempt stays in one thread from its start to its end.
        """

    def attempt(
        self,
        request: Request,
        into: type[T] | UnionType | None,
        timeout: float | None,
        pending: PendingResponse | None = None,
    ) -> Any:
        """Send a request once, report it to the observers, and return its decoded response.

        Arguments, result and errors are those of ``Client.attempt``, whose steps this method
        repeats to count the received bytes: wrapping the transport and the body would be slower.
        """
        if not self._takers:
            return super().attempt(request, into, timeout, pending)
        observed = observe(self._takers, self._name, self._address_text, request, self._now)
        request = observed.request
        try:
            response = self._transport.send(request, self._time_out(timeout))
            try:
                observed.new_connection = response.new_connection
            except AttributeError:  # a third party's response need not have it
                observed.new_connection = None
            observed.status = status = response.status
            if status == OK:
                body = response.body
            else:
                body = raise_for_status(_counted(response, observed), request.method)
            most = self._most(request)
            try:
                if isinstance(body, BytesIO):  # the body is complete in memory
                    data = body.read(most + 1)
                    observed.received_bytes = len(data)
                    if len(data) > most:
                        observed.received_bytes = len(body.getvalue())
                        raise too_large(most)
                else:
                    data = _read_counted(body, most, observed)
            finally:
                body.close()
            result = wire.decode(data, into)
        except BaseException as error:
            self._ended(observed, error)
            raise
        observed.end()
        return result

    def _stream(self, request: Request, timeout: float | None) -> Stream:
        if not self._takers:
            return super()._stream(request, timeout)
        observed = observe(self._takers, self._name, self._address_text, request, self._now)
        request = observed.request
        try:
            response = self._transport.send(request, self._time_out(timeout))
            observed.new_connection = getattr(response, "new_connection", None)
            observed.status = response.status
            body = response.body
            if response.status != OK:
                body = raise_for_status(_counted(response, observed), request.method)
        except BaseException as error:
            self._ended(observed, error)
            raise
        of = (request.method, self._address_text, self._name, self._ending)
        return ObservedStream(body, *of, reading=ObservedReading(observed, self._ending))

    def _telling(self, on_retry: OnRetry | None) -> OnRetry:
        callback = on_retry if on_retry is None else callable_or_none("on_retry", on_retry)
        return notifying_retries(self._observers, self._name, callback)


def _counted(response: Response, observed: ObservedCall[Request]) -> Response:
    return Response(response.status, _Counted(response.body, observed), response.headers)


def _read_counted(body: Body, most: int, observed: ObservedCall[Request]) -> bytes:
    whole = Whole(most)
    try:
        return read_limited(body, most, whole)
    finally:
        observed.received_bytes = whole.size


class _Counted:
    """A body that counts its bytes as they are read."""

    def __init__(self, body: Body, observed: ObservedCall[Request]) -> None:
        self._body = body
        self._observed = observed

    def read(self, size: int, /) -> bytes:
        data = self._body.read(size)
        self._observed.received_bytes += len(data)
        return data

    def close(self) -> None:
        self._body.close()


class ObservedStream(Stream):
    """A ``Stream`` that reports to observers when it was read to its end, closed or cut off."""

    def __init__(self, *args: Any, reading: ObservedReading) -> None:
        super().__init__(*args)
        self._reading = reading

    def read(self, size: int = STREAM_BYTES) -> bytes:
        """Read as a plain stream does; report the end, or the error, to the observers."""
        if size < 1:
            return super().read(size)  # which raises ``ValueError``
        reading = self._reading
        reading.is_reading = True
        try:
            data = super().read(size)
        except BaseException as error:
            # If the program closed the stream, that is no failure of the plugin.
            reading.end(None if self._closed else error)
            raise
        finally:
            reading.is_reading = False
        reading.count(data)
        return data

    def close(self) -> None:
        """Close as a plain stream does; report the end to the observers."""
        try:
            super().close()
        except BaseException as error:
            self._reading.end(error)
            raise
        self._reading.end()

    def _cut_off(self) -> WaitCancelledError:
        return self._reading.cut_off()
