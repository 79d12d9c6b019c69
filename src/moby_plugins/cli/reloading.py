"""For ``moby-plugins serve --reload``: the source files in use, and the process begun again.

The process replaces itself, so that its number and its terminal stay, and nothing of what was
imported does. A module that cannot be imported is waited for until a file has changed.
"""

import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn, TypeAlias

import click

# Seconds between two looks.
LOOK = 0.3
# Files of the current directory that are looked at, imported or not.
_MOST = 1000

# When each file was changed, and how large it is.
Stamps: TypeAlias = dict[str, tuple[int, int]]


class Sources:
    """The files of what was imported, and the modules in the current directory, as they are now.

    ``told`` is true once a change was seen by ``watched``.
    """

    def __init__(self) -> None:
        self.told: bool = False
        imported = (getattr(module, "__file__", None) for module in [*sys.modules.values()])
        self._files = {file for file in imported if isinstance(file, str) and file.endswith(".py")}
        self._seen: Stamps = self._stamps()
        self._over: threading.Event = threading.Event()

    def changed(self) -> bool:
        """Whether a file is another one than it was, has come or has gone."""
        return self._stamps() != self._seen

    def wait(self) -> None:
        """Return once a file has changed."""
        while not self.changed():
            self._over.wait(LOOK)

    @contextmanager
    def watched(self, tell: Callable[[], None]) -> Iterator[None]:
        """Call ``tell`` from another thread when a file has changed, once."""
        thread = threading.Thread(target=self._watch, args=[tell], daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _watch(self, tell: Callable[[], None]) -> None:
        while not self._over.wait(LOOK):
            if self.changed():
                self.told = True
                tell()
                return

    def _stamps(self) -> Stamps:
        files = {*self._files}
        with suppress(OSError):
            here = os.getcwd()
            names = sorted(name for name in os.listdir(here) if name.endswith(".py"))
            files |= {os.path.join(here, name) for name in names[:_MOST]}
        stamps: Stamps = {}
        for file in files:
            with suppress(OSError):
                status = os.stat(file)
                stamps[file] = status.st_mtime_ns, status.st_size
        return stamps


def show_error(error: BaseException) -> None:
    """Show why the module is not served, on standard error."""
    if isinstance(error, click.ClickException):
        error.show()
    else:
        traceback.print_exception(error)
    print("moby-plugins: waiting for a change", file=sys.stderr, flush=True)


def begin_again() -> NoReturn:
    """Replace this process by the same command, begun again."""
    print("moby-plugins: a source file has changed", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  our own
