"""The answer to a call of a check, and what an engine would read in it."""

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from moby_plugins.checks.verdict import fail
from moby_plugins.domain.http import OK
from moby_plugins.domain.json import first_value, fold_keys
from moby_plugins.domain.text import shown
from moby_plugins.domain.typed import typed

# How much of an answer is part of a finding.
SHOWN = 160
# Where engines look for an error in an answer 200, if not under Err; "" for nowhere.
ERROR_KEYS = {"IpamDriver": "error", "AuthZPlugin": "", "MetricsCollector": ""}
UNREAD = "MetricsCollector"


@frozen(field_transformer=typed)
class Answer:
    """The response to a call: read whole, and not judged yet. A frozen value.

    Args:
        method: What was called.
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
        told = shown(text, SHOWN) if text else "without a body"
        return f"{self.method} answered {self.status} {told}"

    @property
    def value(self) -> Any:
        """The first JSON value of the body; without one the check fails."""
        try:
            return first_value(self.body)
        except ValueError as error:
            fail(f"{self}: {error}")

    @property
    def fields(self) -> dict[str, Any]:
        """The answer's keys in small letters, as engines read them: ``null`` is none at all.

        Without an object the check fails, unless engines do not read this answer.
        """
        if self._interface == UNREAD:
            return {}
        value = self.value
        return folded({} if value is None else value, f"{self}: no object")

    @property
    def error(self) -> str:
        """The error that an engine sees in it; "" for a success (protocol.md B0, B4, B5, B7)."""
        if self.status != OK:
            return self.told("err") or self.body.decode(errors="replace").strip() or str(self)
        return self.told(ERROR_KEYS.get(self._interface, "err"))

    @property
    def _interface(self) -> str:
        return self.method.partition(".")[0]

    def told(self, key: str) -> str:
        """Return the text under a key of the answer.

        Args:
            key: The key, in small letters.

        Returns:
            The text; "" where there is none.
        """
        try:
            value = first_value(self.body)
        except ValueError:
            return ""
        told = fold_keys(value).get(key) if isinstance(value, dict) else None
        return told if isinstance(told, str) else ""


def folded(value: object, came_back: object) -> dict[str, Any]:
    """An object within an answer, its keys in small letters; the check fails if it is none."""
    if not isinstance(value, dict):
        fail(came_back)
    return fold_keys(value)
