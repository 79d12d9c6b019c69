"""How errors of urllib3, ``http.client`` and sockets are translated."""

import errno
import http.client
import socket
import ssl
from collections.abc import Iterator

import pytest
import urllib3.exceptions
from urllib3.connection import HTTPConnection

from moby_plugins.adapters.http.strict_response import BrokenHeadersError
from moby_plugins.adapters.http.urllib3 import (
    ERRORS,
    CallersError,
    causes,
    guarded,
    translate,
)
from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import TransportError, TransportTimeoutError, WireError
from moby_plugins.domain.http import CLOSED_EARLY, CUT_OFF, TIMED_OUT
from tests.cases import every

ADDRESS = Address("unix:///run/p.sock")
CONNECTION = HTTPConnection("localhost")
REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")


def caused(error: BaseException, cause: BaseException) -> BaseException:
    """``error``, raised from ``cause``."""
    error.__cause__ = cause
    return error


NOT_ANSWERED: dict[str, tuple[BaseException, type[TransportError], str]] = {
    "refused": (
        caused(urllib3.exceptions.NewConnectionError(CONNECTION, "refused"), REFUSED),
        TransportError,
        "stale socket: it exists, but no process listens on it",
    ),
    "connecting timed out": (
        caused(urllib3.exceptions.ConnectTimeoutError("slow"), TimeoutError("timed out")),
        TransportTimeoutError,
        TIMED_OUT,
    ),
    "timed out within": (
        urllib3.exceptions.ProtocolError("Connection aborted.", TimeoutError("timed out")),
        TransportTimeoutError,
        TIMED_OUT,
    ),
    "no answer": (
        http.client.RemoteDisconnected("Remote end closed connection"),
        TransportError,
        CLOSED_EARLY,
    ),
    "reset": (
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        TransportError,
        "Connection reset by peer",
    ),
    "unknown host": (
        socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
        TransportError,
        "unknown host: Name or service not known",
    ),
    "TLS": (
        urllib3.exceptions.SSLError(ssl.SSLError(1, "certificate verify failed")),
        TransportError,
        "TLS: certificate verify failed",
    ),
    "malformed": (
        urllib3.exceptions.ProtocolError("Aborted.", http.client.BadStatusLine("220 mail")),
        TransportError,
        "malformed response: 220 mail",
    ),
}


@every(("error", "kind", "reason"), NOT_ANSWERED.values(), ids=NOT_ANSWERED)
def test_an_error_before_the_response_is_translated_as_unanswered(
    error: BaseException, kind: type[TransportError], reason: str
) -> None:
    """The reason is in this library's words, and not in those of urllib3."""
    ours = translate(error, ADDRESS, answered=False)

    assert type(ours) is kind
    assert isinstance(ours, TransportError)
    assert (ours.reason, ours.answered) == (reason, False)


ANSWERED: dict[str, tuple[BaseException, type[TransportError | WireError], str]] = {
    "cut off": (http.client.IncompleteRead(b""), WireError, CUT_OFF),
    "badly chunked": (
        urllib3.exceptions.ProtocolError("Broken.", http.client.LineTooLong("trailer")),
        WireError,
        "malformed body: got more than 65536 bytes when reading trailer",
    ),
    "urllib3's own": (urllib3.exceptions.DecodeError("gzip"), WireError, "malformed body: gzip"),
    "timed out": (TimeoutError("timed out"), TransportTimeoutError, TIMED_OUT),
    "reset": (
        ConnectionResetError(errno.ECONNRESET, "reset"),
        TransportError,
        f"the connection failed during the response: [Errno {errno.ECONNRESET}] reset",
    ),
}


@every(("error", "kind", "reason"), ANSWERED.values(), ids=ANSWERED)
def test_an_error_within_the_body_is_translated_as_answered(
    error: BaseException, kind: type[TransportError | WireError], reason: str
) -> None:
    """A bad body is a ``WireError``, and a broken connection an answered ``TransportError``."""
    ours = translate(error, ADDRESS, answered=True)

    assert type(ours) is kind
    assert isinstance(ours, (TransportError, WireError))
    assert ours.reason == reason


@pytest.mark.parametrize("cause", [TimeoutError("timed out"), ConnectionResetError(104, "reset")])
def test_an_error_within_the_headers_is_translated_as_answered(cause: OSError) -> None:
    """A status line had been received by then."""
    error = urllib3.exceptions.ProtocolError("x", caused(BrokenHeadersError("cut"), cause))

    ours = translate(error, ADDRESS, answered=False)

    assert isinstance(ours, TransportError)
    assert ours.answered
    assert isinstance(ours, TimeoutError) is isinstance(cause, TimeoutError)


def test_an_unrelated_error_is_not_translated() -> None:
    """An exception that no HTTP library or socket raises is raised as it is."""
    error = ValueError("a bug")

    with pytest.raises(ValueError, match="a bug") as caught:
        translate(error, ADDRESS, answered=False)

    assert caught.value is error


def test_an_exception_that_the_caller_was_handling_is_no_cause() -> None:
    """A time-out that was being handled when a connection was refused does not count."""
    error = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
    error.__context__ = TimeoutError("of something else")

    assert list(causes(error)) == [error]


def test_causes_that_go_in_circles_come_to_an_end() -> None:
    """Two errors that are each other's cause make no endless loop."""
    one, other = OSError("one"), OSError("other")
    one.__cause__, other.__cause__ = other, one

    assert {id(error) for error in causes(one)} == {id(one), id(other)}


def test_a_guarded_body_yields_the_same_bytes() -> None:
    """Bytes stay what they are, and an iterable gives the same chunks."""
    body = b"some"

    assert guarded(body) is body
    assert list(guarded([b"so", b"me"])) == [b"so", b"me"]


def test_an_exception_of_a_guarded_body_is_wrapped_in_a_callers_error() -> None:
    """So an error of the caller's iterator cannot be taken for one of the network."""
    error = BrokenPipeError(errno.EPIPE, "pipe")

    def body() -> Iterator[bytes]:
        yield b"some"
        raise error

    with pytest.raises(CallersError) as caught:
        list(guarded(body()))

    assert caught.value.raised is error
    assert not isinstance(caught.value, ERRORS)
