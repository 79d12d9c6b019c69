"""Discovery and a transport in memory, whose plugin is a function or a table of replies.

The asynchronous transport in memory also uses ``MemoryPlugin`` and ``MemoryExchange``, for the
replies, the calls, and the errors that end a call.
"""

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from copy import copy
from functools import partial
from typing import NoReturn, Self
from urllib.parse import quote

from attrs import define, evolve, frozen

from moby_plugins.adapters.clock import SystemClock
from moby_plugins.adapters.disk.recording_file import load_recording
from moby_plugins.adapters.memory.calls import Call, Calls
from moby_plugins.adapters.memory.replay import Match, Replay, same_body
from moby_plugins.adapters.memory.replies import (
    Fault,
    Replies,
    assert_replies_used,
    checked_replies,
    reply_to,
    respond,
)
from moby_plugins.adapters.memory.upload import Upload
from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.domain.errors import (
    PluginNotFoundError,
    TransportError,
    TransportTimeoutError,
    WireError,
)
from moby_plugins.domain.http import (
    CLOSED_EARLY,
    CLOSED_HERE,
    CUT_OFF,
    MALFORMED,
    TIMED_OUT,
    Body,
    NoAnswerError,
    Request,
    Response,
)
from moby_plugins.domain.plugin import Plugin, check_plugin_name
from moby_plugins.domain.text import listed, quoted, shown
from moby_plugins.ports import Cancellation, Clock, RunningCall, filled


class MemoryDiscovery:
    """A discovery of given plugins. Threads may share it; there is nothing to close.

    Args:
        plugins: Names, a mapping of names to addresses, or ``Plugin`` values. A name without an
            address gets ``memory://NAME``, escaped.

    Attributes:
        scans: The number of scans.
        lookups: The names that were looked up, in order.
    """

    def __init__(self, plugins: Iterable[str | Plugin] | Mapping[str, str] = ()) -> None:
        self.scans: int = 0
        self.lookups: list[str] = []
        self._lock = threading.Lock()
        self._plugins: dict[str, Plugin] = {}
        pairs = plugins.items() if isinstance(plugins, Mapping) else ((p, "") for p in plugins)
        for plugin, addr in pairs:
            self.add(plugin, addr)

    def add(self, plugin: str | Plugin, addr: str = "") -> None:
        """Add a plugin, or change its address.

        Args:
            plugin: The plugin's name, or a ``Plugin``.
            addr: The plugin's address, if a name is given.

        Raises:
            TypeError: For an argument of another type.
            InvalidPluginNameError: For an invalid name.
            SpecError: For an invalid address.
        """
        if not isinstance(plugin, (str, Plugin)):
            raise TypeError(f"plugin must be a name or a Plugin, not {quoted(plugin)}")
        if not isinstance(addr, str):
            raise TypeError(f"addr must be an address, not {quoted(addr)}")
        if isinstance(plugin, str):
            addr = addr or "memory://" + quote(plugin, errors="surrogateescape")
            plugin = Plugin.local(plugin, addr)
        with self._lock:
            self._plugins[plugin.name] = plugin

    def remove(self, name: str) -> None:
        """Remove a plugin, if it exists.

        Args:
            name: The plugin's name.
        """
        with self._lock:
            self._plugins.pop(name, None)

    @property
    def is_local(self) -> bool:
        """True, because look-ups only use memory."""
        return True

    def __repr__(self) -> str:
        with self._lock:
            names = sorted(self._plugins)
        return f"MemoryDiscovery({listed(map(quoted, names))})"

    def scan(self) -> list[str]:
        """Return the names of the current plugins, sorted."""
        with self._lock:
            self.scans += 1
            return sorted(self._plugins)

    def lookup(self, name: str) -> Plugin:
        """Return the plugin ``name``.

        Args:
            name: The plugin's name.

        Returns:
            The plugin.

        Raises:
            PluginNotFoundError: If no plugin has the name.
            InvalidPluginNameError: For an invalid name.
        """
        check_plugin_name(name)
        with self._lock:
            self.lookups.append(name)
            plugin = self._plugins.get(name)
        if plugin is None:
            raise PluginNotFoundError(name, [f"memory://{name}"])
        return plugin


