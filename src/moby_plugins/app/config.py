"""The composition root: puts adapters behind the ports, as ``Settings`` says.

Adapters are imported when they are first needed, so that importing this library
loads none of urllib3, ssl and cattrs.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache, partial
from importlib import import_module
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, cast

from moby_plugins.app.client import Client
from moby_plugins.app.observed_client import client_of
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
from moby_plugins.domain.address import Address, TLSOptions, check_tls
from moby_plugins.domain.errors import SettingsError, SpecError
from moby_plugins.domain.observing import Observer
from moby_plugins.domain.text import quoted, shown
from moby_plugins.failures import logger
from moby_plugins.platforms import check_platform
from moby_plugins.ports import (
    Clock,
    Connect,
    Discovery,
    Selector,
    Survey,
    Transport,
    filled,
)

if TYPE_CHECKING:
    from requests import Session

    from moby_plugins.adapters.descriptors import Descriptors
    from moby_plugins.adapters.http.dialing import Lookups
    from moby_plugins.adapters.http.pool import IdleConnections
    from moby_plugins.app.subsystem import Subsystem


# What "auto" asks of httptools: the oldest release that the tests are run with.
MIN_HTTPTOOLS = (0, 7)
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
    """Make a client of the plugin at an address, without a discovery. Nothing is sent yet.

    Args:
        addr: The address: ``unix:///run/x.sock``, ``tcp://host:port``, ``https://host:port``, or of
            another scheme that the settings have a transport for.
        tls_config: How to speak TLS; without it, an ``https`` address is verified against the
            system's roots.
        timeout: Seconds for each attempt of a call, in place of the settings'.
        settings: ``Settings.from_env()`` unless given.
        clock: What retries sleep on; the machine's unless given.
        observers: What is told of calls, besides those of the settings.

    Returns:
        The client, for the caller to close.

    Raises:
        SpecError: For an address or TLS file that cannot be used.
        SettingsError: For settings of the environment, or a transport, that cannot be used.
        TypeError: For an argument of another type.
    """
    settings = or_environment(settings)
    address = Address(addr)
    check_tls(tls_config)
    return client_of(Observers(observers_of(settings, observers)))(
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
    """Make a registry of the plugins on this machine. Reads no directory yet.

    Args:
        settings: ``Settings.from_env()`` unless given.
        discovery: Finds the plugins, in place of what the settings say: their ``plugins`` and
            directories are then not looked at.
        clock: What waits are on; the machine's unless given.
        observers: What is told of calls and plugins, besides those of the settings.

    Returns:
        The registry, for the caller to close.

    Raises:
        SettingsError: For settings of the environment, or a discovery, that cannot be used.
        TypeError: For an argument of another type.
    """
    settings = or_environment(settings)
    from moby_plugins.adapters.descriptors import SheddingDiscovery

    found_by = new_local_discovery(settings) if discovery is None else discovery
    filled("discovery", found_by, "scan", "lookup")
    return Registry(
        discovery=SheddingDiscovery(found_by, shared_descriptors()),
        connect=connect_by_scheme(settings),
        clock=system_clock() if clock is None else clock,
        retry=settings.retry,
        timeout=settings.timeout,
        activation_timeout=settings.activation_timeout,
        max_response_bytes=settings.max_response_bytes,
        selector=poll_selector,
        observers=observers_of(settings, observers),
        on_retry=settings.on_retry,
    )


def observers_of(settings: Settings, others: Iterable[Observer]) -> list[Observer]:
    """Return the observers that the settings name, each made anew, and ``others``.

    Raises ``SettingsError`` for one that cannot be loaded or made.
    """
    return [*map(_observer, settings.observers), *others]


def _observer(named: str | Observer) -> Observer:
    if isinstance(named, Observer):
        return named
    make = OBSERVER.load(named)
    try:
        made = make()
    except Exception as error:  # whatever another package raises
        raise SettingsError(
            f"the observer {quoted(named)} cannot be made: {shown(error)}"
        ) from error
    if not isinstance(made, Observer):
        raise SettingsError(f"the observer {quoted(named)} is no Observer: {quoted(made)}")
    return made


def new_local_discovery(settings: Settings | None = None) -> Survey:
    """Make what finds the plugins on this machine, and can tell what it passes over.

    Those that the settings name come first, then those of the engine that they name. Reads no
    directory, and asks no engine yet.

    Args:
        settings: ``Settings.from_env()`` unless given.

    Returns:
        The discovery; there is nothing to close.

    Raises:
        SettingsError: For settings that cannot be used; and what a discovery of another package
            raises while it is made.
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
    """Return ``settings``, or those of the environment; ``TypeError`` for anything else."""
    if settings is None:
        return Settings.from_env()
    given: object = settings  # of a program that nothing has checked
    if not isinstance(given, Settings):
        raise TypeError(f"settings takes Settings, not a {type(given).__name__}")
    return given


