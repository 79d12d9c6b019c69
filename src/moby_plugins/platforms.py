"""The features of the platform that parts of this library need, a check, and an opener of files.

The library can be imported on any platform; a missing feature is reported when a part is first
used. Linux and macOS have all features. On Windows, Python has neither UNIX sockets nor ``poll``:
only plugins in memory and third-party transports work there (``docs/platforms.md``).
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import FrameType, MappingProxyType

from moby_plugins.domain.errors import SettingsError

# For each part, the modules and the attributes of modules that it needs.
NEEDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "calling over sockets": ("select.poll", "socket.MSG_DONTWAIT"),
        "a UNIX socket": ("socket.AF_UNIX",),
        "serving": ("select.poll", "socket.MSG_DONTWAIT"),
        "serving on a UNIX socket": ("socket.AF_UNIX", "fcntl", "os.geteuid", "os.chown"),
        "a group by its name": ("grp",),
        "FaultServer": ("select.poll", "socket.MSG_DONTWAIT"),
        "tracing": ("socket.AF_UNIX", "fcntl", "os.chown"),
        "diagnose": ("socket.AF_UNIX", "fcntl", "grp", "pwd", "os.geteuid"),
        "packaging a managed plugin": ("resource", "os.O_NONBLOCK", "os.geteuid", "os.killpg"),
        "a managed plugin's process": ("os.fork", "signal.pthread_sigmask"),
        "checking a log driver": ("os.mkfifo", "fcntl", "termios"),
    }
)


def check_platform(part: str) -> None:
    """Raise ``SettingsError``, naming what is missing, if ``part`` cannot work on this platform.

    Args:
        part: A key of ``NEEDS``.
    """
    missing = ", ".join(_missing(part))
    if missing:
        raise SettingsError(f"{part} needs {missing}, which this platform, {sys.platform}, lacks")


def _missing(part: str) -> Iterator[str]:
    for needed in NEEDS[part]:
        module, _, attribute = needed.partition(".")
        try:
            loaded = import_module(module)
        except ImportError:
            yield needed
            continue
        if attribute and not hasattr(loaded, attribute):
            yield needed


@contextmanager
def ending_signals_handled(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Call ``handler`` when a signal asks the process to end, while the block runs.

    The handlers from before are then set again. Only in the main thread.
    """
    before = {number: signal.signal(number, handler) for number in ending_signals()}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def ending_signals() -> list[signal.Signals]:
    """Return the signals that ask a process to end: SIGTERM, SIGINT, and SIGHUP where there is one.

    SIGHUP is left out if the process ignores it, as under ``nohup``.
    """
    names = ("SIGTERM", "SIGINT", "SIGHUP")  # not all on Windows
    signals = [signal.Signals[name] for name in names if hasattr(signal, name)]
    ignored = hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return signals[:2] if ignored else signals


def open_at_once(path: str, flags: int) -> int:
    """Open a file like ``os.open``, without waiting; for the argument ``opener`` of ``open``.

    ``open`` alone would wait for the other end of a FIFO, and make a terminal the controlling one
    of this process.
    """
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))
