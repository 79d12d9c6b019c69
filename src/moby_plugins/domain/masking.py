r"""Mask secrets in bodies before they are shown or recorded.

A value is secret if its key names a secret (``Password``, ``db-token``, ``X-Registry-Auth``), at
any depth and in any case of letters. Key and value may also be members of an object
(``{"Name": "TOKEN", "Value": …}``) or neighbours in a list (``["--password", …]``). In texts, the
secrets are what follows such a name and ``=`` or ``:``, the user in a URL, private keys, and the
values of HTTP's ``Authorization``. JSON and base64 inside a string are masked in turn. A body
without secrets is not changed.

The bodies of ``AuthZPlugin`` and ``SecretProvider`` consist mostly of secrets (protocol.md B5,
B9), so only known harmless fields are kept. If such a body cannot be parsed, because it is cut off
or in another format, it becomes ``*** (N bytes)``.
"""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Any, TypeAlias
from urllib.parse import quote, unquote, unquote_plus

from attrs import frozen

from moby_plugins.domain.secret_names import (
    LOOSE,
    MASK,
    SETTING,
    holds_token,
    is_flag,
    is_secret,
    mask_settings,
    names_secret,
)

__all__ = ["MASK", "is_secret", "mask_body", "mask_method", "mask_text"]

# How often JSON may be nested in strings of JSON; deeper strings are masked whole.
MAX_NESTED = 5

# The name of an environment variable.
_VARIABLE = re.compile(r"[\w.-]+")
_BLANK = "\ufeff \t\r\n"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{12,}={0,2}")
_LONG_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{20}")
# Base64 within a text; it may continue over several lines.
_BASE64_RUN = re.compile(r"[A-Za-z0-9+/_-]{20,}(?:\r?\n[A-Za-z0-9+/_-]+)*={0,2}")
# The characters of base64 in URLs and file names, and those that they stand for.
_STANDARD = str.maketrans("-_", "+/")
_FORM = re.compile(r"[^\s=&{\[\"']+=[^\s&]*(?:&[^\s=&]+=[^\s&]*)+")
_MARKS = re.compile(r'"(?:[^"\\]++|\\.)*+"|["\[\]{},]', re.DOTALL)
_CLOSES = {"[": "]", "{": "}"}
_WHOLE = re.compile(rb"\*\*\* \(\d+ bytes\)\n?")
# Keys of an object that holds one name and its value.
_LABELS = {"name", "key", "k", "id", "label", "option", "variable", "header"}
_LABELLED = {"value", "values", "val", "v", "valuefrom", "text", "content", "data", "default"}

# A function that masks the value, by the key in lower case.
_Rules: TypeAlias = Mapping[str, Callable[[Any], Any]]


@frozen
class _Subsystem:
    """The keys that occur in a subsystem's bodies, in lower case, and how to mask their values.

    Values of ``rules`` are masked by functions. Values of ``plain`` are kept unless they are arrays
    or objects, values of ``nested`` in any case. Values of all other keys are masked whole.
    """

    rules: _Rules
    plain: AbstractSet[str]
    nested: AbstractSet[str]

    def kept(self, key: str, value: Any) -> Any:
        """Return ``value`` if it may be shown or the rules have masked it; else mask it whole."""
        plain = key in self.plain and not isinstance(value, (dict, list))
        return value if plain or key in self.rules or key in self.nested else _hidden(value)


def mask_body(method: str, body: bytes, omitted: int = 0) -> bytes:
    """Return the body of a call of ``method``, or of its response, with ``***`` for secrets.

    ``omitted`` is how many bytes are missing at the end of ``body``. Masked values keep their type:
    base64 stays base64.
    """
    path = unquote(method.partition("?")[0])
    subsystem = _BY_SUBSYSTEM.get(path.rpartition("/")[2].partition(".")[0].casefold())
    if not (body or omitted) or _WHOLE.fullmatch(body):
        return body
    if subsystem is None:
        return _masked(body, omitted)
    return _understood(body, subsystem) or _whole(len(body) + omitted)


def mask_method(method: str) -> str:
    """Return ``method`` without the secrets in its query."""
    return str(_masked_uri(method))


