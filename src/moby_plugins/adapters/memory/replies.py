"""Replies and faults of a plugin of a test, described once for memory and for real sockets.

A fault says what the plugin does, in the terms of an ``Exchange``: hang up, cut off. Each end of
it (``transport.py`` in memory, ``fault_server.py`` over sockets) implements them. What takes time
is a value, ``Delayed`` or ``Dripped``, so that a thread sleeps for it, and a task waits.
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
    """A call under way, at the plugin's end. What does not return ends it."""

    @property
    def request(self) -> Request:
        """What came."""
        ...

    def unreachable(self, number: int) -> NoReturn:
        """It did not come at all: dialling gave the ``OSError`` of that number."""
        ...

    def pause(self, seconds: float, *, answered: bool) -> None:
        """Let ``seconds`` pass, in which the host may lose its patience."""
        ...

    def hang_up(self) -> NoReturn:
        """Close the connection without an answer."""
        ...

    def talk_nonsense(self) -> NoReturn:
        """Answer what is not HTTP."""
        ...

    def cut_off(self) -> NoReturn:
        """Close the connection in the middle of the body."""
        ...


@frozen(repr=False, field_transformer=typed)
class Fault:
    """Something that goes wrong: made by ``refused()``, ``hangs()`` and the like. A frozen value.

    Args:
        name: How it was made, and its ``repr``.
        act: What it does with a call; returns the reply.
        errno: The number of the ``OSError`` by which a request never comes to the plugin; 0 for
            none.
    """

    name: str
    act: Callable[[Exchange], Any]
    errno: int = 0

    def __repr__(self) -> str:
        return self.name


def _check_type(name: str, given: object, kind: type) -> None:
    if not isinstance(given, kind) or isinstance(given, bool):
        raise TypeError(f"{name} must be {kind.__name__}, not {quoted(given)}")


def _check_seconds(name: str, given: object) -> None:
    if isinstance(given, bool) or not (isinstance(given, (int, float)) and given >= 0):
        raise TypeError(f"{name} must be a number of seconds from 0 on, not {quoted(given)}")


@frozen
class Delayed:
    """What comes after ``seconds`` in which nothing is sent: the reply ``then``."""

    seconds: float
    then: Any


@frozen
class Dripped:
    """A response whose body comes one byte at a time, ``every`` so many seconds."""

    body: bytes
    every: float
    status: int

    def pieces(self) -> Iterator[bytes]:
        """The bytes one by one."""
        return (self.body[start : start + 1] for start in range(len(self.body)))


def _unreachable(name: str, number: int) -> Fault:
    return Fault(name, lambda exchange: exchange.unreachable(number), number)


def missing_socket() -> Fault:
    """Make the fault of a socket that is not there.

    Returns:
        For a table or a script of replies.
    """
    return _unreachable("missing_socket()", errno.ENOENT)


def refused() -> Fault:
    """Make the fault of a stale socket, or a closed port: nothing listens.

    Returns:
        For a table or a script of replies.
    """
    return _unreachable("refused()", errno.ECONNREFUSED)


def denied() -> Fault:
    """Make the fault of a socket that may not be connected to.

    Returns:
        For a table or a script of replies.
    """
    return _unreachable("denied()", errno.EACCES)


def hangs(seconds: float = float("inf"), then: Any = None) -> Fault:
    """Make the fault of a plugin that takes the request and sends nothing for a while.

    Args:
        seconds: How long, on the clock.
        then: The reply after that.

    Returns:
        For a table or a script of replies.
    """
    _check_seconds("seconds", seconds)
    return Fault(f"hangs({seconds:g})", lambda _: Delayed(seconds, then))


def drops() -> Fault:
    """Make the fault of a plugin that takes the request and closes the connection.

    Returns:
        For a table or a script of replies.
    """
    return Fault("drops()", lambda exchange: exchange.hang_up())


def malformed() -> Fault:
    """Make the fault of a plugin that sends what is no HTTP.

    Returns:
        For a table or a script of replies.
    """
    return Fault("malformed()", lambda exchange: exchange.talk_nonsense())


def drops_mid_body(sent: bytes = b'{"', status: int = OK) -> Fault:
    """Make the fault of a plugin that closes the connection in the middle of a body.

    Args:
        sent: What it sends of the body.
        status: The response's.

    Returns:
        For a table or a script of replies.
    """
    _check_type("sent", sent, bytes)
    _check_type("status", status, int)

    def body(exchange: Exchange) -> Iterator[bytes]:
        yield sent
        exchange.cut_off()

    return Fault(f"drops_mid_body({sent!r})", lambda exchange: Response(status, body(exchange)))


def drips(body: bytes, every: float = 1.0, status: int = OK) -> Fault:
    """Make the fault of a plugin whose body comes one byte at a time.

    Args:
        body: The body.
        every: Seconds before each byte, on the clock.
        status: The response's.

    Returns:
        For a table or a script of replies.
    """
    _check_type("body", body, bytes)
    _check_seconds("every", every)
    _check_type("status", status, int)
    return Fault(f"drips({body!r})", lambda _: Dripped(body, every, status))


def not_json() -> Fault:
    """Make the fault of a plugin that answers 200 with a web page.

    Returns:
        For a table or a script of replies.
    """
    return Fault("not_json()", lambda _: b"<!DOCTYPE html><title>It works!</title>\n")


