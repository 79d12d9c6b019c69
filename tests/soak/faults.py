"""Which call has which fault: both ends decide this by the number of the call."""

from collections.abc import Callable, Mapping

from attrs import frozen

from moby_plugins import StatusError, TransportError, TransportTimeoutError, WireError
from tests.dummy_plugin import Conversation, http

# One call in so many has a fault.
EVERY = 100
# The time-out of a call whose response is late, and the seconds that the response takes.
TIME_OUT, LATE = 0.05, 0.5

WRONG = http(b'{"Said":"a stranger"}')
OK = b"HTTP/1.1 200 OK\r\n"

Deed = Callable[[Conversation, bytes], object]


@frozen
class Fault:
    """A fault, and the error that the call must raise; ``None`` if it must get its response."""

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
    Fault("no response", TransportError): _hangs_up,
    Fault("a response that is not HTTP", TransportError): lambda to, _: to.send(
        b"hello there\r\n\r\n"
    ),
    Fault("a response after the time-out", TransportTimeoutError): _is_late,
    Fault("a body that is cut off", WireError): _is_cut_off,
    Fault("bad chunking", WireError): lambda to, _: to.send(
        OK + b"Transfer-Encoding: chunked\r\n\r\nno size\r\n"
    ),
    Fault("a body that is not JSON", WireError): lambda to, _: to.send(http(b"hello")),
    Fault("an error status", StatusError): lambda to, answer: to.send(
        answer.replace(b"200", b"500", 1)
    ),
    Fault("a second response behind the first", None): lambda to, answer: to.send(answer + WRONG),
    Fault("a response byte by byte", None): lambda to, answer: to.drip(answer, 0.0001),
}

# The faults of a plugin that this library serves.
RAISES = Fault("a method that raises", StatusError)
HANGS = Fault("a method that takes too long", TransportTimeoutError)
BREAKS = Fault("a stream that breaks off", WireError)
SERVED = (RAISES, HANGS, BREAKS)


def fault_of(number: int, faults: tuple[Fault, ...]) -> Fault | None:
    """Return the fault of call ``number`` to a plugin with these faults, if it has one."""
    return faults[number // (4 * EVERY) % len(faults)] if number % EVERY == 0 else None
