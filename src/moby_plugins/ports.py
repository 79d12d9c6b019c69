"""What the core asks of the world: to find plugins, to reach them, and the time.

Read this first. An implementation of one of these roles is held to its contract suite
(``moby_plugins.testing.contracts``). Every method may be called from several threads.
``RunningCall`` is the other way round: what serves a plugin tells its code.

This is also the door of those who write a transport or a discovery: it has the values that are
exchanged, and the reasons that transports give in errors (``TIMED_OUT``, ``CLOSED_EARLY``,
``CUT_OFF``, ``MALFORMED``), so that all of them say the same. ``Cancellation`` ends waits;
``WakeEvent`` is what they wait for.
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
from moby_plugins.domain.observing import (
    ActivationFailed,
    CallEnded,
    CallStarted,
    DriverFailed,
    HandlerFailed,
    Observer,
    OnCallEnded,
    OnRequestEnded,
    PluginActivated,
    PluginDropped,
    RequestEnded,
    RequestStarted,
    RetryScheduled,
)
from moby_plugins.domain.plugin import (
    Candidate,
    Managed,
    ManagedPlugin,
    Manifest,
    Plugin,
    PluginMount,
    Stray,
)
from moby_plugins.domain.text import listed, quoted
from moby_plugins.waits import Cancellation, SleepEvent, WakeEvent

__all__ = [
    "CLOSED_EARLY",
    "CUT_OFF",
    "MALFORMED",
    "TIMED_OUT",
    "ActivationFailed",
    "Address",
    "BeginningTransport",
    "Body",
    "CallEnded",
    "CallStarted",
    "Cancellation",
    "Candidate",
    "Clock",
    "Connect",
    "Content",
    "Discovery",
    "DriverFailed",
    "EndingDiscovery",
    "HandlerFailed",
    "LocalDiscovery",
    "Managed",
    "ManagedPlugin",
    "Manifest",
    "Observer",
    "OnCallEnded",
    "OnRequestEnded",
    "PendingResponse",
    "Plugin",
    "PluginActivated",
    "PluginDropped",
    "PluginMount",
    "Request",
    "RequestEnded",
    "RequestStarted",
    "Response",
    "RetryScheduled",
    "RunningCall",
    "Selector",
    "SleepEvent",
    "Stray",
    "Survey",
    "TLSOptions",
    "Transport",
    "WakeEvent",
    "hung_up",
]

T = TypeVar("T")


class RunningCall:
    """A call that a served plugin answers: ``with call:`` around each step of the plugin's code.

    For what serves plugins: it calls ``hang_up`` once the host has hung up, or when it gives the
    response up before its end. To be entered by one thread at a time.
    """

    _token: "Token[RunningCall] | None" = None
    _hung_up = False
    _process = 0

    @property
    def hung_up(self) -> threading.Event:
        """The event, which is made when it is first asked for: most calls are too short."""
        # Of two threads that make one, both get that of the first.
        event: threading.Event = self.__dict__.get("event") or self.__dict__.setdefault(
            "event", WakeEvent()
        )
        # Looked at last, as ``hang_up`` sets it first: so one of the two sets the event.
        if self._hung_up:
            event.set()
        return event

    @property
    def has_hung_up(self) -> bool:
        """Whether ``hang_up`` was called."""
        return self._hung_up

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

    To be asked for by the thread that was called: in a method, or in the generator that it returns.
    Give the event to threads that the method starts.

    Returns:
        The event. Outside a call, one of its own that is never set: so a method can be called by
        itself.

    Examples:
        ```python
        from moby_plugins.serving import hung_up
        from moby_plugins.subsystems import LogDriver


        class Logs(LogDriver):
            def read_logs(self, info, config):
                gone = hung_up()
                while not gone.wait(0.1):
                    yield from self.new_lines()
        ```
    """
    call = _RUNNING.get(None)
    return threading.Event() if call is None else call.hung_up


def has_hung_up() -> bool:
    """Return whether the host of the running call has hung up; false outside a call."""
    call = _RUNNING.get(None)
    return call is not None and call.has_hung_up


class Discovery(Protocol):
    """Finds plugins by name; remembers nothing between two calls."""

    def scan(self) -> list[str]:
        """Return the names that a look-up would find, sorted, each once.

        Raises:
            SpecError: For a directory that cannot be read.
            PluginError: Another, where it cannot tell.
        """
        ...

    def lookup(self, name: str) -> Plugin:
        """Find a plugin as it is described now.

        A registry gives any text without NUL for a name. The plugin may have another name than
        was asked for: all such names are one plugin.

        Args:
            name: Its name.

        Returns:
            The plugin, without a manifest unless it is a managed one.

        Raises:
            PluginNotFoundError: Where there is none.
            SpecError: Where its description cannot be used.
            InvalidPluginNameError: For what cannot be a name.
            PluginError: Another, where it cannot tell; a ``TransportError`` is tried again.
        """
        ...


@runtime_checkable
class LocalDiscovery(Discovery, Protocol):
    """A discovery whose look-ups wait for nothing but local files.

    A registry makes many of them in one thread.
    """

    @property
    def is_local(self) -> bool:
        """Whether that is so: of a discovery that asks others, it may depend on them."""
        ...


@runtime_checkable
class EndingDiscovery(Discovery, Protocol):
    """A discovery that asks others, and stops waiting for them at once where it is told to."""

    def ended_by(self, cancel: Cancellation) -> Discovery:
        """Return this discovery for one that waits: once ``cancel`` is set, it ends.

        Args:
            cancel: Ends the question that is under way, and those to come, with ``PluginError``.

        Returns:
            The discovery; this one is not ended.
        """
        ...


