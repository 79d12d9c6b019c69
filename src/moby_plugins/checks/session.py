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
from moby_plugins.app.client import (
    ACTIVATE,
    MAX_HANDSHAKE_BYTES,
    MAX_RESPONSE_BYTES,
    Client,
    Stream,
    accepted,
    read_whole,
)
from moby_plugins.app.config import connect_by_scheme, system_clock
from moby_plugins.app.settings import Settings
from moby_plugins.checks.check import NotPassedError, StalledError, advise, fail, require
from moby_plugins.checks.process import PluginProcess, no_process, process_at
from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.domain.errors import PluginError, TransportTimeoutError
from moby_plugins.domain.http import OK, Content, Response
from moby_plugins.domain.json import first_value, fold_keys
from moby_plugins.domain.text import shown
from moby_plugins.ports import Clock, Transport

# How much of an answer is part of a finding.
SHOWN = 160
# Where engines look for an error in an answer 200, if not under Err; "" for nowhere.
ERROR_KEYS = {"IpamDriver": "error", "AuthZPlugin": "", "MetricsCollector": ""}
UNREAD = "MetricsCollector"

PREFIX = "moby-plugins-check"
MANY = 16
T = TypeVar("T")


@frozen
class Answer:
    """The answer to ``method``: read whole, and not judged yet."""

    method: str
    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(factory=dict, repr=False)

    def __str__(self) -> str:
        text = self.body.decode(errors="replace").strip()
        told = shown(text, SHOWN) if text else "without a body"
        return f"{self.method} answered {self.status} {told}"

    @property
    def value(self) -> Any:
        """The first JSON value of the body; without one the check fails."""
        try:
            return first_value(self.body)
        except ValueError as error:
            fail(f"{self}: {error}")

    @property
    def fields(self) -> dict[str, Any]:
        """The answer's keys in small letters, as engines read them: ``null`` is none at all.

        Without an object the check fails, unless engines do not read this answer.
        """
        if self._interface == UNREAD:
            return {}
        value = self.value
        return folded({} if value is None else value, f"{self}: no object")

    @property
    def error(self) -> str:
        """The error that an engine sees in it; "" for a success (protocol.md B0, B4, B5, B7)."""
        if self.status != OK:
            return self.told("err") or self.body.decode(errors="replace").strip() or str(self)
        return self.told(ERROR_KEYS.get(self._interface, "err"))

    @property
    def _interface(self) -> str:
        return self.method.partition(".")[0]

    def told(self, key: str) -> str:
        """The text under ``key``, given in small letters; "" where there is none."""
        try:
            value = first_value(self.body)
        except ValueError:
            return ""
        told = fold_keys(value).get(key) if isinstance(value, dict) else None
        return told if isinstance(told, str) else ""


def folded(value: object, came_back: object) -> dict[str, Any]:
    """An object within an answer, its keys in small letters; the check fails if it is none."""
    if not isinstance(value, dict):
        fail(came_back)
    return fold_keys(value)


@frozen
class Setup:
    """What the checks are told about a plugin and its place.

    ``timeout`` is the seconds that each call may take, ``limit`` those for all checks.
    ``volume_opts`` go with each volume that is made; ``secret`` names one that
    the plugin has. ``found`` is the path of the socket or spec, "" for a plugin
    that was named by its address. ``managed_for`` are the subsystems of a managed plugin, by its
    engine: such a one has no handshake, and is asked for none. ``tag`` is part of all names that
    are used.
    """

    timeout: float = field(default=10.0, validator=validators.gt(0))
    limit: float = field(default=300.0, validator=validators.gt(0))
    volume_opts: Mapping[str, str] = field(factory=dict)
    secret: str = ""
    found: str = ""
    managed_for: tuple[str, ...] | None = None
    tag: str = field(factory=lambda: secrets.token_hex(4))


class Subject:
    """The plugin at ``address``, reached over ``transport``: a context manager that closes it.

    ``tls`` is as the spec has it; ``new_subject`` makes one by its address. Each
    request is sent once. A method that has not answered within ``setup.timeout`` is
    not asked again, so that a plugin which hangs costs one time-out for each method.
    ``find_process`` finds the plugin's process, when it is first asked for. Threads may share it.
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
        """The answer to one request, whatever its status.

        Raises ``TransportError`` and ``WireError`` where none comes, and fails
        the check for a method that has hung before.
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
        """The answer to one request as it comes; raises as ``send``, and ``StatusError``."""
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
        """Try ``what`` for the time of the block, unless it has stalled before.

        Raises ``StalledError`` with the text ``again`` then. It stalls by a time-out, or by a
        ``StalledError``, out of the block.
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
    """The plugin at ``addr``, as ``new_client`` would reach it; whoever asks for it closes it.

    Nothing is sent yet. Raises ``SpecError`` for an address or TLS file that cannot be
    used, and ``SettingsError``.
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
        with self.making(undo, undo_args):
            return self.call(method, args)

    @contextmanager
    def making(self, undo: str, undo_args: Any) -> Iterator[None]:
        """Do in the block what ``undo`` undoes at the end, even where the block fails."""
        step = Undo(undo, wire.encode(undo_args))
        self._remember(step)
        yield
        with self._lock:
            self._undo = [
                evolve(each, certain=True) if each is step else each for each in self._undo
            ]

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

    def until(self, wanted: Callable[[], bool], seconds: float | None = None) -> bool:
        """Whether ``wanted`` comes true within ``seconds``, or within the time of one call."""
        patience = self.setup.timeout if seconds is None else seconds
        ends = self.subject.clock.now() + patience
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
