"""Values whose fields are held to their types when they are made, where no type checker looks.

``@frozen(field_transformer=typed)`` has a class refuse what is not of a field's type, with a
``TypeError`` that names the field: otherwise it would fail later, far from the mistake. Not for
the requests and responses of each call, which would take longer, nor for the messages of
subsystems: what a plugin returns is judged when it is sent, so that the error names the method.
"""

from collections.abc import Callable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeAlias, Union, get_args, get_origin

from attrs import Attribute
from attrs.validators import and_

from moby_plugins.domain.text import class_name, listed, shown

# Whether a value is of a type.
Fits: TypeAlias = Callable[[object], bool]


def typed(_: type, fields: "list[Attribute[Any]]") -> "list[Attribute[Any]]":
    """Return ``fields``, each of which checks its type before its own validator looks."""
    # What is inherited is checked already; attrs' stubs do not know of it.
    own = [field.init and not getattr(field, "inherited", False) for field in fields]
    return [
        field.evolve(validator=_checking(field)) if is_own else field
        for field, is_own in zip(fields, own, strict=True)
    ]


def _checking(field: "Attribute[Any]") -> Any:
    return and_(is_of_its_type, field.validator) if field.validator else is_of_its_type


def is_of_its_type(_: object, attribute: "Attribute[Any]", value: object) -> None:
    """Validate a field of attrs: ``TypeError`` for what is not of its type."""
    kind: Any = attribute.type
    # Nearly always it is just that, or was not given.
    if type(value) is kind or value is attribute.default:
        return
    if not _fits(kind)(value):
        # The value is not shown: it may be a passphrase.
        wanted, given = shown(_name(kind)), shown(_kind_of(value))
        raise TypeError(f"{attribute.name} must be a {wanted}, not a {given}")


# Types are few, and never change.
@cache
def _fits(kind: Any) -> Fits:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {Union, UnionType}:
        either = [_fits(each) for each in arguments if each is not NoneType]
        or_none = NoneType in arguments
        return lambda value: (value is None and or_none) or any(fits(value) for fits in either)
    if origin is tuple and arguments[1:] == (Ellipsis,):
        item, own = _fits(arguments[0]), {arguments[0]}
        return lambda value: (
            isinstance(value, tuple) and ({*map(type, value)} <= own or all(map(item, value)))
        )
    if origin is Callable:
        return callable
    if origin is not None and issubclass(origin, Mapping):
        return lambda value: isinstance(value, Mapping)
    # A protocol is looked at where it is used, and ``Any`` is everything.
    if not isinstance(kind, type) or getattr(kind, "_is_protocol", False):
        return lambda _: True
    # A boolean is an int to Python, but no number to a person; a whole number is one.
    kinds = (int, float) if kind is float else (kind,)
    return lambda value: isinstance(value, kinds) and (bool in kinds or type(value) is not bool)


def _kind_of(value: object) -> str:
    name = class_name(value)
    if not isinstance(value, tuple):
        return name
    return f"{name} of {listed(sorted({*map(class_name, value)}))}"


def _name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)
