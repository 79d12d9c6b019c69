"""Every exception of httptools and sockets leaves as one of our errors."""

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


def test_the_walk_meets_what_httptools_offers() -> None:
    """Every exception that httptools makes public is in the list below, or is not a failure."""
    public = {
        name
        for name, kind in vars(httptools).items()
        if isinstance(kind, type) and issubclass(kind, Exception)
    }

    assert public == set(OF_HTTPTOOLS) | NOT_A_FAILURE


@every("name", OF_HTTPTOOLS)
def test_each_of_httptools_is_malformed_or_cut_off(name: str) -> None:
    """Before there is a status it is no answer, and later a body without its proper end."""
    error = getattr(errors, name)("Invalid status code")

    before = translate(error, ADDRESS, answered=False)
    after = translate(error, ADDRESS, answered=True)

    assert isinstance(error, ERRORS)
    assert type(before) is TransportError
    assert (before.reason, before.answered) == ("malformed answer: Invalid status code", False)
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
    "our own": (RefusedError("too much"), TransportError, "malformed answer: too much"),
}


@pytest.mark.parametrize(("error", "kind", "reason"), SOCKETS.values(), ids=SOCKETS)
def test_what_a_socket_raises_is_told_in_our_words(
    error: Exception, kind: type[TransportError], reason: str
) -> None:
    """The words are those that every transport uses."""
    ours = translate(error, ADDRESS, answered=False)

    assert type(ours) is kind
    assert isinstance(ours, TransportError)
    assert ours.reason.startswith(reason)
    assert not ours.answered


def test_what_breaks_in_an_answer_says_so() -> None:
    """Once a status line has come, a broken connection is another thing than a refused one."""
    ours = translate(OSError(errno.EIO, "Input/output error"), ADDRESS, answered=True)

    assert isinstance(ours, TransportError)
    assert ours.answered
    assert ours.reason.startswith("the connection failed during the response: ")


def test_what_is_not_of_the_network_is_not_translated() -> None:
    """An unexpected error is not dressed up as one of ours."""
    with pytest.raises(ZeroDivisionError):
        translate(ZeroDivisionError(), ADDRESS, answered=False)
