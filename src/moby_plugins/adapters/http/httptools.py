"""The fast HTTP connection (extra ``speed``): httptools, a parser in C, over a dialled socket.

It behaves as ``urllib3.py`` does, over the same dialers, deadlines and pool. A small request is
sent in one system call, and a small response is received in one. Heads of the most common form
bypass the parser (``plain_head`` in ``domain/http_grammar.py``), and so do whole responses with
such a head (``plain_response`` in ``heads.py``).

httptools wraps the parser of Node.js, which has no bounds: it reads an endless header, chunk
size or trailer for ever. It also accepts other protocols and versions, any byte in the reason of
a status line, and sizes of any number of digits. So heads, and the lines between chunks, are also
checked by the rules that both libraries share (``domain/http_grammar.py``).
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from moby_plugins.adapters.http.dialing import STOPPED_READING, Lookups, Socket, dialer_for
from moby_plugins.adapters.http.errors import ANSWERED, NOT_ANSWERED, Row, first_match, timed_out
from moby_plugins.adapters.http.exchanges import Release, SocketBody
from moby_plugins.adapters.http.heads import (
    RefusedError,
    ResponseHeaders,
    check_begun,
    check_heads,
    check_interim,
    head_of,
    plain_response,
)
from moby_plugins.adapters.http.pool import IdleConnections, PooledTransport
from moby_plugins.domain import http_grammar
from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.domain.errors import PluginError, TransportError, WireError
from moby_plugins.domain.http import (
    CHUNK_BYTES,
    CLOSED_EARLY,
    CUT_OFF,
    MALFORMED,
    FilePart,
    Request,
    Response,
    parts_of,
)
from moby_plugins.domain.http_grammar import (
    BODILESS,
    FIRST_STATUS,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_INTERIM,
    STATUS_LINE,
    SWITCHING_PROTOCOLS,
    ChunkLines,
    PlainHead,
    is_final,
    plain_head,
)
from moby_plugins.domain.text import shown

# All exceptions of an exchange, apart from those of the caller's own iterator.
ERRORS = (OSError, RefusedError, HttpParserError)

_MALFORMED = (HttpParserError, RefusedError)
_TIMED_OUT = timed_out()
_CONNECTION = (b"connection", b"proxy-connection")
# Size of the first read: most responses are smaller.
FIRST_BYTES = 16 << 10
LAST_CHUNK = b"0\r\n\r\n"


class ClosedEarlyError(ConnectionResetError):
    """The connection ended before the status line."""


_ROWS: dict[bool, tuple[Row, ...]] = {
    False: (
        _TIMED_OUT,
        ((ClosedEarlyError,), TransportError, lambda _, __: CLOSED_EARLY),
        *NOT_ANSWERED,
        (_MALFORMED, TransportError, lambda _, e: f"{MALFORMED}: {shown(e)}"),
    ),
    # Once the head is complete, only the chunks of the body can be malformed.
    True: (
        _TIMED_OUT,
        ANSWERED,
        (_MALFORMED, WireError, lambda _, __: CUT_OFF),
    ),
}


def translate(error: Exception, address: Address, *, answered: bool) -> PluginError:
    """Return the ``PluginError`` for ``error``, which is one of ``ERRORS``.

    ``answered`` says whether a status line was received before it.
    """
    translated = first_match(_ROWS[answered], [error], address, answered=answered)
    if translated is None:
        raise error
    return translated


class ResponseParser:
    """An incremental parser of one response, including interim responses before it.

    ``status`` is 0 until the headers are complete. ``length`` is the length of the body, if known;
    ``ends_itself`` is false for a body that lasts until the connection ends. ``failure`` is an
    error in the body, to be raised after the bytes that ``take`` returns. If ``reusable`` is true,
    another request may be sent over the connection; call ``begin`` before its response. The owner
    calls ``finish`` when the connection is closed.
    """

    def __init__(self) -> None:
        self._parser: Any = None
        self._strict = False
        self.begin()

    def begin(self) -> None:
        """Prepare for the next response: reset all state but the parser."""
        self.status: int = 0
        self.length: int | None = None
        self.ends_itself: bool = True
        self.complete: bool = False
        self.reusable: bool = False
        self.failure: Exception | None = None
        # Bytes still missing of a body of known length, once its head was parsed.
        self._left: int | None = None
        self._plain: PlainHead | None = None
        self._begun = False
        self._interim = 0
        self._lines: ChunkLines | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._parts: list[bytes] = []
        self._head = b""

    def feed(self, data: bytes) -> None:
        """Parse ``data``; raise ``RefusedError`` or ``HttpParserError`` for a malformed head."""
        if self._left is not None:
            self._count(data)
        elif self._begun or (plain := plain_head(data)) is None:
            self._parse(data)
        else:
            self._plain = plain
            self.status = plain.status
            self.length = self._left = plain.length
            self.reusable = True
            self._count(data[len(plain.text) :])

    @property
    def room(self) -> int:
        """The most bytes of the body to receive next."""
        return CHUNK_BYTES if self._left is None else self._left

    def take(self) -> bytes:
        """Return the bytes of the body parsed since the last call."""
        parts, self._parts = self._parts, []
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def headers(self) -> ResponseHeaders:
        """Return the headers, which are parsed on first access."""
        plain = self._plain
        if plain is None:
            return ResponseHeaders(partial(map, _decoded, self._headers))
        return ResponseHeaders(plain.lines)

    def finish(self) -> None:
        """Drop httptools' parser: as it refers to this object, the two would form a cycle."""
        self._parser = None

    def ended(self) -> Exception:
        """Return the error for a connection that ends before the head is complete."""
        if self.answered:
            return OSError("it was closed within the headers")
        return ClosedEarlyError()

    @property
    def answered(self) -> bool:
        """Whether the status line of the final response was received."""
        if self.status:
            return True
        # There is no callback for the end of this line, so it is searched for, on failure only.
        line = self._head.replace(b"\r\n", b"\n").rpartition(b"\n\n")[2]
        return self._begun and is_final(self._parser.get_status_code()) and b"\n" in line

    def on_message_begin(self) -> None:
        """Note the first byte of a status line. httptools calls this and the methods below."""
        if self.complete:
            raise RefusedError("more than one response")
        self._begun = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; ignore a line of the trailer."""
        if self.status:
            return
        self._headers.append((name.lower(), value))
        if len(self._headers) > MAX_HEADERS:
            raise RefusedError(f"more than {MAX_HEADERS} headers")

    def on_headers_complete(self) -> None:
        """Check the head, and read the status and how the body ends."""
        status = self._parser.get_status_code()
        lengths, codings = self._framing()
        if status < FIRST_STATUS:
            raise RefusedError(f"a status of {status}, which is less than {FIRST_STATUS}")
        if not is_final(status):
            options = (value for name, value in self._headers if name in _CONNECTION)
            check_interim((value.decode("latin-1") for value in options), lengths, codings)
            self._headers = []
            self._interim += 1
            if self._interim >= MAX_INTERIM:
                raise RefusedError(f"{MAX_INTERIM} interim responses, and no final one")
            return
        self.ends_itself = bool(lengths or codings)
        if codings:
            # Chunks are parsed strictly, so that the end of each is unambiguous.
            self._strict = True
            self._parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=False)
            self._lines = None if status in BODILESS else ChunkLines()
        elif lengths:
            self.length = int(lengths[0])
        # These responses have no body, but it cannot be known whether the plugin sends one.
        follows = status in BODILESS and (self.ends_itself or status == SWITCHING_PROTOCOLS)
        self.reusable = self._parser.should_keep_alive() and not follows
        self.status = status

    def on_body(self, data: bytes) -> None:
        """Keep a chunk of the body, for ``take``."""
        self._parts.append(data)

    def on_message_complete(self) -> None:
        """Note that the body is complete, unless this was an interim response."""
        self.complete = bool(self.status)

    def _parse(self, data: bytes) -> None:
        if not self._begun:
            self._make_parser()
        in_body = bool(self.status)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self.reusable = False
        except HttpParserError as error:
            self._fail(error, data)
        if not self.status:
            self._bound_head(data)
            return
        if not in_body:
            data = self._head + data if self._head else data
            data = data[check_heads(data) :]
            if self.length is not None and not self.complete:
                self._left = self.length - sum(map(len, self._parts))
                # The bytes that are counted bypass the parser, so it cannot be used again.
                self._parser = None
        if self._lines is not None and self.failure is None:
            self._check_chunks(self._lines, data)

    def _make_parser(self) -> None:
        if self._parser is None:
            self._parser = HttpResponseParser(self)
            # Common deviations: a Content-Length beside chunks (ignored), lines that end in LF,
            # and spaces after a chunk size, which some servers write in a fixed-width field.
            self._parser.set_dangerous_leniencies(
                lenient_chunked_length=True,
                lenient_optional_cr_before_lf=True,
                lenient_spaces_after_chunk_size=True,
            )
        elif self._strict:
            self._parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True)
        self._strict = False

    def _framing(self) -> tuple[list[str], list[str]]:
        lengths: list[str] = []
        codings: list[str] = []
        for name, value in self._headers:
            if name == b"content-length":
                lengths.append(value.decode("latin-1"))
            elif name == b"transfer-encoding":
                codings.append(value.decode("latin-1"))
        # Inlined here, because every call passes here.
        try:
            http_grammar.check_framing(lengths, codings)
        except ValueError as error:
            raise RefusedError(str(error)) from error
        return lengths, codings

    def _fail(self, error: HttpParserError, data: bytes) -> None:
        self.reusable = False
        line = (self._head + data).partition(b"\n")[0]
        first = error.__context__ or error  # raised by one of the callbacks, or by the parser
        try:
            of_parser = isinstance(first, HttpParserError)
            if of_parser and not (self.status or self._interim or STATUS_LINE.match(line + b"\n")):
                raise RefusedError(f"not a status line: {line!r:.80}")
            if not (self.status and isinstance(first, Exception)):
                raise first
            if not self.complete:  # otherwise it concerns data after the response
                # A new error without a traceback, which would refer to this object.
                self.failure = RefusedError(str(first))
        finally:
            del error, first  # their tracebacks refer to this frame

    def _bound_head(self, data: bytes) -> None:
        if not self._begun:
            raise RefusedError("an empty line instead of a status line")
        checked = len(self._head)
        self._head += data
        if len(self._head) > MAX_HEAD_BYTES:
            raise RefusedError(f"a head of more than {MAX_HEAD_BYTES} bytes")
        check_begun(self._head, checked)

    def _count(self, data: bytes) -> None:
        # The rest of a body of known length needs no parsing, which would copy it.
        left = (self._left or 0) - len(data)
        if left < 0:
            self.reusable = False
            data = data[:left]
        self._left = max(left, 0)
        self._parts.append(data)
        self.complete = left <= 0

    def _check_chunks(self, lines: ChunkLines, data: bytes) -> None:
        try:
            lines.check(data)
        except ValueError as error:
            self.reusable = self.complete = False
            self.failure = RefusedError(str(error))


def _decoded(header: tuple[bytes, bytes]) -> tuple[str, str]:
    return header[0].decode("latin-1"), header[1].decode("latin-1").strip(" \t")


class UnreadBody(SocketBody):
    """A response's body, read from ``sock`` and parsed by ``parser``."""

    def __init__(
        self, parser: ResponseParser, sock: Socket, address: Address, release: Callable[..., None]
    ) -> None:
        super().__init__(sock.abort, release)
        self._parser = parser
        self._sock = sock
        self._address = address
        self._received = parser.take()

    def _next(self, size: int) -> bytes:
        while not (self._received or self._is_over):
            self._received = self._parsed(size)
        data, self._received = self._received[:size], self._received[size:]
        return data

    def _parsed(self, size: int) -> bytes:
        parser = self._parser
        data = self._receive(min(size, parser.room))
        if data:
            parser.feed(data)
            if parser.complete:
                self._end(reusable=parser.reusable)
        else:
            self._end(reusable=False)
        return parser.take()

    def _receive(self, size: int) -> bytes:
        try:
            if self._parser.failure is not None:
                raise RefusedError(str(self._parser.failure))
            data = self._sock.recv(size)
            if not data and (self._parser.ends_itself or self._sock.cut_off):
                raise RefusedError("the connection ended before the end of the body")
        except ERRORS as error:
            raise translate(error, self._address, answered=True) from error
        return data


