"""What the asynchronous core asks of the world: ``ports.py``, with ``await``.

There is no asynchronous clock: time is the event loop's. Discovery is the synchronous port. The
values and the reasons of errors are those of ``ports.py`` and ``moby_plugins.aio``.
"""

import asyncio
from typing import Protocol

from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.domain.async_http import AsyncRequest, AsyncResponse


class AsyncTransport(Protocol):
    """Carries requests to one plugin. Tasks of one event loop, or of several, may share it."""

    async def send(self, request: AsyncRequest, timeout: float | None) -> AsyncResponse:
        """Send a request, and return the response with its body unread.

        A task that is cancelled in here, or while it reads the body, leaves no connection that
        another call could use.

        Args:
            request: What to send.
            timeout: Seconds until the end of the response's body, the wait for a connection
                included; ``None`` for no bound.

        Returns:
            The response, whatever its status; for the caller to close its body.

        Raises:
            TransportError: When no response came; ``answered`` tells whether a part did.
            TransportTimeoutError: When the time-out ran out.
        """
        ...

    def close(self) -> None:
        """Give up all connections; may be called more than once. Never waits.

        What waits in ``send``, or reads a body, raises ``TransportError`` at once.
        """
        ...


class AsyncConnect(Protocol):
    """Makes the asynchronous transport for an address; a plain function, not a coroutine."""

    def __call__(self, address: Address, tls: TLSOptions | None, /) -> AsyncTransport:
        """Make a transport for an address, not connected yet.

        Args:
            address: The plugin's.
            tls: How to speak TLS, where that is said.

        Returns:
            The transport, for the caller to close.

        Raises:
            SpecError: For an address or TLS file that cannot be used.
        """
        ...


def is_cancelled(error: BaseException) -> bool:
    """Whether ``error`` ends the running task as it was told to, and is no failure of its code."""
    if not isinstance(error, asyncio.CancelledError):
        return False
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
