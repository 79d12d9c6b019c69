"""Replies and faults of a test's plugin, for transports in memory and over real sockets.

A fault describes what the plugin does through the methods of an ``Exchange``, such as ``hang_up``,
which ``transport.py`` implements in memory and ``fault_server.py`` over sockets. Faults that take
time are values, ``Delayed`` or ``Dripped``, for which a thread sleeps, or a task waits.
"""

import errno
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import BytesIO
from json import dumps
from typing import Any, NoReturn, Protocol, TypeAlias, runtime_checkable

from attrs import evolve, frozen

from moby_plugins.adapters.memory.calls import shown
from moby_plugins.deferred_names import AtDoor
from moby_plugins.domain.http import OK, App, Request, Response
from moby_plugins.domain.text import listed, quoted
from moby_plugins.domain.text import shown as printable
from moby_plugins.domain.typed import typed


class Exchange(Protocol):
    """A running call at the plugin's end, which a reply may end with a fault.

    Each method of the type ``NoReturn`` ends the call, and raises.
    """

    @property
    def request(self) -> Request:
        """The request of the call."""
        ...

    def unreachable(self, number: int) -> NoReturn:
        """Make the host's dial fail with an ``OSError`` whose errno is ``number``."""
        ...

    def pause(self, seconds: float, *, answered: bool) -> None:
        """Let ``seconds`` pass, during which the host may time out or hang up."""
        ...

    def hang_up(self) -> NoReturn:
        """Close the connection without a response."""
        ...

    def talk_nonsense(self) -> NoReturn:
        """Send a response that is not HTTP."""
        ...

    def cut_off(self) -> NoReturn:
        """Close the connection in the middle of the body."""
        ...


@frozen(repr=False, field_transformer=typed)
class Fault:
    """A failure of a plugin, created by ``refused()``, ``hangs()`` and the like. A frozen value.

    Args:
        name: The expression that created it, which is its ``repr``.
        act: Called with the exchange; returns the reply.
        errno: The number of the ``OSError`` with which dialling fails; 0 if it does not.
    """

    name: str
    act: Callable[[Exchange], Any]
    errno: int = 0

    def __repr__(self) -> str:
        return self.name


def _check_type(name: str, value: object, kind: type) -> None:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{name} must be {kind.__name__}, not {quoted(value)}")


def _check_seconds(name: str, value: object) -> None:
    if isinstance(value, bool) or not (isinstance(value, (int, float)) and value >= 0):
        raise TypeError(f"{name} must be a number of seconds, 0 or more, not {quoted(value)}")


@frozen
class Delayed:
    """A reply that comes late: nothing is sent for ``seconds``, and then the reply ``then``."""

    seconds: float
    then: Any


