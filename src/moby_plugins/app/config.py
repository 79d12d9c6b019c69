"""The composition root: puts adapters behind the ports, as ``Settings`` says.

Adapters are imported when they are first needed, so that importing this library
loads none of urllib3, ssl and cattrs.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module
from typing import TYPE_CHECKING, cast

from moby_plugins.app.activation import ActivePlugin, Handler, ProcessLock
from moby_plugins.app.client import Client
from moby_plugins.app.registry import Registry
from moby_plugins.app.retrying import OnRetry
from moby_plugins.app.settings import BUILT_IN, ENTRY_POINTS, Settings
from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.domain.errors import PluginError, SettingsError, SpecError
from moby_plugins.domain.retry import RetryPolicy
from moby_plugins.domain.text import quoted, shown
from moby_plugins.ports import Cancellation, Clock, Connect, Survey, Transport

if TYPE_CHECKING:
    from moby_plugins.adapters.http.dialing import Lookups
    from moby_plugins.adapters.http.pool import IdleConnections

logger = logging.getLogger("moby_plugins")


def new_client(
    addr: str,
    tls_config: TLSOptions | None = None,
    *,
    timeout: float | None = None,
    settings: Settings | None = None,
    clock: Clock | None = None,
) -> Client:
    """A client of the plugin at ``addr``; whoever asks for it closes it.

    Without ``tls_config`` an ``https`` address is verified against the system's
    roots. ``timeout`` (seconds) bounds each attempt, in place of the settings'.
    Without ``settings`` those of the environment count. Nothing is sent yet.
    Raises ``SpecError`` for an address or TLS file that cannot be used, and
    ``SettingsError``.
    """
    settings = Settings.from_env() if settings is None else settings
    address = Address(addr)
    return Client(
        connect_by_scheme(settings)(address, tls_config),
        address,
        clock=clock or system_clock(),
        retry=settings.retry,
        timeout=settings.timeout if timeout is None else timeout,
        max_response_bytes=settings.max_response_bytes,
    )


def new_local_registry(settings: Settings | None = None, *, clock: Clock | None = None) -> Registry:
    """A registry of the plugins on this machine; whoever asks for it closes it.

    Without ``settings`` those of the environment count. Reads no directory yet.
    Raises ``SettingsError``.
    """
    settings = Settings.from_env() if settings is None else settings
    return Registry(
        discovery=new_local_discovery(settings),
        connect=connect_by_scheme(settings),
        clock=clock or system_clock(),
        retry=settings.retry,
        timeout=settings.timeout,
        activation_timeout=settings.activation_timeout,
        max_response_bytes=settings.max_response_bytes,
    )


def new_local_discovery(settings: Settings | None = None) -> Survey:
    """What finds the plugins on this machine, and can tell what it passes over.

    Without ``settings`` those of the environment count. Reads no directory yet.
    Raises ``SettingsError``.
    """
    from moby_plugins.adapters.disk.discovery import FilesystemDiscovery

    settings = Settings.from_env() if settings is None else settings
    return FilesystemDiscovery(settings.sockets_path, settings.specs_paths)


def connect_by_scheme(settings: Settings) -> Connect:
    """The ``Connect`` that chooses a transport by the address's scheme, as the settings say.

    It raises ``SpecError`` for a scheme without a transport, and ``SettingsError``
    for a transport that is not installed. The built-in transports that it makes share a
    bound on idle connections.
    """
    idle = cache(_idle_connections)
    # An installed one is looked for once: that reads the metadata of all packages.
    named = cache(lambda name: _transport_named(name, idle))

    def connect(address: Address, tls: TLSOptions | None, /) -> Transport:
        chosen = settings.transports.get(address.scheme)
        if chosen is None:
            known = ", ".join(sorted(settings.transports))
            wanted = f"{shown(address.scheme)}:// ({shown(address.text)})"
            raise SpecError(f"no transport for {wanted}; there are: {known}")
        concern = tls.concerns(encrypted=address.encrypted) if tls is not None else ""
        for each in filter(None, (concern, address.concern)):
            logger.warning("%s: %s", shown(address.text), each)
        make = named(chosen) if isinstance(chosen, str) else chosen
        return make(address, tls)

    return connect


def _transport_named(name: str, idle: "Callable[[], IdleConnections]") -> Connect:
    if name in BUILT_IN:
        try:
            connect = import_module(BUILT_IN[name]).connect
        except ModuleNotFoundError as error:
            raise SettingsError(
                f"the transport {name!r} needs {error.name}: pip install 'moby-plugins[speed]'"
            ) from error
        return cast("Connect", partial(connect, idle=idle(), lookups=_lookups()))
    from importlib.metadata import entry_points

    installed = entry_points(group=ENTRY_POINTS)
    if name not in installed.names:
        known = ", ".join(sorted({*BUILT_IN, *installed.names}))
        raise SettingsError(f"no transport is called {quoted(name)}; there are: {shown(known)}")
    try:
        return cast("Connect", installed[name].load())
    except Exception as error:  # whatever another package raises while it is imported
        raise SettingsError(
            f"the transport {quoted(name)} cannot be loaded: {shown(error)}"
        ) from error


def _idle_connections() -> "IdleConnections":
    """A bound for one registry: a quarter of the process's descriptors, and 128 at most."""
    from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit

    from moby_plugins.adapters.http.pool import MAX_IDLE_CONNECTIONS, IdleConnections

    limit, _ = getrlimit(RLIMIT_NOFILE)
    if limit == RLIM_INFINITY:
        return IdleConnections()
    return IdleConnections(min(max(limit // 4, 1), MAX_IDLE_CONNECTIONS))


@cache
def _lookups() -> "Lookups":
    """What resolves names for all of the process, so that one that hangs has one thread."""
    from moby_plugins.adapters.http.dialing import Lookups

    return Lookups()


def system_clock() -> Clock:
    """The machine's own clock."""
    from moby_plugins.adapters.clock import SystemClock

    return SystemClock()


class _Default:
    """The one registry behind the functions of the front door, made when first needed."""

    def __init__(self) -> None:
        self._lock = ProcessLock()
        self._registry: Registry | None = None

    def registry(self) -> Registry:
        with self._lock():
            if self._registry is None:
                self._registry = new_local_registry()
            return self._registry

    def replace(self, registry: Registry | None) -> Registry | None:
        with self._lock():
            self._registry, before = registry, self._registry
            return before


_default = _Default()


def scan() -> list[str]:
    """``Registry.scan`` of the default registry, that of this machine and environment."""
    return _default.registry().scan()


def get(
    name: str,
    implements: str | None,
    *,
    retry: RetryPolicy | None = None,
    on_retry: OnRetry | None = None,
    cancel: Cancellation | None = None,
) -> ActivePlugin:
    """``Registry.get`` of the default registry."""
    registry = _default.registry()
    return registry.get(name, implements, retry=retry, on_retry=on_retry, cancel=cancel)


def get_all(
    implements: str | None, *, on_failure: Callable[[str, PluginError], object] | None = None
) -> list[ActivePlugin]:
    """``Registry.get_all`` of the default registry."""
    return _default.registry().get_all(implements, on_failure=on_failure)


def handle(interface: str, handler: Handler) -> None:
    """``Registry.handle`` of the default registry."""
    _default.registry().handle(interface, handler)


@contextmanager
def using_registry(registry: Registry) -> Iterator[Registry]:
    """Have ``scan``, ``get``, ``get_all`` and ``handle`` ask ``registry`` inside this block.

    For a program whose settings are its own, and for tests. It holds for the whole
    process, whichever thread asks, so only one thread should open such blocks; they may
    be nested. At its end the registry before is the default again. ``registry`` is
    closed by whoever made it.
    """
    before = _default.replace(registry)
    try:
        yield registry
    finally:
        _default.replace(before)
