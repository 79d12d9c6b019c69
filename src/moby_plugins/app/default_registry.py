"""The default registry, which the functions ``get``, ``scan`` … of ``moby_plugins`` use.

It is made from the environment's settings on first use. ``using_registry`` replaces it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar, overload

from moby_plugins.app.activation import ActivePlugin, Handler, ProcessLock
from moby_plugins.app.config import new_local_registry
from moby_plugins.app.registry import Registry
from moby_plugins.app.retrying import OnRetry
from moby_plugins.domain.errors import PluginError
from moby_plugins.domain.retry import RetryPolicy
from moby_plugins.domain.text import quoted
from moby_plugins.ports import Cancellation

if TYPE_CHECKING:
    from moby_plugins.app.subsystem import Subsystem

S = TypeVar("S", bound="Subsystem")


class _Default:
    """The holder of the process's default registry, which is made on first use."""

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
    """Return the names of the plugins that can be found now, without activating any.

    This is ``Registry.scan`` of the default registry, which is made on first use from the
    environment's settings.

    Returns:
        The names, sorted, each once.

    Raises:
        SpecError: If a directory cannot be read.
        SettingsError: If the settings in the environment are not valid.
        TransportError: If the configured engine does not respond; ``StatusError`` or
            ``WireError`` if it does not return its plugins.
    """
    return _default.registry().scan()


@overload
def get(
    name: str,
    implements: str | None = None,
    *,
    retry: RetryPolicy | None = None,
    on_retry: OnRetry | None = None,
    cancel: Cancellation | None = None,
) -> ActivePlugin: ...


@overload
def get(
    name: str,
    implements: type[S],
    *,
    retry: RetryPolicy | None = None,
    on_retry: OnRetry | None = None,
    cancel: Cancellation | None = None,
) -> S: ...


def get(
    name: str,
    implements: str | type[S] | None = None,
    *,
    retry: RetryPolicy | None = None,
    on_retry: OnRetry | None = None,
    cancel: Cancellation | None = None,
) -> ActivePlugin | S:
    """Return the active plugin ``name``, activating it on first use.

    This is ``Registry.get`` of the default registry, which is made on first use from the
    environment's settings. The call waits and retries as the policy allows.

    Args:
        name: The plugin's name.
        implements: The subsystem that a plugin must implement: its name, or its class, such as
            ``VolumeDriver``, to get a typed proxy. ``None`` requires no subsystem.
        retry: The policy for this call; ``None`` for the settings' policy.
        on_retry: Called after each failed attempt, with its error and the seconds until the next.
        cancel: Ends this call with ``WaitCancelledError`` when any thread sets it.

    Returns:
        The active plugin; or, if ``implements`` is a class, a typed proxy.

    Raises:
        PluginNotFoundError: If the plugin is not found within the policy's budget.
        NotImplementedByPluginError: If the plugin does not implement the subsystem.
        SettingsError: If the settings in the environment are not valid.
        WaitCancelledError: If ``cancel`` is set.
        PluginError: If the look-up or the handshake fails for another reason: ``Registry.get``
            lists these errors.
    """
    registry = _default.registry()
    return registry.get(name, implements, retry=retry, on_retry=on_retry, cancel=cancel)


@overload
def get_all(
    implements: str | None = None,
    *,
    on_failure: Callable[[str, PluginError], object] | None = None,
) -> list[ActivePlugin]: ...


@overload
def get_all(
    implements: type[S], *, on_failure: Callable[[str, PluginError], object] | None = None
) -> list[S]: ...


def get_all(
    implements: str | type[S] | None = None,
    *,
    on_failure: Callable[[str, PluginError], object] | None = None,
) -> list[ActivePlugin] | list[S]:
    """Return each plugin that can be found and implements the subsystem, sorted by name.

    This is ``Registry.get_all`` of the default registry, which is made on first use from the
    environment's settings. Plugins that fail are logged and left out.

    Args:
        implements: The subsystem that a plugin must implement: its name, or its class, such as
            ``VolumeDriver``, to get a typed proxy. ``None`` requires no subsystem.
        on_failure: Called with the name and the error of each plugin that is left out.

    Returns:
        The active plugins, sorted by name; or, if ``implements`` is a class, their typed proxies.

    Raises:
        SpecError: If a directory cannot be read.
        SettingsError: If the settings in the environment are not valid.
        TransportError: If the configured engine does not respond; ``StatusError`` or ``WireError``
            if it does not return its plugins.
        TypeError: If ``implements`` is a class that is not a subsystem, or that overrides a
                method of one, as a plugin's implementation does; or ``on_failure`` is not a plain
                function.
    """
    return _default.registry().get_all(implements, on_failure=on_failure)


def handle(interface: str, handler: Handler) -> None:
    """Call ``handler(name, client)`` once for each plugin that implements a subsystem.

    This is ``Registry.handle`` of the default registry, which is made on first use from the
    environment's settings. Plugins that are active now are passed at once, in this thread.

    Args:
        interface: The subsystem's name.
        handler: Called with the name and a client of each plugin that implements the subsystem.

    Raises:
        TypeError: If ``interface`` is not a string, or ``handler`` is not callable.
        SettingsError: If the settings in the environment are not valid.
    """
    _default.registry().handle(interface, handler)


@contextmanager
def using_registry(registry: Registry) -> Iterator[Registry]:
    """Make ``scan``, ``get``, ``get_all`` and ``handle`` use ``registry`` inside this block.

    This is for programs with settings of their own, and for tests. The block affects all threads of
    the process, so only one thread should open such blocks; they may be nested. At the end of the
    block the previous registry is the default again.

    Args:
        registry: The registry to use; this block does not close it.

    Yields:
        The registry.

    Raises:
        TypeError: If ``registry`` is not a ``Registry``.
    """
    unchecked: object = registry  # the caller's program may not be type-checked
    if not isinstance(unchecked, Registry):
        raise TypeError(f"registry must be a Registry, not {quoted(unchecked)}")
    before = _default.replace(registry)
    try:
        yield registry
    finally:
        _default.replace(before)
