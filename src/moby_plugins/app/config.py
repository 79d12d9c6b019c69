"""The composition root: makes clients, registries and discoveries from ``Settings``.

Adapters are imported on first use, so that importing this library does not load urllib3, ssl or
cattrs.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache, partial
from importlib import import_module
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, cast

from moby_plugins.app.client import Client
from moby_plugins.app.leading import client_of
from moby_plugins.app.observing import Observers
from moby_plugins.app.registry import Registry
from moby_plugins.app.settings import (
    AUTO,
    BUILT_IN,
    DISCOVERY,
    LOCAL,
    OBSERVER,
    TRANSPORT,
    Settings,
)
from moby_plugins.descriptors import is_refusal, shared_descriptors, with_descriptors
from moby_plugins.domain.address import Address, TLSOptions, check_tls, warnings_about
from moby_plugins.domain.errors import SettingsError, SpecError
from moby_plugins.domain.observer import Observer
from moby_plugins.domain.text import quoted, shown
from moby_plugins.domain.typed import returned_kind
from moby_plugins.failures import logger
from moby_plugins.platforms import check_platform
from moby_plugins.ports import (
    Clock,
    Connect,
    Discovery,
    PromptConnect,
    Selector,
    Survey,
    Transport,
    filled,
)

if TYPE_CHECKING:
    from requests import Session

    from moby_plugins.adapters.http.dialing import Lookups
    from moby_plugins.adapters.http.pool import IdleConnections
    from moby_plugins.app.subsystem import Subsystem


# The oldest release of httptools that "auto" uses: the oldest that the tests run with.
MIN_HTTPTOOLS = (0, 7)
# The schemes of addresses that are dialled without TLS, and whose transports read no files.
_PLAIN = frozenset({"unix", "tcp", "http"})
S = TypeVar("S", bound="Subsystem")
Made_co = TypeVar("Made_co", covariant=True)


def new_client(
    addr: str,
    tls_config: TLSOptions | None = None,
    *,
    timeout: float | None = None,
    settings: Settings | None = None,
    clock: Clock | None = None,
    observers: Iterable[Observer] = (),
) -> Client:
    """Return a client of the plugin at an address. Nothing is sent yet.

    Args:
        addr: The address: ``unix:///run/x.sock``, ``tcp://host:port``, ``https://host:port``, or
            one with another scheme for which the settings have a transport.
        tls_config: The TLS options; without them, the certificate of an ``https`` address is
            verified against the system's roots.
        timeout: Seconds for each attempt of a call, instead of the settings' time-out.
        settings: The settings; by default ``Settings.from_env()``.
        clock: The clock that retries sleep on; by default the system's.
        observers: Observers of calls, in addition to those of the settings.

    Returns:
        The client; the caller closes it.

    Raises:
        SpecError: If the address or a TLS file is not valid.
        SettingsError: If the settings in the environment are not valid, or the transport cannot be
            used.
        TypeError: If an argument has another type.
    """
    settings = or_environment(settings)
    address = with_descriptors(Address)(addr)
    check_tls(tls_config)
    make = with_descriptors(client_of)(Observers(observers_of(settings, observers)))
    return make(
        connect_by_scheme(settings)(address, tls_config),
        address,
        clock=system_clock() if clock is None else clock,
        retry=settings.retry,
        timeout=settings.timeout if timeout is None else timeout,
        max_response_bytes=settings.max_response_bytes,
        on_retry=settings.on_retry,
    )


def new_local_registry(
    settings: Settings | None = None,
    *,
    discovery: Discovery | None = None,
    clock: Clock | None = None,
    observers: Iterable[Observer] = (),
) -> Registry:
    """Return a registry of the plugins on this machine. No directory is read yet.

    Args:
        settings: The settings; by default ``Settings.from_env()``.
        discovery: The discovery to use; the settings' ``plugins``, ``engine``, ``discovery`` and
            directories are then not used.
        clock: The clock that all waits use; by default the system's.
        observers: Observers of calls and plugins, in addition to those of the settings.

    Returns:
        The registry; the caller closes it.

    Raises:
        SettingsError: If the settings in the environment are not valid, or the discovery cannot be
            used.
        TypeError: If an argument has another type.
    """
    settings = or_environment(settings)
    connect = connect_by_scheme(settings)
    found_by = new_local_discovery(settings) if discovery is None else discovery
    filled("discovery", found_by, "scan", "lookup")
    return Registry(
        discovery=shedding(found_by),
        connect=connect,
        clock=system_clock() if clock is None else clock,
        retry=settings.retry,
        timeout=settings.timeout,
        activation_timeout=settings.activation_timeout,
        max_response_bytes=settings.max_response_bytes,
        selector=poll_selector,
        prompt_schemes=connect.prompt_schemes,
        observers=observers_of(settings, observers),
        on_retry=settings.on_retry,
    )


def observers_of(settings: Settings, others: Iterable[Observer]) -> list[Observer]:
    """Return the observers of the settings, then ``others``; observers given by name are created.

    Raise ``SettingsError`` if an observer cannot be loaded or created.
    """
    return [*map(_observer, settings.observers), *others]


@with_descriptors
def shedding(discovery: Discovery) -> Discovery:
    """Return a discovery that asks ``discovery``, and again if no file descriptor was left.

    Idle connections are closed before it asks again.
    """
    from moby_plugins.adapters.shedding import SheddingDiscovery

    return SheddingDiscovery(discovery, shared_descriptors())


@with_descriptors
def _observer(named: str | Observer) -> Observer:
    if isinstance(named, Observer):
        return named
    make = OBSERVER.load(named)
    try:
        observer = make()
    except (Exception, SystemExit) as error:  # another package may raise anything
        raise SettingsError(
            f"the observer {quoted(named)} cannot be made: {shown(error)}"
        ) from error
    if not isinstance(observer, Observer):
        raise SettingsError(f"the observer {quoted(named)} is not an Observer: {quoted(observer)}")
    return observer


@with_descriptors
def new_local_discovery(settings: Settings | None = None) -> Survey:
    """Return the discovery of the plugins on this machine, which can also list ignored files.

    It finds the settings' ``plugins`` first, then the managed plugins of the settings' engine, then
    all others. No directory is read, and no engine is asked, yet.

    Args:
        settings: The settings; by default ``Settings.from_env()``.

    Returns:
        The discovery; there is nothing to close.

    Raises:
        SettingsError: If the settings are not valid. An exception of another package's discovery
            passes unchanged.
    """
    settings = or_environment(settings)
    others = _others(settings)
    if settings.engine is not None:
        from moby_plugins.adapters.first_of import FirstOf

        others = FirstOf(_engine(settings.engine, settings), others)
    if not settings.plugins and isinstance(others, Survey):
        return others
    from moby_plugins.adapters.first_of import FirstOf
    from moby_plugins.adapters.static import StaticDiscovery

    return FirstOf(StaticDiscovery(settings.plugins), others)


def _engine(address: str, settings: Settings) -> Discovery:
    from moby_plugins.adapters.engine import EngineDiscovery, connect

    tls = settings.engine_tls
    concern = tls.concerns(encrypted=True) if tls is not None else ""
    if concern:
        logger.warning("%s: %s", shown(address), concern)
    return EngineDiscovery(
        address,
        tls,
        timeout=settings.activation_timeout,
        connect=partial(connect, lookups=shared_lookups()),
    )


def _others(settings: Settings) -> Discovery:
    if settings.discovery == LOCAL:
        from moby_plugins.adapters.disk.discovery import FilesystemDiscovery

        return FilesystemDiscovery(settings.sockets_path, settings.specs_paths)
    chosen = settings.discovery
    make = DISCOVERY.load(chosen) if isinstance(chosen, str) else chosen
    return filled(f"what {quoted(chosen)} returns", make(settings), "scan", "lookup")


def or_environment(settings: Settings | None) -> Settings:
    """Return ``settings``, or ``Settings.from_env()`` for ``None``.

    Raise ``TypeError`` for a value of another type.
    """
    if settings is None:
        return Settings.from_env()
    unchecked: object = settings  # the caller's program may not be type-checked
    if not isinstance(unchecked, Settings):
        raise TypeError(f"settings takes Settings, not a {type(unchecked).__name__}")
    return unchecked


def connect_by_scheme(settings: Settings) -> "ConnectByScheme[Transport]":
    """Return a ``Connect`` that chooses a transport by the address's scheme.

    When it is called, it raises ``SpecError`` for a scheme without a transport, and
    ``SettingsError`` for a transport that is not installed. The built-in transports that it makes
    share a limit on idle connections. On first use it decides once which transport ``"auto"`` is.

    Args:
        settings: The settings, whose ``transports`` are used.

    Returns:
        The ``Connect``, a function that makes the transport for an address.
    """
    return ConnectByScheme(or_environment(settings).transports, Transports())


def connect_by_name(name: str) -> Connect:
    """Return the ``Connect`` of a transport, by its name in ``Settings.transports``.

    Args:
        name: ``"httptools"``, ``"urllib3"``, ``"auto"``, or a name that an installed package
            registers.

    Returns:
        The ``Connect``, for example for a further scheme: ``Settings(transports={"mine": …})``.

    Raises:
        SettingsError: If the name is unknown, or the transport cannot be loaded.
    """
    if not isinstance(name, str):
        raise SettingsError(f"name must be the name of a transport, not {quoted(name)}")
    return Transports().connect(name)


@with_descriptors
def connect_by_requests(session: "Session") -> Connect:
    """Return a ``Connect`` whose transports send requests over a given ``requests.Session``.

    Use it as ``Settings(transports={"tcp": connect_by_requests(session)})``. The URL of a UNIX
    socket is ``http+unix://`` and the percent-encoded path, which the common adapters for requests
    handle.

    Args:
        session: The session. The caller closes it, after the transports. It must be thread-safe if
            several threads make calls.

    Returns:
        The ``Connect``.

    Raises:
        SettingsError: If requests is not installed.
    """
    try:
        from moby_plugins.adapters.http.requests import RequestsConnect
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"connect_by_requests needs {error.name}: pip install 'moby-plugins[requests]'"
        ) from error
    return RequestsConnect(session)


class NamedTransports(Protocol[Made_co]):
    """The interface of a set of transports, to which settings refer by name."""

    @property
    def auto(self) -> str:
        """The name of the transport that ``"auto"`` means."""
        ...

    def connect(self, name: str) -> Callable[[Address, TLSOptions | None], Made_co]:
        """Return the function that makes the transport called ``name``."""
        ...

    def check(self, transport: object, scheme: str) -> None:
        """Raise ``SettingsError`` if ``transport``, made for ``scheme``, is of the wrong kind.

        The wrong kind is an asynchronous transport for a synchronous registry, and the reverse.
        """


class ConnectByScheme(Generic[Made_co]):
    """A ``Connect`` that chooses the transport by the address's scheme; ``repr`` lists them all."""

    def __init__(self, transports: Mapping[str, object], named: NamedTransports[Made_co]) -> None:
        self._transports = transports
        self._named = named

    def __call__(self, address: Address, tls: TLSOptions | None, /) -> Made_co:
        """Return a transport for ``address``, not connected yet.

        Raises ``SpecError`` if there is no transport for the scheme, or the address or a TLS file
        is not valid, and ``SettingsError`` if the transport cannot be loaded.
        """
        named = self._transports.get(address.scheme)
        if named is None:
            known = ", ".join(sorted(self._transports))
            wanted = f"{shown(address.scheme)}:// ({shown(address.text)})"
            raise SpecError(f"no transport for {wanted}; there is one for: {known}")
        for warning in warnings_about(address, tls):
            logger.warning("%s: %s", shown(address.text), warning)
        return self._made(named, address, tls)

    @with_descriptors
    def _made(self, named: object, address: Address, tls: TLSOptions | None) -> Made_co:
        if isinstance(named, str):
            return self._named.connect(named)(address, tls)
        transport = cast("Callable[[Address, TLSOptions | None], Made_co]", named)(address, tls)
        self._named.check(transport, address.scheme)
        return transport

    @property
    def prompt_schemes(self) -> frozenset[str]:
        """The schemes whose transports are made without waiting: not those that read TLS files."""
        return frozenset(
            scheme
            for scheme, named in self._transports.items()
            if (named in (AUTO, *BUILT_IN) and scheme in _PLAIN)
            or (isinstance(named, PromptConnect) and named.is_prompt)
        )

    def name(self, scheme: str) -> str:
        """Return the name of the transport for ``scheme``, such as ``httptools (auto)``."""
        chosen = self._transports.get(scheme, "none")
        if not isinstance(chosen, str):
            return shown(getattr(chosen, "__qualname__", type(chosen).__qualname__))
        return f"{self._named.auto} ({AUTO})" if chosen == AUTO else shown(chosen)

    def __repr__(self) -> str:
        schemes: dict[str, list[str]] = {}
        for scheme in self._transports:
            schemes.setdefault(self.name(scheme), []).append(scheme)
        return "; ".join(f"{', '.join(those)} over {name}" for name, those in schemes.items())


