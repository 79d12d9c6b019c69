"""Every exception class of urllib3, ``http.client`` and sockets is translated."""

import errno
import http.client
import inspect
import socket
import ssl
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import urllib3
import urllib3.exceptions
from urllib3.connection import HTTPConnection

from moby_plugins.adapters.http.urllib3 import ERRORS, translate
from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import TransportError, TransportTimeoutError, WireError

ADDRESS = Address("unix:///run/p.sock")
CONNECTION = HTTPConnection("localhost")

# What the constructors of exceptions ask for, by the parameter's name.
ARGUMENTS: dict[str, Any] = {
    "conn": CONNECTION,
    "defects": [],
    "error": OSError("said"),
    "expected": 2,
    "partial": b"",
    "reason": socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
    "response": urllib3.HTTPResponse(b""),
}


def subclasses(kind: type[BaseException]) -> Iterator[type[BaseException]]:
    """A class and all that are derived from it."""
    yield kind
    for derived in kind.__subclasses__():
        yield from subclasses(derived)


def exceptions_of(module: ModuleType) -> set[type[BaseException]]:
    """The exception classes that a module defines or names."""
    return {
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    }


def make(kind: type[BaseException]) -> BaseException:
    """An exception of that class, with arguments that it accepts."""
    if issubclass(kind, OSError) and kind.__module__ in {"builtins", "ssl", "socket"}:
        return kind(errno.EIO, "said")
    if kind is urllib3.exceptions.IncompleteRead:
        return kind(1, 2)
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    return kind(
        *(
            ARGUMENTS.get(parameter.name, "said")
            for parameter in parameters
            if parameter.kind is not parameter.VAR_KEYWORD
        )
    )


KINDS = sorted(
    {
        kind
        for kind in exceptions_of(urllib3.exceptions)
        | exceptions_of(http.client)
        | exceptions_of(ssl)
        | exceptions_of(socket)
        | {k for k in subclasses(OSError) if k.__module__ == "builtins"}
        if issubclass(kind, ERRORS)
    },
    key=lambda kind: (kind.__module__, kind.__name__),
)


def test_every_exception_class_of_urllib3_and_http_client_is_tested() -> None:
    """Only warnings and an error about proxies are left out."""
    others = {
        kind
        for kind in exceptions_of(urllib3.exceptions) | exceptions_of(http.client)
        if not issubclass(kind, (*ERRORS, Warning)) and kind.__module__ != "email.errors"
    }

    assert len(KINDS) > 60
    assert {kind.__name__ for kind in others} == {"ProxySchemeUnsupported"}


@pytest.mark.parametrize("answered", [False, True])
def test_every_exception_class_is_translated(*, answered: bool) -> None:
    """Bare or wrapped by urllib3, it becomes an error of this library with address and reason."""
    allowed = (TransportError, WireError) if answered else TransportError
    for kind in KINDS:
        error = make(kind)
        for given in (error, urllib3.exceptions.ProtocolError("Connection aborted.", error)):
            ours = translate(given, ADDRESS, answered=answered)

            assert isinstance(ours, allowed), kind
            assert ours.address == "unix:///run/p.sock", kind
            assert ours.reason, kind
            if isinstance(ours, TransportError):
                timed_out = issubclass(kind, (TimeoutError, urllib3.exceptions.ReadTimeoutError))
                assert ours.answered is answered, kind
                assert isinstance(ours, TransportTimeoutError) is timed_out, kind
