"""A transport in memory: a function as a plugin, or a table of replies."""

import threading
from collections.abc import Iterator, Mapping
from copy import copy
from io import BytesIO
from json import dumps
from typing import Any, TypeAlias

from attrs import evolve, frozen

from moby_plugins.adapters.memory_faults import Exchange, Fault
from moby_plugins.adapters.system_clock import SystemClock
from moby_plugins.domain.address import Address
from moby_plugins.domain.exchange import OK, App, Body, Request, Response
from moby_plugins.domain.lenient_json import first_value
from moby_plugins.domain.tls import TLSOptions
from moby_plugins.ports import Clock

# A JSON value, bytes, an iterator of bytes, a Response, an exception, a Fault, a
# Script, or a function of the Request that returns any of these.
Reply: TypeAlias = Any


class UnexpectedCallError(AssertionError):
    """A call that no reply was given for, or one more than the script has steps."""


@frozen
class Call:
    """One attempt as the plugin saw it: ``time`` is the clock's, ``attempt`` counts from 1."""

    method: str
    body: bytes
    attempt: int
    time: float
    address: str

    @property
    def arguments(self) -> Any:
        """The body as plain JSON; ``None`` where there is none, ``ValueError`` where it is not."""
        return first_value(self.body) if self.body else None


class Script:
    """Replies to be given one after the other: see ``script``."""

    def __init__(self, steps: tuple[Reply, ...]) -> None:
        self._size = len(steps)
        self._steps = iter(steps)
        self._lock = threading.Lock()

    def next(self) -> Reply:
        """The next reply, or ``UnexpectedCallError``."""
        with self._lock:
            for reply in self._steps:
                return reply
        raise UnexpectedCallError(f"a script of {self._size} replies was called once more")


def script(*replies: Reply) -> Script:
    """Replies for one call after the other; a call after the last is an error."""
    return Script(replies)


class MemoryTransport:
    """Answers calls in memory, in place of a plugin.

    ``plugin`` is a function ``Request -> Response``, or a table from method to
    reply: a JSON value, bytes, an iterator of bytes, an exception to raise, a
    fault (``moby_plugins.testing.refused()`` and the like), a function of the
    ``Request``, or a ``script`` of these. A method that the table lacks raises
    ``UnexpectedCallError``. Time-outs and hanging are on ``clock``, the machine's
    unless given. ``calls`` lists every attempt. Threads may share it.
    """

    def __init__(
        self,
        plugin: App | Mapping[str, Reply],
        *,
        clock: Clock | None = None,
        addr: str = "memory://plugin",
    ) -> None:
        self.calls: list[Call] = []
        self._plugin = plugin
        self._clock = clock or SystemClock()
        self._address = Address(addr)

    def connect(self, address: Address, _tls: TLSOptions | None = None, /) -> "MemoryTransport":
        """This plugin at another address: a ``Connect`` for a registry or ``Settings``.

        What is returned shares the replies and ``calls``.
        """
        connected = copy(self)
        connected._address = address  # noqa: SLF001  a copy of its own kind
        return connected

    def send(self, request: Request, timeout: float | None) -> Response:
        """The reply for ``request``; raises what a real transport would, or what the reply says."""
        now = self._clock.now()
        exchange = Exchange(
            request, self._address, self._clock, None if timeout is None else now + timeout
        )
        reply = self._reply_for(request)
        while isinstance(reply, Script):
            reply = reply.next()
        if isinstance(reply, Fault) and reply.unreached:
            self._record(request if isinstance(request.body, bytes) else evolve(request, body=b""))
            reply.act(exchange)
        received = evolve(request, body=request.read())
        self._record(received)
        response = _respond(reply, evolve(exchange, request=received))
        exchange.check(answered=False)
        return evolve(response, body=_TimedBody(response.body, exchange))

    def close(self) -> None:
        """Nothing to give up."""

    def _reply_for(self, request: Request) -> Reply:
        if not isinstance(self._plugin, Mapping):
            return self._plugin
        method = request.method.partition("?")[0]
        if method not in self._plugin:
            known = ", ".join(sorted(self._plugin)) or "none"
            raise UnexpectedCallError(f"nobody expected a call of {method}; known methods: {known}")
        return self._plugin[method]

    def _record(self, request: Request) -> None:
        self.calls.append(
            Call(
                request.method,
                request.read(),
                request.attempt,
                self._clock.now(),
                self._address.text,
            )
        )


def _respond(reply: Reply, exchange: Exchange) -> Response:
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


@frozen
class _TimedBody:
    """A body under the exchange's time-out, on the exchange's clock."""

    _body: Body
    _exchange: Exchange

    def read(self, size: int, /) -> bytes:
        data = self._body.read(size)
        self._exchange.check(answered=True)
        return data

    def close(self) -> None:
        self._body.close()
