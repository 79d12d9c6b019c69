"""Values of a response, read as an engine in Go reads them."""

from collections.abc import Callable
from typing import Any

import pytest

from moby_plugins.checks.answer import Answer, object_or_empty, text_or_empty, texts_or_empty
from moby_plugins.checks.outcome import NotPassedError
from tests.cases import every

# What Python takes for false, and Go for a value of another type.
FALSE: tuple[Any, ...] = (0, 0.0, False, "", [], {})


@every(
    ("read", "empty", "good"),
    [
        (object_or_empty, {}, {"a": 1}),
        (texts_or_empty, {}, {"A": "b"}),
        (text_or_empty, "", "a"),
    ],
)
def test_null_is_read_as_empty_and_a_value_of_another_type_is_not(
    read: Callable[[object, object], Any], empty: Any, good: Any
) -> None:
    """An engine refuses the whole response for a value of another type, be it 0 or false."""
    assert (read(None, "-"), read(good, "-")) == (empty, good)
    for value in FALSE:
        if type(value) is type(empty):
            assert read(value, "-") == empty
            continue
        with pytest.raises(NotPassedError) as caught:
            read(value, f"it is {value!r}")
        assert str(caught.value) == f"it is {value!r}"


def test_a_map_of_strings_with_a_value_that_is_not_a_string_fails_the_check() -> None:
    """Neither a number nor ``null`` is a valid value."""
    for value in ({"a": 1}, {"a": None}):
        with pytest.raises(NotPassedError):
            texts_or_empty(value, "-")


def test_the_case_of_keys_does_not_matter_and_a_body_of_null_is_an_empty_object() -> None:
    """Responses are decoded as engines, which are written in Go, decode them."""
    assert Answer("VolumeDriver.Get", 200, b'{"A": 1}').fields == {"a": 1}
    assert Answer("VolumeDriver.Get", 200, b"null").fields == {}
    assert object_or_empty({"A": 1}, "-") == {"a": 1}