def connect_by_scheme(settings: Settings) -> "ConnectByScheme[Transport]":
    """Make a ``Connect`` that chooses a transport by the address's scheme, as the settings say.

    Called, it raises ``SpecError`` for a scheme without a transport, and ``SettingsError`` for a
    transport that is not installed. The built-in transports that it makes share a bound on idle
    connections. Which of them ``"auto"`` is, is decided once, when it is first needed.

    Args:
        settings: Whose ``transports`` count.

    Returns:
        The ``Connect``.
    """
    return ConnectByScheme(or_environment(settings).transports, Transports())


def connect_by_name(name: str) -> Connect:
    """Make the ``Connect`` of a transport that is called by name, as in ``Settings.transports``.

    Args:
        name: ``"httptools"``, ``"urllib3"``, ``"auto"``, or what an installed package registers.

    Returns:
        The ``Connect``: give it to ``Settings(transports={"mine": …})`` for a scheme of one's own.

    Raises:
        SettingsError: For a name that is none, and for a transport that cannot be loaded.
    """
    if not isinstance(name, str):
        raise SettingsError(f"name must be the name of a transport, not {quoted(name)}")
    return Transports().connect(name)


def connect_by_requests(session: "Session") -> Connect:
    """Make a ``Connect`` of transports over a ``requests.Session`` of one's own.

    For ``Settings(transports={"tcp": connect_by_requests(session)})``. A UNIX socket is asked for
    as ``http+unix://``, with the path quoted, which is what adapters for requests commonly mount.

    Args:
        session: It stays its owner's: it is never closed here, and is shared between threads as far
            as it can be.

    Returns:
        The ``Connect``.

    Raises:
        SettingsError: Where requests is not installed.
    """
    try:
        from moby_plugins.adapters.http.requests import RequestsConnect
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"connect_by_requests needs {error.name}: pip install 'moby-plugins[requests]'"
        ) from error
    return RequestsConnect(session)


class NamedTransports(Protocol[Made_co]):
    """Transports that settings call by name, of the kind ``Made_co``."""

    @property
    def auto(self) -> str:
        """The name of the transport that ``"auto"`` is."""
        ...

    def connect(self, name: str) -> Callable[[Address, TLSOptions | None], Made_co]:
        """What makes the transport called ``name``."""
        ...

    def check(self, made: object, scheme: str) -> None:
        """Raise ``SettingsError`` for a transport of the other kind, which is for ``scheme``."""


