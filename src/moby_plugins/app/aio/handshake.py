"""The attempts of one activation for asyncio; ``leading.py`` makes them, in a task."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from attrs import frozen

from moby_plugins.app.accounting import ACTIVATE
from moby_plugins.app.aio.client import AsyncClient
from moby_plugins.app.aio.lead import AsyncActivePlugin
from moby_plugins.async_ports import AsyncTransport
from moby_plugins.domain.async_http import AsyncRequest, AsyncResponse
from moby_plugins.domain.errors import TransportError, is_missing_socket
from moby_plugins.domain.plugin import Manifest, Plugin, check_protocol
from moby_plugins.domain.text import quoted
from moby_plugins.failures import log_failure
from moby_plugins.ports import Discovery

# Asks the discovery, in a thread if look-ups may wait.
Ask: TypeAlias = Callable[[Callable[[Discovery], Plugin]], Awaitable[Plugin]]


@frozen(repr=False)
class AsyncWatchedTransport:
    """A transport to a managed plugin that calls ``on_missing`` if the socket is missing."""

    _transport: AsyncTransport
    _on_missing: Callable[[], object]

    async def send(self, request: AsyncRequest, timeout: float | None) -> AsyncResponse:
        """Send the request, and return the response; call ``on_missing`` if the socket is missing.

        The ``TransportError`` for the missing socket is raised too.
        """
        try:
            return await self._transport.send(request, timeout)
        except TransportError as error:
            if is_missing_socket(error):
                self._on_missing()
            raise

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()

    def __repr__(self) -> str:
        return repr(self._transport)


class AsyncHandshake:
    """The attempts of one activation: a look-up, then a request for what the plugin implements.

    A plugin that one attempt has found is kept for the next. The client belongs to the handshake
    until an attempt succeeds. A managed plugin gets no request; if it is already active under
    another of its names, that plugin is returned.
    """

    def __init__(
        self,
        name: str,
        ask: Ask,
        new_client: Callable[[Plugin], AsyncClient],
        timeout: float,
        known: Callable[[Plugin], AsyncActivePlugin | None],
    ) -> None:
        self._name = name
        self._ask = ask
        self._new_client = new_client
        self._timeout = timeout
        self._known = known
        self._reached: tuple[Plugin, AsyncClient] | None = None

    async def __call__(self, attempt: int) -> AsyncActivePlugin:
        """Make one attempt, and return the active plugin; raise ``PluginError`` if it fails."""
        plugin, client = self._reached or await self._find()
        if isinstance(plugin, AsyncActivePlugin):
            return plugin
        manifest = plugin.manifest
        if plugin.managed is None:
            request = client.request(ACTIVATE, attempt=attempt)
            manifest = await client.attempt(request, Manifest, self._timeout)
        return AsyncActivePlugin(
            plugin.name,
            plugin.addr,
            plugin.tls_config,
            manifest,
            managed=plugin.managed,
            client=client,
        )

    async def _find(self) -> tuple[Plugin, AsyncClient]:
        plugin = await self._ask(lambda discovery: discovery.lookup(self._name))
        known = None
        if plugin.managed is not None:
            known = self._known(check_protocol(plugin))
        self._reached = (known, known.client) if known else (plugin, self._new_client(plugin))
        return self._reached

    def give_up(self) -> None:
        """Close the client after the activation failed; log an exception that closing raises."""
        reached, self._reached = self._reached, None
        if reached is None or isinstance(reached[0], AsyncActivePlugin):
            return
        try:
            reached[1].close()
        except BaseException as raised:  # the caller still has to settle the outcome
            log_failure(f"closing the client of plugin {quoted(self._name)} failed", raised)
