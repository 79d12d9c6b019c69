"""One answer, as httptools parses it: where its parts are kept, and what bounds them.

httptools is the parser of Node.js and knows no bounds: an endless header, chunk
size or trailer is read for ever. What it takes otherwise is as strict as
``strict_response.py``, or stricter: a Content-Length that is given twice is refused.
"""

from http.client import HTTPException
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from moby_plugins.adapters.http.answer_headers import AnswerHeaders
from moby_plugins.adapters.http.strict_response import MAX_INTERIM, MAX_TRAILERS, check_framing

# Besides what is fed at once.
MAX_HEAD_BYTES = 48 << 10
MAX_HEADERS = 100
# The same between two parts of a chunked body: sizes, extensions, the trailer.
MAX_BETWEEN_BYTES = 16 << 10

_FINAL = 200
_SWITCHING_PROTOCOLS = 101


class Answer:
    """What was fed to it of one answer, interim answers before it included.

    ``status`` is 0 until the headers are whole. ``length`` is the body's, where it is
    known; ``ends_itself`` is false for a body that lasts as long as the connection.
    ``failure`` is what is wrong with the body, after what was taken of it. ``reusable``
    tells whether a next request may follow. Whoever is done with it calls ``finish``.
    """

    status = 0
    length: int | None = None
    ends_itself = True
    complete = False
    reusable = False
    failure: Exception | None = None
    _begun = False
    _interim = 0
    _trailers = 0
    _between = 0

    def __init__(self) -> None:
        self._headers: list[tuple[bytes, bytes]] = []
        self._parts: list[bytes] = []
        self._head = bytearray()
        self._parser: Any = HttpResponseParser(self)
        # A length beside chunks is ignored, and lines may end in LF: both are common.
        self._parser.set_dangerous_leniencies(
            lenient_chunked_length=True, lenient_optional_cr_before_lf=True
        )

    def feed(self, data: bytes) -> None:
        """Parse what came; ``HTTPException`` or ``HttpParserError`` for what is no head."""
        in_body = bool(self.status)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self.reusable = False
        except HttpParserError as error:
            self._fail(error)
        if not self.status:
            self._bound_head(data)
        elif in_body and not self.complete:
            self._bound_between(len(data))

    def take(self) -> bytes:
        """What came of the body since the last time."""
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        return data

    def headers(self) -> AnswerHeaders:
        """The headers, made when they are looked at."""
        return AnswerHeaders(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in self._headers
        )

    def finish(self) -> None:
        """Let go of the parser, which refers back to this."""
        self._parser = None

    @property
    def answered(self) -> bool:
        """Whether a status line has come, interim ones aside."""
        if self.status:
            return True
        # Without a callback for the end of the line, it is looked for; only where an answer fails.
        line = self._head.replace(b"\r\n", b"\n").rpartition(b"\n\n")[2]
        return _is_final(self._parser.get_status_code()) and b"\n" in line

    def on_message_begin(self) -> None:
        """Called by httptools, as all that follows: at the first byte of a status line."""
        if self.complete:
            raise HTTPException("more than one answer")
        self._begun = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a line of the trailer."""
        if self.status:
            self._trailers += 1
            if self._trailers > MAX_TRAILERS:
                raise HTTPException(f"more than {MAX_TRAILERS} trailers")
            return
        self._headers.append((name.lower(), value))
        if len(self._headers) > MAX_HEADERS:
            raise HTTPException(f"more than {MAX_HEADERS} headers")

    def on_headers_complete(self) -> None:
        """The head is whole."""
        status = self._parser.get_status_code()
        if not _is_final(status):
            self._headers = []
            self._interim += 1
            if self._interim >= MAX_INTERIM:
                raise HTTPException(f"more than {MAX_INTERIM} interim answers")
            return
        self._frame()
        self.reusable = self._parser.should_keep_alive() and status != _SWITCHING_PROTOCOLS
        self.status = status

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        self._parts.append(data)

    def on_message_complete(self) -> None:
        """The body is whole, or an interim answer is."""
        self.complete = bool(self.status)

    def _frame(self) -> None:
        codings = []
        for name, value in self._headers:
            if name == b"content-length":  # digits, and the only one: httptools has seen to it
                self.length = int(value)
            elif name == b"transfer-encoding":
                codings.append(value.decode("latin-1"))
        self.ends_itself = self.length is not None or bool(codings)
        if codings:
            check_framing(None, codings)
            self.length = None
            # Where a chunk ends is not left open.
            self._parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=False)

    def _fail(self, error: HttpParserError) -> None:
        raised = error.__context__  # what a method above raised
        if raised is not None and not isinstance(raised, Exception):
            raise raised
        self.reusable = False
        if not self.status:
            raise raised or error
        if not self.complete:  # otherwise it is about more than the answer, which is nobody's
            self.failure = raised or error

    def _bound_head(self, data: bytes) -> None:
        if not self._begun:
            raise HTTPException("an empty line instead of a status")
        self._head += data
        if len(self._head) > MAX_HEAD_BYTES:
            raise HTTPException(f"a head of more than {MAX_HEAD_BYTES} bytes")

    def _bound_between(self, size: int) -> None:
        self._between = 0 if self._parts else self._between + size
        if self._between > MAX_BETWEEN_BYTES:
            self.reusable = False
            self.failure = HTTPException("an endless chunk size or trailer")


def _is_final(status: int) -> bool:
    return status >= _FINAL or status == _SWITCHING_PROTOCOLS
