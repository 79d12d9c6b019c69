"""The HTTP engine: urllib3's connections over any socket that was dialled.

urllib3 writes the requests, and ``http.client``, on which it stands, reads the answers,
strictly. urllib3's pool and its own answers are left out: retries, redirects, proxies and
decoding, for a plugin that never moves and encodes nothing, would take as long as the
rest; ``pooled_transport.py`` keeps connections. Whatever either raises leaves through
``urllib3_errors.translate``.
"""

from collections.abc import Callable, Iterator
from functools import partial
from http.client import IncompleteRead
from typing import Any, cast

from urllib3.connection import HTTPConnection
from urllib3.util import SKIP_HEADER

from moby_plugins.adapters.http.answer_headers import AnswerHeaders
from moby_plugins.adapters.http.dials import STOPPED_READING, Socket, dial_for
from moby_plugins.adapters.http.pooled_transport import GiveBack, PooledTransport, time_left
from moby_plugins.adapters.http.request_head import line
from moby_plugins.adapters.http.strict_response import StrictResponse
from moby_plugins.adapters.http.urllib3_errors import ERRORS, CallersError, guarded, translate
from moby_plugins.domain.address import UNIX_HOST, Address, TLSOptions
from moby_plugins.domain.http import CHUNK_BYTES, Request, Response


def connect(address: Address, tls: TLSOptions | None) -> PooledTransport:
    """The transport that ``Settings.transports`` calls ``"urllib3"``.

    Reads the TLS files. Raises ``SpecError`` for a scheme, a path or a file that cannot be used.
    """
    return PooledTransport(address, dial_for(address, tls), Urllib3Connection)


class Urllib3Connection:
    """A connection over ``sock`` to the plugin at ``address``."""

    def __init__(self, address: Address, sock: Socket) -> None:
        self._address = address
        self._sock = sock
        self._http = _Connection(address, sock)

    @property
    def heard(self) -> bool:
        """Whether a byte came since the last ``exchange`` began."""
        return self._sock.heard

    def exchange(self, request: Request, ends: float | None, give_back: GiveBack) -> Response:
        """The answer to ``request``: see ``Connection`` in ``pooled_transport.py``."""
        self._sock.heard = False
        try:
            whole = self._ask(request, ends)
            self._sock.settimeout(time_left(ends))
            answer = self._http.answer()
        except CallersError as error:
            raised = error.raised
        except ERRORS as error:
            self.close()
            raise translate(error, self._address, answered=False) from error
        except BaseException:
            self.close()
            raise
        else:
            end = partial(self._end, give_back, whole=whole)
            headers = AnswerHeaders(_lines(answer))
            return Response(answer.status, _Body(answer, self._address, end), headers)
        self.close()
        raise raised

    def has_news(self) -> bool:
        """Whether the other end has hung up, or sent what nobody asked for."""
        return self._sock.has_news()

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    def _ask(self, request: Request, ends: float | None) -> bool:
        headers = {"Accept-Encoding": SKIP_HEADER, **request.headers}
        if request.length is not None:
            headers["Content-Length"] = str(request.length)
        self._http.timeout = time_left(ends)
        try:
            self._http.request(
                "POST",
                "/" + request.method,
                body=guarded(request.body) or None,
                headers=headers,
                preload_content=False,
                decode_content=False,
            )
        except STOPPED_READING:
            return False  # it stopped reading, perhaps to answer
        return True

    def _end(self, give_back: GiveBack, *, whole: bool, read: bool) -> None:
        # http.client has let go of the socket where this answer was to be the last.
        give_back(self, reusable=whole and read and self._http.sock is not None)


class _Connection(HTTPConnection):
    response_class = StrictResponse
    auto_open = 0  # it is dialled already, and once

    def __init__(self, address: Address, sock: Socket) -> None:
        super().__init__(address.host or UNIX_HOST, address.port or None)
        self.sock = sock
        self._joins = False
        self._head = b""

    def answer(self) -> StrictResponse:
        """The answer, as ``http.client`` reads it and not as urllib3 dresses it up."""
        return cast("StrictResponse", super(HTTPConnection, self).getresponse())

    def request(self, method: str, url: str, body: Any = None, *args: Any, **options: Any) -> None:
        """Send a request as urllib3 does; head and small body in one piece."""
        # In two, it would wake the plugin twice.
        self._joins = isinstance(body, bytes) and len(body) <= CHUNK_BYTES
        self._head = b""
        super().request(method, url, body, *args, **options)

    def putheader(self, header: Any, *values: Any) -> None:
        """Add a header, as it was checked and written when it was first given."""
        if len(values) == 1 and isinstance(values[0], str) and values[0] != SKIP_HEADER:
            self._output(line(header, values[0]))  # type: ignore[attr-defined]  # http.client's own
        else:
            super().putheader(header, *values)

    def send(self, data: Any) -> None:
        """Send; but a head waits for its small body."""
        if self._joins:
            self._joins, self._head = False, data
        else:
            head, self._head = self._head, b""
            super().send(head + data if head else data)


def _lines(answer: StrictResponse) -> Iterator[tuple[str, str]]:
    yield from answer.headers.items()


class _Body:
    """An answer's body, straight from the socket."""

    def __init__(self, answer: StrictResponse, address: Address, end: Callable[..., None]) -> None:
        self._answer = answer
        self._address = address
        self._end = end
        self._done = False

    def read(self, size: int, /) -> bytes:
        if self._done:
            return b""
        answer = self._answer
        try:
            data = answer.read1(size)
            if not data and answer.length:
                raise IncompleteRead(b"", answer.length)
        except ERRORS as error:
            raise translate(error, self._address, answered=True) from error
        # All of a known length has come, or the end of another.
        if answer.length == 0 or not data:
            self._finish(read=True)
        return data

    def close(self) -> None:
        if not self._done:
            self._finish(read=False)

    def _finish(self, *, read: bool) -> None:
        self._done = True
        self._answer.close()
        self._end(read=read)