class Transports:
    """The synchronous transports of one registry or client, by their names in settings."""

    def __init__(self) -> None:
        # A cache: finding an installed transport reads the metadata of all packages.
        self._connects: dict[str, Connect] = {}
        self._decided: dict[str, tuple[str, str]] = {}
        self._idle = cache(idle_connections)

    @property
    def auto(self) -> str:
        """The name of the transport that ``"auto"`` means, decided on first use."""
        decided = self._decided.get(AUTO)
        if decided is None:
            connect = _decide()
            # If two threads decide at once, both get the first decision, which is logged once.
            decided = self._decided.setdefault(AUTO, connect)
            if decided is connect:
                logger.debug("the transport %r is %s: %s", AUTO, *decided)
        return decided[0]

    def connect(self, name: str) -> Connect:
        """Return the ``Connect`` of the transport called ``name``."""
        connect = self._connects.get(name)
        if connect is None:
            connect = self._connects.setdefault(
                name, self._find(self.auto if name == AUTO else name)
            )
        return connect

    def check(self, transport: object, scheme: str) -> None:
        """Raise ``SettingsError`` if the transport's ``send`` returns an awaitable."""
        if issubclass(returned_kind(getattr(transport, "send", None)) or object, Awaitable):
            raise SettingsError(
                f"the transport for {shown(scheme)}:// is asynchronous: it is for moby_plugins.aio"
            )

    def _find(self, name: str) -> Connect:
        if name not in BUILT_IN:
            return TRANSPORT.load(name)
        check_platform("calling over sockets")
        try:
            connect = import_module(BUILT_IN[name]).connect
        except (ImportError, OSError) as error:
            missing = error.name if isinstance(error, ModuleNotFoundError) else None
            needed = missing or f"a module that cannot be imported ({shown(error)})"
            package = "'moby-plugins[speed]'" if name == "httptools" else "moby-plugins"
            raise SettingsError(
                f"the transport {name!r} needs {needed}: pip install {package}"
            ) from error
        return cast("Connect", partial(connect, idle=self._idle(), lookups=shared_lookups()))