def mask_text(text: str) -> str:
    """Return ``text``, for example of an error, without the secrets in it."""
    return _masked_string(text, 0)


def _whole(size: int) -> bytes:
    return f"{MASK} ({size} bytes)".encode()


def _understood(body: bytes, subsystem: _Subsystem) -> bytes | None:
    """Return ``body``, a JSON object with known keys, masked; ``None`` if it is not an object."""
    reader = _Reader(subsystem.rules, 0)
    try:
        value, rest = reader.read(_decoded(body))
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    masked = {key: subsystem.kept(key.casefold(), item) for key, item in value.items()}
    # Write the object again if a key is repeated: ``value`` has only its last value.
    if reader.found or reader.doubled or masked != value or rest.strip():
        return _dumped(masked)
    return body


def _masked(body: bytes, omitted: int = 0, depth: int = 0) -> bytes:
    text = _decoded(body)
    reader = _Reader({}, depth)
    try:
        value, rest = reader.read(text)
    except (ValueError, RecursionError):
        return _masked_text(body, text, omitted, depth)
    if rest.strip() and not isinstance(value, (dict, list)):
        return _masked_text(body, text, omitted, depth)
    if reader.found or (rest.strip() and _suspicious(rest)):
        # Hosts ignore what follows the first value, so it is dropped.
        return _dumped(value)
    return body


def _decoded(body: bytes) -> str:
    # ``surrogateescape`` lets bytes that are not text be encoded to the same bytes later.
    encoding = json.detect_encoding(body)
    if not encoding.startswith("utf-8"):
        with suppress(UnicodeDecodeError):
            text = body.decode(encoding)
            # The body may be binary after all: without JSON or a secret this text is not used.
            if text.lstrip(_BLANK)[:1] in ("{", "[") or mask_settings(text, LOOSE) != text:
                return text
    return body.decode(errors="surrogateescape")


def _encoded(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _dumped(value: Any) -> bytes:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    try:
        return _encoded(text + "\n")
    except UnicodeEncodeError:  # half of a surrogate pair, which was escaped in the body
        return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _masked_text(body: bytes, text: str, omitted: int, depth: int) -> bytes:
    """Mask a body that is not JSON, or is malformed or cut off."""
    if text.lstrip(_BLANK)[:1] in ("{", "["):
        return _masked_broken(body, text, omitted, depth)
    if _CONTROL.search(text):
        # Frames or an archive: a change of length would break it.
        return _encoded(mask_settings(text, SETTING, _starred))
    if _FORM.fullmatch(text.strip()):
        return _encoded(_masked_query(text))
    return _encoded(mask_settings(_masked_runs(text, depth), LOOSE))


def _masked_broken(body: bytes, text: str, omitted: int, depth: int) -> bytes:
    """Return a body of JSON that is cut off or malformed, masked if it may hold a secret.

    A masked body has only the complete values, or is ``*** (N bytes)`` if none can be parsed.
    """
    text = text.lstrip(_BLANK)
    whole, rest = _mended(text)
    reader = _Reader({}, depth)
    try:
        value, _ = reader.read(whole)
    except (ValueError, RecursionError):
        return _whole(len(body) + omitted) if _suspicious(text) else body
    return _dumped(value) if reader.found or reader.warned or _suspicious(rest) else body


def _mended(text: str) -> tuple[str, str]:
    """Return ``text`` completed after its last whole value, and the rest of the text."""
    closing: list[str] = []
    end = 0
    for match in _MARKS.finditer(text):
        mark = match[0]
        if mark == '"':
            break
        if mark in _CLOSES:
            closing.append(_CLOSES[mark])
        elif mark in "]}":
            if not closing or closing.pop() != mark:
                return text, ""
        elif mark != ",":
            continue
        end = match.start() if mark == "," else match.end()
    return text[:end] + "".join(reversed(closing)), text[end:]


def _suspicious(text: str) -> bool:
    """Return whether a text that cannot be parsed may hold a secret."""
    plain = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)
    if "//" in plain or _LONG_BASE64.search(plain) is not None or names_secret(plain):
        return True
    return mask_settings(plain, LOOSE) != plain


