"""The plugin under check, and the means by which checks call it.

A ``Target`` is the plugin, with one transport for all checks. A ``Session`` is one check's access
to it: it makes names, sends requests, and at the end removes what the check created. An ``Answer``
is a response, read whole and not yet judged.
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
from moby_plugins.app.bodies import raise_for_status, read_limited
from moby_plugins.app.client import (
    MAX_RESPONSE_BYTES,
    Client,
    Stream,
)
from moby_plugins.app.config import connect_by_scheme, system_clock
from moby_plugins.app.settings import Settings
from moby_plugins.checks.answer import Answer
from moby_plugins.checks.outcome import NotPassedError, StalledError, require, warn
from moby_plugins.checks.process import PluginProcess, no_process, process_at
from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.domain.errors import PluginError, TransportTimeoutError
from moby_plugins.domain.http import OK, Content, Response
from moby_plugins.domain.retry import no_nan
from moby_plugins.domain.typed import typed
from moby_plugins.ports import Clock, Transport

PREFIX = "moby-plugins-check"
MANY = 16
# Seconds in which a call that was given up may still end in the plugin.
GRACE = 2.0
# Seconds between two looks.
PAUSE = 0.05
T = TypeVar("T")


@frozen(field_transformer=typed)
class Options:
    """Options for the checks of a plugin. A frozen value.

    Args:
        timeout: Seconds that each call may take.
        limit: Seconds that all checks together may take.
        volume_opts: Options for each volume that is created.
        secret: The name of a secret that the plugin has.
        path: The path of the socket or spec; "" for a plugin that was given by its address.
        managed_for: The subsystems of a managed plugin, from its engine: such a plugin has no
            handshake. ``None`` for a legacy plugin.
        tag: A part of all names and IDs that the checks make up.

    Raises:
        ValueError: If a time is not positive.
    """

    timeout: float = field(default=10.0, validator=validators.gt(0))
    limit: float = field(default=300.0, validator=validators.gt(0))
    volume_opts: Mapping[str, str] = field(factory=dict)
    secret: str = ""
    path: str = ""
    managed_for: tuple[str, ...] | None = None
    tag: str = field(factory=lambda: secrets.token_hex(4))


class Target:
    """The plugin under check: a context manager that closes the transport. Threads may share it.

    ``new_target`` makes one. Each request is sent once. A method that did not respond within
    ``options.timeout`` is not called again, so that a plugin that hangs costs one time-out for each
    method.

    Args:
        transport: The transport for requests.
        address: The plugin's address.
        clock: The clock for waits.
        tls: The TLS options of the spec.
        options: The options for the checks.
        find_process: A function that finds the plugin's process, called on first use.
    """

    def __init__(
        self,
        transport: Transport,
        address: Address,
        *,
        clock: Clock,
        tls: TLSOptions | None = None,
        options: Options | None = None,
        find_process: Callable[[], PluginProcess | None] = no_process,
    ) -> None:
        self.address = address
        self.tls = tls
        self.clock = clock
        self.options: Options = options or Options()
        self._transport = transport
        self._client = Client(transport, address, clock=clock)
        self._find_process = find_process
        self._stalled: dict[str, str] = {}
        self._numbers = count(1)

    @cached_property
    def process(self) -> PluginProcess | None:
        """The plugin's process; ``None`` if unknown."""
        return self._find_process()

    @cached_property
    def descriptors(self) -> int | None:
        """The number of the plugin's descriptors before the first request; ``None`` if unknown."""
        return None if self.process is None else self.process.descriptors()

    @property
    def stalled(self) -> frozenset[str]:
        """The methods and other operations (of ``patience``) that have timed out so far."""
        return frozenset(self._stalled)

    def number(self) -> int:
        """Return a number that is unique in this run of the checks."""
        return next(self._numbers)

    def send(self, method: str, body: Content = b"", length: int | None = None) -> Answer:
        """Send one request, without retries.

        Args:
            method: The method to call.
            body: The request's body.
            length: How many bytes the body has, if it is an iterable.

        Returns:
            The response, with any status.

        Raises:
            TransportError: If no response is received.
            WireError: If the response is incomplete.
            StalledError: If the method did not respond within the time-out in an earlier call.
        """
        with self._asking(method):
            response = self._open(method, body, length)
            try:
                limit = MAX_HANDSHAKE_BYTES if method == ACTIVATE else MAX_RESPONSE_BYTES
                data = read_limited(response.body, limit)
            finally:
                response.body.close()
        return Answer(method, response.status, data, response.headers)

    @contextmanager
    def stream(self, method: str, body: bytes = b"") -> Iterator[Stream]:
        """Send one request, and read the response as a stream.

        Raises ``StatusError`` for a status other than 200, ``TransportError`` if no response is
        received, ``WireError`` if it is incomplete, and ``StalledError`` if the method did not
        respond within the time-out in an earlier call.

        Args:
            method: The method to call.
            body: The request's body.

        Yields:
            The stream.
        """
        with self._asking(method):
            response = self._open(method, body, None)
            with Stream(
                raise_for_status(response, method), method, self.address.text, ""
            ) as stream:
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
        """Guard an operation in the block, which is not tried again once it has timed out.

        It has timed out if a ``TransportTimeoutError`` or a ``StalledError`` leaves the block.

        Args:
            what: The name of the operation.
            again: The text of the ``StalledError`` that is raised if the operation timed out
                before.

        Yields:
            Nothing.

        Raises:
            StalledError: If the operation timed out before.
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
        return self._transport.send(request, self.options.timeout)


def new_target(
    addr: str,
    tls_config: TLSOptions | None = None,
    *,
    settings: Settings | None = None,
    clock: Clock | None = None,
    options: Options | None = None,
) -> Target:
    """Make a target for the plugin at an address. Sends nothing yet.

    Args:
        addr: The address, for example ``unix:///run/docker/plugins/shelf.sock``.
        tls_config: The TLS options.
        settings: The settings; by default ``Settings.from_env()``.
        clock: The clock for waits; by default the system's.
        options: The options for the checks.

    Returns:
        The target, which the caller closes.

    Raises:
        SpecError: If the address or a TLS file cannot be used.
        SettingsError: If settings in the environment cannot be used.
    """
    address = Address(addr)
    connect = connect_by_scheme(Settings.from_env() if settings is None else settings)
    transport = connect(address, tls_config)
    return Target(
        transport,
        address,
        clock=clock or system_clock(),
        tls=tls_config,
        options=options,
        find_process=partial(process_at, address),
    )


@frozen
class Undo:
    """A call that undoes an earlier call.

    ``succeeded`` says whether the earlier call succeeded. It is ``None`` if the check gave it
    up, because of a time-out or Ctrl-C: the plugin may still be working on it.
    """

    method: str
    body: bytes
    succeeded: bool | None = None


class Session:
    """One check's access to a plugin. Threads may share it; ``run_checks`` closes it.

    ``close`` undoes the check's calls, and warns of anything that is left.

    Args:
        target: The plugin.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self._undo: list[Undo] = []
        self._lock = threading.Lock()  # of the list above
        self._files = ExitStack()

    @property
    def options(self) -> Options:
        """The options for the checks."""
        return self.target.options

    def name(self) -> str:
        """Return a new unique name: ``moby-plugins-check-…``."""
        return f"{PREFIX}-{self.options.tag}-{self.target.number()}"

    def id(self) -> str:
        """Return a new ID of 64 hexadecimal digits, as engines make them.

        It ends with ``moby-plugins-check`` in hexadecimal.
        """
        own = f"{self.target.number():04x}{self.options.tag.encode().hex()}"
        return own.ljust(64 - 2 * len(PREFIX), "0") + PREFIX.encode().hex()

    def directory(self) -> Path:
        """Make a new directory on this machine, which is removed when the check ends."""
        path = tempfile.mkdtemp(prefix=f"{PREFIX}-")
        self._files.callback(shutil.rmtree, path, ignore_errors=True)
        return Path(path)

    def enter_context(self, resource: AbstractContextManager[T]) -> T:
        """Enter a context manager; exit it at the check's end, after the check's calls were undone.

        Args:
            resource: The context manager.

        Returns:
            What its ``__enter__`` returns.
        """
        return self._files.enter_context(resource)

    def send(self, method: str, args: Any = None) -> Answer:
        """Make a call.

        Args:
            method: The method to call.
            args: Sent as JSON; ``None`` for an empty body.

        Returns:
            The response, which may be an error.
        """
        return self.send_bytes(method, wire.encode(args))

    def send_bytes(self, method: str, body: bytes) -> Answer:
        """Make a call with a body that need not be JSON.

        Args:
            method: The method to call.
            body: The body.

        Returns:
            The response, which may be an error.
        """
        answer = self.target.send(method, body)
        if answer.status == OK and not answer.error:
            self._done(Undo(method, body))
        return answer

    def call(self, method: str, args: Any = None) -> dict[str, Any]:
        """Make a call that must succeed; fail the check if it does not.

        Args:
            method: The method to call.
            args: Sent as JSON; ``None`` for an empty body.

        Returns:
            The response's object, with case-folded keys.
        """
        answer = self.send(method, args)
        require(answer.status == OK and not answer.error, answer)
        return answer.fields

    def refused(self, method: str, args: Any = None) -> Answer:
        """Make a call that must not succeed; fail the check if it does.

        Args:
            method: The method to call.
            args: Sent as JSON; ``None`` for an empty body.

        Returns:
            The response.
        """
        answer = self.send(method, args)
        require(answer.error, answer)
        return answer

    def make(self, method: str, args: Any, undo: str, undo_args: Any) -> dict[str, Any]:
        """Make a call that must succeed, and undo it at the end of the check.

        It is not undone if the check itself makes the call ``undo``.

        Args:
            method: The method to call.
            args: Sent as JSON.
            undo: The method to call when the check ends.
            undo_args: Its arguments, sent as JSON.

        Returns:
            The result of ``call``.
        """
        with self.making(undo, undo_args):
            return self.call(method, args)

    @contextmanager
    def making(self, undo: str, undo_args: Any) -> Iterator[None]:
        """Make a call at the end of the check that undoes the block, even if the block fails.

        Args:
            undo: The method to call when the check ends.
            undo_args: Its arguments, sent as JSON.

        Yields:
            Nothing.
        """
        step = Undo(undo, wire.encode(undo_args))
        self._remember(step)
        try:
            yield
        except TransportTimeoutError:
            raise
        except Exception:
            self._ended(step, succeeded=False)
            raise
        self._ended(step, succeeded=True)

    def undo(self, method: str, args: Any) -> None:
        """Make a call at the end of the check, unless the check itself has made the same call.

        Args:
            method: The method to call.
            args: Sent as JSON.
        """
        self._remember(Undo(method, wire.encode(args), succeeded=True))

    def stream(self, method: str, args: Any) -> AbstractContextManager[Stream]:
        """Make a call, and read the response as a stream.

        Args:
            method: The method to call.
            args: Sent as JSON.

        Returns:
            A context manager that returns the stream; for a status other than 200 it raises
            ``StatusError``.
        """
        return self.target.stream(method, wire.encode(args))

    def side_by_side(self, *calls: Callable[[], T]) -> list[T]:
        """Call functions at the same time, each in a thread.

        Args:
            calls: The functions.

        Returns:
            Their results, in order. If functions raise, the exception of the first of these, in the
            order of ``calls``, is raised after all have ended.
        """
        with ThreadPoolExecutor(len(calls)) as threads:
            futures = [threads.submit(call) for call in calls]
        return [future.result() for future in futures]

    def until(self, wanted: Callable[[], bool], seconds: float | None = None) -> bool:
        """Wait until a condition is true.

        Args:
            wanted: A function that returns whether the condition is true.
            seconds: How long to wait; by default the time-out of one call.

        Returns:
            Whether the condition became true.
        """
        patience = self.options.timeout if seconds is None else no_nan("seconds", seconds)
        ends = self.target.clock.now() + patience
        while not wanted():
            if self.target.clock.now() >= ends:
                return False
            self.target.clock.sleep(PAUSE)
        return True

    def close(self) -> None:
        """Undo the check's calls, and remove its files.

        Calls that were given up, after a time-out or Ctrl-C, may still be running in the plugin. If
        they cannot be undone at once, this is tried again, for ``GRACE`` seconds in all.

        Raises:
            NotPassedError: If a call could not be undone.
        """
        left, perhaps = [], []
        clock = self.target.clock
        ends = clock.now() + GRACE
        try:
            while self._undo:
                step = self._undo.pop()
                if not step.succeeded and evolve(step, succeeded=True) in self._undo:
                    continue  # an equal call is known to have succeeded, and is undone too
                while (trouble := self._trouble(step)) and step.succeeded is None:
                    if clock.now() >= ends:
                        perhaps.append(trouble)
                        break
                    clock.sleep(PAUSE)
                if step.succeeded and trouble:
                    left.append(trouble)
        finally:
            self._files.close()
        known = [f"not cleaned up: {each}" for each in left]
        known += [f"perhaps not cleaned up: {each}" for each in perhaps]
        warn(not known, "; ".join(known))

    def _trouble(self, step: Undo) -> str:
        try:
            answer = self.target.send(step.method, step.body)
        except (NotPassedError, PluginError) as error:
            return str(error)
        return str(answer) if answer.error else ""

    def _remember(self, step: Undo) -> None:
        with self._lock:
            self._undo.append(step)

    def _ended(self, step: Undo, *, succeeded: bool) -> None:
        ended = evolve(step, succeeded=succeeded)
        with self._lock:
            self._undo = [ended if each is step else each for each in self._undo]

    def _done(self, step: Undo) -> None:
        with self._lock:
            for pending in reversed(self._undo):
                if (pending.method, pending.body) == (step.method, step.body):
                    self._undo.remove(pending)
                    return
