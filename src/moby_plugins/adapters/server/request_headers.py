"""The headers of a request, read strictly: no two readers may see its end at different places.

cheroot by itself forgives a space before the colon, lets a folded line replace
the value before it, takes the last of two lengths, whatever ``int()`` takes for
one, and a length beside chunks.
"""

import re
from collections.abc import MutableMapping
from typing import Protocol

_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\x00-\x08\x0a-\x1f\x7f]*)\r\n")
_LENGTH = re.compile(rb"[0-9]{1,18}")
# What a request has once, or not at all.
_SINGLE = {b"Content-Length", b"Host", b"Transfer-Encoding"}


class Lines(Protocol):
    """Where headers are read from: bounded in size by whoever gives it."""

    def readline(self) -> bytes:
        """The next line with its end, or what there is of it."""
        ...


def read_headers(lines: Lines, headers: MutableMapping[bytes, bytes]) -> None:
    """Read up to the empty line into ``headers``, whose keys are title-cased.

    Values of a header that comes again are joined by commas. Raises
    ``ValueError`` for what is no header, for one too many, and for a body whose
    end is open to doubt.
    """
    while (line := lines.readline()) != b"\r\n":
        match = _HEADER.fullmatch(line)
        if match is None:
            raise ValueError("a line among the headers is none")
        name, value = match[1].title(), match[2].strip(b" \t")
        if name in headers:
            if name in _SINGLE:
                raise ValueError(f"two headers {name.decode()}")
            value = headers[name] + b", " + value
        headers[name] = value
    _check_framing(headers.get(b"Content-Length"), headers.get(b"Transfer-Encoding"))


def _check_framing(length: bytes | None, coding: bytes | None) -> None:
    if length is not None and not _LENGTH.fullmatch(length):
        raise ValueError("bad Content-Length")
    if coding is None:
        return
    if length is not None:
        raise ValueError("both Content-Length and Transfer-Encoding")
    if coding.lower() != b"chunked":
        raise ValueError("unknown Transfer-Encoding")
