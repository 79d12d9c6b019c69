"""Call one plugin from an event loop."""

from contextlib import AbstractAsyncContextManager
from typing import Any

from moby_plugins.app.accounting import ClientBase


class AsyncStream:
    """A stream."""

    async def read(self, size: int, /) -> bytes:
        """Read."""
        raise NotImplementedError


class AsyncClient(ClientBase):
    """A client."""

    async def call(
        self, method: str, args: Any = None, into: Any = Any, *, timeout: float | None = None
    ) -> Any:
        """Call."""
        raise NotImplementedError

    async def send_file(
        self, service_method: str, data: Any, into: Any = Any, *, timeout: float | None = None
    ) -> Any:
        """Send."""
        raise NotImplementedError

    def stream(
        self, service_method: str, args: Any = None, *, timeout: float | None = None
    ) -> AbstractAsyncContextManager[AsyncStream]:
        """Follow."""
        raise NotImplementedError
