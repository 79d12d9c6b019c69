"""Check the types of fields at run time, for programs without a type checker.

A class with ``@frozen(field_transformer=typed)`` raises a ``TypeError`` that names the field if a
value has the wrong type, instead of failing later, far from the mistake. This check is not used for
requests and responses, since it takes time in each call, nor for messages of subsystems: a plugin's
result is checked when it is sent, so that the error names the method.

``is_coroutine_function`` and ``returned_kind`` find out what a function returns: its result, or an
awaitable.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeAlias, Union, get_args, get_origin, get_type_hints

from attrs import Attribute
from attrs.validators import and_

from moby_plugins.domain.text import class_name, listed, shown

# A function that returns whether a value is of a type.
Fits: TypeAlias = Callable[[object], bool]


def typed(_: type, fields: "list[Attribute[Any]]") -> "list[Attribute[Any]]":
    """Return ``fields``, each with a type check before its own validator."""
    # Inherited fields already have the check; attrs' type stubs do not have ``inherited``.
    return [
        field.evolve(validator=_checking(field))
        if field.init and not getattr(field, "inherited", False)
        else field
        for field in fields
    ]


def _checking(field: "Attribute[Any]") -> Any:
    return and_(is_of_its_type, field.validator) if field.validator else is_of_its_type


def is_of_its_type(_: object, attribute: "Attribute[Any]", value: object) -> None:
    """Raise ``TypeError`` if ``value`` is not of the attrs field's type."""
    kind: Any = attribute.type
    # The usual cases: exactly that type, or the default.
    if type(value) is kind or value is attribute.default:
        return
    if not _fits(kind)(value):
        # The value is not shown: it may be a passphrase.
        wanted, actual = shown(_name(kind)), shown(_kind_of(value))
        raise TypeError(f"{attribute.name} must be a {wanted}, not a {actual}")


# Cached without a bound, since the types are few.
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
    # A protocol is checked where it is used, and ``Any`` accepts everything.
    if not isinstance(kind, type) or getattr(kind, "_is_protocol", False):
        return lambda _: True
    # In Python a boolean is an int, but it is not meant as a number; an int is valid for a float.
    kinds = (int, float) if kind is float else (kind,)
    return lambda value: isinstance(value, kinds) and (bool in kinds or type(value) is not bool)


def _kind_of(value: object) -> str:
    name = class_name(value)
    if not isinstance(value, tuple):
        return name
    return f"{name} of {listed(sorted({*map(class_name, value)}))}"


def _name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)


def is_coroutine_function(function: Any) -> bool:
    """Return whether ``function`` is a coroutine function, or its ``__call__`` is one."""
    kinds = (function, type(function).__call__) if callable(function) else ()
    return any(map(inspect.iscoroutinefunction, kinds))


def returned_kind(function: Any) -> type | None:
    """Return the class of what a callable returns, ``Awaitable`` for a coroutine function.

    Return ``None`` if the class is not known: there is no annotation, it is not a class, or the
    annotation may be that of another function, which a decorator has replaced.
    """
    if is_coroutine_function(function):
        return Awaitable
    try:
        if inspect.unwrap(function) is not function:
            return None
        declared = get_type_hints(function).get("return")
    except Exception:  # for example a name in the annotation that cannot be resolved
        return None
    kind = get_origin(declared) or declared
    return kind if isinstance(kind, type) else None
