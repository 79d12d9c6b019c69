"""All checks: those of this package, and those that installed packages add."""

from importlib.metadata import entry_points
from types import ModuleType

from moby_plugins.checks import (
    authz,
    family_checks,
    graph,
    graph_diffs,
    handshake,
    ipam,
    ipam_addresses,
    log,
    log_reading,
    metrics,
    network,
    network_endpoints,
    secret,
    volume,
    volume_life,
    volume_mounts,
)
from moby_plugins.checks.check import Check, checks_in
from moby_plugins.domain.errors import SettingsError

ENTRY_POINTS = "moby_plugins.checks"

# In the order in which they run: what a subsystem is asked first, comes first.
MODULES = (
    handshake,
    family_checks,
    volume,
    volume_life,
    volume_mounts,
    network,
    network_endpoints,
    ipam,
    ipam_addresses,
    authz,
    log,
    log_reading,
    metrics,
    graph,
    graph_diffs,
    secret,
)


def built_in_checks() -> tuple[Check, ...]:
    """The checks of this package, those of a subsystem one after the other."""
    found = [item for module in MODULES for item in checks_in(module)]
    order = list(dict.fromkeys(item.subsystem for item in found))
    return tuple(sorted(found, key=lambda item: order.index(item.subsystem)))


def all_checks() -> tuple[Check, ...]:
    """The built-in checks, and after them those of installed packages.

    A package names a module, or a check, or a tuple of them, under the entry-point
    group ``moby_plugins.checks``. Raises ``SettingsError`` for what cannot be loaded.
    """
    found = list(built_in_checks())
    for point in entry_points(group=ENTRY_POINTS):
        try:
            found += _checks_of(point.load())
        except Exception as error:  # whatever another package raises while it is imported
            raise SettingsError(f"the checks {point.name!r} cannot be loaded: {error}") from error
    return tuple(found)


def _checks_of(loaded: object) -> tuple[Check, ...]:
    if isinstance(loaded, ModuleType):
        return checks_in(loaded)
    items = loaded if isinstance(loaded, tuple) else (loaded,)
    for item in items:
        if not isinstance(item, Check):
            raise TypeError(f"{item!r} is no check")
    return items
