"""The ports: interfaces through which the core finds plugins, reaches them, and reads the time.

Start reading the library at ``Discovery``; ``RunningCall``, above it, is no port, but a class for
servers. ``Discovery``, ``Transport``, ``BeginningTransport`` and ``Clock`` have contract suites
(``moby_plugins.testing.contracts``), which every implementation must pass. Several threads may call
the methods of these four at once.

The module is also public, for authors of transports and discoveries. It exports the values that
they exchange with the core, and the reasons that transports use in errors (``TIMED_OUT``,
``CLOSED_EARLY``, ``CUT_OFF``, ``MALFORMED``). ``Cancellation`` ends waits, and ``WakeEvent`` is the
event that such waits wait for. ``RunningCall`` is for authors of servers: it lets a plugin's code
see that its host has hung up.
"""

import os
import threading
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

from moby_plugins.deferred_names import deferred_names
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
from moby_plugins.domain.observer import Observer
from moby_plugins.domain.plugin import (
    Candidate,
    IgnoredFile,
    Managed,
    ManagedPlugin,
    Manifest,
    Plugin,
    PluginMount,
)
from moby_plugins.domain.text import listed, quoted
from moby_plugins.domain.typed import is_coroutine_function
from moby_plugins.waits import Cancellation, SleepEvent, WakeEvent

if TYPE_CHECKING:
    from moby_plugins.domain.observing import (
        ActivationFailed,
        CallEnded,
        CallStarted,
        DriverFailed,
        HandlerFailed,
        OnCallEnded,
        OnRequestEnded,
        PluginActivated,
        PluginDropped,
        RequestEnded,
        RequestStarted,
        RetryScheduled,
    )

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
    "IgnoredFile",
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
    "PromptConnect",
    "Request",
    "RequestEnded",
    "RequestStarted",
    "Response",
    "RetryScheduled",
    "RunningCall",
    "Selector",
    "SleepEvent",
    "Survey",
    "TLSOptions",
    "Transport",
    "WakeEvent",
    "hung_up",
]

if not TYPE_CHECKING:  # the events, which only programs with observers need
    __getattr__, __dir__ = deferred_names(__name__, __all__, homes=("domain.observing",))

T = TypeVar("T")


class RunningCall:
    """A running call of a served plugin, for servers: ``with call:`` around the plugin's code.

    The server enters this context around each step of the plugin's code, and calls ``hang_up``
    when the host has hung up, or ``cut_off`` when it breaks the connection off itself. One thread
    at a time may enter it.

    ``hangs_up_first`` is true if the server always calls ``hang_up`` before it cancels the call's
    task. Then a cancellation without ``hang_up`` is known to be the plugin's own.
    """

    hangs_up_first = False

    was_cut_off: bool = False
    """Whether the server broke the connection off, and not the host."""

    _token: "Token[RunningCall] | None" = None
    _hung_up = False
    _process = 0

    @property
    def hung_up(self) -> threading.Event:
        """The event that ``hang_up`` sets; created on first use, as most calls need no event."""
        # If two threads make an event at once, both get the one that was stored first.
        event: threading.Event = self.__dict__.get("event") or self.__dict__.setdefault(
            "event", WakeEvent()
        )
        # Tested last, because ``hang_up`` sets it first: so one of the two always sets the event.
        if self._hung_up:
            event.set()
        return event

    @property
    def has_hung_up(self) -> bool:
        """Whether ``hang_up`` or ``cut_off`` was called."""
        return self._hung_up

    def hang_up(self) -> None:
        """Set the event ``hung_up``; may be called more than once, by any thread."""
        self._hung_up = True
        event = self.__dict__.get("event")
        if event is not None:
            event.set()

    def cut_off(self) -> None:
        """Set ``hung_up`` and ``was_cut_off``, because the server breaks the connection off.

        After ``hang_up`` this changes nothing.
        """
        if not self._hung_up:
            self.was_cut_off = True
        self.hang_up()

    @property
    def from_parent_process(self) -> bool:
        """Whether this process is a child that the plugin's code forked; the parent responds."""
        return self._process != os.getpid()

    def __enter__(self) -> None:
        self._process = os.getpid()
        self._token = _RUNNING.set(self)

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if self.from_parent_process:
            os._exit(_exit_status(error))
        token, self._token = self._token, None
        if token is not None:
            _RUNNING.reset(token)


_RUNNING: ContextVar[RunningCall] = ContextVar("running_call")


def _exit_status(error: BaseException | None) -> int:
    # The same status as when Python ends a process with this exception.
    if not isinstance(error, SystemExit):
        return int(error is not None)
    if error.code is None:
        return 0
    return error.code & 0xFF if isinstance(error.code, int) else 1


def is_forked_child() -> bool:
    """Return whether the plugin's code forked this process during the running call."""
    call = _RUNNING.get(None)
    return call is not None and call.from_parent_process


