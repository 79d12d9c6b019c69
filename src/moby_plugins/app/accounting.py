"""What a client decides about its calls, without sending any: for clients of all kinds.

``ClientBase`` knows which request is sent, as which attempt and with which time-out, how much of
a response is read, and what an error says. ``Client`` adds the sending. ``Ask``, ``Tell``,
``Send`` and ``Follow`` are the kinds of calls that there are, for whoever plans one.
"""

from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from attrs import evolve, frozen

from moby_plugins.app.retrying import Ending
from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import (
    DriverError,
    PluginError,
    StatusError,
    TransportError,
    WireError,
    sign,
)
from moby_plugins.domain.http import CONTENT_TYPE, USER_AGENT, Content, Request
from moby_plugins.domain.retry import RetryPolicy, policy_given, seconds, size
from moby_plugins.domain.text import quoted

ACTIVATE = "Plugin.Activate"
# Of a handshake, whoever sends it: a manifest is a few names.
MAX_HANDSHAKE_BYTES = 1 << 20
CLOSED = "this client is closed"

if TYPE_CHECKING:  # synchronous programs do without it
    from moby_plugins.domain.async_http import AsyncContent, AsyncRequest

R = TypeVar("R", bound="Request | AsyncRequest")


@frozen
class Ask:
    """A call whose answer is one JSON value."""

    method: str
    message: Any


@frozen
class Tell:
    """A call without arguments whose answer is not read: only its status counts."""

    method: str


@frozen
class Send:
    """A call whose request is ``data``, as it is; its answer is one JSON value."""

    method: str
    data: Any


@frozen
class Follow:
    """A call whose answer is read as it comes."""

    method: str
    message: Any


Plan: TypeAlias = Ask | Tell | Send | Follow


class ClientBase(Generic[R]):
    """The address, the bounds and the names of one plugin's client, which sends an ``R``.

    ``retry``, ``timeout``, ``max_response_bytes`` and ``name`` are as ``Client`` takes them.
    Threads may share it.
    """

    _request_class: type[Any] = Request

    def __init__(
        self,
        address: Address,
        retry: RetryPolicy | None,
        timeout: float | None,
        max_response_bytes: int,
        name: str,
    ) -> None:
        given: object = address  # of a program that nothing has checked
        if not isinstance(given, Address):
            raise TypeError(f"address must be an Address, not {quoted(given)}")
        self.address = given
        self._retry = RetryPolicy() if retry is None else policy_given(retry)
        self._timeout = seconds(timeout)
        self._limit = size("max_response_bytes", max_response_bytes)
        self._name = name
        self._ending = Ending(name, address.text)
        self._headers = {
            "Host": address.host_header,
            "Accept": CONTENT_TYPE,
            "User-Agent": USER_AGENT,
        }

    def request(
        self,
        service_method: str,
        body: "Content | AsyncContent" = b"",
        length: int | None = None,
        attempt: int = 1,
    ) -> R:
        """A request as this client sends it, with its headers."""
        made: R = self._request_class(service_method, body, self._headers, length, attempt)
        return made

    def sign(self, error: StatusError | DriverError) -> None:
        """Say in ``error`` that this client's plugin answered it, unless it names another."""
        if not error.address:
            sign(error, self._name, self.address.text)

    def _numbered(self, request: R, number: int) -> R:
        """Return ``request`` as attempt ``number``.

        Raises ``RuntimeError`` for the first of a client that is closed, and
        ``WaitCancelledError`` for a later one.
        """
        if self._ending.reason:
            raise RuntimeError(CLOSED) if number == 1 else self._ending.error()
        return request if number == 1 else evolve(request, attempt=number)

    def _time_out(self, timeout: float | None) -> float | None:
        """Return the time-out of an attempt: that of the call, or the client's."""
        return self._timeout if timeout is None else seconds(timeout)

    def _most(self, request: R) -> int:
        """Return how many bytes of the response to ``request`` are read."""
        return min(self._limit, MAX_HANDSHAKE_BYTES) if request.method == ACTIVATE else self._limit

    def _account(self, error: TransportError | WireError | StatusError, request: R) -> None:
        """Say in ``error`` what ``request`` was, and whose plugin it was sent to.

        Raises ``WaitCancelledError`` instead where the client was closed and no whole answer
        had come.
        """
        if isinstance(error, StatusError):
            self.sign(error)
        else:
            error.plugin, error.address = self._name, self.address.text
            error.method = request.method
        if self._ending.reason and not _is_whole(error):
            raise self._ending.error(request.attempt) from error


def _is_whole(error: PluginError) -> bool:
    # An answer whose text breaks off has a cause.
    return isinstance(error, StatusError) and error.__cause__ is None