class _Reader:
    """A JSON decoder that masks secrets.

    ``found`` is true if a value was masked, ``warned`` if a secret's name occurred, and
    ``doubled`` if an object had a key twice.
    """

    def __init__(self, rules: _Rules, depth: int) -> None:
        self.found = False
        self.warned = False
        self.doubled = False
        self._rules = rules
        self._depth = depth
        # As pairs, to see all values of a repeated key. Not strict: strings with control
        # characters, which hosts reject, are masked too.
        self._decoder = json.JSONDecoder(object_pairs_hook=self._object, strict=False)

    def read(self, text: str) -> tuple[Any, str]:
        """Return the first JSON value in ``text``, masked, and the rest of ``text``.

        Raises ``ValueError`` if ``text`` does not begin with JSON.
        """
        start = len(text) - len(text.lstrip(_BLANK))
        value, end = self._decoder.raw_decode(text, start)
        return self._strings(value), text[end:]

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        labelled = any(
            key.casefold() in _LABELS and isinstance(value, str) and is_secret(value)
            for key, value in pairs
        )
        self.warned = self.warned or labelled
        members = {
            key: self._hide(value)
            if labelled and key.casefold() in _LABELLED
            else self._value(key, value)
            for key, value in pairs
        }
        self.doubled = self.doubled or len(members) < len(pairs)
        return members

    def _value(self, key: str, value: Any) -> Any:
        rule = self._rules.get(key.casefold())
        if rule is not None:
            return self._noted(value, rule(value))
        return self._hide(value) if is_secret(key) else self._strings(value)

    def _hide(self, value: Any) -> Any:
        self.warned = True
        return self._noted(value, _hidden(value))

    def _strings(self, value: Any) -> Any:
        if isinstance(value, list):
            return self._list(value)
        if isinstance(value, str):
            return self._noted(value, _masked_string(value, self._depth))
        return value

    def _list(self, items: list[Any]) -> list[Any]:
        masked_items: list[Any] = []
        before: Any = None
        for item in items:
            follows = isinstance(before, str) and (
                is_flag(before) or (len(items) == len("ab") and is_secret(before))
            )
            masked_items.append(
                self._hide(item) if follows and masked_items else self._strings(item)
            )
            before = item
        if isinstance(before, str) and (is_flag(before) or is_secret(before)):
            self.warned = True  # its value may have been cut off
        return masked_items

    def _noted(self, before: Any, after: Any) -> Any:
        self.found = self.found or before != after
        return after