@frozen
class Dripped:
    """A response whose body is sent one byte at a time; ``every`` is the seconds before each."""

    body: bytes
    every: float
    status: int

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes one by one."""
        return (self.body[start : start + 1] for start in range(len(self.body)))


def _unreachable(name: str, number: int) -> Fault:
    return Fault(name, lambda exchange: exchange.unreachable(number), number)


def missing_socket() -> Fault:
    """Return the fault of a socket that does not exist.

    Returns:
        A fault for a table or a script of replies.
    """
    return _unreachable("missing_socket()", errno.ENOENT)


def refused() -> Fault:
    """Return the fault of a stale socket, or a closed port: nothing listens.

    Returns:
        A fault for a table or a script of replies.
    """
    return _unreachable("refused()", errno.ECONNREFUSED)


def denied() -> Fault:
    """Return the fault of a socket without permission to connect.

    Returns:
        A fault for a table or a script of replies.
    """
    return _unreachable("denied()", errno.EACCES)


def hangs(seconds: float = float("inf"), then: Any = None) -> Fault:
    """Return the fault of a plugin that reads the request and sends nothing for a while.

    Args:
        seconds: How many seconds of the transport's clock pass before the reply.
        then: The reply after that time.

    Returns:
        A fault for a table or a script of replies.
    """
    _check_seconds("seconds", seconds)
    return Fault(f"hangs({seconds:g})", lambda _: Delayed(seconds, then))


def drops() -> Fault:
    """Return the fault of a plugin that reads the request and closes the connection.

    Returns:
        A fault for a table or a script of replies.
    """
    return Fault("drops()", lambda exchange: exchange.hang_up())


def malformed() -> Fault:
    """Return the fault of a plugin whose response is not HTTP.

    Returns:
        A fault for a table or a script of replies.
    """
    return Fault("malformed()", lambda exchange: exchange.talk_nonsense())


def drops_mid_body(sent: bytes = b'{"', status: int = OK) -> Fault:
    """Return the fault of a plugin that closes the connection in the middle of a body.

    Args:
        sent: The part of the body that it sends.
        status: The status of the response.

    Returns:
        A fault for a table or a script of replies.
    """
    _check_type("sent", sent, bytes)
    _check_type("status", status, int)

    def body(exchange: Exchange) -> Iterator[bytes]:
        yield sent
        exchange.cut_off()

    return Fault(f"drops_mid_body({sent!r})", lambda exchange: Response(status, body(exchange)))


def drips(body: bytes, every: float = 1.0, status: int = OK) -> Fault:
    """Return the fault of a plugin whose body is sent one byte at a time.

    Args:
        body: The body.
        every: How many seconds of the transport's clock pass before each byte.
        status: The status of the response.

    Returns:
        A fault for a table or a script of replies.
    """
    _check_type("body", body, bytes)
    _check_seconds("every", every)
    _check_type("status", status, int)
    return Fault(f"drips({body!r})", lambda _: Dripped(body, every, status))


def not_json() -> Fault:
    """Return the fault of a plugin that responds with 200 and a web page.

    Returns:
        A fault for a table or a script of replies.
    """
    return Fault("not_json()", lambda _: b"<!DOCTYPE html><title>It works!</title>\n")


def status(code: int, message: str = "") -> Fault:
    """Return the fault of a plugin that responds with another status than 200.

    Args:
        code: The status.
        message: The text of ``Err`` in the response's body.

    Returns:
        A fault for a table or a script of replies.
    """
    _check_type("code", code, int)
    _check_type("message", message, str)
    body = json.dumps({"Err": message}).encode()
    return Fault(f"status({code}, {message!r})", lambda _: Response(code, body))


# A JSON value, bytes, an iterator of bytes, a Response, an exception, a Fault, a
# Script, or a function of the Request that returns any of these.
Reply: TypeAlias = Any


class UnexpectedCallError(AssertionError):
    """Raised for a call to which a table, a script or a recording has no reply, or none left."""

    __module__ = AtDoor("moby_plugins.testing", __name__)


class Script:
    """Replies that are given one after the other, created by ``script``. Threads may share it.

    Args:
        steps: The replies.
    """

    def __init__(self, steps: tuple[Reply, ...]) -> None:
        self._steps = steps
        self._taken = 0
        self._lock = threading.Lock()

    def next(self) -> Reply:
        """Take the next reply, and return it.

        Returns:
            The reply.

        Raises:
            UnexpectedCallError: If none is left.
        """
        with self._lock:
            if self._taken == len(self._steps):
                raise UnexpectedCallError(
                    f"a script of {len(self._steps)} replies has none left for another call"
                )
            self._taken += 1
            return self._steps[self._taken - 1]

    def unused(self) -> list[str]:
        """Return a line for each step that no call has taken yet."""
        with self._lock:
            count = self._taken
        return [
            f"step {number} of {len(self._steps)}: {shown(step)}"
            for number, step in enumerate(self._steps, 1)
            if number > count
        ]

    def __repr__(self) -> str:
        return f"script({', '.join(map(shown, self._steps))})"


# The sources of a test's plugin: a function, a table from method to reply, or one reply for all.
Replies: TypeAlias = App | Mapping[str, Reply] | Script | Fault


def checked_replies(plugin: Replies) -> Replies:
    """Return ``plugin``; raise ``TypeError`` unless it is an app, a table, a script or a fault."""
    if isinstance(plugin, type):
        raise TypeError(f"plugin is the class {plugin.__name__}, not an instance")
    if not (callable(plugin) or isinstance(plugin, (Mapping, Script, Fault))):
        raise TypeError(
            "plugin must be a subsystem's implementation, a function of a Request, a table from "
            f"method to reply, a script or a fault, not {shown(plugin)}"
        )
    return plugin


def script(*replies: Reply) -> Script:
    """Return a script: replies for one call after the other.

    Args:
        replies: The replies, as in a table. A call after the last one raises
            ``UnexpectedCallError``.

    Returns:
        A script for a table, or for all methods.
    """
    return Script(replies)


def reply_to(called: str, plugin: Replies) -> Reply:
    """Return the reply of ``plugin`` to a call of the method ``called``.

    A script gives its next step. Raises ``UnexpectedCallError`` if there is none.
    """
    reply: Reply = plugin
    if isinstance(plugin, Mapping):
        method = called.partition("?")[0]
        if method not in plugin:
            known = listed(sorted(plugin), "none")
            raise UnexpectedCallError(
                f"unexpected call of {printable(method)}; known methods: {known}"
            )
        reply = plugin[method]
    while isinstance(reply, Script):
        reply = reply.next()
    return reply


@runtime_checkable
class UsedUp(Protocol):
    """A source that gives each of its replies once: a ``Script`` or a recording."""

    def unused(self) -> list[str]:
        """Return a line for each reply that no call has taken yet."""
        ...


def unused_replies(plugin: Replies, called: Iterable[str]) -> list[str]:
    """Return a line for each unused reply of ``plugin``; ``called`` has the method of each call."""
    if isinstance(plugin, UsedUp):
        return plugin.unused()
    if not isinstance(plugin, Mapping):
        return []
    methods = {method.partition("?")[0] for method in called}
    unused = []
    for method, reply in plugin.items():
        if isinstance(reply, Script):
            unused += [f"{method}, {step}" for step in reply.unused()]
        elif method not in methods:
            unused.append(f"{method}: {shown(reply)}")
    return unused


def assert_replies_used(plugin: Replies, called: Iterable[str]) -> None:
    """Raise an ``AssertionError`` that names each reply that was not used, if there are any."""
    __tracebackhide__ = True
    unused = unused_replies(plugin, called)
    if unused:
        raise AssertionError("\n  ".join(["these replies were never used:", *unused]))


def respond(reply: Reply, exchange: Exchange) -> Response:
    """Return the response that ``reply`` gives in ``exchange``; raise its error, if it has one."""
    while True:
        if isinstance(reply, Delayed):
            exchange.pause(reply.seconds, answered=False)
            reply = reply.then
        elif is_open(reply):
            reply = opened(reply, exchange)
        else:
            break
    if isinstance(reply, Dripped):
        return Response(reply.status, _dripping(reply, exchange))
    return settled(reply)


def _dripping(reply: Dripped, exchange: Exchange) -> Iterator[bytes]:
    for byte in reply.pieces():
        exchange.pause(reply.every, answered=True)
        yield byte


def is_open(reply: Reply) -> bool:
    """Return whether ``reply`` is a script, a fault or a function, which ``opened`` resolves."""
    return isinstance(reply, (Script, Fault)) or callable(reply)


def opened(reply: Reply, exchange: Exchange) -> Reply:
    """Return what a script, fault or function gives: a value, or one of these three again."""
    if isinstance(reply, Script):
        return reply.next()
    return reply.act(exchange) if isinstance(reply, Fault) else reply(exchange.request)


def settled(reply: Reply) -> Response:
    """Return the response for a value such as JSON; raise ``reply`` if it is an exception."""
    if isinstance(reply, BaseException):
        raise reply
    if isinstance(reply, Response):
        # A new reader of a body in memory for each call, so that a value can be used twice.
        body = reply.body
        return evolve(reply, body=body.getvalue()) if isinstance(body, BytesIO) else reply
    if isinstance(reply, (bytes, Iterator)):
        return Response(OK, reply)
    return Response(OK, dumps(reply).encode() + b"\n")
