"""The fast HTTP engine (extra ``speed``): httptools, a parser in C, over a lean connection.

It keeps the promises of ``urllib3_http.py``, under the same dials, deadlines and pool;
what parses and bounds an answer is ``httptools_answer.py``. A small request leaves in
one piece, and a small answer is read in one.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain

from moby_plugins.adapters.http.dials import STOPPED_READING, Socket, dial_for
from moby_plugins.adapters.http.httptools_answer import Answer
from moby_plugins.adapters.http.httptools_body import UnreadBody
from moby_plugins.adapters.http.httptools_errors import ERRORS, ClosedEarlyError, translate
from moby_plugins.adapters.http.pooled_transport import GiveBack, PooledTransport, time_left
from moby_plugins.adapters.http.request_head import head_of
from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.domain.http import CHUNK_BYTES, Request, Response

# What is asked of the socket at first: most answers are smaller.
FIRST_BYTES = 16 << 10


def connect(address: Address, tls: TLSOptions | None) -> PooledTransport:
    """The transport that ``Settings.transports`` calls ``"httptools"``.

    Reads the TLS files. Raises ``SpecError`` for a scheme, a path or a file that cannot be used.
    """
    return PooledTransport(address, dial_for(address, tls), HttptoolsConnection)


class HttptoolsConnection:
    """A connection over ``sock`` to the plugin at ``address``."""

    def __init__(self, address: Address, sock: Socket) -> None:
        self._address = address
        self._host = address.host_header
        self._sock = sock

    @property
    def heard(self) -> bool:
        """Whether a byte came since the last ``exchange`` began."""
        return self._sock.heard

    def exchange(self, request: Request, ends: float | None, give_back: GiveBack) -> Response:
        """The answer to ``request``: see ``Connection`` in ``pooled_transport.py``."""
        answer = Answer()
        try:
            self._begin(ends)
            whole = self._send(request)
            self._receive_head(answer)
        except BaseException:
            self.close()
            answer.finish()
            raise
        answer.reusable = answer.reusable and whole
        if not answer.complete:
            body = UnreadBody(answer, self._sock, self._address, partial(give_back, self))
            return Response(answer.status, body, answer.headers())
        answer.finish()
        give_back(self, reusable=answer.reusable)
        return Response(answer.status, answer.take(), answer.headers())

    def has_news(self) -> bool:
        """Whether the other end has hung up, or sent what nobody asked for."""
        return self._sock.has_news()

    def close(self) -> None:
        """Hang up."""
        self._sock.close()

    def _begin(self, ends: float | None) -> None:
        self._sock.heard = False
        try:
            self._sock.settimeout(time_left(ends))
        except TimeoutError as error:
            raise translate(error, self._address, answered=False) from error

    def _send(self, request: Request) -> bool:
        """Send it; false where the plugin stopped reading, perhaps to answer."""
        # What the caller's own iterator raises in this loop passes as it is.
        for piece in _pieces(request, self._host):
            try:
                self._sock.sendall(piece)
            except STOPPED_READING:
                return False
            except OSError as error:
                raise translate(error, self._address, answered=False) from error
        return True

    def _receive_head(self, answer: Answer) -> None:
        try:
            while not answer.status:
                data = self._sock.recv(FIRST_BYTES)
                if not data and answer.answered:
                    raise OSError("it was closed among the headers")
                if not data:
                    raise ClosedEarlyError
                answer.feed(data)
        except ERRORS as error:
            answered = isinstance(error, OSError) and answer.answered
            raise translate(error, self._address, answered=answered) from error


def _pieces(request: Request, host: str) -> Iterable[bytes]:
    body = request.body
    if isinstance(body, bytes):
        head = head_of(request, host, len(body))
        return (head + body,) if len(body) <= CHUNK_BYTES else (head, body)
    head = head_of(request, host, request.length)
    return chain((head,), _chunks(body) if request.length is None else body)


def _chunks(body: Iterable[bytes]) -> Iterator[bytes]:
    for part in body:
        if part:  # an empty chunk would be the last
            yield b"%x\r\n%b\r\n" % (len(part), part)
    yield b"0\r\n\r\n"