class MemoryPlugin:
    """The base of the transports in memory: a test's plugin at an address, without ``send``.

    ``plugin`` and ``addr`` are as in ``MemoryTransport``.
    """

    def __init__(self, plugin: Replies, addr: str) -> None:
        self.calls: Calls = Calls()
        self._plugin = checked_replies(plugin)
        self._address = Address(addr)
        self._ended = Cancellation()
        # Returns the cancellation for calls after the next ``close``.
        self._next: Callable[[], Cancellation] = Cancellation

    def __repr__(self) -> str:
        kind, where = type(self).__name__, shown(self._address.text)
        return f"<{kind} at {where}: {len(self.calls)} calls>"

    def connect(self, address: Address, _tls: TLSOptions | None = None, /) -> Self:
        """Return a transport to this plugin. Pass this method to a registry or to ``Settings``.

        Args:
            address: The address that errors name.

        Returns:
            A transport that shares the replies and ``calls``. One client uses it, and it cannot
            send after ``close``.
        """
        return self.connected(address, Cancellation())

    def connected(self, address: Address, ended: Cancellation) -> Self:
        """Return a transport to this plugin at another address.

        Args:
            address: The address that errors name.
            ended: Ends the calls of the returned transport when it is set.

        Returns:
            A transport that shares the replies and ``calls``.
        """
        connected = copy(self)
        connected._address = address  # noqa: SLF001  a copy of its own kind
        connected._ended = ended  # noqa: SLF001
        connected._next = lambda: ended  # noqa: SLF001
        return connected

    def close(self) -> None:
        """End running calls with ``TransportError``.

        Other transports to the same plugin are not affected.
        """
        ended, self._ended = self._ended, self._next()
        ended.set()

    def assert_used_up(self) -> None:
        """Raise ``AssertionError`` unless all replies of the table and its scripts were used.

        Of a recording, all calls must have been made. For a function this does nothing.

        Raises:
            AssertionError: If a reply was not used; the message names each.
        """
        __tracebackhide__ = True
        assert_replies_used(self._plugin, self.calls.methods)

    def _record(self, method: str, body: bytes, attempt: int, now: float) -> None:
        self.calls.record(Call(method, body, attempt, now, self._address.text))


class MemoryTransport(MemoryPlugin):
    """A transport that answers calls in memory, in place of a plugin. Threads may share it.

    In the plugin, ``moby_plugins.serving.hung_up()`` is an event that is set if the caller closes
    a response's body before its end, or closes this transport. The client closes what ``connect``
    returns.

    Args:
        plugin: A function from ``Request`` to ``Response`` (a ``PluginApp``), or a table from
            method to reply: a JSON value, bytes, an iterator of bytes, an exception to raise, a
            fault (such as ``refused()``), a function of the ``Request``, or a ``script`` of these.
            A script or a fault alone is the reply to every method; one that the table lacks raises
            ``UnexpectedCallError``.
        clock: The clock of time-outs and of faults that hang; the machine's unless given.
        addr: The address of the plugin, for the messages of errors.

    Attributes:
        calls: Every attempt, in order: a ``Calls``.

    Raises:
        TypeError: For any other kind of plugin.
        SpecError: For an invalid address.

    Examples:
        ```python
        from moby_plugins import Settings, new_client
        from moby_plugins.testing import FakeClock, MemoryTransport, refused, script

        shelf = MemoryTransport({"Shelf.List": script(refused(), ["books"])})
        settings = Settings(transports={"unix": shelf.connect})
        with new_client("unix:///shelf.sock", settings=settings, clock=FakeClock()) as client:
            assert client.call("Shelf.List") == ["books"]
        shelf.calls.assert_called("Shelf.List", times=2)
        ```
    """

    def __init__(
        self,
        plugin: Replies,
        *,
        clock: Clock | None = None,
        addr: str = "memory://plugin",
    ) -> None:
        super().__init__(plugin, addr)
        self._clock = (
            SystemClock()
            if clock is None
            else filled("clock", clock, "now", "sleep", "wait", "working")
        )

    @classmethod
    def replay(
        cls,
        file: str | os.PathLike[str],
        match: Match = same_body,
        *,
        clock: Clock | None = None,
        addr: str = "memory://plugin",
    ) -> Self:
        """Create a transport that gives the responses of a recording, each of them once.

        Args:
            file: The path of the recording.
            match: Takes the recorded and the actual body, and returns whether the recorded
                response may be given: ``same_body``, or ``any_body`` to match by order only.
            clock: The clock of time-outs; the machine's unless given.
            addr: The address that errors name.

        Returns:
            The transport.

        Raises:
            RecordingError: If the file cannot be read.
        """
        return cls(Replay(load_recording(file), match), clock=clock, addr=addr)

    def send(self, request: Request, timeout: float | None) -> Response:
        """Return the reply to a request.

        Raises ``TransportError`` for a fault of the connection or after ``close``,
        ``TransportTimeoutError`` if the time-out expires first, ``UnexpectedCallError`` if there is
        no reply, and the reply itself if it is an exception.

        Args:
            request: The call.
            timeout: Seconds of this transport's clock; ``None`` for no limit.

        Returns:
            The response, with its body unread.
        """
        now = self._clock.now()
        ends = None if timeout is None else now + timeout
        ended = self._ended
        exchange = _ClockedExchange(request, self._address, ends, ended, self._clock)
        exchange.check(answered=False)
        reply = reply_to(request.method, self._plugin)
        if isinstance(reply, Fault) and reply.errno:
            unread = request.body if isinstance(request.body, bytes) else b""
            self._record(request.method, unread, request.attempt, self._clock.now())
            exchange.unreachable(reply.errno)
        upload = Upload(request.body, partial(exchange.check, answered=False))
        if callable(reply) and not isinstance(request.body, bytes):
            # A function reads the request itself, and may respond before its end.
            received = evolve(request, body=upload.chunks())
        else:
            received = evolve(request, body=upload.read())
            self._record(request.method, received.read(), request.attempt, self._clock.now())
        call, is_recorded = RunningCall(), upload.is_over
        with ExitStack() as stack:
            try:
                with ended.calling(call.hang_up), call:
                    response = respond(reply, evolve(exchange, request=received))
                stack.callback(response.body.close)
                upload.end()
            except NoAnswerError:
                exchange.hang_up()
            finally:
                upload.raise_error()
                if not is_recorded:
                    sent = bytes(upload.sent)
                    self._record(request.method, sent, request.attempt, self._clock.now())
            exchange.check(answered=False)
            stack.pop_all()  # the caller closes the body
        return evolve(response, body=_TimedBody(response.body, exchange, call))


