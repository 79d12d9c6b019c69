"""A client whose attempts are observed. One without observers is a plain ``Client``."""

import io
from collections.abc import Callable
from functools import partial
from types import UnionType
from typing import Any, TypeVar

from attrs import frozen

from moby_plugins.app.client import Client, Stream
from moby_plugins.app.observing import (
    ObservedCall,
    ObservedCallRequest,
    Observers,
    call_started,
    telling_retries,
)
from moby_plugins.app.retrying import OnRetry
from moby_plugins.deferred_names import AtDoor
from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import DriverError, StatusError
from moby_plugins.domain.http import Body, Request, Response
from moby_plugins.ports import PendingResponse, Transport, callable_or_none, filled

_DOOR = AtDoor("moby_plugins", __name__)

T = TypeVar("T")


class ObservedClient(Client):
    """A ``Client`` that tells ``observers`` of each attempt, and of each retry."""

    __module__ = _DOOR

    def __init__(
        self, transport: Transport, address: Address, *, observers: Observers, **named: Any
    ) -> None:
        filled("transport", transport, "send", "close")
        super().__init__(_CountingTransport(transport), address, **named)
        self._observers = observers
        self._on_retry = self._telling(self._on_retry)

    def begin(self, request: Request, timeout: float | None) -> PendingResponse | None:
        """Begin nothing: an attempt that is observed has one thread from its start to its end."""

    def attempt(
        self,
        request: Request,
        into: type[T] | UnionType | None,
        timeout: float | None,
        pending: PendingResponse | None = None,
    ) -> Any:
        """Send a request once, and tell of it; as ``Client.attempt``."""
        observed = self._observed(request)
        try:
            result = super().attempt(_with(observed, request), into, timeout, pending)
        except BaseException as error:
            observed.end(error)
            raise
        observed.end()
        return result

    def sign(self, error: StatusError | DriverError) -> None:
        """Say in ``error`` whose it is; tell of one that a typed proxy found in a response."""
        super().sign(error)
        if isinstance(error, DriverError):
            self._observers.driver_failed(self._name, self.address.text, error)

    def _stream(self, request: Request, timeout: float | None) -> Stream:
        observed = self._observed(request)
        observed.ends_with_body = True
        try:
            return super()._stream(_with(observed, request), timeout)
        except BaseException as error:
            observed.end(error)
            raise

    def _telling(self, on_retry: OnRetry | None) -> OnRetry:
        told = on_retry if on_retry is None else callable_or_none("on_retry", on_retry)
        return telling_retries(self._observers, self._name, told)

    def _observed(self, request: Request) -> ObservedCall:
        started = call_started(self._name, self.address.text, request)
        return ObservedCall(self._observers, started, self._clock.now)


def client_of(observers: Observers) -> Callable[..., Client]:
    """Return what makes a client with ``observers``, given the arguments of ``Client``."""
    return partial(ObservedClient, observers=observers) if observers else Client


def _with(observed: ObservedCall, request: Request) -> ObservedCallRequest:
    return ObservedCallRequest(
        request.method,
        request.body,
        observed.headers,
        request.length,
        request.attempt,
        observed=observed,
    )


@frozen
class _CountingTransport:
    """A transport that notes in each observed call what it learns of its response."""

    _transport: Transport

    def send(self, request: Request, timeout: float | None) -> Response:
        response = self._transport.send(request, timeout)
        observed: ObservedCall = request.observed  # type: ignore[attr-defined]  # of that client
        observed.new_connection = response.new_connection
        body = response.body
        if isinstance(body, io.BytesIO) and not observed.ends_with_body:  # all of it is here
            observed.received_bytes = body.getbuffer().nbytes
            return response
        counted = _Counted(body, observed)
        return Response(response.status, counted, response.headers, response.new_connection)

    def close(self) -> None:
        self._transport.close()

    def __repr__(self) -> str:
        return repr(self._transport)


class _Counted:
    """A body whose bytes are counted as they are received. With a stream its call ends."""

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