def hung_up() -> threading.Event:
    """Return the event that is set when the host of the running call has hung up.

    Call this in the thread that runs the method, or in the generator that the method returns. Pass
    the event to threads that the method starts.

    Returns:
        The event. Outside a call it is an event that is never set, so that a test can call a method
        directly.

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


def running_call() -> RunningCall | None:
    """Return the running call; ``None`` outside a call."""
    return _RUNNING.get(None)


def has_hung_up() -> bool:
    """Return whether the host of the running call has hung up; false outside a call."""
    call = _RUNNING.get(None)
    return call is not None and call.has_hung_up


class Discovery(Protocol):
    """A way to find plugins by name. A discovery keeps no results between calls."""

    def scan(self) -> list[str]:
        """Return the names that a look-up would find, sorted, each once.

        Raises:
            SpecError: If a directory cannot be read.
            PluginError: If the names cannot be found for another reason.
        """
        ...

    def lookup(self, name: str) -> Plugin:
        """Find a plugin as it is described now.

        A registry may pass any text without NUL as a name. The returned plugin may have another
        name than ``name``; then both names mean the same plugin.

        Args:
            name: The plugin's name.

        Returns:
            The plugin. Its manifest is empty, unless the plugin is a managed one.

        Raises:
            PluginNotFoundError: If there is no such plugin.
            SpecError: If the plugin's description is not valid.
            InvalidPluginNameError: If ``name`` is not a valid name.
            PluginError: If the look-up fails for another reason; a registry retries after a
                ``TransportError``.
        """
        ...


@runtime_checkable
class LocalDiscovery(Discovery, Protocol):
    """A discovery whose look-ups only read local files.

    Such look-ups do not block for long. ``get_all`` may therefore make those of all plugins in one
    thread, and an asynchronous registry makes them in the event loop's thread. Look-ups of any
    other discovery run in worker threads.
    """

    @property
    def is_local(self) -> bool:
        """Whether look-ups only read local files; may depend on an inner discovery."""
        ...


@runtime_checkable
class EndingDiscovery(Discovery, Protocol):
    """A discovery whose calls wait for other processes, and can be ended by a cancellation."""

    def ended_by(self, cancel: Cancellation) -> Discovery:
        """Return a discovery like this one, whose waits end when ``cancel`` is set.

        Args:
            cancel: Ends running and later calls of the returned discovery with ``PluginError``.

        Returns:
            The new discovery. ``cancel`` does not end calls of the discovery on which this method
            was called.
        """
        ...


def ended_by(discovery: Discovery, cancel: Cancellation) -> Discovery:
    """Return a discovery like ``discovery``, whose waits end when ``cancel`` is set.

    If it is not an ``EndingDiscovery``, it is returned itself, and its waits do not end early.
    """
    return discovery.ended_by(cancel) if isinstance(discovery, EndingDiscovery) else discovery


@runtime_checkable
class Survey(Discovery, Protocol):
    """A discovery that also lists what it ignores, for diagnosis."""

    def candidates(self, name: str) -> list[Candidate]:
        """Return all candidates for a name; ``lookup`` uses the first, or raises its error.

        Args:
            name: The plugin's name.

        Returns:
            The candidates, in order of precedence.

        Raises:
            InvalidPluginNameError: If ``name`` is not a valid name; no other error is raised.
        """
        ...

    def ignored(self) -> list[IgnoredFile]:
        """Return files that seem to be meant for ``lookup``, but that ``lookup`` ignores."""
        ...


class Transport(Protocol):
    """A way to send requests to one plugin. A transport never retries."""

    def send(self, request: Request, timeout: float | None) -> Response:
        """Send a request once, and return the response, of any status, with its body unread.

        Args:
            request: The request. If its body is an iterator, an exception that the iterator raises
                passes unchanged.
            timeout: Seconds for the exchange, reading the response's body included; ``None`` means
                no limit.

        Returns:
            The response; the caller closes its body. Errors after the status line are raised by
            reading the body.

        Raises:
            TransportError: If no status line is received; ``TransportTimeoutError`` if the time-out
                expires.
        """
        ...

    def close(self) -> None:
        """Close all connections; may be called more than once, by any thread.

        A running ``send``, or a read of a body, raises ``TransportError`` at once. This method must
        not wait for a lock, because a signal handler may call it. If a transport cannot abort a
        running ``send``, a cancelled caller waits until ``send`` returns or its time-out expires.
        """
        ...


class PendingResponse(Protocol):
    """A response that may not have been received yet, to a request that was begun.

    For one thread at a time; a ``Selector`` waits for many pending responses. Closing the transport
    also closes its pending responses.
    """

    @property
    def is_whole(self) -> bool:
        """Whether ``finish`` would return or raise without waiting."""
        ...

    @property
    def ends(self) -> float | None:
        """The value of ``time.monotonic`` at which the exchange times out; ``None`` for never."""
        ...

    def fileno(self) -> int:
        """Return the file descriptor to poll."""
        ...

    def events(self) -> int:
        """Return the events to poll for, as flags of ``select.poll``."""
        ...

    def advance(self, events: int) -> bool:
        """Send or receive what is possible without waiting; return true when polling is over.

        ``events`` are the events that occurred, or 0 if the time-out has expired: then polling is
        over, and ``finish`` raises ``TransportTimeoutError``. In all other cases ``finish`` reads
        the rest of the response. It may then have to wait: polling ends early if the end of the
        response can only be found by parsing its body.
        """
        ...

    def finish(self) -> Response:
        """Wait for the response and return it; the caller closes its body.

        Raises ``TransportError`` if no status line is received; ``TransportTimeoutError`` if the
        time-out expires.
        """
        ...

    def close(self) -> None:
        """Abandon the exchange if ``finish`` was not called; may be called more than once."""
        ...


class Selector(Protocol):
    """A way to wait for many pending responses at once. Used by one thread at a time."""

    def add(self, pending: PendingResponse, /) -> None:
        """Add a pending response to those that ``wait`` waits for."""
        ...

    def wait(self) -> list[PendingResponse]:
        """Wait until polling is over for at least one response, and return all such responses.

        The returned responses are removed from the selector. If the selector is empty, return an
        empty list at once.
        """
        ...


@runtime_checkable
class BeginningTransport(Transport, Protocol):
    """A transport that can also begin an exchange without waiting for the response.

    With it, ``get_all`` activates many plugins in one thread.
    """

    def begin(self, request: Request, timeout: float | None) -> PendingResponse | None:
        """Begin to send ``request``, and return a pending response without waiting.

        If the transport cannot begin without waiting, send nothing and return ``None``. Raise
        ``TransportError`` for an error that is known without waiting, such as a socket on which
        nothing listens. ``timeout`` is in seconds, for the whole exchange; ``None`` means no limit.
        The caller calls ``finish`` or ``close`` of the pending response.
        """
        ...


class Connect(Protocol):
    """A function that makes the transport for an address; see ``Settings.transports``."""

    def __call__(self, address: Address, tls: TLSOptions | None, /) -> Transport:
        """Return a transport for an address, not connected yet.

        Args:
            address: The plugin's address.
            tls: The TLS options, or ``None`` for the defaults.

        Returns:
            The transport; the caller closes it.

        Raises:
            SpecError: If the address or a TLS file is not valid.
        """
        ...


@runtime_checkable
class PromptConnect(Connect, Protocol):
    """A ``Connect`` that makes transports without waiting, for example for files or other threads.

    ``get_all`` makes such transports, and begins their requests, in one thread; others in several.
    """

    @property
    def is_prompt(self) -> bool:
        """Whether no call of this ``Connect`` waits."""
        ...


class Clock(Protocol):
    """A clock: the time in seconds from an arbitrary point, and ways to wait."""

    def now(self) -> float:
        """Return the time of this clock in seconds; it never decreases."""
        ...

    def sleep(self, seconds: float) -> None:
        """Sleep for some time.

        Args:
            seconds: How long to sleep; 0 or less returns at once.
        """
        ...

    def wait(self, event: threading.Event, timeout: float | None = None) -> bool:
        """Wait until an event is set, or a time-out expires.

        Args:
            event: The event.
            timeout: The most seconds to wait; ``None`` for no limit.

        Returns:
            Whether the event is set.
        """
        ...

    def working(self) -> AbstractContextManager[None]:
        """Mark a block as an operation of this library.

        The time of a fake clock does not advance while a thread inside such a block runs. It may
        advance while all such threads wait by the clock.

        Returns:
            A context manager, which may be nested.
        """
        ...


def filled(argument: str, value: T, *methods: str) -> T:
    """Return ``value``; raise ``TypeError`` if ``value`` lacks one of ``methods``.

    A class instead of an instance raises ``TypeError`` too. The error names ``argument``.
    """
    # A loop is faster than a generator, and a program may make hundreds of clients.
    is_filled = not isinstance(value, type)
    for method in methods:
        is_filled = is_filled and callable(getattr(value, method, None))
    if not is_filled:
        named = listed(f"{each}()" for each in methods)
        raise TypeError(f"{argument} must be an object with {named}, not {quoted(value)}")
    return value


def callable_or_none(argument: str, value: T) -> T:
    """Return ``value``; raise ``TypeError`` unless it is callable or ``None``.

    A coroutine function raises ``TypeError`` too. The error names ``argument``.
    """
    if value is not None and not callable(value):
        raise TypeError(f"{argument} must be a function, not {quoted(value)}")
    if is_coroutine_function(value):  # no code awaits what it returns
        raise TypeError(f"{argument} must not be a coroutine function: {quoted(value)}")
    return value


def connect_given(connect: T) -> T:
    """Return ``connect``; raise ``TypeError`` unless it is callable and no coroutine function."""
    if not callable(connect):
        raise TypeError(f"connect must be a function of an address, not {quoted(connect)}")
    return callable_or_none("connect", connect)
