"""The composition root for asyncio: makes clients and registries from ``Settings``.

Adapters are imported on first use, as in ``app/config.py``.
"""

from collections.abc import Iterable
from functools import cached_property, partial
from importlib import import_module
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
    shared_lookups,
    shedding,
)
from moby_plugins.app.observing import Observers
from moby_plugins.app.settings import ASYNC_TRANSPORT, AUTO, BUILT_IN, Settings
from moby_plugins.async_ports import AsyncConnect
from moby_plugins.descriptors import with_descriptors
from moby_plugins.domain.address import Address, TLSOptions, check_tls
from moby_plugins.domain.errors import SettingsError
from moby_plugins.domain.http import Response
from moby_plugins.domain.observer import Observer
from moby_plugins.domain.text import shown
from moby_plugins.domain.typed import returned_kind
from moby_plugins.platforms import check_platform
from moby_plugins.ports import Discovery, connect_given, filled

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
    """Return a client of the plugin at an address. Nothing is sent yet.

    Args:
        addr: The address: ``unix:///run/x.sock``, ``tcp://host:port``, ``https://host:port``, or
            one with another scheme for which the settings have a transport.
        tls_config: The TLS options; without them, the certificate of an ``https`` address is
            verified against the system's roots.
        timeout: Seconds for each attempt of a call, instead of the settings' time-out.
        settings: The settings; by default ``Settings.from_env()``.
        connect: Makes the transport, instead of the settings' ``transports``.
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
    """Return a registry of the plugins on this machine. No directory is read yet.

    Args:
        settings: The settings; by default ``Settings.from_env()``.
        discovery: The discovery to use; the settings' ``plugins``, ``engine``, ``discovery`` and
            directories are then not used.
        connect: Makes the transports, instead of the settings' ``transports``.
        observers: Observers of calls and plugins, in addition to those of the settings.

    Returns:
        The registry; the caller closes it.

    Raises:
        SettingsError: If the settings in the environment are not valid, or the discovery cannot be
            used.
        TypeError: If an argument has another type.
    """
    settings = or_environment(settings)
    found_by = new_local_discovery(settings) if discovery is None else discovery
    filled("discovery", found_by, "scan", "lookup")
    return AsyncRegistry(
        discovery=shedding(found_by),
        connect=_connect(settings, connect),
        retry=settings.retry,
        timeout=settings.timeout,
        activation_timeout=settings.activation_timeout,
        max_response_bytes=settings.max_response_bytes,
        observers=observers_of(settings, observers),
        on_retry=settings.on_retry,
    )


def _connect(settings: Settings, connect: AsyncConnect | None) -> AsyncConnect:
    if connect is None:
        return ConnectByScheme(settings.transports, _AsyncTransports())
    return connect_given(connect)


class _AsyncTransports:
    """The asynchronous transports of one registry or client, by their names in settings."""

    auto = "asyncio"

    def __init__(self) -> None:
        self._connects: dict[str, AsyncConnect] = {}

    def connect(self, name: str) -> AsyncConnect:
        """Return the ``AsyncConnect`` of the transport that settings call ``name``."""
        if name == AUTO or name in BUILT_IN:
            return self._built_in
        connect = self._connects.get(name)
        if connect is None:
            connect = self._connects.setdefault(name, ASYNC_TRANSPORT.load(name))
        return connect

    def check(self, transport: object, scheme: str) -> None:
        """Raise ``SettingsError`` if the transport's ``send`` returns a ``Response``.

        ``send`` may be a plain function that returns an awaitable, so its annotation decides.
        """
        if issubclass(returned_kind(getattr(transport, "send", None)) or object, Response):
            raise SettingsError(
                f"the transport for {shown(scheme)}:// is not asynchronous: "
                "its send returns a Response, not an awaitable"
            )

    @cached_property
    def _built_in(self) -> AsyncConnect:
        check_platform("calling over sockets")
        try:
            connect = import_module(_BUILT_IN).connect
        except (ImportError, OSError) as error:
            missing = error.name if isinstance(error, ModuleNotFoundError) else None
            needed = missing or f"a module that cannot be imported ({shown(error)})"
            raise SettingsError(
                f"the asynchronous transport needs {needed}: pip install 'moby-plugins[aio]'"
            ) from error
        idle: IdleConnections = idle_connections()
        return cast("AsyncConnect", partial(connect, idle=idle, lookups=shared_lookups()))
