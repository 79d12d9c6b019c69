"""The HTTP engine: urllib3 over any socket that can be dialled.

urllib3 pools connections, writes requests and reads answers; its own retries
stay off. How to reach the plugin is a dial (``unix_socket.py``, ``tcp.py``): a
function of a time-out that returns a connected socket. Whatever urllib3 raises
leaves through ``urllib3_errors.translate``.
"""

import math
import socket
import time
from collections.abc import Callable
from typing import Any, TypeAlias

from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPResponse
from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError
from urllib3.util import SKIP_HEADER, Retry, Timeout

from moby_plugins.adapters.deadline_socket import DeadlineSocket, DeadlineSSLSocket
from moby_plugins.adapters.strict_response import StrictResponse
from moby_plugins.adapters.tcp import TCPDial, TLSDial, ssl_context
from moby_plugins.adapters.unix_socket import UnixSocketDial
from moby_plugins.adapters.urllib3_errors import (
    ERRORS,
    CallersError,
    GoneWhileIdleError,
    causes,
    guarded,
    translate,
)
from moby_plugins.domain.address import UNIX_HOST, Address
from moby_plugins.domain.errors import SpecError
from moby_plugins.domain.exchange import Request, Response
from moby_plugins.domain.tls import TLSOptions

# Seconds for one dial, as the engine has it (protocol.md B0), where no shorter bound is given.
DIAL_TIMEOUT = 10.0
# Idle connections kept for the next calls.
IDLE_CONNECTIONS = 16

# Made once: urllib3 would make the same anew for each call.
_NEVER = Retry(False, redirect=False)
_UNBOUNDED = Timeout(total=None)

Dial: TypeAlias = Callable[[float | None], DeadlineSocket | DeadlineSSLSocket]

_DIALS: dict[str, Callable[[Address, TLSOptions | None], Dial]] = {
    "unix": lambda address, _: UnixSocketDial(address),
    "tcp": lambda address, _: TCPDial(address),
    "http": lambda address, _: TCPDial(address),
    "https": lambda address, tls: TLSDial(address, ssl_context(tls or TLSOptions())),
}


def connect(address: Address, tls: TLSOptions | None) -> "Urllib3Transport":
    """The transport that ``Settings.transports`` calls ``"urllib3"``.

    Reads the TLS files. Raises ``SpecError`` for a scheme, a path or a file that cannot be used.
    """
    if address.scheme not in _DIALS:
        known = ", ".join(sorted(_DIALS))
        raise SpecError(f"urllib3 cannot dial {address.scheme}://; it dials {known}")
    return Urllib3Transport(address, _DIALS[address.scheme](address, tls))


class Urllib3Transport:
    """A connection pool to one plugin. Threads may share it; a fork must not."""

    def __init__(self, address: Address, dial: Dial) -> None:
        self._address = address
        self._pool = _Pool(
            host=address.host or UNIX_HOST,
            port=address.port or None,
            maxsize=IDLE_CONNECTIONS,
            dial=dial,
        )

    def send(self, request: Request, timeout: float | None) -> Response:
        """One exchange over a pooled connection, or a new one.

        A connection that turns out to be closed while it lay idle is replaced,
        once, where no byte came over it and the body can be sent again.
        """
        ends = None if timeout is None else time.monotonic() + timeout
        try:
            try:
                answer = self._exchange(request, timeout)
            except HTTPError as error:
                if not (_gone_while_idle(error) and isinstance(request.body, bytes)):
                    raise
                left = None if ends is None else max(ends - time.monotonic(), 1e-3)
                answer = self._exchange(request, left)
        except CallersError as error:
            raised = error.raised
        except ERRORS as error:
            raise translate(error, self._address, answered=False) from error
        else:
            return Response(answer.status, _Body(answer, self._address), answer.headers)
        raise raised

    def close(self) -> None:
        """Close what is idle; what is in use closes when it comes back."""
        self._pool.close()

    def _exchange(self, request: Request, timeout: float | None) -> BaseHTTPResponse:
        headers = {"Accept-Encoding": SKIP_HEADER, **request.headers}
        if request.length is not None:
            headers["Content-Length"] = str(request.length)
        return self._pool.urlopen(
            "POST",
            "/" + request.method,
            body=guarded(request.body) or None,
            headers=headers,
            retries=_NEVER,
            redirect=False,
            assert_same_host=False,
            timeout=_UNBOUNDED if timeout is None else Timeout(total=timeout),
            preload_content=False,
            decode_content=False,
        )


def _gone_while_idle(error: HTTPError) -> bool:
    return any(isinstance(cause, GoneWhileIdleError) for cause in causes(error))


class _Connection(HTTPConnection):
    response_class = StrictResponse

    def __init__(self, *args: Any, dial: Dial, **options: Any) -> None:
        super().__init__(*args, **options)
        self._dial = dial
        self._reused: Any = None

    def _new_conn(self) -> socket.socket:
        limit = self.timeout if isinstance(self.timeout, (int, float)) else math.inf
        ends = time.monotonic() + limit
        try:
            sock = self._dial(min(limit, DIAL_TIMEOUT))
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "connecting timed out") from error
        except OSError as error:
            raise NewConnectionError(self, str(error)) from error
        # The bound on the dial is not that of what is sent next.
        sock.settimeout(None if limit == math.inf else max(ends - time.monotonic(), 1e-3))
        return sock

    def request(self, *args: Any, **options: Any) -> None:
        self._reused = self.sock
        if self._reused is not None:
            self._reused.heard = False
        super().request(*args, **options)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as in urllib3 itself
        try:
            return super().getresponse()
        except (ConnectionResetError, BrokenPipeError) as error:
            if self._reused is None or self._reused.heard:
                raise
            raise GoneWhileIdleError(*error.args) from error


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _Body:
    """An answer's body, straight from the socket."""

    def __init__(self, answer: BaseHTTPResponse, address: Address) -> None:
        self._answer = answer
        self._address = address
        # All of a known length was read, and urllib3 has its connection back.
        self._done = False

    def read(self, size: int, /) -> bytes:
        if self._done:
            return b""
        try:
            data = self._answer.read1(size) or b""
        except ERRORS as error:
            raise translate(error, self._address, answered=True) from error
        self._done = self._answer.length_remaining == 0
        return data

    def close(self) -> None:
        if not self._done:
            self._answer.close()
            self._answer.release_conn()
