"""A client whose attempts are observed. One without observers is a plain ``Client``."""

import io
from types import UnionType
from typing import Any, TypeVar

from attrs import frozen

from moby_plugins.app.client import Client, Stream
from moby_plugins.app.observed import ObservedCall, ObservedCallRequest, call_started
from moby_plugins.app.observing import Observers, notifying_retries
from moby_plugins.app.retrying import OnRetry
from moby_plugins.deferred_names import AtDoor
from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import DriverError, StatusError
from moby_plugins.domain.http import Body, Request, Response
from moby_plugins.ports import PendingResponse, Transport, callable_or_none, filled

_DOOR = AtDoor("moby_plugins", __name__)

T = TypeVar("T")


class ObservedClient(Client):
    """A ``Client`` that reports each attempt and each retry to ``observers``."""

    __module__ = _DOOR

    def __init__(
        self, transport: Transport, address: Address, *, observers: Observers, **named: Any
    ) -> None:
        filled("transport", transport, "send", "close")
        super().__init__(_CountingTransport(transport), address, **named)
        self._observers = observers
        self._address_text = self.address.text
        self._on_retry = self._telling(self._on_retry)

    def request(
        self,
        service_method: str,
        body: Any = b"",
        length: int | None = None,
        attempt: int = 1,
    ) -> ObservedCallRequest:
        """Return a request as ``Client.request`` does, with headers that observers may add to."""
        return ObservedCallRequest(service_method, body, dict(self._headers), length, attempt)

    def begin(self, request: Request, timeout: float | None) -> PendingResponse | None:
        """Return ``None``: an observed attempt stays in one thread from its start to its end."""

    def attempt(
        self,
        request: Request,
        into: type[T] | UnionType | None,
        timeout: float | None,
        pending: PendingResponse | None = None,
    ) -> Any:
        """Send a request once, and report it to the observers; otherwise as ``Client.attempt``."""
        request, observed = self._observed(request)
        try:
            result = super().attempt(request, into, timeout, pending)
        except BaseException as error:
            observed.end(error)
            raise
        observed.end()
        return result

    def sign(self, error: StatusError | DriverError) -> None:
        """Set the plugin's name and address in ``error``; report a ``DriverError`` to observers."""
        super().sign(error)
        if isinstance(error, DriverError):
            self._observers.driver_failed(self._name, self.address.text, error)

    def _stream(self, request: Request, timeout: float | None) -> Stream:
        request, observed = self._observed(request)
        observed.ends_with_body = True
        try:
            return super()._stream(request, timeout)
        except BaseException as error:
            observed.end(error)
            raise

    def _telling(self, on_retry: OnRetry | None) -> OnRetry:
        callback = on_retry if on_retry is None else callable_or_none("on_retry", on_retry)
        return notifying_retries(self._observers, self._name, callback)

    def _observed(self, request: Request) -> tuple[ObservedCallRequest, ObservedCall]:
        """Return ``request`` as it is to be sent, and the observed call, which has started."""
        sent: ObservedCallRequest = request  # type: ignore[assignment]  # this client made it
        if sent.attempt > 1:  # do not reuse the headers that observers added to the last attempt
            sent = self.request(sent.method, sent.body, sent.length, sent.attempt)
        headers: dict[str, str] = sent.headers  # type: ignore[assignment]  # ``request`` made it
        started = call_started(self._name, self._address_text, sent, headers)
        observed = ObservedCall(self._observers, started, self._clock.now)
        sent.observed.append(observed)
        return sent, observed


@frozen
class _CountingTransport:
    """A transport that records in each observed call its received bytes and its connection."""

    _transport: Transport

    def send(self, request: Request, timeout: float | None) -> Response:
        response = self._transport.send(request, timeout)
        observed: ObservedCall = request.observed[0]  # type: ignore[attr-defined]  # of that client
        # A third party's response need not have ``new_connection``.
        is_new = observed.new_connection = getattr(response, "new_connection", None)
        body = response.body
        if isinstance(body, io.BytesIO) and not observed.ends_with_body:  # the body is complete
            observed.received_bytes = body.getbuffer().nbytes
            return response
        return Response(response.status, _Counted(body, observed), response.headers, is_new)

    def close(self) -> None:
        self._transport.close()

    def __repr__(self) -> str:
        return repr(self._transport)


class _Counted:
    """A body that counts its bytes as they are read, and ends the observed call of a stream."""

    def __init__(self, body: Body, observed: ObservedCall) -> None:
        self._body = body
        self._observed = observed

    def read(self, size: int, /) -> bytes:
        try:
            data = self._body.read(size)
        except BaseException as error:
            if self._observed.ends_with_body:
                self._observed.end(error)
            raise
        self._observed.received_bytes += len(data)
        return data

    def close(self) -> None:
        self._body.close()
        if self._observed.ends_with_body:
            self._observed.end()
