"""What a plugin of a test's own replies, told once for memory and for real sockets."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from json import dumps
from typing import Any, Protocol, TypeAlias, runtime_checkable

from attrs import evolve

from moby_plugins.adapters.fakes.call_report import shown
from moby_plugins.adapters.fakes.faults import Exchange, Fault
from moby_plugins.domain.http import OK, App, Request, Response

# A JSON value, bytes, an iterator of bytes, a Response, an exception, a Fault, a
# Script, or a function of the Request that returns any of these.
Reply: TypeAlias = Any


class UnexpectedCallError(AssertionError):
    """A call that no reply was given for, or one more than the script has steps."""


class Script:
    """Replies to be given one after the other: see ``script``."""

    def __init__(self, steps: tuple[Reply, ...]) -> None:
        self._steps = steps
        self._taken = 0
        self._lock = threading.Lock()

    def next(self) -> Reply:
        """The next reply, or ``UnexpectedCallError``."""
        with self._lock:
            if self._taken == len(self._steps):
                raise UnexpectedCallError(
                    f"a script of {len(self._steps)} replies was called once more"
                )
            self._taken += 1
            return self._steps[self._taken - 1]

    def unused(self) -> list[str]:
        """What no call has taken yet, a line for each step."""
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


def script(*replies: Reply) -> Script:
    """Replies for one call after the other; a call after the last is an error."""
    return Script(replies)


def reply_to(request: Request, plugin: Replies) -> Reply:
    """What ``plugin`` has for ``request``.

    No script: a script's next step. Raises ``UnexpectedCallError``.
    """
    reply: Reply = plugin
    if isinstance(plugin, Mapping):
        method = request.method.partition("?")[0]
        if method not in plugin:
            known = ", ".join(sorted(plugin)) or "none"
            raise UnexpectedCallError(f"nobody expected a call of {method}; known methods: {known}")
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
        if isinstance(reply, Script):
            reply = reply.next()
        elif isinstance(reply, Fault):
            reply = reply.act(exchange)
        elif callable(reply):
            reply = reply(exchange.request)
        else:
            break
    if isinstance(reply, BaseException):
        raise reply
    if isinstance(reply, Response):
        # A body in memory is given afresh each time, so that a value can be a reply twice.
        body = reply.body
        return evolve(reply, body=body.getvalue()) if isinstance(body, BytesIO) else reply
    if isinstance(reply, (bytes, Iterator)):
        return Response(OK, reply)
    return Response(OK, dumps(reply).encode() + b"\n")
