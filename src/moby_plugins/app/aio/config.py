"""The composition root of programs on asyncio: adapters behind the ports, as ``Settings`` says.

Adapters are imported when they are first needed, as ``app/config.py`` does.
"""

from collections.abc import Iterable
from functools import cached_property, partial
from importlib import import_module
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, cast

from moby_plugins.app.aio.client import AsyncClient
from moby_plugins.app.aio.observed_client import client_of
from moby_plugins.app.aio.registry import AsyncRegistry
from moby_plugins.app.config import (
    ConnectByScheme,
    idle_connections,
    new_local_discovery,
    observers_of,
    or_environment,
    shared_descriptors,
    shared_lookups,
)
from moby_plugins.app.observing import Observers
from moby_plugins.app.settings import ASYNC_TRANSPORT, AUTO, BUILT_IN, Settings
from moby_plugins.async_ports import AsyncConnect
from moby_plugins.domain.address import Address, TLSOptions, check_tls
from moby_plugins.domain.errors import SettingsError
from moby_plugins.domain.observing import Observer
from moby_plugins.domain.text import quoted, shown
from moby_plugins.platforms import check_platform
from moby_plugins.ports import Discovery, filled

if TYPE_CHECKING:
    from moby_plugins.adapters.http.pool import IdleConnections

_BUILT_IN = "moby_plugins.adapters.aio.transport"


def new_client(
    addr: str,
    tls_config: TLSOptions | None = None,
    *,
    timeout: float | None = None,
    settings: Settings | None = None,
    connect: AsyncConnect | None = None,
    observers: Iterable[Observer] = (),
) -> AsyncClient:
    """Make a client of the plugin at an address, without a discovery. Nothing is sent yet.

    Args:
        addr: The address: ``unix:///run/x.sock``, ``tcp://host:port``, ``https://host:port``, or of
            another scheme that the settings have a transport for.
        tls_config: How to speak TLS; without it, an ``https`` address is verified against the
            system's roots.
        timeout: Seconds for each attempt of a call, in place of the settings'.
        settings: ``Settings.from_env()`` unless given.
        connect: Makes the transport, in place of what the settings say.
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
        _connect(settings, connect)(address, tls_config),
        address,
        retry=settings.retry,
        timeout=settings.timeout if timeout is None else timeout,
        max_response_bytes=settings.max_response_bytes,
        on_retry=settings.on_retry,
    )


def new_local_registry(
    settings: Settings | None = None,
    *,
    discovery: Discovery | None = None,
    connect: AsyncConnect | None = None,
    observers: Iterable[Observer] = (),
) -> AsyncRegistry:
    """Make a registry of the plugins on this machine. Reads no directory yet.

    Args:
        settings: ``Settings.from_env()`` unless given.
        discovery: Finds the plugins, in place of what the settings say: their ``plugins`` and
            directories are then not looked at.
        connect: Makes the transports, in place of what the settings say.
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
    return AsyncRegistry(
        discovery=SheddingDiscovery(found_by, shared_descriptors()),
        connect=_connect(settings, connect),
        retry=settings.retry,
        timeout=settings.timeout,
        activation_timeout=settings.activation_timeout,
        max_response_bytes=settings.max_response_bytes,
        observers=observers_of(settings, observers),
        on_retry=settings.on_retry,
    )


def _connect(settings: Settings, given: AsyncConnect | None) -> AsyncConnect:
    if given is None:
        return ConnectByScheme(settings.transports, _AsyncTransports())
    if not callable(given):
        raise TypeError(f"connect must be a function of an address, not {quoted(given)}")
    return given


class _AsyncTransports:
    """Asynchronous transports by name for one registry or client: each is looked for once."""

    auto = "asyncio"

    def __init__(self) -> None:
        self._found: dict[str, AsyncConnect] = {}

    def connect(self, name: str) -> AsyncConnect:
        """The transport called ``name``."""
        if name == AUTO or name in BUILT_IN:
            return self._built_in
        found = self._found.get(name)
        if found is None:
            found = self._found.setdefault(name, ASYNC_TRANSPORT.load(name))
        return found

    def check(self, made: object, scheme: str) -> None:
        """Raise ``SettingsError`` for a transport whose ``send`` is no coroutine."""
        send = getattr(made, "send", None)
        if send is not None and not iscoroutinefunction(send):
            raise SettingsError(
                f"the transport for {shown(scheme)}:// is not asynchronous: "
                "its send is no coroutine function"
            )

    @cached_property
    def _built_in(self) -> AsyncConnect:
        check_platform("calling over sockets")
        try:
            connect = import_module(_BUILT_IN).connect
        except ModuleNotFoundError as error:
            raise SettingsError(
                f"the asynchronous transport needs {error.name}: pip install 'moby-plugins[aio]'"
            ) from error
        idle: IdleConnections = idle_connections()
        return cast("AsyncConnect", partial(connect, idle=idle, lookups=shared_lookups()))
