"""Discovery of the managed plugins of a Docker Engine, through GET requests to its API.

A *question* (a look-up or a scan) is a few requests. Each uses a new connection, as an idle one may
be closed by the engine at any time, and nothing is cached. The time of a question and the size of
each response are bounded. ``domain/managed.py`` interprets the responses.
"""

from collections.abc import Callable
from contextlib import closing
from typing import TypeVar
from urllib.parse import quote

from attrs import evolve, field, frozen

from moby_plugins.adapters.clock import SystemClock
from moby_plugins.adapters.http.dialing import Lookups, dialer_for
from moby_plugins.adapters.http.pool import PooledTransport
from moby_plugins.domain.address import Address, TLSOptions, check_tls
from moby_plugins.domain.errors import (
    NOT_FOUND,
    InvalidPluginNameError,
    PluginDisabledError,
    PluginError,
    PluginNotFoundError,
    SpecError,
    StatusError,
    TransportError,
    TransportTimeoutError,
    WireError,
    sign,
    status_line,
)
from moby_plugins.domain.http import (
    OK,
    TIMED_OUT,
    USER_AGENT,
    Body,
    Request,
    Response,
    Whole,
)
from moby_plugins.domain.json import first_value, fold_keys
from moby_plugins.domain.managed import (
    NAMES,
    asked_as,
    found_plugin,
    is_api_version,
    is_called,
    is_engine_name,
    read_plugin,
    read_plugins,
    read_root,
)
from moby_plugins.domain.plugin import Candidate, IgnoredFile, ManagedPlugin, Plugin, check_any_name
from moby_plugins.domain.retry import seconds
from moby_plugins.domain.text import shown
from moby_plugins.domain.typed import is_of_its_type
from moby_plugins.ports import Cancellation, Clock, Connect, Transport, connect_given, filled

# Seconds for one question, by default.
TIMEOUT = 30.0
# The most bytes of one response: a thousand plugins take one MiB.
MAX_RESPONSE_BYTES = 16 << 20
_HEADERS = {"Accept": "application/json", "User-Agent": USER_AGENT, "Connection": "close"}
T = TypeVar("T")


def connect(
    address: Address, tls: TLSOptions | None, /, *, lookups: Lookups | None = None
) -> Transport:
    """Return a transport that sends only GET requests, to the engine at ``address``.

    ``lookups`` looks up the host name and reads the TLS files. Raises ``SpecError`` for an address
    that cannot be dialled, or a TLS file that cannot be used.
    """
    from moby_plugins.adapters.http.urllib3 import GetConnection

    return PooledTransport(address, dialer_for(address, tls, lookups), GetConnection)


@frozen(repr=False)
class EngineDiscovery:
    """A discovery of the managed plugins of an engine, through read-only requests.

    ``scan`` lists the enabled plugins by their full name (``shelf:latest``). ``lookup`` finds them
    by that name, by the name without ``:latest``, by id, and by at least the first 12 digits of an
    id. A response may have up to 16 MiB. Each method that asks the engine raises ``TransportError``
    with the engine's address if it cannot be reached, ``StatusError`` if it responds with an error,
    and ``WireError`` for any other invalid response. Threads may share it; there is nothing to
    close.

    Args:
        address: The address of the engine: ``"unix:///var/run/docker.sock"`` or
            ``"https://engine:2376"``.
        tls_config: For an ``https`` address; without it, the engine is verified against the
            system's roots.
        timeout: Seconds for one look-up or scan, from the dial to the last byte; ``None`` for no
            limit.
        connect: Creates the transport to the engine; for tests.
        clock: The clock that measures ``timeout``; for tests.
        cancel: Once this is set, current and later look-ups and scans raise ``TransportError``.

    Raises:
        SpecError: For an invalid address.
        ValueError: For a time-out that is not positive.
        TypeError: For an argument of another type.
    """

    address: Address = field(converter=Address)
    tls_config: TLSOptions | None = field(default=None, repr=False)
    timeout: float | None = field(default=TIMEOUT, converter=seconds, kw_only=True)
    connect: Connect = field(default=connect, kw_only=True, repr=False)
    clock: Clock = field(factory=SystemClock, kw_only=True, repr=False)
    cancel: Cancellation = field(
        factory=Cancellation,
        validator=is_of_its_type,
        kw_only=True,
        eq=False,
        repr=False,
    )

    def __attrs_post_init__(self) -> None:
        check_tls(self.tls_config)
        filled("clock", self.clock, "now")
        connect_given(self.connect)

    def scan(self) -> list[str]:
        """Return the names of the enabled plugins, with their tags, sorted."""
        return sorted({plugin.name for plugin in self._all() if plugin.enabled})

    def lookup(self, name: str) -> Plugin:
        """Return the plugin with this name or id.

        Raises ``InvalidPluginNameError`` for a name that no plugin of an engine can have, before
        any request, ``PluginNotFoundError``, ``PluginDisabledError``, ``SpecError`` for a plugin
        that cannot be reached or whose id is invalid, and the errors listed at the class.
        """
        question = self._question()
        plugin = self._find(question, name)
        if not plugin.enabled:
            raise PluginDisabledError(plugin.name)
        return self._plugin_of(question, plugin)

    def candidates(self, name: str) -> list[Candidate]:
        """Return the plugin ``name``, enabled or not, as the only candidate, or its error."""
        try:
            question = self._question()
            return [self._candidate(question, self._find(question, name))]
        except PluginNotFoundError:
            return []
        except InvalidPluginNameError:
            raise
        except PluginError as error:
            return [Candidate(self._origin(name), error=error)]

    def ignored(self) -> list[IgnoredFile]:
        """Return the disabled plugins of the engine, which ``lookup`` refuses.

        The list is empty if the engine does not respond or responds with an error.
        """
        try:
            disabled = [plugin for plugin in self._all() if not plugin.enabled]
        except PluginError:
            return []
        return [
            IgnoredFile(
                self._origin(each.name), str(PluginDisabledError(each.name)), each.name, each
            )
            for each in disabled
        ]

    def ended_by(self, cancel: Cancellation) -> "EngineDiscovery":
        """Return a copy whose look-ups and scans end once ``cancel`` is set."""
        return evolve(self, address=self.address.text, cancel=cancel)

    def __repr__(self) -> str:
        return f"EngineDiscovery({shown(self.address.text)!r})"

    def _all(self) -> tuple[ManagedPlugin, ...]:
        return self._question().read("plugins", read_plugins)

    def _find(self, question: "_Question", name: str) -> ManagedPlugin:
        if not is_engine_name(check_any_name(name)):
            raise InvalidPluginNameError(name, NAMES)
        # Of the characters of a name, only "@" and "+" of a digest are special in a path.
        path = f"plugins/{quote(asked_as(name), safe='/:@')}/json"
        missing = PluginNotFoundError(name, [self._origin(name)])
        try:
            plugin = question.read(path, read_plugin)
        except StatusError as error:
            if error.status != NOT_FOUND:
                raise
            raise missing from error
        if not is_called(plugin, name):
            raise missing
        return plugin

    def _plugin_of(self, question: "_Question", plugin: ManagedPlugin) -> Plugin:
        try:
            return found_plugin(plugin, question.read("info", read_root))
        except SpecError as error:
            raise SpecError(error.reason, self._origin(plugin.name)) from error

    def _candidate(self, question: "_Question", plugin: ManagedPlugin) -> Candidate:
        origin = self._origin(plugin.name)
        try:
            plugin_found = self._plugin_of(question, plugin)
        except SpecError as error:
            return Candidate(origin, error=error, managed=plugin)
        if plugin.enabled:
            return Candidate(origin, plugin_found, managed=plugin)
        return Candidate(origin, error=PluginDisabledError(plugin.name), managed=plugin)

    def _origin(self, name: str) -> str:
        # What messages show as its path: the plugin, and the engine that has it.
        return f"{name} at {self.address.text}"

    def _question(self) -> "_Question":
        return _Question(
            lambda: self.connect(self.address, self.tls_config),
            self.address.text,
            self.clock,
            None if self.timeout is None else self.clock.now() + self.timeout,
            self.cancel,
        )


