"""Exceptions of requests, translated into errors of this library."""

import errno
import ssl
from http.client import RemoteDisconnected

import pytest
import requests
import requests.exceptions
import responses
import urllib3.exceptions
from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection

from moby_plugins import PluginError, Request, SpecError, TransportError, TransportTimeoutError
from moby_plugins.adapters.http.requests import RequestsConnect
from moby_plugins.domain.address import Address
from moby_plugins.domain.http import CLOSED_EARLY, TIMED_OUT
from tests.cases import every

ADDRESS = Address("tcp://plugin.example:8080")
URL = "http://plugin.example:8080/M.x"
CONNECTION = HTTPConnection("plugin.example")
POOL = HTTPConnectionPool("plugin.example")
UNUSABLE = (
    requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidURL,
    requests.exceptions.MissingSchema,
    requests.exceptions.URLRequired,
)

KINDS = sorted(
    {
        kind
        for kind in vars(requests.exceptions).values()
        if isinstance(kind, type) and issubclass(kind, requests.RequestException)
    },
    key=lambda kind: kind.__name__,
)


def failure(error: Exception) -> PluginError:
    """What comes of ``error``, raised where a request is sent."""
    with responses.RequestsMock() as plugin, requests.Session() as session:
        plugin.post(URL, body=error)
        with pytest.raises(PluginError) as caught:
            RequestsConnect(session)(ADDRESS, None).send(Request("M.x", b"{}"), 1.0)
    return caught.value


def refused() -> urllib3.exceptions.NewConnectionError:
    """What urllib3 raises where no process listens."""
    error = urllib3.exceptions.NewConnectionError(CONNECTION, "Connection refused")
    error.__cause__ = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
    return error


@every("kind", KINDS)
def test_every_exception_of_requests_is_translated(kind: type[requests.RequestException]) -> None:
    """Each class becomes an error of this library with the same text, and is its cause."""
    decoding = kind is requests.exceptions.JSONDecodeError
    error = kind("said", "doc", 0) if decoding else kind("said")

    ours = failure(error)

    assert ours.__cause__ is error
    if issubclass(kind, UNUSABLE):
        assert type(ours) is SpecError
        assert ours.reason == "the session cannot reach tcp://plugin.example:8080: said"
    else:
        timed_out = issubclass(kind, requests.Timeout)
        assert type(ours) is (TransportTimeoutError if timed_out else TransportError)
        assert isinstance(ours, TransportError)
        assert ours.address == "tcp://plugin.example:8080"
        assert not ours.answered


INNER: dict[str, tuple[Exception, str]] = {
    "refused": (
        urllib3.exceptions.MaxRetryError(POOL, "/M.x", refused()),
        "connection refused: no process listens there",
    ),
    "reset": (
        urllib3.exceptions.ProtocolError("Aborted.", ConnectionResetError(104, "reset")),
        "reset",
    ),
    "dropped": (
        urllib3.exceptions.ProtocolError("Aborted.", RemoteDisconnected("closed")),
        CLOSED_EARLY,
    ),
    "TLS": (urllib3.exceptions.SSLError(ssl.SSLError(1, "verify failed")), "TLS: verify failed"),
}


@pytest.mark.parametrize(("inner", "reason"), INNER.values(), ids=INNER)
def test_the_reason_is_that_of_the_urllib3_error_inside(inner: Exception, reason: str) -> None:
    """It is the same as with urllib3 alone, without requests."""
    ours = failure(requests.ConnectionError(inner))

    assert type(ours) is TransportError
    assert ours.reason == reason


def test_without_an_inner_error_the_reason_is_the_text_of_requests() -> None:
    """An adapter of the user's own may raise an error with a text alone."""
    ours = failure(requests.ConnectionError("no route through my tunnel"))

    assert isinstance(ours, TransportError)
    assert ours.reason == "no route through my tunnel"


@pytest.mark.parametrize("kind", [requests.ConnectTimeout, requests.ReadTimeout])
def test_a_timeout_of_requests_stays_a_timeout_whatever_error_is_inside(
    kind: type[requests.Timeout],
) -> None:
    """It becomes a ``TransportTimeoutError``."""
    ours = failure(kind(refused()))

    assert isinstance(ours, TransportTimeoutError)
    assert ours.reason == TIMED_OUT


def test_an_exception_that_is_not_of_the_network_is_not_translated() -> None:
    """An exception of a user's hook, for example, is raised as it is."""
    with responses.RequestsMock() as plugin, requests.Session() as session:
        plugin.post(URL, body=KeyError("a hook's own"))
        transport = RequestsConnect(session)(ADDRESS, None)

        with pytest.raises(KeyError, match="a hook's own"):
            transport.send(Request("M.x"), None)


@pytest.mark.parametrize(
    "headers", [{"Content-Length": "-5"}, {"Transfer-Encoding": "gzip, chunked"}]
)
def test_a_response_with_ambiguous_framing_is_refused(headers: dict[str, str]) -> None:
    """The bridge is as strict about the end of a body as this library's own transports."""
    with responses.RequestsMock() as plugin, requests.Session() as session:
        plugin.post(URL, b"12345", headers=headers, auto_calculate_content_length=False)
        transport = RequestsConnect(session)(ADDRESS, None)

        with pytest.raises(TransportError, match="malformed response: ") as caught:
            transport.send(Request("M.x"), None)

    assert not caught.value.answered
