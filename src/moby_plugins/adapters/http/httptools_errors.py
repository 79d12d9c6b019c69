"""What httptools and a socket raise, as errors of ours."""

from http.client import HTTPException

from httptools import HttpParserError

from moby_plugins.adapters.http.error_rows import (
    ANSWERED,
    NOT_ANSWERED,
    Row,
    first_match,
    timed_out,
)
from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import PluginError, TransportError, WireError
from moby_plugins.domain.http import CLOSED_EARLY, CUT_OFF, MALFORMED

# All that can go wrong with an exchange, besides what the caller's own iterator raises.
ERRORS = (OSError, HTTPException, HttpParserError)


class ClosedEarlyError(ConnectionResetError):
    """The connection ended before there was a status line."""


_MALFORMED = (HttpParserError, HTTPException)
_TIMED_OUT = timed_out()
_ROWS: dict[bool, tuple[Row, ...]] = {
    False: (
        _TIMED_OUT,
        ((ClosedEarlyError,), TransportError, lambda _, __: CLOSED_EARLY),
        *NOT_ANSWERED,
        (_MALFORMED, TransportError, lambda _, e: f"{MALFORMED}: {e}"),
    ),
    # Once the head is whole, all that is malformed is the body's chunks.
    True: (
        _TIMED_OUT,
        ANSWERED,
        (_MALFORMED, WireError, lambda _, __: CUT_OFF),
    ),
}


def translate(error: Exception, address: Address, *, answered: bool) -> PluginError:
    """Our error for ``error``, one of ``ERRORS``."""
    made = first_match(_ROWS[answered], [error], address, answered=answered)
    if made is None:
        raise error
    return made
