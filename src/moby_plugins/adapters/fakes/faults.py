"""The ways in which a plugin can fail, told once for memory and for real sockets.

A fault says what the plugin does, in the words of an ``Exchange``; each end of
it (``memory_transport.py``, ``fault_server.py``) knows what that means there.
"""

import errno
import json
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Protocol

from attrs import frozen

from moby_plugins.domain.http import OK, Request, Response


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


@frozen(repr=False)
class Fault:
    """Something that goes wrong: what ``act`` does with a call, and the reply that it returns.

    ``name`` is how it was made, and its ``repr``. With an ``errno`` the request never comes
    to the plugin.
    """

    name: str
    act: Callable[[Exchange], Any]
    errno: int = 0

    def __repr__(self) -> str:
        return self.name


def _unreachable(name: str, number: int) -> Fault:
    return Fault(name, lambda exchange: exchange.unreachable(number), number)


def missing_socket() -> Fault:
    """There is no socket at the plugin's path."""
    return _unreachable("missing_socket()", errno.ENOENT)


def refused() -> Fault:
    """Nobody listens: a stale socket, or a closed port."""
    return _unreachable("refused()", errno.ECONNREFUSED)


def denied() -> Fault:
    """The socket may not be connected to."""
    return _unreachable("denied()", errno.EACCES)


def hangs(seconds: float = float("inf"), then: Any = None) -> Fault:
    """Nothing comes for ``seconds`` on the clock, then the reply ``then``."""

    def act(exchange: Exchange) -> Any:
        exchange.pause(seconds, answered=False)
        return then

    return Fault(f"hangs({seconds:g})", act)


def drops() -> Fault:
    """The plugin takes the request and closes the connection."""
    return Fault("drops()", lambda exchange: exchange.hang_up())


def malformed() -> Fault:
    """What comes back is not HTTP."""
    return Fault("malformed()", lambda exchange: exchange.talk_nonsense())


def drops_mid_body(sent: bytes = b'{"', status: int = OK) -> Fault:
    """The plugin answers, sends ``sent`` of a longer body, and closes the connection."""

    def body(exchange: Exchange) -> Iterator[bytes]:
        yield sent
        exchange.cut_off()

    return Fault(f"drops_mid_body({sent!r})", lambda exchange: Response(status, body(exchange)))


def drips(body: bytes, every: float = 1.0, status: int = OK) -> Fault:
    """The plugin answers, and its body comes one byte every so many seconds on the clock."""

    def dripping(exchange: Exchange) -> Iterator[bytes]:
        for start in range(len(body)):
            exchange.pause(every, answered=True)
            yield body[start : start + 1]

    return Fault(f"drips({body!r})", lambda exchange: Response(status, dripping(exchange)))


def not_json() -> Fault:
    """The plugin answers 200 with a web page."""
    return Fault("not_json()", lambda _: b"<!DOCTYPE html><title>It works!</title>\n")


def status(code: int, message: str = "") -> Fault:
    """The plugin answers with another status, and ``message`` as its ``Err``."""
    body = json.dumps({"Err": message}).encode()
    return Fault(f"status({code}, {message!r})", lambda _: Response(code, body))
