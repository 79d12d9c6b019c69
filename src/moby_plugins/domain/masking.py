"""What of a call is nobody's business: secrets in bodies that are shown or written down.

A value counts as secret by its key (``Password``, ``db-token``, ``X-Registry-Auth``),
at any depth, in any case of letters; so does what follows such a name and ``=`` in a
text (``MYSQL_PASSWORD=…`` in an environment, ``o=username=u,password=…`` in a
volume's options). Where a subsystem sends secrets under other names, ``_BY_SUBSYSTEM``
says so (protocol.md B5, B9). What holds no secret is kept to the byte.
"""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias
from urllib.parse import quote, unquote_plus

MASK = "***"

_NAMES = (
    r"(?:pass(?:word|wd|phrase)|secret|token|authorization|cookie|credential)s?|auth"
    r"|(?:api|access|secret|private|unlock)[ _.-]*key|x-registry-config"
)
_ENDS_SECRET = re.compile(rf".*(?:{_NAMES})", re.IGNORECASE | re.DOTALL)
# A whole entry of an environment, and an option among others.
_VARIABLE = re.compile(rf"([\w.-]*(?:{_NAMES}))=.*", re.IGNORECASE | re.DOTALL)
_OPTION = re.compile(rf"(?<![\w.-])([\w.-]*(?:{_NAMES}))=[^,;&\s]+", re.IGNORECASE)
# What is no JSON, or is cut off: to the end of the string or the line.
_LOOSE = re.compile(
    rf"""((?:{_NAMES})["']?\s*[:=]\s*)("(?:[^"\\]|\\.)*"?|[^\s"'][^"'\r\n]*)""", re.IGNORECASE
)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

# What becomes of the value under a key; the keys are in lower case.
_Rules: TypeAlias = Mapping[str, Callable[[Any], Any]]


def mask_body(method: str, body: bytes) -> bytes:
    """``body``, of a call of ``method`` or of its answer, with ``***`` in place of secrets.

    An answer that is masked keeps its types: base64 stays base64.
    """
    return _masked(body, _BY_SUBSYSTEM.get(method.partition(".")[0], {}))


def is_secret(key: str) -> bool:
    """Whether what stands under ``key`` is secret."""
    return _ENDS_SECRET.fullmatch(key) is not None


def _masked(body: bytes, rules: _Rules) -> bytes:
    # Bytes that are no text come out as they went in.
    text = body.decode(errors="surrogateescape")
    reader = _Reader(rules)
    try:
        value, end = reader.read(text)
    except (ValueError, RecursionError):
        # Control characters: frames and archives, which a change of length would break.
        return body if _CONTROL.search(text) else _encoded(_LOOSE.sub(rf'\1"{MASK}"', text))
    rest = text[end:]
    if reader.found or _LOOSE.search(rest):
        # What follows the first value is ignored by hosts, and not worth telling.
        return _encoded(json.dumps(value, separators=(",", ":"), ensure_ascii=False) + "\n")
    return body


def _encoded(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


class _Reader:
    """Reads JSON, and masks as it goes; ``found`` tells whether there was anything to mask."""

    def __init__(self, rules: _Rules) -> None:
        self.found = False
        self._rules = rules
        # By pairs: of keys that are the same, those that lose count too.
        self._decoder = json.JSONDecoder(object_pairs_hook=self._object)

    def read(self, text: str) -> tuple[Any, int]:
        start = len(text) - len(text.lstrip())
        value, end = self._decoder.raw_decode(text, start)
        return self._strings(value), end

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {key: self._value(key, value) for key, value in pairs}

    def _value(self, key: str, value: Any) -> Any:
        rule = self._rules.get(key.casefold())
        if rule is not None:
            return self._noted(value, rule(value))
        if is_secret(key):
            return self._noted(value, _hidden(value))
        return self._strings(value)

    def _strings(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._strings(item) for item in value]
        if isinstance(value, str):
            hidden = _VARIABLE.sub(rf"\1={MASK}", value) if _VARIABLE.fullmatch(value) else value
            return self._noted(value, _OPTION.sub(rf"\1={MASK}", hidden))
        return value

    def _noted(self, before: Any, after: Any) -> Any:
        self.found = self.found or before != after
        return after


def _hidden(value: Any) -> Any:
    """The same without what it says: of the same type, for whoever reads it."""
    if isinstance(value, dict):
        return {key: _hidden(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_hidden(item) for item in value]
    if isinstance(value, str):
        return MASK if value else value
    return 0 if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _masked_base64(value: Any) -> Any:
    return b64encode(MASK.encode()).decode() if value else value


def _masked_inside_base64(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        inside = b64decode(value, validate=True)
    except ValueError:
        return MASK
    masked = _masked(inside, _IN_THE_API)
    return value if masked == inside else b64encode(masked).decode()


def _masked_uri(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    path, mark, query = value.partition("?")
    return path + mark + "&".join(map(_masked_parameter, query.split("&")))


def _masked_parameter(parameter: str) -> str:
    name, equals, value = parameter.partition("=")
    if is_secret(unquote_plus(name)) and value:
        return f"{name}={MASK}"
    plain = unquote_plus(value).encode()
    masked = _masked(plain, {})
    return parameter if masked == plain else name + equals + quote(masked.decode().strip())


# The engine's own API: `docker secret create` sends the secret as Data.
_IN_THE_API: _Rules = {"data": lambda value: MASK if isinstance(value, str) and value else value}
_BY_SUBSYSTEM: Mapping[str, _Rules] = {
    "SecretProvider": {"value": _masked_base64},
    "AuthZPlugin": {
        "requestbody": _masked_inside_base64,
        "responsebody": _masked_inside_base64,
        "requesturi": _masked_uri,
    },
}