def _hidden(value: Any) -> Any:
    """Return the mask of a JSON value, of the same type: ``***`` for texts, 0 for numbers."""
    if isinstance(value, dict):
        return {key: _hidden(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_hidden(item) for item in value]
    if isinstance(value, str):
        return MASK if value else value
    return 0 if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _masked_string(text: str, depth: int) -> str:
    """Mask a JSON string, which may hold a text, a setting, JSON, a query or base64."""
    name, equals, value = text.partition("=")
    if equals and _VARIABLE.fullmatch(name):
        if is_secret(name):
            return name + equals + MASK
        inside = _masked_inside(value, depth)
        if inside is not None:
            return name + equals + inside
    inside = _masked_inside(text, depth)
    if inside is not None:
        return inside
    if _FORM.fullmatch(text):
        return _masked_query(text)
    return mask_settings(_masked_runs(text, depth), SETTING)


def _masked_runs(text: str, depth: int) -> str:
    """Mask the secrets in the base64 within a text."""
    return _BASE64_RUN.sub(lambda run: _masked_base64_text(run[0], run[0], depth) or run[0], text)


def _masked_inside(text: str, depth: int) -> str | None:
    """Mask the secrets in a string of JSON or base64; return ``None`` if it is neither."""
    plain = text.strip()
    if plain[:1] in ("{", "["):
        if depth >= MAX_NESTED:
            return MASK
        data = _encoded_or_none(plain)
        if data is None:
            return None
        masked = _masked(data, depth=depth + 1)
        return text if masked == data else masked.decode(errors="surrogateescape").strip()
    # Many tokens have only letters of base64, too, and as such they would be harmless bytes.
    if _BASE64.fullmatch(plain) and not holds_token(plain):
        return _masked_base64_text(text, plain, depth)
    return None


def _masked_base64_text(text: str, plain: str, depth: int) -> str | None:
    """Return the base64 ``plain`` with the secrets in its data masked.

    Return ``text`` if nothing is masked, and ``None`` if ``plain`` is not valid base64.
    """
    joined = "".join(plain.split()).translate(_STANDARD)
    try:
        data = b64decode(joined + "=" * (-len(joined) % 4))
    except ValueError:
        return None
    inside = data.decode(errors="surrogateescape")
    if depth >= MAX_NESTED:
        return MASK if inside.isprintable() else None
    masked = _masked(data, depth=depth + 1)
    if masked == data:
        # The data may also be a string of JSON or base64.
        masked = _encoded(_masked_string(inside, depth + 1))
    return text if masked == data else b64encode(masked).decode()


def _encoded_or_none(text: str) -> bytes | None:
    try:
        return _encoded(text)
    except UnicodeEncodeError:
        return None


def _starred(value: str) -> str:
    """Return as many stars as ``value`` has bytes; a single byte, maybe a coincidence, is kept."""
    size = len(value.encode(errors="surrogatepass"))
    return "*" * size if size > 1 and size == len(_encoded_or_none(value) or b"") else value


def _masked_base64(value: Any) -> Any:
    return b64encode(MASK.encode()).decode() if value else value


def _masked_inside_base64(value: Any) -> Any:
    if not isinstance(value, str) or not value:
        return _hidden(value)
    try:
        inside = b64decode(value, validate=True)
    except ValueError:
        return MASK
    masked = _masked_api_body(inside)
    return value if masked == inside else b64encode(masked).decode()


def _masked_api_body(body: bytes) -> bytes:
    """Mask a body of the engine's API: one or more JSON values; mask any other body whole."""
    if _WHOLE.fullmatch(body):
        return body
    reader = _Reader(_IN_THE_API, 0)
    values: list[Any] = []
    rest = _decoded(body)
    try:
        while rest.strip():
            value, rest = reader.read(rest)
            if not isinstance(value, (dict, list, type(None))):
                return _whole(len(body))
            values.append(value)
    except (ValueError, RecursionError):
        return _whole(len(body))
    return b"".join(map(_dumped, values)) if reader.found else body


def _masked_uri(value: Any) -> Any:
    if not isinstance(value, str):
        return _hidden(value) if isinstance(value, (dict, list)) else value
    path, mark, query = value.partition("?")
    return mask_settings(path, SETTING) + mark + _masked_query(query)


def _masked_query(query: str) -> str:
    return "&".join(map(_masked_parameter, query.split("&")))


def _masked_parameter(parameter: str) -> str:
    name, equals, value = parameter.partition("=")
    if not equals:
        name, value = "", parameter
    if is_secret(unquote_plus(name)) and value:
        return f"{name}={MASK}"
    plain = unquote_plus(value)
    masked = _masked_string(plain, 0)
    return parameter if masked == plain else name + equals + quote(masked)


# In the engine's API, `docker secret create` sends the secret as Data.
_IN_THE_API: _Rules = {"data": _hidden}
_BY_SUBSYSTEM: Mapping[str, _Subsystem] = {
    "secretprovider": _Subsystem(
        {"value": _masked_base64},
        {
            *("secretname", "servicehostname", "serviceid", "servicename", "taskid"),
            *("taskname", "taskimage", "nodeid", "err", "donotreuse"),
        },
        {"secretlabels", "servicelabels", "serviceendpointspec"},
    ),
    "authzplugin": _Subsystem(
        {
            "requestbody": _masked_inside_base64,
            "responsebody": _masked_inside_base64,
            "requesturi": _masked_uri,
        },
        {
            *("user", "userauthnmethod", "requestmethod", "responsestatuscode"),
            *("allow", "msg", "err"),
        },
        {"requestheaders", "requestpeercertificates", "responseheaders"},
    ),
}