class _Question:
    """The requests of one look-up or scan, with one deadline: the time ``ends`` of ``clock``.

    The requests use the engine's own API version, which the first of them asks for.
    """

    def __init__(
        self,
        connect: Callable[[], Transport],
        engine: str,
        clock: Clock,
        ends: float | None,
        cancel: Cancellation,
    ) -> None:
        self._connect = connect
        self._engine = engine
        self._clock = clock
        self._ends = ends
        self._cancel = cancel
        self._version: str | None = None

    def read(self, path: str, understand: Callable[[object], T]) -> T:
        """Call ``understand`` with the JSON at ``path`` of the engine's API; return its result.

        Raises ``TransportError`` if the engine does not respond, ``StatusError`` if it responds
        with an error, and ``WireError`` for an invalid response, for which ``understand`` raises
        ``ValueError``.
        """
        if self._version is None:
            version = self._get("_ping")[0].headers.get("Api-Version", "")
            self._version = f"v{version}/" if is_api_version(version) else ""
        path = self._version + path
        response, body = self._get(path)
        try:
            value = first_value(body)
            if response.status != OK:
                raise self._refusal(response.status, path, value)
            return understand(value)
        except ValueError as error:
            status = "" if response.status == OK else f" {status_line(response.status)}"
            reason = f"the engine's response{status} cannot be used: {shown(error)}"
            raise WireError(reason, f"GET /{path}", self._engine) from error

    def _refusal(self, status: int, path: str, value: object) -> StatusError:
        message = fold_keys(value).get("message") if isinstance(value, dict) else None
        if not isinstance(message, str):
            raise ValueError("its JSON has no message")  # noqa: TRY004  not of a caller's
        error = StatusError(status, f"GET /{path}", message)
        sign(error, "", self._engine)
        return error

    def _get(self, path: str) -> tuple[Response, bytes]:
        left = None if self._ends is None else self._ends - self._clock.now()
        try:
            if left is not None and left <= 0:
                raise TransportTimeoutError(TIMED_OUT)
            with closing(self._connect()) as transport, self._cancel.calling(transport.close):
                response = transport.send(Request(path, headers=_HEADERS), left)
                with closing(response.body):
                    return response, _whole(response.body)
        except (TransportError, WireError) as error:
            # The texts of transports are about plugins, their usual peers.
            error.reason = error.reason.replace("the plugin", "the engine")
            error.address = self._engine
            if isinstance(error, WireError):
                error.method = f"GET /{path}"
            raise


def _whole(body: Body) -> bytes:
    whole = Whole(MAX_RESPONSE_BYTES)
    while data := body.read(whole.room):
        whole.add(data)
    return whole.value
