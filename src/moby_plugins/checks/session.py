"""The plugin under check, what a check is given to call it with, and the responses that it judges.

A ``Subject`` is the plugin, reached once for all checks. A ``Probe`` is one check's use of it: it
makes names, sends requests, and at its end undoes what was made. An ``Answer`` is a response, read
whole and not judged yet.
"""

import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cached_property, partial
from itertools import count
from pathlib import Path
from typing import Any, Self, TypeVar

from attrs import evolve, field, frozen, validators

from moby_plugins.app import wire
from moby_plugins.app.accounting import ACTIVATE, MAX_HANDSHAKE_BYTES
from moby_plugins.app.bodies import accepted, read_whole
from moby_plugins.app.client import (
    MAX_RESPONSE_BYTES,
    Client,
    Stream,
)
from moby_plugins.app.config import connect_by_scheme, system_clock
from moby_plugins.app.settings import Settings
from moby_plugins.checks.answer import Answer
from moby_plugins.checks.process import PluginProcess, no_process, process_at
from moby_plugins.checks.verdict import NotPassedError, StalledError, advise, require
from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.domain.errors import PluginError, TransportTimeoutError
from moby_plugins.domain.http import OK, Content, Response
from moby_plugins.domain.typed import typed
from moby_plugins.ports import Clock, Transport

PREFIX = "moby-plugins-check"
MANY = 16
T = TypeVar("T")


@frozen(field_transformer=typed)
class Setup:
    """What the checks are told about a plugin and its place. A frozen value.

    Args:
        timeout: Seconds that each call may take.
        limit: Seconds that all checks may take.
        volume_opts: Go with each volume that is made.
        secret: Names a secret that the plugin has.
        found: The path of the socket or spec; "" for a plugin that was named by its address.
        managed_for: The subsystems of a managed plugin, by its engine: such a one has no
            handshake, and is asked for none.
        tag: Part of all names that are used.

    Raises:
        ValueError: For a time that is not positive.
    """

    timeout: float = field(default=10.0, validator=validators.gt(0))
    limit: float = field(default=300.0, validator=validators.gt(0))
    volume_opts: Mapping[str, str] = field(factory=dict)
    secret: str = ""
    found: str = ""
    managed_for: tuple[str, ...] | None = None
    tag: str = field(factory=lambda: secrets.token_hex(4))


