"""The asynchronous ports: the interfaces of ``ports.py`` whose methods are coroutines.

There is no asynchronous clock, because time is the event loop's, and no asynchronous discovery: the
core calls the synchronous one. An asynchronous transport takes an ``AsyncRequest`` and returns an
``AsyncResponse``; it uses the other values that ``ports.py`` exports, and the same reasons in
errors.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.domain.async_http import AsyncRequest, AsyncResponse
from moby_plugins.domain.errors import is_kind
from moby_plugins.ports import running_call


class AsyncTransport(Protocol):
    """A way to send requests to one plugin. Tasks may share it, in one event loop or in several."""

    async def send(self, request: AsyncRequest, timeout: float | None) -> AsyncResponse:
        """Send a request once, and return the response with its body unread.

        If the task is cancelled in this method, or while it reads the body, the connection is not
        used for another call.

        Args:
            request: The request.
            timeout: Seconds until the end of the response's body, the wait for a connection
                included; ``None`` for no limit.

        Returns:
            The response, of any status; the caller closes its body.

        Raises:
            TransportError: If there is no response; ``answered`` is true if a part was received.
            TransportTimeoutError: If the time-out expires.
        """
        ...

    def close(self) -> None:
        """Close all connections without waiting; may be called more than once.

        A running ``send``, or a read of a body, raises ``TransportError`` at once.
        """
        ...


class AsyncConnect(Protocol):
    """A plain function, not a coroutine, that makes the asynchronous transport for an address."""

    def __call__(self, address: Address, tls: TLSOptions | None, /) -> AsyncTransport:
        """Return a transport for an address, not connected yet.

        Args:
            address: The plugin's address.
            tls: The TLS options, or ``None`` for the defaults.

        Returns:
            The transport; the caller closes it.

        Raises:
            SpecError: If the address or a TLS file is not valid.
        """
        ...


def is_cancelled(error: BaseException) -> bool:
    """Return whether ``error`` is the cancellation of the current task, and not a failure.

    If a plugin's own code cancels the task of its call, this is a failure.
    """
    if not is_kind(error, asyncio.CancelledError):  # its class may be the plugin's
        return False
    task, call = asyncio.current_task(), running_call()
    if call is not None and call.hangs_up_first and not call.has_hung_up:
        return False
    return task is not None and task.cancelling() > 0


def event_time() -> Callable[[], float]:
    """Return the clock for durations in observers' events: ``loop.time`` or ``time.monotonic``.

    The running loop's own clock is used if the loop is one of asyncio. The clocks of other loops
    may advance in steps of a millisecond, as uvloop's does: most calls take less.
    """
    loop = asyncio.get_running_loop()
    return loop.time if isinstance(loop, asyncio.BaseEventLoop) else time.monotonic
