"""A client whose attempts are observed. One without observers is a plain ``Client``."""

from collections.abc import Callable
from functools import partial
from types import UnionType
from typing import Any, TypeVar, cast

from attrs import evolve

from moby_plugins.app.bodies import accepted
from moby_plugins.app.client import Client, Stream
from moby_plugins.app.observing import ObservedCall, ObservedCallRequest, Observers
from moby_plugins.app.retrying import Attempt, OnRetry
from moby_plugins.deferred_names import AtDoor
from moby_plugins.domain.errors import DriverError, PluginError, StatusError
from moby_plugins.domain.http import Body, Request
from moby_plugins.domain.observing import CallStarted
from moby_plugins.domain.retry import IsRetryable, RetryPolicy, is_retryable
from moby_plugins.ports import PendingResponse

_DOOR = AtDoor("moby_plugins", __name__)

T = TypeVar("T")


class ObservedClient(Client):
    """A ``Client`` that tells ``observers`` of each attempt, and of each retry."""

    __module__ = _DOOR

    def __init__(self, *arguments: Any, observers: Observers, **named: Any) -> None:
        super().__init__(*arguments, **named)
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

    def _open(self, request: Request, timeout: float | None) -> Body:
        observed = cast("ObservedCallRequest", request).observed
        response = self._transport.send(request, self._time_out(timeout))
        observed.new_connection = response.new_connection
        counted = evolve(response, body=_Counted(response.body, observed))
        return accepted(counted, request.method)

    def _try(
        self,
        attempt: Attempt[T],
        policy: RetryPolicy | None,
        on_retry: OnRetry | None,
        retryable: IsRetryable = is_retryable,
    ) -> T:
        wanted = self._on_retry if on_retry is None else on_retry

        def tell(error: PluginError, delay: float) -> None:
            method = getattr(error, "method", "").partition("?")[0]
            self._observers.retry_scheduled(self._name, method, error, delay)
            if wanted is not None:
                wanted(error, delay)

        return super()._try(attempt, policy, tell, retryable)

    def _observed(self, request: Request) -> ObservedCall:
        size = len(request.body) if isinstance(request.body, bytes) else request.length
        started = CallStarted(
            self._name,
            self.address.text,
            request.method.partition("?")[0],
            request.attempt,
            dict(request.headers),
            size,
        )
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
