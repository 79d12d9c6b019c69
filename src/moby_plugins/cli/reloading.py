"""The watch on source files, and the restart, of ``moby-plugins serve --reload``.

The process replaces itself, so that it keeps its process ID and its terminal but no imported
module. If the plugin's module cannot be imported, the command waits until a file has changed.
"""

import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn, TypeAlias

import click

# Seconds between two checks of the files.
LOOK = 0.3
# How many files of the current directory are watched, even if not imported.
_MOST = 1000

# For each file the time of its last change, in nanoseconds, and its size.
Stamps: TypeAlias = dict[str, tuple[int, int]]


class Sources:
    """A watch on the files of imported modules, and of modules in the current directory.

    ``has_reported`` becomes true when ``watched`` has seen a change.
    """

    def __init__(self) -> None:
        self.has_reported: bool = False
        imported = (getattr(module, "__file__", None) for module in [*sys.modules.values()])
        self._files = {file for file in imported if isinstance(file, str) and file.endswith(".py")}
        self._seen: Stamps = self._stamps()
        self._stopped: threading.Event = threading.Event()

    def changed(self) -> bool:
        """Return whether a file was changed, added or removed."""
        return self._stamps() != self._seen

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

    def _watch(self, tell: Callable[[], None]) -> None:
        while not self._stopped.wait(LOOK):
            if self.changed():
                self.has_reported = True
                tell()
                return

    def _stamps(self) -> Stamps:
        files = {*self._files}
        with suppress(OSError):
            working_directory = os.getcwd()
            names = sorted(name for name in os.listdir(working_directory) if name.endswith(".py"))
            files |= {os.path.join(working_directory, name) for name in names[:_MOST]}
        stamps: Stamps = {}
        for file in files:
            with suppress(OSError):
                status = os.stat(file)
                stamps[file] = status.st_mtime_ns, status.st_size
        return stamps


def show_error(error: BaseException) -> None:
    """Print on standard error why the module cannot be served."""
    if isinstance(error, click.ClickException):
        error.show()
    else:
        traceback.print_exception(error)
    print("moby-plugins: waiting for a change", file=sys.stderr, flush=True)


def begin_again() -> NoReturn:
    """Restart the command: replace the program of this process by a new one. Never returns."""
    print("moby-plugins: a source file has changed", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  our own
