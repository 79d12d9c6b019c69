"""How a failure to connect to an address is explained."""

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
        ("unix:///x", errno.ENOTSOCK, "it exists, but is not a socket"),
        ("unix:///x", errno.EPIPE, os.strerror(errno.EPIPE)),
    ],
)
def test_each_failure_to_connect_has_its_own_explanation(
    text: str, number: int, explanation: str
) -> None:
    """A missing socket, a stale socket and one without permission have different texts."""
    error = OSError(number, os.strerror(number))

    assert Address(text).explain(error) == explanation


@pytest.mark.parametrize(
    ("error", "explanation"),
    [(OSError("path too long"), "path too long"), (TimeoutError(), "TimeoutError")],
)
def test_an_error_without_an_errno_is_explained_by_its_text_or_its_class(
    error: OSError, explanation: str
) -> None:
    """The explanation is never empty: the class's name takes the place of a missing text."""
    assert Address("unix:///x").explain(error) == explanation
