"""How errors of plugins are said, where the rest of the line tells which plugin it is."""

from moby_plugins.domain.errors import (
    PluginError,
    PluginNotFoundError,
    SpecError,
    TransportError,
    WireError,
)


def in_brief(error: PluginError) -> str:
    """What went wrong, without the plugin's name, its address and the number of attempts."""
    if isinstance(error, (TransportError, SpecError)):
        return error.reason
    if isinstance(error, WireError):
        return f"{error.method}: {error.reason}"
    return "not found" if isinstance(error, PluginNotFoundError) else str(error)


def error_as_json(error: PluginError) -> dict[str, str]:
    """An error for programs: its class, and what it says."""
    return {"kind": type(error).__name__, "message": str(error)}
