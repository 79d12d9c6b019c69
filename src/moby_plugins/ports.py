"""What the core asks of the world: to find plugins, to reach them, and the time.

Read this first. An implementation of one of these roles is held to its contract suite
(``moby_plugins.testing.contracts``). Every method may be called from several threads.
``RunningCall`` is the other way round: what serves a plugin tells its code.

This is also the door of those who write a transport or a discovery: it has the values that are
exchanged, and the reasons that transports give in errors (``TIMED_OUT``, ``CLOSED_EARLY``,
``CUT_OFF``, ``MALFORMED``), so that all of them say the same.
"""

import os
import threading
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from typing import Protocol, TypeVar, runtime_checkable

from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.domain.http import (
    CLOSED_EARLY,
    CUT_OFF,
    MALFORMED,
    TIMED_OUT,
    Body,
    Content,
    Request,
    Response,
)
from moby_plugins.domain.plugin import Candidate, Manifest, Plugin, Stray
from moby_plugins.domain.text import listed, quoted

__all__ = [
    "CLOSED_EARLY",
    "CUT_OFF",
    "MALFORMED",
    "TIMED_OUT",
    "Address",
    "Body",
    "Candidate",
    "Clock",
    "Connect",
    "Content",
    "Discovery",
    "Manifest",
    "Plugin",
    "Request",
    "Response",
    "RunningCall",
    "Stray",
    "Survey",
    "TLSOptions",
    "Transport",
    "hung_up",
]

T = TypeVar("T")


class RunningCall:
    """A call that a served plugin answers: ``with call:`` around each step of the plugin's code.

    ``hung_up`` is the event that ``moby_plugins.serving.hung_up()`` returns inside. What serves
    the plugin calls ``hang_up`` once the host has hung up, or when it gives the response up
    before its end. To be entered by one thread at a time.
    """

    _token: "Token[RunningCall] | None" = None
    _hung_up = False
    _process = 0

    @property
    def hung_up(self) -> threading.Event:
        """The event, which is made when it is first asked for: most calls are too short."""
        # Of two threads that make one, both get that of the first.
        event: threading.Event = self.__dict__.get("event") or self.__dict__.setdefault(
            "event", threading.Event()
        )
        # Looked at last, as ``hang_up`` sets it first: so one of the two sets the event.
        if self._hung_up:
            event.set()
        return event

    def hang_up(self) -> None:
        """Set the event; may be called by any thread, and again."""
        self._hung_up = True
        event = self.__dict__.get("event")
        if event is not None:
            event.set()

    @property
    def left_behind(self) -> bool:
        """Whether this is a child that the plugin's code forked: its parent answers the call."""
        return self._process != os.getpid()

    def __enter__(self) -> None:
        self._process = os.getpid()
        self._token = _RUNNING.set(self)

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if self.left_behind:
            os._exit(_exit_status(error))
        token, self._token = self._token, None
        if token is not None:
            _RUNNING.reset(token)


_RUNNING: ContextVar[RunningCall] = ContextVar("running_call")


def _exit_status(error: BaseException | None) -> int:
    # As Python's own end of a process has it.
    if not isinstance(error, SystemExit):
        return int(error is not None)
    if error.code is None:
        return 0
    return error.code & 0xFF if isinstance(error.code, int) else 1


def is_forked_child() -> bool:
    """Return whether code of the plugin forked this process within the running call."""
    call = _RUNNING.get(None)
    return call is not None and call.left_behind


def hung_up() -> threading.Event:
    """Return the event that is set when the host of the running call has hung up.

    To be asked for by the thread that was called: in a method, or in the generator that it
    returns. Give the event to threads that the method starts. Outside a call it is an event of
    its own that is never set, so that a method can be called by itself.

    Example::

        def read_logs(self, info, config):
            gone = hung_up()
            while not gone.wait(0.1):
                yield from self.new_lines()
    """
    call = _RUNNING.get(None)
    return threading.Event() if call is None else call.hung_up


class Discovery(Protocol):
    """Finds plugins by name; remembers nothing between two calls."""

    def scan(self) -> list[str]:
        """The names that a look-up would find, sorted, each once.

        Raises ``SpecError`` for a directory that cannot be read.
        """
        ...

    def lookup(self, name: str) -> Plugin:
        """The plugin by that name, as it is found now.

        Raises ``PluginNotFoundError`` where there is none, ``SpecError`` where
        its description cannot be used, and ``InvalidPluginNameError``.
        """
        ...


@runtime_checkable
class Survey(Discovery, Protocol):
    """A discovery that also tells what it passes over: for people, not for hosts."""

    def candidates(self, name: str) -> list[Candidate]:
        """All that ``lookup`` could find by that name; it takes the first, or fails with it.

        Raises ``InvalidPluginNameError`` and nothing else.
        """
        ...

    def strays(self) -> list[Stray]:
        """Files that seem to be meant for ``lookup``, but that it does not find."""
        ...


class Transport(Protocol):
    """Carries requests to one plugin; makes one attempt at a time and never a second."""

    def send(self, request: Request, timeout: float | None) -> Response:
        """The plugin's answer, whatever its status, with its body unread.

        ``timeout`` bounds the exchange in seconds, the reading of the body
        included. The caller closes the body. Raises ``TransportError``, or
        ``TransportTimeoutError``, while nothing was answered; what goes wrong
        later, reading the body raises (``Body.read``). An exception out of the
        iterator that is the request's body passes unchanged.
        """
        ...

    def close(self) -> None:
        """Give up idle connections; may be called more than once."""
        ...


class Connect(Protocol):
    """Makes the transport for an address: what ``Settings.transports`` names by scheme."""

    def __call__(self, address: Address, tls: TLSOptions | None, /) -> Transport:
        """A transport, not connected yet; whoever asked for it closes it.

        Raises ``SpecError`` for an address or TLS file that cannot be used.
        """
        ...


class Clock(Protocol):
    """The time, in seconds from an arbitrary point, and the ways to let it pass."""

    def now(self) -> float:
        """Seconds on this clock; never runs backwards."""
        ...

    def sleep(self, seconds: float) -> None:
        """Return once ``seconds`` have passed; 0 and less return at once."""
        ...

    def wait(self, event: threading.Event, timeout: float | None = None) -> bool:
        """Return true once ``event`` is set, or false once ``timeout`` seconds have passed."""
        ...

    def working(self) -> AbstractContextManager[None]:
        """The time that an operation of this library takes: a fake clock stands still meanwhile.

        May be nested.
        """
        ...


def filled(argument: str, given: T, *methods: str) -> T:
    """Return ``given``; ``TypeError``, naming the ``argument``, unless it has the ``methods``.

    A class in place of its instance is refused too.
    """
    if isinstance(given, type) or not all(callable(getattr(given, m, None)) for m in methods):
        named = listed(f"{method}()" for method in methods)
        raise TypeError(f"{argument} must be an object with {named}, not {quoted(given)}")
    return given
