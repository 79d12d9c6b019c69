"""Output that may block at any time, for commands that must not wait for it.

Texts go through a bounded queue to a separate thread, which writes them. Texts that do not fit in
the queue are dropped and counted. Python buffers nothing, so that a process whose output is
stopped, by Ctrl-S or a pager, can exit.
"""

import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from attrs import define

from moby_plugins.cli.output import Cell, is_terminal, printable

MOST_WAITING = 1000
MOST_WAITING_BYTES = 64 << 20
# Seconds between two updates of the live text.
REDRAW = 0.5
# At the end, output is abandoned after this many seconds without a byte written.
PATIENCE = 0.5
# Seconds for writing all remaining output at the end.
LAST = 5.0
# Written in small steps, so that progress is visible even if a pipe is read slowly.
_WRITTEN_BYTES = 4096

_OUT, _ERR = 1, 2


@define
class _Shown:
    """An item to write: ``make()`` to standard output, or ``note`` to standard error."""

    make: Callable[[], str] | None = None
    note: str = ""
    size: int = 0
    # How many texts were dropped at this place in the queue.
    dropped: int = 0


class Screen:
    """A queue of texts from several threads, written in order by another thread.

    A context manager, which writes the remaining texts when its block ends. ``live`` returns a text
    that replaces the previous one at a terminal. If standard output is closed or full, ``failed``
    is called in the writing thread, and ``failure`` has the error.
    """

    def __init__(self, failed: Callable[[], object], live: Callable[[], str] | None = None) -> None:
        self.failure: OSError | None = None
        self._failed = failed
        self._live = live if is_terminal(sys.stdout) else None
        self._changed = threading.Condition()
        self._waiting: deque[_Shown] = deque()
        self._writing = _Shown()
        self._bytes = 0
        self._written = 0
        self._closing = False
        self._lines = 0
        self._thread = threading.Thread(target=self._write_all, name="screen", daemon=True)

    def show(self, make: Callable[[], str], size: int = 0) -> None:
        """Queue the text that ``make`` will return; if there is no room, drop and count the text.

        Until the text is written, it takes ``size`` bytes of the room.
        """
        with self._changed:
            if self._has_room(size):
                self._put(_Shown(make, size=size))
            elif self._waiting[-1].dropped:
                self._waiting[-1].dropped += 1
            else:
                self._put(_Shown(dropped=1))

    def show_if_there_is_room(self, make: Callable[[], str]) -> None:
        """Queue a text if there is room; else drop the text, and do not count it as dropped."""
        with self._changed:
            if self._has_room(0):
                self._put(_Shown(make))

    def say(self, text: str) -> None:
        """Queue a line for standard error, after the texts queued before."""
        with self._changed:
            if len(self._waiting) <= 2 * MOST_WAITING:
                self._put(_Shown(note=f"{printable(text)}\n"))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Write the queued texts, while the output accepts them; report how many were dropped."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        written, ends = -1, time.monotonic() + LAST
        while self._thread.is_alive() and self._written != written and time.monotonic() < ends:
            written = self._written
            self._thread.join(PATIENCE)
        if not self._thread.is_alive():
            return
        with self._changed:
            # Taken from the thread, so that nothing is both written and counted.
            rest = [*self._waiting]
            self._waiting.clear()
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            rest.append(self._writing)
        left = sum(item.dropped or bool(item.make) for item in rest)
        if left:
            _print_if_possible(_not_shown(left))

    def _has_room(self, size: int) -> bool:
        if not self._waiting:
            return True
        return len(self._waiting) < MOST_WAITING and self._bytes + size <= MOST_WAITING_BYTES

    def _put(self, item: _Shown) -> None:
        self._waiting.append(item)
        self._bytes += item.size
        self._changed.notify()

    def _write_all(self) -> None:
        try:
            while (item := self._next()) is not None:
                self._write_item(item)
            self._redraw()
        except OSError as error:
            self.failure = error
            self._failed()

    def _next(self) -> _Shown | None:
        """Wait for the next item and return it; ``None`` once the queue was closed and is empty."""
        drawn = time.monotonic()
        while True:
            with self._changed:
                if not (self._waiting or self._closing):
                    self._changed.wait(None if self._live is None else REDRAW)
                if self._waiting:
                    self._writing = self._waiting.popleft()
                    self._bytes -= self._writing.size
                    return self._writing
                if self._closing:
                    return None
            if self._live is not None and time.monotonic() - drawn >= REDRAW:
                self._redraw()
                drawn = time.monotonic()

    def _write_item(self, item: _Shown) -> None:
        note = f"{_not_shown(item.dropped)}\n" if item.dropped else item.note
        if item.make is not None:
            self._write(_OUT, item.make())
        elif note:
            self._erase()
            with suppress(OSError):  # a failure of standard error does not end the command
                self._write(_ERR, note)

    def _redraw(self) -> None:
        if self._live is None:
            return
        text = self._live()
        self._erase()
        self._lines = text.count("\n")
        self._write(_OUT, text)

    def _erase(self) -> None:
        if self._lines:
            self._lines, lines = 0, self._lines
            self._write(_OUT, f"\x1b[{lines}F\x1b[J")

    def _write(self, descriptor: int, text: str) -> None:
        left = memoryview(text.encode(errors="backslashreplace"))
        while left:
            try:
                size = os.write(descriptor, left[:_WRITTEN_BYTES])
            except BlockingIOError:
                select.select([], [descriptor], [])
                continue
            left = left[size:]
            self._written += size


def line_of(*cells: Cell) -> str:
    """Return ``cells`` as one line, in colour at a terminal."""
    if not is_terminal(sys.stdout):
        return "".join(cell.text for cell in cells) + "\n"
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    with console.capture() as capture:
        line = Text.assemble(*((cell.text, cell.style) for cell in cells))
        console.print(line, soft_wrap=True)
    return capture.get()


def _not_shown(count: int) -> str:
    calls = "1 call was" if count == 1 else f"{count} calls were"
    return f"{calls} not shown: the output is stopped or too slow"


def _print_if_possible(text: str) -> None:
    with suppress(OSError):
        if select.select([], [_ERR], [], 0)[1]:
            os.write(_ERR, f"{text}\n".encode())
