"""The watch on source files, and the restart, of ``moby-plugins serve --reload``.

The process replaces itself, so that it keeps its process ID and its terminal but no imported
module. If the plugin's module cannot be imported, the command waits until a file has changed.

No bytecode is written. Python compares the source's time in whole seconds, and its size, with what
the bytecode says of them, so that bytecode of an earlier text can pass for that of a later one.
"""

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import NoReturn, TypeAlias

import click

from moby_plugins.domain.units import FIRST_INHERITED, SOCKET_VARIABLES

# Seconds between two checks of the files.
LOOK = 0.3
# How many files below the current directory are watched, even if not imported.
_MOST = 1000
# The kernel's clock for files may be this many nanoseconds behind the clock of `time`.
_TICK = 10_000_000

# For each file the time of its last change, in nanoseconds, and its size. The time is the one that
# no program can set (``st_ctime_ns``).
Stamps: TypeAlias = dict[str, tuple[int, int]]

# A copy of the descriptor of a socket that systemd opened, and the variables that say so.
Inherited: TypeAlias = tuple[int, dict[str, str]]


class Sources:
    """A watch on the files of imported modules, and of modules in and below the current directory.

    Make it before the plugin is imported: a file that changes while it is imported, or between
    the import and the first check, counts as changed. It keeps what a restart needs again: the
    current directory, and a socket that systemd opened.
    """

    def __init__(self) -> None:
        self._has_reported = False
        self._is_cancelled = False
        self._directory: str = os.getcwd()
        self._inherited: Inherited | None = _inherited()
        self._began: int = time.time_ns() - _TICK
        self._seen: Stamps = _stamps(self._directory)
        self._stopped: threading.Event = threading.Event()

    @property
    def has_reported(self) -> bool:
        """Whether ``watched`` has seen a change, and no signal has asked the process to end."""
        return self._has_reported and not self._is_cancelled

    def cancel(self) -> None:
        """Let no change lead to a restart any more: the process was asked to end."""
        self._is_cancelled = True

    def changed(self) -> bool:
        """Return whether a file was changed, added or removed."""
        stamps = _stamps(self._directory)
        if any(stamps.get(file) != stamp for file, stamp in self._seen.items()):
            return True
        # A file that was imported since the last check was read at some time after the watch began.
        # A time that is still to come is from another clock, and says nothing.
        new = {file: stamp for file, stamp in stamps.items() if file not in self._seen}
        self._seen.update(new)
        now = time.time_ns()
        return any(self._began <= changed <= now for changed, _ in new.values())

    def wait(self) -> None:
        """Wait until a file has changed."""
        while not self.changed():
            self._stopped.wait(LOOK)

    @contextmanager
    def watched(self, tell: Callable[[], None]) -> Iterator[None]:
        """Call ``tell`` from another thread, once, if a file changes while the block runs."""
        thread = threading.Thread(target=self._watch, args=[tell], daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            thread.join()

    def restart(self) -> NoReturn:
        """Replace the program of this process by a new one of the same command. Never returns."""
        print("moby-plugins: a source file has changed", file=sys.stderr, flush=True)
        sys.stdout.flush()
        os.chdir(self._directory)
        if self._inherited is not None:
            descriptor, variables = self._inherited
            os.dup2(descriptor, FIRST_INHERITED)
            os.environ.update(variables)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  our own

    def _watch(self, tell: Callable[[], None]) -> None:
        while not self._stopped.wait(LOOK):
            if self.changed():
                self._has_reported = True
                tell()
                return


def _stamps(directory: str) -> Stamps:
    imported = map(_file_of, [*sys.modules.values()])
    files = {file for file in imported if isinstance(file, str) and file.endswith(".py")}
    files.update(islice(_modules_below(directory), _MOST))
    stamps: Stamps = {}
    for file in files:
        with suppress(OSError):
            status = os.stat(file)
            stamps[file] = status.st_ctime_ns, status.st_size
    return stamps


def _file_of(module: object) -> object:
    try:
        return getattr(module, "__file__", None)
    except Exception:  # a lazy module may raise anything
        return None


def _modules_below(root: str) -> Iterator[str]:
    """Return the files of modules in a directory and in its packages, the nearest first."""
    directories = [root]
    for directory in directories:
        with suppress(OSError), os.scandir(directory) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.endswith(".py"):
                    yield entry.path
                elif _may_be_package(entry) and len(directories) < _MOST:
                    directories.append(entry.path)


def _may_be_package(entry: "os.DirEntry[str]") -> bool:
    named = entry.name.isidentifier() and entry.name != "__pycache__"
    return named and entry.is_dir(follow_symlinks=False)


def watch_for(_: click.Context, __: click.Parameter, reloads: bool) -> Sources | None:
    """Begin the watch, as ``--reload`` asks for it, before the plugin is imported."""
    if not reloads:
        return None
    sys.dont_write_bytecode = True
    return Sources()


def show_error(error: BaseException) -> None:
    """Print on standard error why the module cannot be served."""
    if isinstance(error, click.ClickException):
        error.show()
    else:
        traceback.print_exception(error)


def _inherited() -> Inherited | None:
    # The server takes these variables out of the environment, and its socket ends with the program.
    variables = {name: os.environ[name] for name in SOCKET_VARIABLES if name in os.environ}
    if variables.get("LISTEN_PID") != str(os.getpid()):
        return None
    try:
        return os.dup(FIRST_INHERITED), variables
    except OSError:  # the server's error says it better
        return None