def _decide() -> tuple[str, str]:
    # Import the library only: the adapter would load modules that are not needed before a connect.
    try:
        httptools = import_module("httptools")
        version = httptools.__version__
        # The names that the adapter imports; another package called httptools may lack them.
        _ = httptools.HttpResponseParser, httptools.HttpParserError, httptools.HttpParserUpgrade
    except Exception as error:  # a broken library may raise anything while it is imported
        if is_refusal(error):
            raise  # it may be imported at the next attempt
        return "urllib3", f"httptools cannot be imported: {shown(error)}"
    return fastest(version)


def fastest(version: object) -> tuple[str, str]:
    """Return the transport that ``"auto"`` means with this version of httptools, and why."""
    version = str(version)
    release = tuple(int(part) for part in re.findall(r"\d{1,9}", version)[:2])
    if release < MIN_HTTPTOOLS:
        oldest = ".".join(map(str, MIN_HTTPTOOLS))
        return "urllib3", f"httptools is {shown(version)}, older than {oldest}"
    return "httptools", f"httptools is {shown(version)}"


def idle_connections() -> "IdleConnections":
    """Return a new limit on idle connections, for the transports of one registry or client.

    The limit is a quarter of the file descriptors that the process may open, and at most 128.
    """
    from moby_plugins.adapters.http.pool import MAX_IDLE_CONNECTIONS, IdleConnections

    most = MAX_IDLE_CONNECTIONS
    with suppress(ImportError):  # Windows has no such module
        from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit

        limit, _ = getrlimit(RLIMIT_NOFILE)
        most = most if limit == RLIM_INFINITY else min(max(limit // 4, 1), most)
    return IdleConnections(most, shared_descriptors())


@cache
def shared_lookups() -> "Lookups":
    """Return the object with which the process's transports look up names and read TLS files.

    Callers that wait for the same look-up share one thread, also if it hangs.
    """
    from moby_plugins.adapters.http.dialing import Lookups

    return Lookups()


@with_descriptors
def system_clock() -> Clock:
    """Return the system's clock."""
    from moby_plugins.adapters.clock import SystemClock

    return SystemClock()


def poll_selector() -> Selector:
    """Return a selector that waits for the responses of many built-in transports at once."""
    from moby_plugins.adapters.http.exchanges import PollSelector

    return PollSelector()
