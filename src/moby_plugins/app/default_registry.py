"""The one default registry, behind the functions of the door ``moby_plugins``.

It is made of the environment's settings when it is first needed; ``using_registry`` puts another
in its place.
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
    """Call ``Registry.scan`` of the default registry, that of this machine and environment.

    Returns:
        The names, sorted.
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
    """Call ``Registry.get`` of the default registry: see there for what it raises.

    Args:
        name: The plugin's name.
        implements: The subsystem's name or class.
        retry: The policy for this wait.
        on_retry: Called after each attempt that failed.
        cancel: Ends the wait when it is set.

    Returns:
        The active plugin; for a class its typed proxy.
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
    """Call ``Registry.get_all`` of the default registry: see there for what it raises.

    Args:
        implements: The subsystem's name or class.
        on_failure: Called with the name and the error of each plugin that is left out.

    Returns:
        The active plugins, sorted by name; for a class their typed proxies.
    """
    return _default.registry().get_all(implements, on_failure=on_failure)


def handle(interface: str, handler: Handler) -> None:
    """Call ``Registry.handle`` of the default registry.

    Args:
        interface: The subsystem's name.
        handler: Called with the name and a client of each plugin that implements it.
    """
    _default.registry().handle(interface, handler)


@contextmanager
def using_registry(registry: Registry) -> Iterator[Registry]:
    """Have ``scan``, ``get``, ``get_all`` and ``handle`` ask ``registry`` inside this block.

    For a program whose settings are its own, and for tests. It holds for the whole process,
    whichever thread asks, so only one thread should open such blocks; they may be nested. At its
    end the registry before is the default again.

    Args:
        registry: Its maker closes it, not this block.

    Yields:
        The registry.
    """
    given: object = registry  # of a program that nothing has checked
    if not isinstance(given, Registry):
        raise TypeError(f"registry must be a Registry, not {quoted(given)}")
    before = _default.replace(registry)
    try:
        yield registry
    finally:
        _default.replace(before)
