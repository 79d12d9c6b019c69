"""Exit statuses, messages and JSON for errors of plugins at the command line.

The exit statuses are documented in ``docs/cli.md``.
"""

import os
import sys
from collections.abc import Iterable

from moby_plugins import Settings, new_local_discovery
from moby_plugins.cli import INTERRUPTED
from moby_plugins.cli.streams import UNWRITTEN, UnwrittenError
from moby_plugins.domain.errors import (
    DriverError,
    InvalidPluginNameError,
    NotImplementedByPluginError,
    PluginDisabledError,
    PluginError,
    PluginNotFoundError,
    RecordingError,
    SettingsError,
    SpecError,
    StatusError,
    TransportError,
    TransportTimeoutError,
    WaitCancelledError,
    WireError,
    in_full,
    response_in_brief,
)
from moby_plugins.domain.text import nearest, quoted, sentence, shown

ACTIVATE = "Plugin.Activate"

OK = 0
FINDINGS = 1  # the command succeeded and found problems
USAGE = 2  # from click: wrong arguments
NOT_FOUND = 3
NOT_IMPLEMENTED = 4
UNREACHABLE = 5
TIMED_OUT = 6
REFUSED = 7  # the plugin responded with an error
BAD_RESPONSE = 8
UNUSABLE = 9  # a setting, a name, a spec, an address or a file that cannot be used

# The first class that matches decides, so subclasses come before their bases.
BY_ERROR: tuple[tuple[type[BaseException], int], ...] = (
    (PluginNotFoundError, NOT_FOUND),
    (NotImplementedByPluginError, NOT_IMPLEMENTED),
    (PluginDisabledError, UNREACHABLE),
    (TransportTimeoutError, TIMED_OUT),
    (TransportError, UNREACHABLE),
    (StatusError, REFUSED),
    (DriverError, REFUSED),
    (WireError, BAD_RESPONSE),
    (SpecError, UNUSABLE),
    (SettingsError, UNUSABLE),
    (RecordingError, UNUSABLE),
    (InvalidPluginNameError, UNUSABLE),
    (UnwrittenError, UNWRITTEN),
    (WaitCancelledError, INTERRUPTED),
    (KeyboardInterrupt, INTERRUPTED),
)


def exit_code(error: BaseException) -> int:
    """Return the exit status of a command that ends with ``error``."""
    return next((code for kind, code in BY_ERROR if isinstance(error, kind)), FINDINGS)


def in_brief(error: PluginError) -> str:
    """Return the reason of ``error``, without the plugin's name and address and the attempts."""
    if isinstance(error, (TransportError, SpecError)):
        return sentence(error.reason)
    if isinstance(error, WireError):
        return f"{shown(error.method)}: {sentence(error.reason)}"
    if isinstance(error, (StatusError, DriverError)):
        return response_in_brief(error)
    return "not found" if isinstance(error, PluginNotFoundError) else str(error)


def error_as_json(error: PluginError) -> dict[str, str | int]:
    """Return a JSON object for ``error``: its class, message, and a response's status, if any."""
    fields: dict[str, str | int] = {"kind": type(error).__name__, "message": str(error)}
    return fields | (
        {"status": error.status} if isinstance(error, (StatusError, DriverError)) else {}
    )


def report(error: BaseException) -> None:
    """Print on standard error why the command ends; for a ``KeyboardInterrupt``, only its notes."""
    if isinstance(error, KeyboardInterrupt):
        for note in getattr(error, "__notes__", ()):
            print(f"moby-plugins: {shown(note)}", file=sys.stderr)
        return
    if not isinstance(error, PluginNotFoundError):
        print(f"moby-plugins: {in_full(error)}{_hint(error)}", file=sys.stderr)
        return
    print(f"moby-plugins: {not_found(error)}", file=sys.stderr)
    for number, path in enumerate(error.searched):
        print(f"{' ' * 10 if number else 'searched: '}{shown(path)}", file=sys.stderr)


def not_found(error: PluginNotFoundError) -> str:
    """Return the message of ``error`` without the paths, with a suggestion for another name."""
    tried = "once" if error.attempts == 1 else f"{error.attempts} times in {error.elapsed:.3g} s"
    near = did_you_mean(error.name, _names_beside(error))
    return f"plugin {quoted(error.name)} not found (tried {tried}){near}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a suggestion to append to a message; "" if no known name is similar to ``word``."""
    near = "" if word in (known := [*known]) else nearest(word, known)
    return f"; did you mean {shown(near)}?" if near else ""


def _names_beside(error: PluginNotFoundError) -> list[str]:
    """Return the names of plugins in the directories that were searched."""
    paths = (path for path in error.searched if "/" in path and "://" not in path)
    directories = dict.fromkeys(map(os.path.dirname, paths))
    flat = [path for path in directories if os.path.dirname(path) not in directories]
    if not flat:
        return []
    sockets, *specs = flat
    try:
        return new_local_discovery(Settings(sockets_path=sockets, specs_paths=tuple(specs))).scan()
    except PluginError:
        return []


def _hint(error: BaseException) -> str:
    if not isinstance(error, (NotImplementedByPluginError, StatusError)):
        return ""
    from moby_plugins.subsystems import ENGINE_SUBSYSTEMS

    if isinstance(error, NotImplementedByPluginError):
        known = {*error.implements, *(kind.implements for kind in ENGINE_SUBSYSTEMS)}
        return did_you_mean(error.wanted, known)
    remotes = (remote for kind in ENGINE_SUBSYSTEMS for remote in kind.remotes.values())
    known = {ACTIVATE, *(remote.method for remote in remotes)}
    return did_you_mean(error.method.partition("?")[0], known)
