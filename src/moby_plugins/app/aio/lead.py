"""One running activation of a plugin in an event loop, and what becomes of it.

How it is led, and who waits for it, is told in ``leading.py``.
"""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeAlias

from attrs import field, frozen

from moby_plugins.app.aio.client import AsyncClient
from moby_plugins.app.retrying import OnRetry
from moby_plugins.async_ports import AsyncTransport
from moby_plugins.domain.async_http import AsyncRequest, AsyncResponse
from moby_plugins.domain.errors import PluginError, TransportError, is_missing_socket
from moby_plugins.domain.plugin import Plugin
from moby_plugins.domain.typed import typed

# Called with the name of a plugin and a client for it; what it returns is awaited, where it can be.
AsyncHandler: TypeAlias = Callable[[str, AsyncClient], object]


@frozen(field_transformer=typed)
class AsyncActivePlugin(Plugin):
    """A plugin that has shaken hands: all of ``Plugin``, and a client for it. A frozen value.

    Args:
        client: Calls it. The registry closes it; tasks may share it.
    """

    client: AsyncClient = field(kw_only=True, eq=False, repr=False)


@frozen(repr=False)
class AsyncWatchedTransport:
    """A transport to a managed plugin that calls ``on_missing`` where its socket is gone."""

    _transport: AsyncTransport
    _on_missing: Callable[[], object]

    async def send(self, request: AsyncRequest, timeout: float | None) -> AsyncResponse:
        """Send, and tell of a socket that is gone."""
        try:
            return await self._transport.send(request, timeout)
        except TransportError as error:
            if is_missing_socket(error):
                self._on_missing()
            raise

    def close(self) -> None:
        """Close."""
        self._transport.close()

    def __repr__(self) -> str:
        return repr(self._transport)


class Lead:
    """A running activation of ``name`` in one event loop.

    ``outcome`` is cancelled where there is none: the registry was closed, or the task cancelled by
    what is not the registry. ``on_retry`` is of the one that began it, until that leaves, then
    ``default``; what it raises is that one's own, and becomes ``refusal``.
    """

    def __init__(
        self,
        name: str,
        loop: asyncio.AbstractEventLoop,
        on_retry: OnRetry | None,
        default: OnRetry | None,
    ) -> None:
        self.name = name
        self.loop = loop
        self.outcome: asyncio.Future[AsyncActivePlugin] = loop.create_future()
        self.waiting = 0
        # Whether it was invalidated: then it is for those alone that wait for it.
        self.forgotten = False
        self.on_retry = on_retry
        self._default = default
        self.refusal: asyncio.Future[None] = loop.create_future()
        self.task: asyncio.Task[None] | None = None

    def tell(self, error: PluginError, delay: float) -> None:
        """Call ``on_retry``."""
        on_retry = self._default if self.on_retry is None else self.on_retry
        if on_retry is None:
            return
        try:
            on_retry(error, delay)
        except BaseException as raised:
            self.on_retry = None
            if not self.refusal.done():
                self.refusal.set_exception(raised)
                self.refusal.exception()  # of the one that began it: the loop is not to report it

    def settle(self, plugin: AsyncActivePlugin | None, error: BaseException | None) -> None:
        """Have an outcome, unless there is one; neither plugin nor error is none."""
        if self.outcome.done():
            return
        if plugin is not None:
            self.outcome.set_result(plugin)
        elif isinstance(error, Exception):
            self.outcome.set_exception(error)
            self.outcome.exception()  # of a waiter's, and none that the loop is to report
        else:
            self.outcome.cancel()

    def end(self) -> None:
        """End it without an outcome; in its loop."""
        self.settle(None, None)
        if self.task is not None:
            self.task.cancel()


# In the task of a lead, and those that it starts.
LEADING: ContextVar[Lead] = ContextVar("leading")
