"""One running activation of a plugin in an event loop, and its outcome.

``leading.py`` explains which task makes the activation, and which tasks wait for it.
"""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeAlias

from attrs import field, frozen

from moby_plugins.app.aio.client import AsyncClient
from moby_plugins.app.retrying import OnRetry
from moby_plugins.domain.errors import PluginError
from moby_plugins.domain.plugin import Plugin
from moby_plugins.domain.typed import typed

# Called with the name of a plugin and a client for it; an awaitable result is awaited.
AsyncHandler: TypeAlias = Callable[[str, AsyncClient], object]


@frozen(field_transformer=typed)
class AsyncActivePlugin(Plugin):
    """A plugin whose handshake succeeded: a ``Plugin`` with a client. A frozen value.

    Args:
        client: The client that calls the plugin. The registry closes it; tasks may share it.
    """

    client: AsyncClient = field(kw_only=True, eq=False, repr=False)


class Lead:
    """A running activation of ``name`` in one event loop.

    ``outcome`` is cancelled if there is no result: the registry was closed, or other code cancelled
    the task. ``on_retry`` belongs to the caller that started the activation; when that caller
    leaves, ``default`` is used. An exception that ``on_retry`` or the policy raises is set in
    ``refusal``, for that caller only; ``refusal`` is cancelled if the registry is closed.
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
        # Whether the plugin was invalidated: then only the callers that wait already get it.
        self.forgotten = False
        self.on_retry = on_retry
        self._default = default
        self.refusal: asyncio.Future[None] = loop.create_future()
        self.task: asyncio.Task[None] | None = None

    def notify_retry(self, error: PluginError, delay: float) -> None:
        """Call ``on_retry``, or else ``default``; store an exception of ``on_retry``."""
        on_retry = self._default if self.on_retry is None else self.on_retry
        if on_retry is None:
            return
        try:
            on_retry(error, delay)
        except BaseException as raised:
            self.on_retry = None
            self.refuse(raised)

    def refuse(self, raised: BaseException) -> None:
        """Store what the policy or ``on_retry`` raised.

        Only the caller that started the activation gets it.
        """
        if not self.refusal.done():
            self.refusal.set_exception(raised)
            self.refusal.exception()  # mark it retrieved, or the event loop would log it

    def settle(self, plugin: AsyncActivePlugin | None, error: BaseException | None) -> None:
        """Set ``outcome`` unless it is done: to the plugin or the error; for neither, cancel it."""
        if self.outcome.done():
            return
        if plugin is not None:
            self.outcome.set_result(plugin)
        elif isinstance(error, Exception):
            self.outcome.set_exception(error)
            self.outcome.exception()  # mark it retrieved, or the event loop would log it
        else:
            self.outcome.cancel()

    def end(self) -> None:
        """End the waits of all callers; must be called in the thread of ``loop``."""
        self.settle(None, None)
        self.refusal.cancel()


# The lead whose attempt runs in the current task, or started it; not set in handlers.
LEADING: ContextVar[Lead] = ContextVar("leading")
