"""An asynchronous client whose attempts are observed."""

from collections.abc import Callable
from functools import partial
from types import UnionType
from typing import Any, TypeVar

from moby_plugins.app import wire
from moby_plugins.app.aio.bodies import read_limited, refuse
from moby_plugins.app.aio.client import AsyncClient, AsyncStream
from moby_plugins.app.observed import ObservedCall, ObservedReading, observe
from moby_plugins.app.observed_client import ObservedClientBase
from moby_plugins.app.observing import Observers, notifying_retries
from moby_plugins.app.retrying import OnRetry
from moby_plugins.async_ports import AsyncTransport, event_time
from moby_plugins.deferred_names import AtDoor
from moby_plugins.domain.address import Address
from moby_plugins.domain.async_http import AsyncBody, AsyncBytes, AsyncRequest, AsyncResponse
from moby_plugins.domain.errors import WaitCancelledError
from moby_plugins.domain.http import OK, STREAM_BYTES

_DOOR = AtDoor("moby_plugins.aio", __name__)

T = TypeVar("T")


class AsyncObservedClient(ObservedClientBase[AsyncRequest], AsyncClient):
    """An ``AsyncClient`` that reports each attempt and each retry to ``observers``."""

    __module__ = _DOOR

    def __init__(
        self, transport: AsyncTransport, address: Address, *, observers: Observers, **named: Any
    ) -> None:
        super().__init__(transport, address, **named)
        self._observe(observers)

    async def attempt(
        self, request: AsyncRequest, into: type[T] | UnionType | None, timeout: float | None
    ) -> Any:
        """Send a request once, report it to the observers, and return its decoded response.

        Arguments, result and errors are those of ``AsyncClient.attempt``.
        """
        if not self._takers:
            return await super().attempt(request, into, timeout)
        now = event_time()
        observed = observe(self._takers, self._name, self._address_text, request, now)
        request = observed.request
        try:
            response = await self._transport.send(request, self._time_out(timeout))
            # A third party's response need not have ``new_connection``.
            observed.new_connection = getattr(response, "new_connection", None)
            observed.status = response.status
            body = response.body
            if type(body) is AsyncBytes and response.status == OK:
                observed.received_bytes = len(body.whole)
            else:
                body = _Counted(body, observed)
            if response.status != OK:
                await refuse(AsyncResponse(response.status, body), request.method)
            result = wire.decode(await read_limited(body, self._most(request)), into)
        except BaseException as error:
            self._ended(observed, error)
            raise
        observed.end()
        return result

    async def _stream(self, request: AsyncRequest, timeout: float | None) -> AsyncStream:
        if not self._takers:
            return await super()._stream(request, timeout)
        now = event_time()
        observed = observe(self._takers, self._name, self._address_text, request, now)
        request = observed.request
        try:
            response = await self._transport.send(request, self._time_out(timeout))
            observed.new_connection = getattr(response, "new_connection", None)
            observed.status = response.status
            if response.status != OK:
                body = _Counted(response.body, observed)
                await refuse(AsyncResponse(response.status, body), request.method)
        except BaseException as error:
            self._ended(observed, error)
            raise
        of = (request.method, self._address_text, self._name, self._ending)
        reading = ObservedReading(observed, self._ending)
        return ObservedAsyncStream(response.body, *of, reading=reading)

    def _retry_callback(self, on_retry: OnRetry | None) -> OnRetry:
        return notifying_retries(self._observers, self._name, super()._retry_callback(on_retry))


def client_of(observers: Observers) -> Callable[..., AsyncClient]:
    """Return a function that takes the arguments of ``AsyncClient`` and makes an observed client.

    Without observers, the function is ``AsyncClient`` itself.
    """
    return partial(AsyncObservedClient, observers=observers) if observers else AsyncClient


class _Counted:
    """A body that counts its bytes as they are read."""

    def __init__(self, body: AsyncBody, observed: ObservedCall[AsyncRequest]) -> None:
        self._body = body
        self._observed = observed

    async def read(self, size: int, /) -> bytes:
        data = await self._body.read(size)
        self._observed.received_bytes += len(data)
        return data

    def close(self) -> None:
        self._body.close()


class ObservedAsyncStream(AsyncStream):
    """An ``AsyncStream`` that reports its end to observers: read to the end, closed or cut off."""

    def __init__(self, *args: Any, reading: ObservedReading) -> None:
        super().__init__(*args)
        self._reading = reading

    async def read(self, size: int = STREAM_BYTES) -> bytes:
        """Read as a plain stream does; report the end, or the error, to the observers."""
        if size < 1:
            return await super().read(size)  # which raises ``ValueError``
        reading = self._reading
        reading.is_reading = True
        try:
            data = await super().read(size)
        except BaseException as error:
            reading.end(error)
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
