"""One exchange over a real connection, at the end of a plugin that may fail in any way."""

import select
import socket
from collections.abc import Iterator
from http import HTTPStatus
from http.client import HTTPException, HTTPMessage, parse_headers
from io import BytesIO
from typing import BinaryIO, NoReturn

from attrs import frozen

from moby_plugins.adapters.fakes.fault_turns import Turn
from moby_plugins.adapters.fakes.faults import status
from moby_plugins.adapters.fakes.replies import respond
from moby_plugins.domain.http import CHUNK_BYTES, NoAnswerError, Request, Response

MAX_LINE = 1 << 16
# What other servers say to whoever dials them.
NONSENSE = b"220 mail.example.org ESMTP ready\r\n"

# Seconds that poll() can count; a longer pause is as good as one without an end.
_LONGEST = 1e6
# Headers that say where a body ends: that is for whoever writes it to say.
_FRAMING = {"content-length", "transfer-encoding"}


class HungUpError(Exception):
    """The exchange is over, and its connection with it."""


@frozen(eq=False)
class SocketExchange:
    """A call that came over ``sock``; what ends it raises ``HungUpError``."""

    request: Request
    sock: socket.socket
    turn: Turn

    def unreachable(self, number: int) -> NoReturn:
        """Hang up, and let the host know why if it announced the call."""
        # Too late to refuse the connection: such a host dials once more, in vain.
        self.turn.errno = number
        raise HungUpError

    def pause(self, seconds: float, *, answered: bool) -> None:  # noqa: ARG002  the host's business
        """Wait, but not beyond the host's own patience."""
        # A host that waits for an answer sends nothing: what comes is its farewell.
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        if poll.poll(None if seconds > _LONGEST else seconds * 1000):
            raise HungUpError

    def hang_up(self) -> NoReturn:
        """Close the connection."""
        raise HungUpError

    def talk_nonsense(self) -> NoReturn:
        """Greet the host as a mail server does."""
        self.sock.sendall(NONSENSE)
        raise HungUpError

    def cut_off(self) -> NoReturn:
        """Close the connection: the last chunk, which says that a body is whole, is not sent."""
        raise HungUpError


def read_requests(sock: socket.socket) -> Iterator[Request]:
    """The requests of one connection, each read whole; ends when the host hangs up or errs."""
    with sock.makefile("rb") as file:
        while line := file.readline(MAX_LINE):
            try:
                headers = parse_headers(file)
                request = _request(line, headers, file)
            except (ValueError, HTTPException):
                return
            yield request
            if headers.get("Connection", "").lower() == "close":
                return


def _request(line: bytes, headers: HTTPMessage, file: BinaryIO) -> Request:
    _, _, rest = line.decode("latin-1").partition(" ")
    if "chunked" in headers.get("Transfer-Encoding", "").lower():
        body = b"".join(_chunks(file))
    else:
        body = _exactly(file, int(headers.get("Content-Length", "0")))
    return Request(rest.partition(" ")[0], body, dict(headers.items()))


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while size := int(file.readline(MAX_LINE).partition(b";")[0], 16):
        yield _exactly(file, size)
        file.readline(MAX_LINE)
    while file.readline(MAX_LINE).strip():
        pass


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise ValueError("the request's body is cut off")
    return data


def response_in(exchange: SocketExchange) -> Response:
    """What the turn's reply comes to; raises ``HungUpError`` where that is no answer."""
    turn = exchange.turn
    try:
        return respond(turn.reply, exchange)
    except HungUpError:
        raise
    except NoAnswerError as error:
        raise HungUpError from error
    except BaseException as error:
        if not turn.announced:
            return respond(status(500, str(error) or type(error).__name__), exchange)
        turn.error = error
        raise HungUpError from error


def send_response(sock: socket.socket, response: Response) -> None:
    """Send an answer as it is made, and close its body; what making it raises passes."""
    body = response.body
    lines = [f"HTTP/1.1 {response.status} {_phrase(response.status)}"]
    lines += [f"{k}: {v}" for k, v in response.headers.items() if k.lower() not in _FRAMING]
    whole = body.getvalue() if isinstance(body, BytesIO) else None
    framing = "Transfer-Encoding: chunked" if whole is None else f"Content-Length: {len(whole)}"
    head = "\r\n".join([*lines, framing, "", ""]).encode("latin-1")
    try:
        sock.sendall(head + (whole or b""))
        if whole is not None:
            return
        while chunk := body.read(CHUNK_BYTES):
            sock.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        sock.sendall(b"0\r\n\r\n")
    finally:
        body.close()


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown"
