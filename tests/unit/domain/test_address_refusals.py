"""What a failed attempt to reach an address is called."""

import errno
import os

import pytest

from moby_plugins.domain.address import Address
from tests.cases import every


@every(
    ("text", "number", "explanation"),
    [
        ("unix:///x", errno.ENOENT, "no socket there; is the plugin running?"),
        ("unix:///x", errno.ECONNREFUSED, "stale socket: it exists, but no process listens on it"),
        ("unix:///x", errno.EACCES, "no permission to connect to the socket"),
        ("unix:///x", errno.EPERM, "no permission to connect to the socket"),
        ("tcp://h:1", errno.ECONNREFUSED, "connection refused: no process listens there"),
        ("https://h:1", errno.ECONNREFUSED, "connection refused: no process listens there"),
        ("tcp://h:1", errno.EACCES, os.strerror(errno.EACCES)),
        ("tcp://h:1", errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH)),
        ("unix:///x", errno.ENOTSOCK, os.strerror(errno.ENOTSOCK)),
    ],
)
def test_a_refusal_is_named_for_what_it_is(text: str, number: int, explanation: str) -> None:
    """A missing, a stale and a forbidden socket are told apart."""
    error = OSError(number, os.strerror(number))

    assert Address(text).explain(error) == explanation


@pytest.mark.parametrize(
    ("error", "explanation"),
    [(OSError("path too long"), "path too long"), (TimeoutError(), "TimeoutError")],
)
def test_an_error_without_a_number_speaks_for_itself(error: OSError, explanation: str) -> None:
    """There is always something to read, if only the error's class."""
    assert Address("unix:///x").explain(error) == explanation
