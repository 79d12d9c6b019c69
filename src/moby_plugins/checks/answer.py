"""The response to a call of a check, with its values as an engine would read them."""

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from moby_plugins.checks.outcome import fail
from moby_plugins.domain.http import OK
from moby_plugins.domain.json import first_value, fold_keys
from moby_plugins.domain.text import shown
from moby_plugins.domain.typed import typed

# How many characters of a response a result shows.
SHOWN = 160
# The key of an error in a response with status 200, if it is not Err; "" if engines read none.
ERROR_KEYS = {"IpamDriver": "error", "AuthZPlugin": "", "MetricsCollector": ""}
UNREAD = "MetricsCollector"


@frozen(field_transformer=typed)
class Answer:
    """The response to a call, read whole and not yet judged. A frozen value.

    Args:
        method: The method that was called.
        status: The HTTP status.
        body: The body.
        headers: The headers.
    """

    method: str
    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(factory=dict, repr=False)

    def __str__(self) -> str:
        text = self.body.decode(errors="replace").strip()
        body = shown(text, SHOWN) if text else "without a body"
        return f"{self.method} answered {self.status} {body}"

    @property
    def value(self) -> Any:
        """The first JSON value of the body; the check fails if the body has none."""
        try:
            return first_value(self.body)
        except ValueError as error:
            fail(f"{self}: {error}")

    @property
    def fields(self) -> dict[str, Any]:
        """The JSON object of the body, with case-folded keys, as engines read it.

        It is empty if the body is ``null``, and for a method of ``MetricsCollector``, since engines
        do not read these bodies. The check fails if any other body is not an object.
        """
        if self._interface == UNREAD:
            return {}
        value = self.value
        return object_or_empty(value, f"{self}: not a JSON object")

    @property
    def error(self) -> str:
        """The error as an engine reads it; "" for a success (protocol.md B0, B4, B5, B7)."""
        if self.status != OK:
            return self.text("err") or self.body.decode(errors="replace").strip() or str(self)
        return self.text(ERROR_KEYS.get(self._interface, "err"))

    @property
    def _interface(self) -> str:
        return self.method.partition(".")[0]

    def text(self, key: str) -> str:
        """Return the text under a key of the response.

        Args:
            key: The key, in lower case.

        Returns:
            The text; "" if the body is not a JSON object, or has no string under the key.
        """
        try:
            value = first_value(self.body)
        except ValueError:
            return ""
        item = fold_keys(value).get(key) if isinstance(value, dict) else None
        return item if isinstance(item, str) else ""


def object_or_empty(value: object, came_back: object) -> dict[str, Any]:
    """Return the object ``value`` with case-folded keys; an empty one for ``None``, as Go does.

    If it is another value, fail the check; ``came_back`` becomes the message.
    """
    return {} if value is None else folded(value, came_back)


def text_or_empty(value: object, came_back: object) -> str:
    """Return the string ``value``; "" for ``None``, as Go does.

    If it is another value, fail the check; ``came_back`` becomes the message.
    """
    if value is not None and not isinstance(value, str):
        fail(came_back)
    return value or ""


def texts_or_empty(value: object, came_back: object) -> dict[str, str]:
    """Return ``value``, an object whose values are strings; an empty one for ``None``.

    Keys keep their case. If it is another value, fail the check; ``came_back`` becomes the message.
    """
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        fail(came_back)
    return value


def folded(value: object, came_back: object) -> dict[str, Any]:
    """Return the object ``value`` with case-folded keys.

    If it is not an object, fail the check; ``came_back`` becomes the message.
    """
    if not isinstance(value, dict):
        fail(came_back)
    return fold_keys(value)
