"""Which call goes wrong and how, as both ends know it: the number of a call decides."""

from collections.abc import Callable, Mapping

from attrs import frozen

from moby_plugins import StatusError, TransportError, TransportTimeoutError, WireError
from tests.dummy_plugin import Conversation, http

# One call in so many goes wrong.
EVERY = 100
# Seconds that a call has whose answer is late, and that the answer takes.
TIME_OUT, LATE = 0.05, 0.5

WRONG = http(b'{"Said":"a stranger"}')
OK = b"HTTP/1.1 200 OK\r\n"

Deed = Callable[[Conversation, bytes], object]


@frozen
class Fault:
    """What goes wrong, and the error that must come of it; ``None`` where the answer must come."""

    name: str
    error: type[Exception] | None


class Ended(Exception):  # noqa: N818  no error, but the end of a conversation
    """The plugin hangs up."""


def _hangs_up(conversation: Conversation, answer: bytes) -> None:
    raise Ended


def _is_cut_off(conversation: Conversation, answer: bytes) -> None:
    conversation.send(answer[:-1])
    raise Ended


def _is_late(conversation: Conversation, answer: bytes) -> None:
    conversation.stopped.wait(LATE)
    conversation.send(answer)


RAW: Mapping[Fault, Deed] = {
    Fault("no answer", TransportError): _hangs_up,
    Fault("no HTTP", TransportError): lambda to, _: to.send(b"hello there\r\n\r\n"),
    Fault("an answer too late", TransportTimeoutError): _is_late,
    Fault("a body that is cut off", WireError): _is_cut_off,
    Fault("bad chunking", WireError): lambda to, _: to.send(
        OK + b"Transfer-Encoding: chunked\r\n\r\nno size\r\n"
    ),
    Fault("no JSON", WireError): lambda to, _: to.send(http(b"hello")),
    Fault("an error status", StatusError): lambda to, answer: to.send(
        answer.replace(b"200", b"500", 1)
    ),
    Fault("a second answer behind the first", None): lambda to, answer: to.send(answer + WRONG),
    Fault("an answer byte by byte", None): lambda to, answer: to.drip(answer, 0.0001),
}

# What goes wrong within a plugin that this library serves.
RAISES = Fault("a method that raises", StatusError)
HANGS = Fault("a method that takes too long", TransportTimeoutError)
BREAKS = Fault("a stream that breaks off", WireError)
SERVED = (RAISES, HANGS, BREAKS)


def fault_of(number: int, faults: tuple[Fault, ...]) -> Fault | None:
    """What goes wrong in call ``number`` to a plugin with these faults."""
    return faults[number // (4 * EVERY) % len(faults)] if number % EVERY == 0 else None
