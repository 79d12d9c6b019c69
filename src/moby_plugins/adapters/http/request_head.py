"""Headers as they are sent: checked and written once, for a client sends the same with every call.

``http.client`` would check and write them anew.
"""

import re
from functools import lru_cache

from moby_plugins.domain.http import Request

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BAD_VALUE = re.compile(r"[\r\n\0]")
# How long the body is, is the engine's to say.
_FRAMING = {"content-length", "transfer-encoding"}


@lru_cache(maxsize=256)
def line(name: str, value: str) -> bytes:
    """One header without its end; ``ValueError`` for what would break the line."""
    if not _NAME.fullmatch(name) or _BAD_VALUE.search(value):
        raise ValueError(f"{name!r}: {value!r} is not a header")
    return f"{name}: {value}".encode("latin-1")


def head_of(request: Request, host: str, length: int | None) -> bytes:
    """Request line and headers, up to the body of ``length`` bytes, or of chunks for ``None``.

    ``host`` is the Host where the request names none. Raises ``ValueError`` for a
    header that would break its line.
    """
    framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
    headers = _lines(tuple(request.headers.items()), host)
    return b"POST /%b HTTP/1.1\r\n%b%b\r\n\r\n" % (request.method.encode(), headers, framing)


@lru_cache(maxsize=128)
def _lines(headers: tuple[tuple[str, str], ...], host: str) -> bytes:
    given = {name: value for name, value in headers if name.lower() not in _FRAMING}
    if "host" not in {name.lower() for name in given}:
        given["Host"] = host
    return b"".join(line(name, value) + b"\r\n" for name, value in given.items())
