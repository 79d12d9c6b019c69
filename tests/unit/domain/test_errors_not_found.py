"""Which errors mean that a plugin responded with status 404."""

from itertools import pairwise

import pytest

from moby_plugins.domain.errors import (
    PluginError,
    PluginNotFoundError,
    StatusError,
    TransportError,
    is_not_found,
)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (StatusError(404, "M.x", "gone"), True),
        (StatusError(500, "M.x", "not found"), False),
        (StatusError(403, "M.x", "not found"), False),
        (PluginNotFoundError("db"), False),
        (TransportError("refused"), False),
        (None, False),
    ],
)
def test_not_found_is_status_404_alone(error: PluginError | None, *, expected: bool) -> None:
    """``is_not_found`` is true for the plugin's response 404, and for no other kind of absence."""
    assert is_not_found(error) is expected


def chained(*errors: BaseException) -> BaseException:
    """The first error, caused by the second, and so on."""
    for error, cause in pairwise(errors):
        error.__cause__ = cause
    return errors[0]


def test_not_found_is_seen_through_causes() -> None:
    """An error that wraps a 404, however deep, is "not found" too."""
    wrapped = chained(RuntimeError("a"), OSError("b"), StatusError(404, "M.x", "gone"))

    assert is_not_found(wrapped)


def test_not_found_is_not_seen_through_context() -> None:
    """A 404 that was merely being handled at the time does not count."""
    unrelated = RuntimeError("while cleaning up")
    unrelated.__context__ = StatusError(404, "M.x", "gone")

    assert not is_not_found(unrelated)


def test_the_search_for_not_found_ends_in_a_circle_of_causes() -> None:
    """Errors that are causes of each other are examined once."""
    first, second = RuntimeError("a"), RuntimeError("b")
    chained(first, second, first)

    assert not is_not_found(first)
