"""What urllib3 and ``http.client`` raise, as errors of ours: one table for all who use them."""

import http.client
from collections.abc import Iterable, Iterator

from urllib3.exceptions import HTTPError, ReadTimeoutError

from moby_plugins.adapters.http.error_rows import (
    ANSWERED,
    NOT_ANSWERED,
    Row,
    first_match,
    timed_out,
)
from moby_plugins.adapters.http.strict_response import BrokenHeadersError
from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import PluginError, TransportError, WireError
from moby_plugins.domain.http import CLOSED_EARLY, CUT_OFF, MALFORMED, Content

# All that urllib3, http.client and a socket raise.
ERRORS = (HTTPError, http.client.HTTPException, OSError)


class CallersError(Exception):
    """What the iterator that is a request's body raised: none of the network's business."""

    def __init__(self, raised: Exception) -> None:
        self.raised = raised
        super().__init__(raised)


def guarded(body: Content) -> Content:
    """A request's body whose own ``OSError`` urllib3 cannot take for the network's."""
    return body if isinstance(body, bytes) else _guarded(body)


def _guarded(chunks: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from chunks
    except Exception as error:
        raise CallersError(error) from error


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and those it was made of, first to last."""
    # urllib3 hands the first error on as an argument or as the cause. Contexts
    # do not count: they may be whatever the caller was handling.
    pending: list[object] = [error]
    for _ in range(20):
        if not pending:
            return
        cause = pending.pop(0)
        if isinstance(cause, BaseException):
            yield cause
            pending += [*cause.args, getattr(cause, "reason", None), cause.__cause__]


# First match first, by whether a status line had come. Not ConnectTimeoutError, from
# which urllib3 derives "refused": its cause tells the two apart.
_TIMED_OUT = timed_out(ReadTimeoutError)
_NOT_ANSWERED: tuple[Row, ...] = (
    _TIMED_OUT,
    (
        (http.client.RemoteDisconnected,),
        TransportError,
        lambda _, __: CLOSED_EARLY,
    ),
    *NOT_ANSWERED,
    ((http.client.HTTPException,), TransportError, lambda _, e: f"{MALFORMED}: {e}"),
    ((HTTPError,), TransportError, lambda _, e: f"{MALFORMED}: {e}"),
)
_ANSWERED: tuple[Row, ...] = (
    _TIMED_OUT,
    ((http.client.IncompleteRead,), WireError, lambda _, __: CUT_OFF),
    ANSWERED,
    ((http.client.HTTPException,), WireError, lambda _, e: f"malformed body: {e}"),
    ((HTTPError,), WireError, lambda _, e: f"malformed body: {e}"),
)


def translate(error: BaseException, address: Address, *, answered: bool) -> PluginError:
    """Our error for one of urllib3's: the table above, applied to the error and its causes."""
    chain = list(causes(error))
    answered = answered or any(isinstance(cause, BrokenHeadersError) for cause in chain)
    rows = _ANSWERED if answered else _NOT_ANSWERED
    made = first_match(rows, chain, address, answered=answered)
    if made is None:
        raise error
    return made
