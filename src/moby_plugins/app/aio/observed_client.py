"""An asynchronous client whose attempts are observed."""

import asyncio
from collections.abc import Callable
from functools import partial
from types import UnionType
from typing import Any, TypeVar, cast

from attrs import frozen

from moby_plugins.app.aio.client import AsyncClient, AsyncStream
from moby_plugins.app.observed import ObservedAsyncRequest, ObservedCall, call_started
from moby_plugins.app.observing import Observers, notifying_retries
from moby_plugins.app.retrying import OnRetry
from moby_plugins.async_ports import AsyncTransport
from moby_plugins.deferred_names import AtDoor
from moby_plugins.domain.address import Address
from moby_plugins.domain.async_http import AsyncBody, AsyncRequest, AsyncResponse
from moby_plugins.domain.errors import DriverError, StatusError
from moby_plugins.ports import filled

_DOOR = AtDoor("moby_plugins.aio", __name__)

T = TypeVar("T")


class AsyncObservedClient(AsyncClient):
    """An ``AsyncClient`` that reports each attempt and each retry to ``observers``."""

    __module__ = _DOOR

    def __init__(
        self, transport: AsyncTransport, address: Address, *, observers: Observers, **named: Any
    ) -> None:
        filled("transport", transport, "send", "close")
        super().__init__(_CountingTransport(transport), address, **named)
        self._observers = observers

    async def attempt(
        self, request: AsyncRequest, into: type[T] | UnionType | None, timeout: float | None
    ) -> Any:
        """Send a request once, and report it to observers; otherwise as ``AsyncClient.attempt``."""
        observed = self._observed(request)
        try:
            result = await super().attempt(_with(observed, request), into, timeout)
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

    async def _stream(self, request: AsyncRequest, timeout: float | None) -> AsyncStream:
        observed = self._observed(request)
        observed.ends_with_body = True
        try:
            return await super()._stream(_with(observed, request), timeout)
        except BaseException as error:
            observed.end(error)
            raise

    def _retry_callback(self, on_retry: OnRetry | None) -> OnRetry:
        return notifying_retries(self._observers, self._name, super()._retry_callback(on_retry))

    def _observed(self, request: AsyncRequest) -> ObservedCall:
        headers = dict(request.headers)
        started = call_started(self._name, self.address.text, request, headers)
        return ObservedCall(self._observers, started, asyncio.get_running_loop().time)


def client_of(observers: Observers) -> Callable[..., AsyncClient]:
    """Return a function that takes the arguments of ``AsyncClient`` and makes an observed client.

    Without observers that is ``AsyncClient`` itself.
    """
    return partial(AsyncObservedClient, observers=observers) if observers else AsyncClient


def _with(observed: ObservedCall, request: AsyncRequest) -> ObservedAsyncRequest:
    return ObservedAsyncRequest(
        request.method,
        request.body,
        observed.headers,
        request.length,
        request.attempt,
        observed=observed,
    )


@frozen
class _CountingTransport:
    """A transport that records in each observed call its received bytes and its connection."""

    _transport: AsyncTransport

    async def send(self, request: AsyncRequest, timeout: float | None) -> AsyncResponse:
        response = await self._transport.send(request, timeout)
        observed = cast("ObservedAsyncRequest", request).observed
        # A third party's response need not have ``new_connection``.
        observed.new_connection = getattr(response, "new_connection", None)
        return AsyncResponse(response.status, _Counted(response.body, observed), response.headers)

    def close(self) -> None:
        self._transport.close()

    def __repr__(self) -> str:
        return repr(self._transport)


class _Counted:
    """A body that counts its bytes as they are read, and ends the observed call of a stream."""

    def __init__(self, body: AsyncBody, observed: ObservedCall) -> None:
        self._body = body
        self._observed = observed

    async def read(self, size: int, /) -> bytes:
        try:
            data = await self._body.read(size)
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
