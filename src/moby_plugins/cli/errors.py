"""Errors of plugins at the command line: the exit status, the message, and JSON.

The exit statuses are documented in ``docs/cli.md``.
"""

import sys

from moby_plugins.domain.errors import (
    DriverError,
    InvalidPluginNameError,
    NotImplementedByPluginError,
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
    answer_in_brief,
    in_full,
)
from moby_plugins.domain.text import sentence, shown

OK = 0
FINDINGS = 1  # the command did its work, and found something wrong
USAGE = 2  # click's own: the command was not understood
NOT_FOUND = 3
NOT_IMPLEMENTED = 4
UNREACHABLE = 5
TIMED_OUT = 6
REFUSED = 7  # the plugin answered with an error
BAD_ANSWER = 8
UNUSABLE = 9  # a setting, a name, a spec, an address or a file that cannot be used
INTERRUPTED = 130

# The most particular kinds first: the first that fits decides.
BY_ERROR: tuple[tuple[type[BaseException], int], ...] = (
    (PluginNotFoundError, NOT_FOUND),
    (NotImplementedByPluginError, NOT_IMPLEMENTED),
    (TransportTimeoutError, TIMED_OUT),
    (TransportError, UNREACHABLE),
    (StatusError, REFUSED),
    (DriverError, REFUSED),
    (WireError, BAD_ANSWER),
    (SpecError, UNUSABLE),
    (SettingsError, UNUSABLE),
    (RecordingError, UNUSABLE),
    (InvalidPluginNameError, UNUSABLE),
    (WaitCancelledError, INTERRUPTED),
    (KeyboardInterrupt, INTERRUPTED),
)


def exit_code(error: BaseException) -> int:
    """The status with which a command that ends in ``error`` exits."""
    return next((code for kind, code in BY_ERROR if isinstance(error, kind)), FINDINGS)


def in_brief(error: PluginError) -> str:
    """What went wrong, without the plugin's name, its address and the number of attempts."""
    if isinstance(error, (TransportError, SpecError)):
        return sentence(error.reason)
    if isinstance(error, WireError):
        return f"{shown(error.method)}: {sentence(error.reason)}"
    if isinstance(error, (StatusError, DriverError)):
        return answer_in_brief(error)
    return "not found" if isinstance(error, PluginNotFoundError) else str(error)


def error_as_json(error: PluginError) -> dict[str, str]:
    """An error for programs: its class, and what it says."""
    return {"kind": type(error).__name__, "message": str(error)}


def report(error: BaseException) -> None:
    """Say on standard error why the command ends; nothing where it was interrupted."""
    if not isinstance(error, KeyboardInterrupt):
        print(f"moby-plugins: {in_full(error)}", file=sys.stderr)