@frozen
class MemoryExchange(ABC):
    """A running call in memory, with methods that raise the errors of a real transport.

    ``ends`` is the call's deadline, a time that ``now`` may return; ``None`` for no limit. The
    transport's ``close`` sets ``ended``. ``answered`` is true once the response has begun.
    """

    request: Request
    address: Address
    ends: float | None
    ended: Cancellation

    @abstractmethod
    def now(self) -> float:
        """Return the current time in seconds, by the same clock as ``ends``."""

    def unreachable(self, number: int) -> NoReturn:
        """Raise the ``TransportError`` of a dial that failed with the errno ``number``."""
        # The same error that a real transport gets from the operating system.
        refusal = OSError(number, os.strerror(number))
        raise TransportError(self.address.explain(refusal), self.address.text) from refusal

    def hang_up(self) -> NoReturn:
        """Raise the ``TransportError`` for a connection that was closed without a response."""
        raise TransportError(CLOSED_EARLY, self.address.text)

    def talk_nonsense(self) -> NoReturn:
        """Raise the ``TransportError`` for a response that is not HTTP."""
        raise TransportError(MALFORMED, self.address.text)

    def cut_off(self) -> NoReturn:
        """Raise the ``WireError`` for a body that is cut off."""
        raise WireError(CUT_OFF, address=self.address.text)

    def check(self, *, answered: bool) -> None:
        """Raise ``TransportTimeoutError`` after the deadline, ``TransportError`` once closed."""
        if self.ended.is_set():
            self.close(answered=answered)
        if self.ends is not None and self.now() >= self.ends:
            self.time_out(answered=answered)

    def close(self, *, answered: bool) -> NoReturn:
        """Raise the ``TransportError`` for a call whose transport was closed."""
        error = TransportError(CLOSED_HERE, self.address.text)
        error.answered = answered
        raise error

    def time_out(self, *, answered: bool) -> NoReturn:
        """Raise the ``TransportTimeoutError`` for a deadline that has passed."""
        error = TransportTimeoutError(TIMED_OUT, self.address.text)
        error.answered = answered
        raise error


@frozen
class _ClockedExchange(MemoryExchange):
    """A running call in a thread; its deadline and pauses are measured by ``clock``."""

    clock: Clock

    def now(self) -> float:
        return self.clock.now()

    def pause(self, seconds: float, *, answered: bool) -> None:
        left = None if self.ends is None else max(self.ends - self.clock.now(), 0.0)
        short = seconds if left is None else min(seconds, left)
        self.clock.wait(self.ended.event, None if short == float("inf") else short)
        self.check(answered=answered)


@define
class _TimedBody:
    """A response's body, whose reads raise a time-out after the deadline of the exchange."""

    _body: Body
    _exchange: _ClockedExchange
    _call: RunningCall
    _ended: bool = False

    def read(self, size: int, /) -> bytes:
        if self._ended:
            return b""
        try:
            with self._exchange.ended.calling(self._call.hang_up), self._call:
                data = self._body.read(size)
        except NoAnswerError:
            self._exchange.cut_off()
        self._exchange.check(answered=True)
        self._ended = not data
        return data

    def close(self) -> None:
        if not self._ended:
            self._call.hang_up()
        with self._call:
            self._body.close()
