"""The decisions of synchronous and asynchronous clients, without I/O.

``ClientBase`` decides which request is sent, its attempt number and time-out, how much of the
response is read, and what an error says. ``Client`` and ``AsyncClient`` add the sending. ``Ask``,
``Tell``, ``Send`` and ``Follow`` are the kinds of calls that a subsystem's method may plan.
"""

from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeAlias, TypeVar

from attrs import evolve

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
# The limit for the response to a handshake, for every client: a manifest is a few names.
MAX_HANDSHAKE_BYTES = 1 << 20
CLOSED = "this client is closed"

if TYPE_CHECKING:  # synchronous programs do not import it
    from moby_plugins.domain.async_http import AsyncContent, AsyncRequest

R = TypeVar("R", bound="Request | AsyncRequest")


class Ask(NamedTuple):
    """A call whose response is one JSON value."""

    method: str
    message: Any


class Tell(NamedTuple):
    """A call without arguments, of whose response only the status is used."""

    method: str


class Send(NamedTuple):
    """A call whose request body is ``data``, not JSON; its response is one JSON value."""

    method: str
    data: Any


class Follow(NamedTuple):
    """A call whose response is a stream, read while it is being received."""

    method: str
    message: Any


Plan: TypeAlias = Ask | Tell | Send | Follow


class ClientBase(Generic[R]):
    """The base of ``Client`` and ``AsyncClient``, which add the sending.

    The arguments are those of ``Client``. ``R`` is the class of requests. Threads may share the
    object.
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
        unchecked: object = address  # the caller's program may not be type-checked
        if not isinstance(unchecked, Address):
            raise TypeError(f"address must be an Address, not {quoted(unchecked)}")
        self.address = unchecked
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
        """Return a request with this client's headers; it is not sent."""
        request: R = self._request_class(service_method, body, self._headers, length, attempt)
        return request

    def sign(self, error: StatusError | DriverError) -> None:
        """Set the name and address of this client's plugin in ``error``, unless they are set."""
        if not error.address:
            sign(error, self._name, self.address.text)

    def _numbered(self, request: R, number: int) -> R:
        """Return ``request`` as attempt ``number``.

        If the client is closed, raise ``RuntimeError`` for the first attempt and
        ``WaitCancelledError`` for a later one.
        """
        if self._ending.reason:
            raise RuntimeError(CLOSED) if number == 1 else self._ending.error()
        return request if number == 1 else evolve(request, attempt=number)

    def _time_out(self, timeout: float | None) -> float | None:
        """Return the time-out of an attempt: ``timeout``, or for ``None`` the client's own."""
        return self._timeout if timeout is None else seconds(timeout)

    def _most(self, request: R) -> int:
        """Return the most bytes that the response to ``request`` may have."""
        return min(self._limit, MAX_HANDSHAKE_BYTES) if request.method == ACTIVATE else self._limit

    def _account(self, error: TransportError | WireError | StatusError, request: R) -> None:
        """Set the method of ``request``, and the plugin's name and address, in ``error``.

        If the client was closed, raise ``WaitCancelledError`` from ``error``, unless that is a
        ``StatusError`` whose body was received whole.
        """
        if isinstance(error, StatusError):
            self.sign(error)
        else:
            error.plugin, error.address = self._name, self.address.text
            error.method = request.method
        if self._ending.reason and not _is_whole(error):
            raise self._ending.error(request.attempt) from error


def _is_whole(error: PluginError) -> bool:
    # A ``StatusError`` whose body was cut off has a cause.
    return isinstance(error, StatusError) and error.__cause__ is None
