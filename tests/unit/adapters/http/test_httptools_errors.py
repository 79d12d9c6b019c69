"""Exceptions of httptools and sockets, translated into errors of this library."""

import errno
import ssl

import httptools
import pytest
from httptools.parser import errors

from moby_plugins.adapters.http.heads import RefusedError
from moby_plugins.adapters.http.httptools import ERRORS, ClosedEarlyError, translate
from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import TransportError, TransportTimeoutError, WireError
from moby_plugins.domain.http import CLOSED_EARLY, CUT_OFF, TIMED_OUT
from tests.cases import every

ADDRESS = Address("unix:///run/p.sock")
# Said of a protocol that was never used: the adapter ends such an answer by itself.
NOT_A_FAILURE = {"HttpParserUpgrade"}
OF_HTTPTOOLS = sorted(set(errors.__all__) - NOT_A_FAILURE)


def test_every_public_exception_of_httptools_is_tested() -> None:
    """Each one is tested below, or is known to be no failure."""
    public = {
        name
        for name, kind in vars(httptools).items()
        if isinstance(kind, type) and issubclass(kind, Exception)
    }

    assert public == set(OF_HTTPTOOLS) | NOT_A_FAILURE


@every("name", OF_HTTPTOOLS)
def test_an_exception_of_httptools_means_a_malformed_head_or_a_body_cut_off(name: str) -> None:
    """It is a ``TransportError`` before the status line is read, and a ``WireError`` after it."""
    error = getattr(errors, name)("Invalid status code")

    before = translate(error, ADDRESS, answered=False)
    after = translate(error, ADDRESS, answered=True)

    assert isinstance(error, ERRORS)
    assert type(before) is TransportError
    assert (before.reason, before.answered) == ("malformed response: Invalid status code", False)
    assert type(after) is WireError
    assert after.reason == CUT_OFF
    assert before.address == after.address == "unix:///run/p.sock"


SOCKETS: dict[str, tuple[Exception, type[TransportError], str]] = {
    "timed out": (TimeoutError("timed out"), TransportTimeoutError, TIMED_OUT),
    "no answer": (ClosedEarlyError(), TransportError, CLOSED_EARLY),
    "TLS": (
        ssl.SSLError(1, "certificate verify failed"),
        TransportError,
        "TLS: certificate verify",
    ),
    "our own": (RefusedError("too much"), TransportError, "malformed response: too much"),
}


@pytest.mark.parametrize(("error", "kind", "reason"), SOCKETS.values(), ids=SOCKETS)
def test_errors_of_sockets_are_translated_with_the_reasons_of_all_transports(
    error: Exception, kind: type[TransportError], reason: str
) -> None:
    """A time-out, for example, has the same reason with every HTTP library."""
    ours = translate(error, ADDRESS, answered=False)

    assert type(ours) is kind
    assert isinstance(ours, TransportError)
    assert ours.reason.startswith(reason)
    assert not ours.answered


def test_a_connection_that_fails_after_the_status_line_counts_as_answered() -> None:
    """Its reason says that it failed during the response, since it was not refused."""
    ours = translate(OSError(errno.EIO, "Input/output error"), ADDRESS, answered=True)

    assert isinstance(ours, TransportError)
    assert ours.answered
    assert ours.reason.startswith("the connection failed during the response: ")


def test_an_exception_that_is_not_of_the_network_is_not_translated() -> None:
    """An unexpected exception is raised as it is."""
    with pytest.raises(ZeroDivisionError):
        translate(ZeroDivisionError(), ADDRESS, answered=False)
