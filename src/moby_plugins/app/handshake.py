"""The attempts of one activation: a look-up, a client, and the handshake of the plugin.

``leading.py`` makes the attempts: those of a ``get`` with ``retrying.retry``, those of a
``get_all`` with ``retrying.retry_side_by_side``. ``activation.py`` explains what becomes of the
outcome.
"""

from collections.abc import Callable

from attrs import frozen

from moby_plugins.app.accounting import ACTIVATE
from moby_plugins.app.activation import ActivePlugin
from moby_plugins.app.client import Client
from moby_plugins.app.retrying import Ending
from moby_plugins.domain.address import warnings_about
from moby_plugins.domain.errors import (
    PluginError,
    TransportError,
    WaitCancelledError,
    is_missing_socket,
)
from moby_plugins.domain.http import Request, Response
from moby_plugins.domain.plugin import Manifest, Plugin, check_protocol
from moby_plugins.domain.text import quoted
from moby_plugins.failures import log_failure
from moby_plugins.ports import Discovery, PendingResponse, Transport


@frozen(repr=False)
class WatchedTransport:
    """A transport to a managed plugin that calls ``on_missing`` if the socket is missing."""

    _transport: Transport
    _on_missing: Callable[[], object]

    def send(self, request: Request, timeout: float | None) -> Response:
        """Send the request, and return the response; call ``on_missing`` if the socket is missing.

        The ``TransportError`` for the missing socket is raised too.
        """
        try:
            return self._transport.send(request, timeout)
        except TransportError as error:
            if is_missing_socket(error):
                self._on_missing()
            raise

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()

    def __repr__(self) -> str:
        return repr(self._transport)


class Handshake:
    """The attempts of one activation: a look-up, then a request for what the plugin implements.

    A plugin that one attempt has found is kept for the next, so that it is looked up once. The
    client belongs to the handshake until an attempt succeeds: until then ``end`` closes it. A
    managed plugin gets no request, because its engine knows what it implements. ``known`` returns
    a managed plugin that is already active under another of its names, or ``None``. Only clients of
    addresses with one of the ``prompt_schemes`` are made without waiting.
    """

    def __init__(
        self,
        name: str,
        discovery: Discovery,
        new_client: Callable[[Plugin], Client],
        timeout: float | None,
        known: Callable[[Plugin], ActivePlugin | None],
        *,
        prompt_schemes: frozenset[str],
        ending: Ending,
    ) -> None:
        self._name = name
        self._discovery = discovery
        self._new_client = new_client
        self._known = known
        self._timeout = timeout
        self._ending = ending
        self._prompt_schemes = prompt_schemes
        # Found by ``begin``, and not connected yet.
        self._found: Plugin | None = None
        self._reached: tuple[Plugin, Client] | None = None
        self._pending: PendingResponse | None = None
        # The request of the first attempt, if that was begun.
        self._first: Request | None = None
        # Maps the name to why the handshake was ended, or to "" if it succeeded. A dictionary,
        # because its ``setdefault`` keeps the first of the two without a lock.
        self._fate: dict[str, str] = {}

    def begin(self) -> PendingResponse | None:
        """Begin the first attempt without waiting, and return the pending response.

        Return ``None`` if the attempt cannot be begun without waiting. Then the first call of this
        object makes the whole attempt; otherwise that call finishes what was begun here. Raise
        ``PluginError`` if the look-up or the connection fails at once.
        """
        if self._fate:
            self._check()
        try:
            plugin = self._found = self._discovery.lookup(self._name)
            if plugin.managed is not None:
                return None  # a managed plugin gets no request
            if plugin.address.scheme not in self._prompt_schemes:
                return None  # making its client may wait
            if warnings_about(plugin.address, plugin.tls_config):
                return None  # they are logged, and a log handler may wait for another plugin
            plugin, client = self._find()
            self._first = client.request(ACTIVATE)
            self._pending = client.begin(self._first, self._timeout)
        except PluginError as error:
            self._check(error)
            raise
        return self._pending

    def __call__(self, attempt: int) -> ActivePlugin:
        """Make one attempt, and return the active plugin.

        Raise ``PluginError`` if the look-up or the handshake fails; ``WaitCancelledError`` after
        ``end``.
        """
        pending, self._pending = self._pending, None
        try:
            return self._try(attempt, pending)
        finally:
            if pending is not None:
                pending.close()

    def _try(self, attempt: int, pending: PendingResponse | None) -> ActivePlugin:
        if self._fate:
            self._check()
        try:
            plugin = self._attempt(attempt, pending)
        except PluginError as error:
            self._check(error)
            raise
        # If ``end`` ran first, in another thread, the client is closed already.
        if self._fate.setdefault(self._name, ""):
            self._check()
        return plugin

    def end(self, reason: str) -> None:
        """End the running attempt and all later ones, unless one has succeeded.

        May be called by any thread, and by a signal handler.
        """
        if self._fate.setdefault(self._name, reason):
            try:
                self.give_up()
            except BaseException as raised:  # the caller still has other handshakes to end
                log_failure(f"closing the client of plugin {quoted(self._name)} failed", raised)

    def _check(self, cause: PluginError | None = None) -> None:
        reason = self._fate.get(self._name)
        if cause is not None:
            # The cancellation may end the look-up before it calls ``end``.
            reason = reason or self._ending.reason
        if reason:
            raise WaitCancelledError(reason, self._name) from cause

    def _find(self) -> tuple[Plugin, Client]:
        if self._reached is None:
            plugin, self._found = self._found or self._discovery.lookup(self._name), None
            known = None if plugin.managed is None else self._known(check_protocol(plugin))
            # A plugin that is already active is shared, and so is its client.
            self._reached = (known, known.client) if known else (plugin, self._new_client(plugin))
            if self._fate:  # ``end`` may have run during the look-up, without a client to close
                self._check()
        return self._reached

    def _attempt(self, attempt: int, pending: PendingResponse | None) -> ActivePlugin:
        plugin, client = self._reached or self._find()
        if isinstance(plugin, ActivePlugin):
            return plugin
        manifest = plugin.manifest
        if plugin.managed is None:
            first = self._first if attempt == 1 else None
            request = first or client.request(ACTIVATE, attempt=attempt)
            manifest = client.attempt(request, Manifest, self._timeout, pending)
        return ActivePlugin(
            plugin.name,
            plugin.addr,
            plugin.tls_config,
            manifest,
            managed=plugin.managed,
            client=client,
        )

    def give_up(self) -> None:
        """Close the client that this handshake has made, as the activation does not use it.

        The activation has failed, or shares the client of a plugin that is already active.
        """
        reached, self._reached = self._reached, None
        if reached is not None and not isinstance(reached[0], ActivePlugin):
            reached[1].close()