def connect(
    address: Address,
    tls: TLSOptions | None,
    /,
    *,
    idle: IdleConnections | None = None,
    lookups: Lookups | None = None,
) -> PooledTransport:
    """Return the transport that ``Settings.transports`` calls ``"httptools"``; dial nothing yet.

    ``idle`` keeps idle connections. ``lookups`` looks up host names and reads TLS files, and caches
    no result. Both may be shared with other transports. The TLS files are read here, or by the
    first dial if that takes longer than a second. Raises ``SpecError`` for a scheme, a socket's
    path or a TLS file that cannot be used.
    """
    return PooledTransport(address, dialer_for(address, tls, lookups), HttptoolsConnection, idle)


class HttptoolsConnection:
    """A connection over ``sock`` to the plugin at ``address``."""

    def __init__(self, address: Address, sock: Socket) -> None:
        self._address = address
        self._host = address.host_header
        self._sock = sock
        # Whether the other end has hung up, or sent data that was not requested.
        self.is_readable: Callable[[], bool] = sock.is_readable
        # Made for the first response that needs it, and used for all that follow.
        self._parser: ResponseParser | None = None
        self._is_new = True

    def send(self, request: Request, ends: float | None) -> bool:
        """Send ``request``; return false if the plugin responds or stops reading before its end."""
        try:
            self._sock.bound(ends)
            body = request.body
            if isinstance(body, bytes) and len(body) <= CHUNK_BYTES:
                return self._send_all(head_of(request, self._host, len(body)) + body)
            return self._send(request)
        except BaseException:
            self.close()
            raise

    def receive(self, release: Release, *, whole: bool) -> Response:
        """Receive the response's head, and return the response.

        ``release`` is called once the body was read or closed. ``whole`` is what ``send`` returned:
        if it is false, the connection is not reused.
        """
        is_new, self._is_new = self._is_new, False
        parser = None  # until it is used
        try:
            data = self._sock.recv(FIRST_BYTES)
            response = plain_response(data, is_new=is_new)
            if response is None:
                parser = self._parser = self._parser or ResponseParser()
                self._parse(parser, data)
        except ERRORS as error:
            answered = isinstance(error, OSError) and parser is not None and parser.answered
            self.close()
            raise translate(error, self._address, answered=answered) from error
        except BaseException:
            self.close()
            raise
        if response is None:
            assert parser is not None  # noqa: S101  for mypy
            parser.reusable = whole = parser.reusable and whole
            if not parser.complete:
                body = UnreadBody(parser, self._sock, self._address, partial(release, self))
                return Response(parser.status, body, parser.headers(), is_new)
            response = Response(parser.status, parser.take(), parser.headers(), is_new)
        release(self, reusable=whole)
        return response

    def close(self) -> None:
        """Close the connection."""
        if self._parser is not None:
            self._parser.finish()
        self._sock.close()

    def _parse(self, parser: ResponseParser, data: bytes) -> None:
        """Parse ``data``, and receive and parse more until the headers are complete."""
        parser.begin()
        while True:
            if not data:
                raise parser.ended()
            parser.feed(data)
            if parser.status:
                return
            data = self._sock.recv(FIRST_BYTES)

    def _send_all(self, data: bytes) -> bool:
        """Send ``data``; return false if the plugin already responds or has stopped reading."""
        try:
            self._sock.sendall(data)
        except STOPPED_READING:
            return False
        except OSError as error:
            raise translate(error, self._address, answered=False) from error
        return True

    def _send(self, request: Request) -> bool:
        """Send ``request``; return false if the plugin already responds or has stopped reading."""
        # Exceptions of the caller's own iterator pass through this loop unchanged.
        for number, piece in enumerate(pieces(request, self._host)):
            try:
                if number and isinstance(piece, FilePart):
                    self._sock.send_part(piece)
                    continue
                if number:
                    self._sock.wait_to_send()
                self._sock.sendall(piece)
            except STOPPED_READING:
                return False
            except OSError as error:
                raise translate(error, self._address, answered=False) from error
        return True


def pieces(request: Request, host: str) -> Iterable[bytes | FilePart]:
    """Return the chunks to send for ``request``, head first; ``host`` is the default Host."""
    body = request.body
    if isinstance(body, bytes):
        return head_of(request, host, len(body)), body
    head = head_of(request, host, request.length)
    return chain((head,), _chunks(body) if request.length is None else parts_of(body))


def _chunks(body: Iterable[bytes]) -> Iterator[bytes]:
    for part in body:
        if part:  # an empty chunk would end the body
            yield as_chunk(part)
    yield LAST_CHUNK


def as_chunk(part: bytes) -> bytes:
    """Return ``part``, which must not be empty, in chunked encoding."""
    return b"%x\r\n%b\r\n" % (len(part), part)
