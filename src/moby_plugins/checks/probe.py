"""What a check is given: ways to call the plugin, and to leave it as it was."""

import shutil
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, TypeVar

from attrs import evolve, frozen

from moby_plugins.app import wire
from moby_plugins.app.client import Stream
from moby_plugins.checks.answer import Answer
from moby_plugins.checks.check import NotPassedError, advise, fail, require
from moby_plugins.checks.subject import Setup, Subject
from moby_plugins.domain.errors import PluginError
from moby_plugins.domain.http import OK

PREFIX = "moby-plugins-check"
MANY = 16

T = TypeVar("T")


@frozen
class Undo:
    """A call that undoes another; ``certain`` once that other has succeeded."""

    method: str
    body: bytes
    certain: bool = False


class Probe:
    """One check's hold on a plugin; ``close`` undoes what it did, and tells what is left.

    Threads may share it.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._undo: list[Undo] = []
        self._lock = threading.Lock()  # of the list above
        self._files = ExitStack()

    @property
    def setup(self) -> Setup:
        """What is known about the plugin."""
        return self.subject.setup

    def name(self) -> str:
        """A new name that nobody else uses: ``moby-plugins-check-…``."""
        return f"{PREFIX}-{self.setup.tag}-{self.subject.number()}"

    def id(self) -> str:
        """A new id as engines make them, 64 hexadecimal digits; it ends in the prefix's."""
        own = f"{self.subject.number():04x}{self.setup.tag.encode().hex()}"
        return own.ljust(64 - 2 * len(PREFIX), "0") + PREFIX.encode().hex()

    def directory(self) -> Path:
        """A new directory on this machine, removed at the end."""
        path = tempfile.mkdtemp(prefix=f"{PREFIX}-")
        self._files.callback(shutil.rmtree, path, ignore_errors=True)
        return Path(path)

    def lend(self, resource: AbstractContextManager[T]) -> T:
        """Enter ``resource``, and leave it at the end, after what was done is undone."""
        return self._files.enter_context(resource)

    def send(self, method: str, args: Any = None) -> Answer:
        """The answer to a call, not judged: ``args`` as JSON, ``None`` for an empty body."""
        return self.send_bytes(method, wire.encode(args))

    def send_bytes(self, method: str, body: bytes) -> Answer:
        """The answer to a body that need not be JSON."""
        answer = self.subject.send(method, body)
        if answer.status == OK and not answer.error:
            self._done(Undo(method, body))
        return answer

    def call(self, method: str, args: Any = None) -> dict[str, Any]:
        """A successful answer's keys, in small letters; where it is none the check fails."""
        answer = self.send(method, args)
        require(answer.status == OK and not answer.error, answer)
        return answer.fields

    def refused(self, method: str, args: Any = None) -> Answer:
        """The answer to a call that must not succeed; the check fails if it does."""
        answer = self.send(method, args)
        require(answer.error, answer)
        return answer

    def make(self, method: str, args: Any, undo: str, undo_args: Any) -> dict[str, Any]:
        """``call``, and at the end ``undo``, unless the check has done that by itself."""
        step = Undo(undo, wire.encode(undo_args))
        self._remember(step)
        answer = self.call(method, args)
        with self._lock:
            self._undo = [
                evolve(each, certain=True) if each is step else each for each in self._undo
            ]
        return answer

    def undo(self, method: str, args: Any) -> None:
        """Make this call at the end, unless the check has made it by itself."""
        self._remember(Undo(method, wire.encode(args), certain=True))

    def stream(self, method: str, args: Any) -> AbstractContextManager[Stream]:
        """The answer as it comes."""
        return self.subject.stream(method, wire.encode(args))

    def side_by_side(self, *calls: Callable[[], T]) -> list[T]:
        """What ``calls`` give when threads make them all at once; the first that raises counts."""
        with ThreadPoolExecutor(len(calls)) as threads:
            futures = [threads.submit(call) for call in calls]
        return [future.result() for future in futures]

    def until(self, wanted: Callable[[], bool]) -> bool:
        """Whether ``wanted`` comes true within the time of one call."""
        ends = self.subject.clock.now() + self.setup.timeout
        while not wanted():
            if self.subject.clock.now() >= ends:
                return False
            self.subject.clock.sleep(0.05)
        return True

    def close(self) -> None:
        """Undo; may raise ``NotPassedError`` for what could not be undone."""
        left = []
        try:
            while self._undo:
                step = self._undo.pop()
                if not step.certain and evolve(step, certain=True) in self._undo:
                    continue  # what was tried once more than it was done
                trouble = self._trouble(step)
                if step.certain and trouble:
                    left.append(trouble)
        finally:
            self._files.close()
        advise(not left, f"not cleaned up: {'; '.join(left)}")

    def _trouble(self, step: Undo) -> str:
        try:
            answer = self.subject.send(step.method, step.body)
        except (NotPassedError, PluginError) as error:
            return str(error)
        return str(answer) if answer.error else ""

    def _remember(self, step: Undo) -> None:
        with self._lock:
            self._undo.append(step)

    def _done(self, step: Undo) -> None:
        with self._lock:
            for pending in reversed(self._undo):
                if (pending.method, pending.body) == (step.method, step.body):
                    self._undo.remove(pending)
                    return


def only(found: list[T], wanted: str, came_back: object) -> T:
    """The one item of a list; without exactly one the check fails."""
    if len(found) != 1:
        fail(f"{len(found)} times {wanted}: {came_back}")
    return found[0]