class Subject:
    """The plugin under check: a context manager that closes the transport. Threads may share it.

    ``new_subject`` makes one. Each request is sent once. A method that has not answered within
    ``setup.timeout`` is not asked again, so that a plugin which hangs costs one time-out for each
    method.

    Args:
        transport: Carries the requests.
        address: The plugin's.
        clock: What waits are on.
        tls: As the spec has it.
        setup: What is known of the plugin.
        find_process: Finds the plugin's process, when it is first asked for.
    """

    def __init__(
        self,
        transport: Transport,
        address: Address,
        *,
        clock: Clock,
        tls: TLSOptions | None = None,
        setup: Setup | None = None,
        find_process: Callable[[], PluginProcess | None] = no_process,
    ) -> None:
        self.address = address
        self.tls = tls
        self.clock = clock
        self.setup: Setup = setup or Setup()
        self._transport = transport
        self._client = Client(transport, address, clock=clock)
        self._find_process = find_process
        self._stalled: dict[str, str] = {}
        self._numbers = count(1)

    @cached_property
    def process(self) -> PluginProcess | None:
        """The plugin's process; ``None`` where it cannot be told."""
        return self._find_process()

    @cached_property
    def descriptors(self) -> int | None:
        """How many descriptors the plugin had when it was first asked for anything."""
        return None if self.process is None else self.process.descriptors()

    @property
    def stalled(self) -> frozenset[str]:
        """What did not go on in time so far: methods, and whatever else ``patience`` names."""
        return frozenset(self._stalled)

    def number(self) -> int:
        """A number that nothing else of this run has."""
        return next(self._numbers)

    def send(self, method: str, body: Content = b"", length: int | None = None) -> Answer:
        """Send one request, once.

        Args:
            method: What to call.
            body: The request's.
            length: How many bytes the body has, where it is an iterable.

        Returns:
            The answer, whatever its status.

        Raises:
            TransportError: Where none comes.
            WireError: For half of one.
            StalledError: For a method that has hung before.
        """
        with self._asking(method):
            response = self._open(method, body, length)
            try:
                limit = MAX_HANDSHAKE_BYTES if method == ACTIVATE else MAX_RESPONSE_BYTES
                data = read_whole(response.body, limit)
            finally:
                response.body.close()
        return Answer(method, response.status, data, response.headers)

    @contextmanager
    def stream(self, method: str, body: bytes = b"") -> Iterator[Stream]:
        """Send one request, and read the response as it comes; raises as ``send``.

        Args:
            method: What to call.
            body: The request's.

        Yields:
            The stream.
        """
        with self._asking(method):
            response = self._open(method, body, None)
            with Stream(accepted(response, method), method, self.address.text, "") as stream:
                yield stream

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def patience(self, what: str, again: str) -> Iterator[None]:
        """Try something for the time of the block, unless it has stalled before.

        It stalls by a time-out, or by a ``StalledError``, out of the block.

        Args:
            what: Names it.
            again: What is said where it has stalled before.

        Yields:
            Nothing.

        Raises:
            StalledError: Where it has stalled before.
        """
        if what in self._stalled:
            raise StalledError(what, self._stalled[what])
        try:
            yield
        except (TransportTimeoutError, StalledError):
            self._stalled[what] = again
            raise

    def _asking(self, method: str) -> AbstractContextManager[None]:
        name = method.partition("?")[0]
        return self.patience(name, f"{name} did not answer in time before, and was not asked again")

    def _open(self, method: str, body: Content, length: int | None) -> Response:
        self.descriptors  # noqa: B018  counted before the first request
        request = self._client.request(method, body, length)
        return self._transport.send(request, self.setup.timeout)


def new_subject(
    addr: str,
    tls_config: TLSOptions | None = None,
    *,
    settings: Settings | None = None,
    clock: Clock | None = None,
    setup: Setup | None = None,
) -> Subject:
    """Reach the plugin at an address, as ``new_client`` would. Nothing is sent yet.

    Args:
        addr: The address.
        tls_config: How to speak TLS.
        settings: ``Settings.from_env()`` unless given.
        clock: What waits are on; the machine's unless given.
        setup: What is known of the plugin.

    Returns:
        The subject, for the caller to close.

    Raises:
        SpecError: For an address or TLS file that cannot be used.
        SettingsError: For settings of the environment that cannot be used.
    """
    address = Address(addr)
    connect = connect_by_scheme(Settings.from_env() if settings is None else settings)
    transport = connect(address, tls_config)
    return Subject(
        transport,
        address,
        clock=clock or system_clock(),
        tls=tls_config,
        setup=setup,
        find_process=partial(process_at, address),
    )


@frozen
class Undo:
    """A call that undoes another; ``certain`` once that other has succeeded."""

    method: str
    body: bytes
    certain: bool = False


