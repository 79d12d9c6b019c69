"""Classes whose fields cannot be told apart in JSON, and aliases of types."""

from typing import Any

import pytest
from attrs import field, frozen

from moby_plugins.app.fields import fields_of, resolved
from moby_plugins.app.subsystem import omitempty
from moby_plugins.app.wire import decode, encode


@frozen
class Twice:
    """Two fields with one name on the wire."""

    _name: str = ""
    name_: str = ""


@frozen
class Three:
    """A field whose zero would be read as three."""

    retries: int = field(default=3, metadata=omitempty())


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Twice, "^Twice: _name and name_ are both 'Name' on the wire$"),
        (Three, r"^Three.retries is omitempty\(\), and its default is not empty: 0 would be read"),
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


def test_an_alias_of_itself_has_an_end() -> None:
    """Following it is given up with a ``TypeError``."""
    alias: Any = type("Alias", (), {})()
    alias.__supertype__ = alias

    with pytest.raises(TypeError, match=r"is an alias of itself$"):
        resolved(alias)
