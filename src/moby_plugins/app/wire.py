"""Conversion between Python values and JSON bodies. See ``structuring.py`` for the types."""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from moby_plugins.app.structuring import converter, structure
from moby_plugins.domain.errors import WireError
from moby_plugins.domain.json import first_value

# JSON escapes: of a backslash, of a pair of surrogates, and of half a pair.
_ESCAPES = re.compile(r"\\\\|\\ud[89ab]..\\ud[c-f]..|\\ud[89a-f]..")


def encode(args: Any) -> bytes:
    """Return the body for a call's arguments: JSON and a newline, or nothing for ``None``.

    ``args`` may be an attrs value or any other value that cattrs can convert. Half of a surrogate
    pair becomes U+FFFD, as in Go. Raise ``ValueError`` or ``TypeError`` if a value has no JSON
    form, and ``WireError`` if cattrs cannot be imported.
    """
    if args is None:
        return b""
    try:
        text = "".join(_encoded(args, 0))
    except RecursionError:  # a value that contains itself: this encoder raises ValueError for it
        try:
            text = _ENCODER.encode(args)
        except RecursionError as error:
            raise ValueError("the arguments are nested too deeply for JSON") from error
    if "\\ud" in text:
        text = _ESCAPES.sub(_whole, text)
    return text.encode() + b"\n"


def decode(body: bytes, into: Any = None) -> Any:
    """Return the first JSON value in a body, converted to the type ``into`` if that is given.

    Without ``into``, an empty body gives ``None``. Raise ``WireError`` if the body is not JSON or
    the value does not fit ``into``, and ``TypeError`` if cattrs does not know the type.
    """
    if into is None and not body:
        return None
    try:
        value = first_value(body)
    except ValueError as error:
        raise WireError(str(error)) from error
    return value if into is None else structure(value, into)


def _plain(value: Any) -> Any:
    # The encoder calls this only for values that are not JSON types; most calls have none.
    plain = converter().unstructure(value)
    if type(plain) is type(value):
        raise TypeError(f"{type(value).__name__} has no JSON form")
    return plain


def _whole(escape: re.Match[str]) -> str:
    return r"\ufffd" if len(escape[0]) == len(r"\ufffd") else escape[0]


_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=_plain)


def _reusable_encoder(encoder: json.JSONEncoder) -> Callable[[Any, int], Iterable[str]]:
    """Return a function like ``encoder.iterencode``, with a C encoder that is made only once.

    ``iterencode`` makes one for each value, which takes as long as encoding a small value.
    """
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    if make is None:  # this Python has no C encoder
        return lambda value, _: encoder.iterencode(value)
    quote = json.encoder.encode_basestring_ascii
    # Without its check for circular references, whose state all threads would share.
    cached: Callable[[Any, int], Iterable[str]] = make(
        None, encoder.default, quote, None, ":", ",", False, False, False
    )
    return cached


_encoded = _reusable_encoder(_ENCODER)