def status(code: int, message: str = "") -> Fault:
    """Make the fault of a plugin that answers with another status than 200.

    Args:
        code: The status.
        message: What it says as its ``Err``.

    Returns:
        For a table or a script of replies.
    """
    _check_type("code", code, int)
    _check_type("message", message, str)
    body = json.dumps({"Err": message}).encode()
    return Fault(f"status({code}, {message!r})", lambda _: Response(code, body))


# A JSON value, bytes, an iterator of bytes, a Response, an exception, a Fault, a
# Script, or a function of the Request that returns any of these.
Reply: TypeAlias = Any


class UnexpectedCallError(AssertionError):
    """A call that no reply was given for, or one more than the script has steps."""

    __module__ = AtDoor("moby_plugins.testing", __name__)


class Script:
    """Replies to be given one after the other: made by ``script``. Threads may share it.

    Args:
        steps: The replies.
    """

    def __init__(self, steps: tuple[Reply, ...]) -> None:
        self._steps = steps
        self._taken = 0
        self._lock = threading.Lock()

    def next(self) -> Reply:
        """Take the next reply.

        Returns:
            It.

        Raises:
            UnexpectedCallError: Where none is left.
        """
        with self._lock:
            if self._taken == len(self._steps):
                raise UnexpectedCallError(
                    f"a script of {len(self._steps)} replies was called once more"
                )
            self._taken += 1
            return self._steps[self._taken - 1]

    def unused(self) -> list[str]:
        """Return what no call has taken yet, a line for each step."""
        with self._lock:
            taken = self._taken
        return [
            f"step {number} of {len(self._steps)}: {shown(step)}"
            for number, step in enumerate(self._steps, 1)
            if number > taken
        ]

    def __repr__(self) -> str:
        return f"script({', '.join(map(shown, self._steps))})"


# What a plugin of a test is made of: a function, a table from method to reply, or one for all.
Replies: TypeAlias = App | Mapping[str, Reply] | Script | Fault


def checked_replies(plugin: Replies) -> Replies:
    """Return ``plugin``; ``TypeError`` for what is no plugin of a test."""
    if isinstance(plugin, type):
        raise TypeError(f"plugin is the class {plugin.__name__}, and an instance is wanted")
    if not (callable(plugin) or isinstance(plugin, (Mapping, Script, Fault))):
        raise TypeError(
            "plugin must be a subsystem's implementation, a function of a Request, a table from "
            f"method to reply, a script or a fault, not {shown(plugin)}"
        )
    return plugin


def script(*replies: Reply) -> Script:
    """Make a script: replies for one call after the other.

    Args:
        replies: The replies, as a table has them. A call after the last raises
            ``UnexpectedCallError``.

    Returns:
        For a table, or for all methods.
    """
    return Script(replies)


def reply_to(called: str, plugin: Replies) -> Reply:
    """What ``plugin`` has for a call of the method ``called``.

    No script: a script's next step. Raises ``UnexpectedCallError``.
    """
    reply: Reply = plugin
    if isinstance(plugin, Mapping):
        method = called.partition("?")[0]
        if method not in plugin:
            known = listed(sorted(plugin), "none")
            raise UnexpectedCallError(
                f"nobody expected a call of {printable(method)}; known methods: {known}"
            )
        reply = plugin[method]
    while isinstance(reply, Script):
        reply = reply.next()
    return reply


@runtime_checkable
class UsedUp(Protocol):
    """What gives each of its replies once: a ``Script``, a recording."""

    def unused(self) -> list[str]:
        """What no call has taken yet, a line for each reply."""
        ...


def unused_replies(plugin: Replies, called: Iterable[str]) -> list[str]:
    """What ``plugin`` has that calls of these methods did not ask for, a line for each reply."""
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
    """Raise ``AssertionError`` that names each of ``unused_replies``, if there are any."""
    __tracebackhide__ = True
    unused = unused_replies(plugin, called)
    if unused:
        raise AssertionError("\n  ".join(["these replies were never asked for:", *unused]))


def respond(reply: Reply, exchange: Exchange) -> Response:
    """What ``reply`` comes to in ``exchange``; raises what it says, or the exchange's end."""
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
    """Return whether ``reply`` has to be ``opened``: by a step of a script, a fault, a function."""
    return isinstance(reply, (Script, Fault)) or callable(reply)


def opened(reply: Reply, exchange: Exchange) -> Reply:
    """The reply in ``reply``, which is open itself perhaps."""
    if isinstance(reply, Script):
        return reply.next()
    return reply.act(exchange) if isinstance(reply, Fault) else reply(exchange.request)


def settled(reply: Reply) -> Response:
    """The response that a reply is which is neither open nor takes time; raises an exception."""
    if isinstance(reply, BaseException):
        raise reply
    if isinstance(reply, Response):
        # A body in memory is given afresh each time, so that a value can be a reply twice.
        body = reply.body
        return evolve(reply, body=body.getvalue()) if isinstance(body, BytesIO) else reply
    if isinstance(reply, (bytes, Iterator)):
        return Response(OK, reply)
    return Response(OK, dumps(reply).encode() + b"\n")