class Probe:
    """One check's hold on a plugin. Threads may share it; ``run_checks`` closes it.

    ``close`` undoes what the check did, and warns of what is left.

    Args:
        subject: The plugin.
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
        """Make a new name that nothing else uses: ``moby-plugins-check-…``."""
        return f"{PREFIX}-{self.setup.tag}-{self.subject.number()}"

    def id(self) -> str:
        """Make a new id as engines make them, 64 hexadecimal digits; it ends in the prefix's."""
        own = f"{self.subject.number():04x}{self.setup.tag.encode().hex()}"
        return own.ljust(64 - 2 * len(PREFIX), "0") + PREFIX.encode().hex()

    def directory(self) -> Path:
        """Make a new directory on this machine, removed at the end."""
        path = tempfile.mkdtemp(prefix=f"{PREFIX}-")
        self._files.callback(shutil.rmtree, path, ignore_errors=True)
        return Path(path)

    def lend(self, resource: AbstractContextManager[T]) -> T:
        """Enter a context manager, and leave it at the end, after what was done is undone.

        Args:
            resource: The context manager.

        Returns:
            What entering it gives.
        """
        return self._files.enter_context(resource)

    def send(self, method: str, args: Any = None) -> Answer:
        """Make a call.

        Args:
            method: What to call.
            args: Sent as JSON; ``None`` for an empty body.

        Returns:
            The answer, not judged.
        """
        return self.send_bytes(method, wire.encode(args))

    def send_bytes(self, method: str, body: bytes) -> Answer:
        """Make a call with a body that need not be JSON.

        Args:
            method: What to call.
            body: The body.

        Returns:
            The answer, not judged.
        """
        answer = self.subject.send(method, body)
        if answer.status == OK and not answer.error:
            self._done(Undo(method, body))
        return answer

    def call(self, method: str, args: Any = None) -> dict[str, Any]:
        """Make a call that must succeed; where it does not, the check fails.

        Args:
            method: What to call.
            args: Sent as JSON; ``None`` for an empty body.

        Returns:
            The answer's keys, in small letters.
        """
        answer = self.send(method, args)
        require(answer.status == OK and not answer.error, answer)
        return answer.fields

    def refused(self, method: str, args: Any = None) -> Answer:
        """Make a call that must not succeed; the check fails if it does.

        Args:
            method: What to call.
            args: Sent as JSON; ``None`` for an empty body.

        Returns:
            The answer.
        """
        answer = self.send(method, args)
        require(answer.error, answer)
        return answer

    def make(self, method: str, args: Any, undo: str, undo_args: Any) -> dict[str, Any]:
        """Make a call, and at the end another, unless the check has made that by itself.

        Args:
            method: What to call.
            args: Sent as JSON.
            undo: What to call at the end.
            undo_args: Sent with that.

        Returns:
            What ``call`` returns.
        """
        with self.making(undo, undo_args):
            return self.call(method, args)

    @contextmanager
    def making(self, undo: str, undo_args: Any) -> Iterator[None]:
        """Do in the block what a call undoes at the end, even where the block fails.

        Args:
            undo: What to call at the end.
            undo_args: Sent with that.

        Yields:
            Nothing.
        """
        step = Undo(undo, wire.encode(undo_args))
        self._remember(step)
        yield
        with self._lock:
            self._undo = [
                evolve(each, certain=True) if each is step else each for each in self._undo
            ]

    def undo(self, method: str, args: Any) -> None:
        """Make a call at the end, unless the check has made it by itself.

        Args:
            method: What to call.
            args: Sent as JSON.
        """
        self._remember(Undo(method, wire.encode(args), certain=True))

    def stream(self, method: str, args: Any) -> AbstractContextManager[Stream]:
        """Make a call, and read the answer as it comes.

        Args:
            method: What to call.
            args: Sent as JSON.

        Returns:
            A context manager that gives the stream.
        """
        return self.subject.stream(method, wire.encode(args))

    def side_by_side(self, *calls: Callable[[], T]) -> list[T]:
        """Call functions in threads, all at once.

        Args:
            calls: The functions.

        Returns:
            What they return, in order; the first that raises, raises.
        """
        with ThreadPoolExecutor(len(calls)) as threads:
            futures = [threads.submit(call) for call in calls]
        return [future.result() for future in futures]

    def until(self, wanted: Callable[[], bool], seconds: float | None = None) -> bool:
        """Wait until something comes true.

        Args:
            wanted: Whether it has.
            seconds: How long to wait; the time of one call unless given.

        Returns:
            Whether it came true.
        """
        patience = self.setup.timeout if seconds is None else seconds
        ends = self.subject.clock.now() + patience
        while not wanted():
            if self.subject.clock.now() >= ends:
                return False
            self.subject.clock.sleep(0.05)
        return True

    def close(self) -> None:
        """Undo what the check did.

        Raises:
            NotPassedError: For what could not be undone.
        """
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
