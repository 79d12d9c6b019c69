"""Classes whose fields cannot be told apart in JSON, and aliases of types."""

import json
from enum import Enum
from typing import Annotated, Any

import pytest
from attrs import Factory, field, frozen
from typing_extensions import TypeAliasType, TypeVar

from moby_plugins.app.fields import fields_of, resolved
from moby_plugins.app.results import encode_result
from moby_plugins.app.subsystem import omitempty
from moby_plugins.app.wire import decode, encode
from moby_plugins.domain.errors import WireError

T = TypeVar("T")
K = TypeVar("K")


class Scope(Enum):
    """No member is empty."""

    LOCAL = "local"


@frozen
class Twice:
    """Two fields with one name on the wire."""

    _name: str = ""
    name_: str = ""


@frozen
class Three:
    """A field whose zero would be read as three."""

    retries: int = field(default=3, metadata=omitempty())


@frozen
class Made:
    """A field whose default is made."""

    sizes: tuple[int, ...] = field(factory=lambda: (1,), metadata=omitempty())


@frozen
class Mapped:
    """A field whose default is a mapping."""

    sizes: dict[str, int] = field(default={"a": 1}, metadata=omitempty())


@frozen
class Kept:
    """Fields of which no value is lost."""

    size: int | None = field(default=None, metadata=omitempty())
    sizes: tuple[int, ...] = field(factory=tuple, metadata=omitempty())
    scope: Scope = field(default=Scope.LOCAL, metadata=omitempty())
    inner: "Kept | None" = field(default=None, metadata=omitempty())
    own: tuple[int, ...] = field(
        default=Factory(lambda self: self.sizes, takes_self=True), metadata=omitempty()
    )


@pytest.mark.parametrize("size", [None, 0, 3])
def test_no_value_of_a_field_that_is_omitempty_is_lost(size: int | None) -> None:
    """Zero is sent where an absent key would be read as ``None``."""
    value = Kept(size, inner=Kept())

    assert decode(encode(value), Kept) == value
    assert decode(encode_result(value, Kept, key="", method="S.M"), Kept) == value
    assert json.loads(encode(Kept())) == {"Scope": "local"}
    assert json.loads(encode_result(Kept(), Kept, key="", method="S.M")) == {"Scope": "local"}


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Made, r"^Made.sizes is omitempty\(\), and its default is not empty: an empty value would"),
        (Mapped, r"an empty value would be read as \{'a': 1\}$"),
        (Twice, "^Twice: _name and name_ are both 'Name' on the wire$"),
        (Three, r"^Three.retries is omitempty\(\), and its default is not empty: an empty value"),
    ],
)
def test_a_class_of_which_a_value_would_be_lost_is_a_type_error(kind: Any, reason: str) -> None:
    """It is raised before anything is sent, by each end."""
    with pytest.raises(TypeError, match=reason):
        fields_of(kind)
    with pytest.raises(TypeError):
        encode(kind())
    with pytest.raises(TypeError):
        decode(b"{}", kind)


def test_an_alias_stands_for_its_type_with_the_types_that_it_is_given() -> None:
    """An alias of the ``type`` statement may have parameters, and may name another alias."""
    ids: Any = TypeAliasType("ids", list[int])
    pair: Any = TypeAliasType("pair", dict[K, list[T]], type_params=(K, T))  # type: ignore[arg-type]  # they are
    named: Any = TypeAliasType("named", pair[str, T], type_params=(T,))  # type: ignore[arg-type]

    assert resolved(ids) == list[int]
    assert resolved(Annotated[ids, "inside"]) == list[int]
    assert resolved(pair[str, int]) == dict[str, list[int]]
    assert resolved(named[int]) == dict[str, list[int]]
    assert decode(b'{"a": [1]}', named[int]) == {"a": [1]}
    with pytest.raises(WireError, match=r"a\[0\]: a whole number expected, not a string"):
        decode(b'{"a": ["1"]}', named[int])


def test_an_alias_of_itself_has_an_end() -> None:
    """Following it is given up with a ``TypeError``."""
    alias: Any = type("Alias", (), {})()
    alias.__supertype__ = alias

    with pytest.raises(TypeError, match=r"is an alias of itself$"):
        resolved(alias)
