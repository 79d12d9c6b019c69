"""A plugin of each subsystem, whose methods all raise an error with the status ``REACHED``."""

from typing import Any, NoReturn

from moby_plugins import StatusError
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import ENGINE_SUBSYSTEMS, Subsystem

REACHED = 418


def _reached(_: Subsystem, *arguments: Any) -> NoReturn:
    for argument in arguments:
        if hasattr(argument, "__next__"):
            for _ in argument:  # the chunks of a file
                pass
    raise StatusError(REACHED, "", "reached")


def app_of_all() -> PluginApp:
    """Return the plugin."""
    parts = []
    for subsystem in ENGINE_SUBSYSTEMS:
        names = [remote.name for remote in subsystem.remotes.values()]
        parts.append(type(subsystem.__name__, (subsystem,), dict.fromkeys(names, _reached))())
    return PluginApp(*parts, max_request_bytes=1 << 16)


# Each method as a path has it, and one that does not exist.
METHODS = (
    "Plugin.Activate",
    "No.Such",
    *(remote.method for subsystem in ENGINE_SUBSYSTEMS for remote in subsystem.remotes.values()),
)
