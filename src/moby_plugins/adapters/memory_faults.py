"""The ways in which a plugin in memory can fail.

What a fault raises is built from the very ``OSError`` that the operating system
gives a real transport, so that the contract suites see no difference.
"""

import errno
import json
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from attrs import frozen

from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import TransportError, TransportTimeoutError, WireError
from moby_plugins.domain.exchange import (
    CLOSED_EARLY,
    CUT_OFF,
    MALFORMED,
    OK,
    TIMED_OUT,
    Request,
    Response,
)
from moby_plugins.ports import Clock


@frozen
class Exchange:
    """A call under way in memory; ``ends`` is when its time-out runs out, on ``clock``."""

    request: Request
    address: Address
    clock: Clock
    ends: float | None

    def broken(self, reason: str, cause: BaseException | None = None) -> TransportError:
        """The error for an exchange that broke before it was answered."""
        error = TransportError(reason, self.address.text)
        error.__cause__ = cause
        return error

    def pause(self, seconds: float, *, answered: bool) -> None:
        """Let ``seconds`` pass, or as many as the time-out leaves, and then raise."""
        left = None if self.ends is None else max(self.ends - self.clock.now(), 0.0)
        short = seconds if left is None else min(seconds, left)
        self.clock.wait(threading.Event(), None if short == float("inf") else short)
        self.check(answered=answered)

    def check(self, *, answered: bool) -> None:
        """Raise ``TransportTimeoutError`` once the time-out has run out."""
        if self.ends is not None and self.clock.now() >= self.ends:
            error = TransportTimeoutError(TIMED_OUT, self.address.text)
            error.answered = answered
            raise error


@frozen
class Fault:
    """Something that goes wrong; ``unreached`` where the request never comes to the plugin."""

    act: Callable[[Exchange], Any]
    unreached: bool = False


def _dialling(number: int) -> Fault:
    def act(exchange: Exchange) -> NoReturn:
        refusal = OSError(number, os.strerror(number))
        raise exchange.broken(exchange.address.explain(refusal), refusal)

    return Fault(act, unreached=True)


def missing_socket() -> Fault:
    """There is no socket at the plugin's path."""
    return _dialling(errno.ENOENT)


def refused() -> Fault:
    """Nobody listens: a stale socket, or a closed port."""
    return _dialling(errno.ECONNREFUSED)


def denied() -> Fault:
    """The socket may not be connected to."""
    return _dialling(errno.EACCES)


def hangs(seconds: float = float("inf"), then: Any = None) -> Fault:
    """Nothing comes for ``seconds`` on the clock, then the reply ``then``."""

    def act(exchange: Exchange) -> Any:
        exchange.pause(seconds, answered=False)
        return then

    return Fault(act)


def drops() -> Fault:
    """The plugin takes the request and closes the connection."""

    def act(exchange: Exchange) -> Any:
        raise exchange.broken(CLOSED_EARLY)

    return Fault(act)


def malformed() -> Fault:
    """What comes back is not HTTP."""

    def act(exchange: Exchange) -> Any:
        raise exchange.broken(MALFORMED)

    return Fault(act)


def drops_mid_body(sent: bytes = b'{"', status: int = OK) -> Fault:
    """The plugin answers, sends ``sent`` of a longer body, and closes the connection."""

    def body(exchange: Exchange) -> Iterator[bytes]:
        yield sent
        raise WireError(CUT_OFF, address=exchange.address.text)

    return Fault(lambda exchange: Response(status, body(exchange)))


def drips(body: bytes, every: float = 1.0, status: int = OK) -> Fault:
    """The plugin answers, and its body comes one byte every so many seconds on the clock."""

    def dripping(exchange: Exchange) -> Iterator[bytes]:
        for start in range(len(body)):
            exchange.pause(every, answered=True)
            yield body[start : start + 1]

    return Fault(lambda exchange: Response(status, dripping(exchange)))


def not_json() -> Fault:
    """The plugin answers 200 with a web page."""
    return Fault(lambda _: b"<!DOCTYPE html><title>It works!</title>\n")


def status(code: int, message: str = "") -> Fault:
    """The plugin answers with another status, and ``message`` as its ``Err``."""
    return Fault(lambda _: Response(code, json.dumps({"Err": message}).encode()))
