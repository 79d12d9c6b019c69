"""A client whose attempts are observed. One without observers is a plain ``Client``."""

from collections.abc import Callable
from functools import partial
from types import UnionType
from typing import Any, TypeVar, cast

from attrs import frozen

from moby_plugins.app.client import Client, Stream
from moby_plugins.app.observing import (
    ObservedCall,
    ObservedCallRequest,
    Observers,
    call_started,
    telling_retries,
)
from moby_plugins.app.retrying import Attempt, OnRetry
from moby_plugins.deferred_names import AtDoor
from moby_plugins.domain.address import Address
from moby_plugins.domain.http import Body, Request, Response
from moby_plugins.domain.retry import IsRetryable, RetryPolicy, is_retryable
from moby_plugins.ports import PendingResponse, Transport, filled

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

    def _stream(self, request: Request, timeout: float | None) -> Stream:
        observed = self._observed(request)
        observed.ends_with_body = True
        try:
            return super()._stream(_with(observed, request), timeout)
        except BaseException as error:
            observed.end(error)
            raise

    def _try(
        self,
        attempt: Attempt[T],
        policy: RetryPolicy | None,
        on_retry: OnRetry | None,
        retryable: IsRetryable = is_retryable,
    ) -> T:
        wanted = self._on_retry if on_retry is None else on_retry
        told = telling_retries(self._observers, self._name, wanted)
        return super()._try(attempt, policy, told, retryable)

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
        observed = cast("ObservedCallRequest", request).observed
        # Another's response need have no more than a status, a body and headers.
        observed.new_connection = getattr(response, "new_connection", None)
        return Response(response.status, _Counted(response.body, observed), response.headers)

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