def ended_by(discovery: Discovery, cancel: Cancellation) -> Discovery:
    """``discovery``, ended by ``cancel`` where it can be."""
    return discovery.ended_by(cancel) if isinstance(discovery, EndingDiscovery) else discovery


@runtime_checkable
class Survey(Discovery, Protocol):
    """A discovery that also tells what it passes over: for people, not for hosts."""

    def candidates(self, name: str) -> list[Candidate]:
        """Return all that ``lookup`` could find by a name; it takes the first, or fails with it.

        Args:
            name: The plugin's.

        Returns:
            The candidates, in the order in which they count.

        Raises:
            InvalidPluginNameError: For what cannot be a name; nothing else is raised.
        """
        ...

    def strays(self) -> list[Stray]:
        """Return files that seem to be meant for ``lookup``, but that it does not find."""
        ...


class Transport(Protocol):
    """Carries requests to one plugin; makes one attempt at a time and never a second."""

    def send(self, request: Request, timeout: float | None) -> Response:
        """Send a request once, and return the response, whatever its status, with its body unread.

        Args:
            request: What to send. An exception out of the iterator that is its body passes
                unchanged.
            timeout: Seconds for the exchange, the reading of the body included; ``None`` is no
                bound.

        Returns:
            The response; the caller closes its body, and what goes wrong later, reading it raises.

        Raises:
            TransportError: While no status line came; ``TransportTimeoutError`` when the time-out
                runs out.
        """
        ...

    def close(self) -> None:
        """Give up all connections; may be called more than once, by any thread.

        What waits in ``send``, or reads a body, raises ``TransportError`` at once. It must not wait
        for a lock: a signal handler may call it. A transport that cannot end what it sends leaves
        it to its time-out, and a caller that is cancelled waits for that.
        """
        ...


class PendingResponse(Protocol):
    """A response to a request that was sent, or is about to be, which may not have come yet.

    For one thread at a time; a ``Selector`` waits for many of them. What it holds open is closed
    with its transport, too.
    """

    @property
    def is_whole(self) -> bool:
        """Whether ``finish`` returns or raises at once."""
        ...

    @property
    def ends(self) -> float | None:
        """The time, as ``time.monotonic`` has it, at which the exchange times out."""
        ...

    def fileno(self) -> int:
        """Return the descriptor to be polled."""
        ...

    def events(self) -> int:
        """Return what it is to be polled for, as ``select.poll`` has it."""
        ...

    def advance(self, events: int) -> bool:
        """Take what has come, without a wait; return true once there is no more to poll for.

        ``events`` are those that were polled, 0 where the time is over. The rest is then read
        by ``finish``: at once, or with a wait where only a parser can tell where it ends.
        """
        ...

    def finish(self) -> Response:
        """Return the response; wait for it, and raise, as ``Transport.send`` does."""
        ...

    def close(self) -> None:
        """Give the exchange up, where ``finish`` was not called; may be called more than once."""
        ...


class Selector(Protocol):
    """Waits for many pending responses in one thread; for one thread at a time."""

    def add(self, pending: PendingResponse, /) -> None:
        """Wait for this one too."""
        ...

    def wait(self) -> list[PendingResponse]:
        """Wait until there is no more to poll for at one or more, and return those.

        They are not waited for any longer. Without any that was added it returns at once.
        """
        ...


@runtime_checkable
class BeginningTransport(Transport, Protocol):
    """A transport that can also begin an exchange, and leave the wait for it to others.

    A registry uses it in ``get_all``, where it can: one thread then activates many plugins.
    """

    def begin(self, request: Request, timeout: float | None) -> PendingResponse | None:
        """Send ``request`` as ``send`` does, but without a wait.

        Returns ``None``, and has done nothing, where that is not possible. Raises what
        ``send`` would have raised by now.
        """
        ...


class Connect(Protocol):
    """Makes the transport for an address: what ``Settings.transports`` names by scheme."""

    def __call__(self, address: Address, tls: TLSOptions | None, /) -> Transport:
        """Make a transport for an address, not connected yet.

        Args:
            address: The plugin's.
            tls: How to speak TLS, where that is said.

        Returns:
            The transport, for the caller to close.

        Raises:
            SpecError: For an address or TLS file that cannot be used.
        """
        ...


class Clock(Protocol):
    """The time, in seconds from an arbitrary point, and the ways to let it pass."""

    def now(self) -> float:
        """Return the seconds on this clock; they never run backwards."""
        ...

    def sleep(self, seconds: float) -> None:
        """Return once the time has passed.

        Args:
            seconds: How long; 0 and less return at once.
        """
        ...

    def wait(self, event: threading.Event, timeout: float | None = None) -> bool:
        """Wait for an event.

        Args:
            event: What to wait for.
            timeout: Seconds at most; ``None`` for no bound.

        Returns:
            Whether it is set.
        """
        ...

    def working(self) -> AbstractContextManager[None]:
        """Tell of the time that an operation of this library takes: a fake clock then stands still.

        Returns:
            A context manager; it may be nested.
        """
        ...


def filled(argument: str, given: T, *methods: str) -> T:
    """Return ``given``; ``TypeError``, naming the ``argument``, unless it has the ``methods``.

    A class in place of its instance is refused too.
    """
    # A list, as each step of a generator costs a call, and clients are made by the hundred.
    present = [method for method in methods if callable(getattr(given, method, None))]
    if isinstance(given, type) or len(present) < len(methods):
        named = listed(f"{method}()" for method in methods)
        raise TypeError(f"{argument} must be an object with {named}, not {quoted(given)}")
    return given


def callable_or_none(argument: str, given: T) -> T:
    """Return ``given``; ``TypeError``, naming the ``argument``, unless it is a function or none."""
    if given is not None and not callable(given):
        raise TypeError(f"{argument} must be a function, not {quoted(given)}")
    return given