class ConnectByScheme(Generic[Made_co]):
    """What ``connect_by_scheme`` returns; its ``repr`` tells which transports it has."""

    def __init__(self, transports: Mapping[str, object], named: NamedTransports[Made_co]) -> None:
        self._transports = transports
        self._named = named

    def __call__(self, address: Address, tls: TLSOptions | None, /) -> Made_co:
        """A transport for ``address``, not connected yet."""
        chosen = self._transports.get(address.scheme)
        if chosen is None:
            known = ", ".join(sorted(self._transports))
            wanted = f"{shown(address.scheme)}:// ({shown(address.text)})"
            raise SpecError(f"no transport for {wanted}; there are: {known}")
        concern = tls.concerns(encrypted=address.encrypted) if tls is not None else ""
        for each in filter(None, (concern, address.concern)):
            logger.warning("%s: %s", shown(address.text), each)
        if isinstance(chosen, str):
            return self._named.connect(chosen)(address, tls)
        made = cast("Callable[[Address, TLSOptions | None], Made_co]", chosen)(address, tls)
        self._named.check(made, address.scheme)
        return made

    def name(self, scheme: str) -> str:
        """The name of the transport for ``scheme``; that of ``"auto"`` is the one chosen."""
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
    """Transports by name for one registry or client: each is looked for once."""

    def __init__(self) -> None:
        # An installed one is looked for once: that reads the metadata of all packages.
        self._found: dict[str, Connect] = {}
        self._decided: dict[str, tuple[str, str]] = {}
        self._idle = cache(idle_connections)

    @property
    def auto(self) -> str:
        """The name of the transport that ``"auto"`` is, decided when first asked for."""
        decided = self._decided.get(AUTO)
        if decided is None:
            made = _decide()
            # Of two threads that decide, both get what the first decided, and it says so.
            decided = self._decided.setdefault(AUTO, made)
            if decided is made:
                logger.debug("the transport %r is %s: %s", AUTO, *decided)
        return decided[0]

    def connect(self, name: str) -> Connect:
        """The transport called ``name``."""
        found = self._found.get(name)
        if found is None:
            found = self._found.setdefault(name, self._find(self.auto if name == AUTO else name))
        return found

    def check(self, made: object, scheme: str) -> None:
        """Raise ``SettingsError`` for a transport whose ``send`` is a coroutine."""
        if iscoroutinefunction(getattr(made, "send", None)):
            raise SettingsError(
                f"the transport for {shown(scheme)}:// is asynchronous: it is for moby_plugins.aio"
            )

    def _find(self, name: str) -> Connect:
        if name not in BUILT_IN:
            return TRANSPORT.load(name)
        check_platform("calling over sockets")
        try:
            connect = import_module(BUILT_IN[name]).connect
        except ImportError as error:
            missing = error.name if isinstance(error, ModuleNotFoundError) else None
            needed = missing or f"what cannot be imported ({shown(error)})"
            raise SettingsError(
                f"the transport {name!r} needs {needed}: pip install 'moby-plugins[speed]'"
            ) from error
        return cast("Connect", partial(connect, idle=self._idle(), lookups=shared_lookups()))


def _decide() -> tuple[str, str]:
    # Not the adapter, which would load what a registry need not have until it connects.
    try:
        httptools = import_module("httptools")
        version = httptools.__version__
        # What the adapter imports, and another package of that name may lack.
        _ = httptools.HttpResponseParser, httptools.HttpParserError, httptools.HttpParserUpgrade
    except Exception as error:  # whatever a library that is broken raises while it is imported
        return "urllib3", f"httptools cannot be imported: {shown(error)}"
    return fastest(version)


def fastest(version: object) -> tuple[str, str]:
    """Return the transport that ``"auto"`` is beside httptools of this version, and why."""
    version = str(version)
    release = tuple(int(part) for part in re.findall(r"\d{1,9}", version)[:2])
    if release < MIN_HTTPTOOLS:
        return "urllib3", f"httptools is {shown(version)}, older than 0.7"
    return "httptools", f"httptools is {shown(version)}"


def idle_connections() -> "IdleConnections":
    """A bound for one registry: a quarter of the process's descriptors, and 128 at most."""
    from moby_plugins.adapters.http.pool import MAX_IDLE_CONNECTIONS, IdleConnections

    most = MAX_IDLE_CONNECTIONS
    with suppress(ImportError):  # of a platform that does not tell
        from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit

        limit, _ = getrlimit(RLIMIT_NOFILE)
        most = most if limit == RLIM_INFINITY else min(max(limit // 4, 1), most)
    return IdleConnections(most, shared_descriptors())


@cache
def shared_descriptors() -> "Descriptors":
    """What can be closed in all of the process, for one registry as for another."""
    from moby_plugins.adapters.descriptors import Descriptors

    return Descriptors()


@cache
def shared_lookups() -> "Lookups":
    """What resolves names for all of the process, so that one that hangs has one thread."""
    from moby_plugins.adapters.http.dialing import Lookups

    return Lookups()


def system_clock() -> Clock:
    """The machine's own clock."""
    from moby_plugins.adapters.clock import SystemClock

    return SystemClock()


def poll_selector() -> Selector:
    """What waits for the responses of many built-in transports at once."""
    from moby_plugins.adapters.http.exchanges import PollSelector

    return PollSelector()
