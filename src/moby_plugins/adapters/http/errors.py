"""Map socket and TLS exceptions to ``TransportError``, for urllib3 and httptools alike.

Each of the two has two tables, one for errors before a status line and one for errors after it;
this module has the rows that they share. A table is a sequence of rows, read from top to bottom:
the first row whose classes match the exception, or one of its causes, gives the class and the
reason of a ``PluginError``, which is then raised from the exception.
"""

import socket
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import PluginError, TransportError, TransportTimeoutError, WireError
from moby_plugins.domain.http import TIMED_OUT
from moby_plugins.domain.text import shown

Kinds: TypeAlias = tuple[type[BaseException], ...]
# The classes of an exception, or what returns them; the class of our error for it, and what
# returns its reason.
Row: TypeAlias = tuple[
    Kinds | Callable[[], Kinds],
    type[TransportError] | type[WireError],
    Callable[[Address, Any], str],
]


def timed_out(*kinds: type[BaseException]) -> Row:
    """Return the table row that maps ``TimeoutError`` and ``kinds`` to a time-out error."""
    return ((TimeoutError, *kinds), TransportTimeoutError, lambda _, __: TIMED_OUT)


def _of_tls() -> Kinds:
    # Without ssl, which only TLS connections import, there is no error of it. While another thread
    # imports it, its names may be missing.
    error = getattr(sys.modules.get("ssl"), "SSLError", None)
    return () if error is None else (error,)


# Rows for errors before the status line, and for errors after it.
NOT_ANSWERED: tuple[Row, ...] = (
    ((socket.gaierror,), TransportError, lambda _, e: f"unknown host: {shown(e.strerror)}"),
    (_of_tls, TransportError, lambda _, e: f"TLS: {shown(e.strerror or e)}"),
    ((OSError,), TransportError, lambda address, e: address.explain(e)),
)
ANSWERED: Row = (
    (OSError,),
    TransportError,
    lambda _, e: f"the connection failed during the response: {shown(e)}",
)


def first_match(
    rows: Iterable[Row], chain: Iterable[BaseException], address: Address, *, answered: bool
) -> PluginError | None:
    """Return the ``PluginError`` of the first row that matches an exception of ``chain``.

    Returns ``None`` if no row matches. ``answered`` says whether a status line was received, and is
    stored in a ``TransportError``.
    """
    chain = list(chain)
    for row_kinds, error_class, reason in rows:
        kinds = row_kinds() if callable(row_kinds) else row_kinds
        for cause in chain:
            if isinstance(cause, kinds):
                translated = error_class(reason(address, cause))
                translated.address = address.text
                if isinstance(translated, TransportError):
                    translated.answered = answered
                return translated
    return None


def not_reached(error: OSError | ImportError, address: Address) -> PluginError:
    """Return the ``PluginError`` for an error that a dial raised."""
    translated = first_match((timed_out(), *NOT_ANSWERED), [error], address, answered=False)
    return translated or TransportError(shown(error), address.text)
