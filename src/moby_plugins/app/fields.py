"""What a type annotation stands for, and the fields of classes whose values are JSON objects.

Decoding (``structuring.py``) and the check of a plugin's results (``results.py``) both go by these
fields. A class may be an attrs class, a dataclass or a ``TypedDict``, and generic: the types that
``Box[int]`` and its bases have for their type variables are put into its fields' types.
"""

import operator
from collections.abc import Callable, Mapping
from functools import cache
from typing import (
    Annotated,
    Any,
    Final,
    get_args,
    get_origin,
    get_type_hints,
)

import attrs

from moby_plugins.domain.text import quoted

# More than any chain of aliases that a person writes; an alias of itself has no end.
_MOST_ALIASES = 100


@attrs.frozen(eq=False)
class Field:
    """One field of a class whose values are JSON objects.

    Args:
        name: The attribute of a value; of a ``TypedDict``, the key.
        wire: The key in JSON.
        argument: The name of the constructor's argument; ``None`` if it has none for this field.
        kind: The type, without ``Annotated``, and without type variables whose type is known.
        is_required: Whether the class has no default for it.
        omits: Whether a value is not sent; ``None`` if all are.
        rule: Raises ``ValueError`` for a value in a wrong format.
    """

    name: str
    wire: str
    argument: str | None
    kind: Any
    is_required: bool
    omits: Callable[[Any], bool] | None = None
    rule: Callable[[Any], None] | None = None


def title(name: str) -> str:
    """Return a name in title case: ``create_network`` becomes ``CreateNetwork``."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def name_on_wire(attribute: "attrs.Attribute[Any]") -> str:
    """Return a field's name in JSON: its metadata ``wire``, or else its name, title-cased."""
    name = attribute.metadata.get("wire")
    return title(attribute.name) if name is None else str(name)


def check_names(owner: str, names: Mapping[str, str]) -> None:
    """Raise ``TypeError`` if two names have one name on the wire, so that one value would be lost.

    Args:
        owner: What has the names, for the message.
        names: The name on the wire for each Python name.
    """
    seen: dict[str, str] = {}
    for name, wire in names.items():
        other = seen.setdefault(wire, name)
        if other != name:
            raise TypeError(f"{owner}: {other} and {name} are both {quoted(wire)} on the wire")


def members_of(kind: type) -> "list[tuple[attrs.Attribute[Any], str]]":
    """Return the fields of an attrs class with their names on the wire.

    Raises ``TypeError`` if two fields have one name, or if the zero of a field that is
    ``omitempty()`` would be read as another value, its default.
    """
    members = [(a, name_on_wire(a)) for a in attrs.fields(kind)]
    check_names(kind.__name__, {a.name: wire for a, wire in members})
    for a, _ in members:
        if a.metadata.get("omitempty"):
            default = _default_of(a)
            if default and _may_be_empty(type(default)):
                raise TypeError(
                    f"{kind.__name__}.{a.name} is omitempty(), and its default is not empty:"
                    f" an empty value would be read as {quoted(default)}"
                )
    return members


def omits_of(attribute: "attrs.Attribute[Any]") -> Callable[[Any], bool] | None:
    """Return whether a value of a field is not sent; ``None`` if all are.

    A field that is ``omitempty()`` is not sent if its value is empty, zero or false; if its default
    is ``None``, only for ``None``, as anything else would be read as ``None``.
    """
    if not attribute.metadata.get("omitempty"):
        return None
    return operator.not_ if attribute.default is not None else _is_none


def _is_none(value: object) -> bool:
    return value is None


def _default_of(attribute: "attrs.Attribute[Any]") -> Any:
    default: Any = attribute.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # a class to attrs, a function to mypy
        return None if default.takes_self else default.factory()
    return default


def _may_be_empty(kind: type) -> bool:
    return any(name in vars(each) for each in kind.__mro__ for name in ("__bool__", "__len__"))


def resolved(kind: Any) -> Any:
    """Return the type that a ``NewType``, ``Annotated``, ``Final`` or ``type`` alias stands for.

    ``ReadOnly`` is left out, too.
    """
    for _ in range(_MOST_ALIASES):
        origin = get_origin(kind)
        if isinstance(kind, type):
            return kind
        # ``ReadOnly`` is not in ``typing`` in all Pythons.
        if origin in {Annotated, Final} or getattr(origin, "_name", None) == "ReadOnly":
            kind = get_args(kind)[0]
        elif hasattr(kind, "__supertype__"):
            kind = kind.__supertype__
        elif hasattr(origin or kind, "__type_params__") and hasattr(origin or kind, "__value__"):
            alias: Any = origin or kind
            given = zip(alias.__type_params__, get_args(kind), strict=False)
            kind = with_arguments(alias.__value__, dict(given))
        else:
            return kind
    raise TypeError(f"{quoted(kind)} is an alias of itself")


def is_record(kind: Any) -> bool:
    """Return whether ``kind`` is an attrs class or a dataclass, with type arguments or without."""
    origin: Any = get_origin(kind) or kind
    return isinstance(origin, type) and (
        attrs.has(origin) or hasattr(origin, "__dataclass_fields__")
    )


def is_typed_dict(kind: Any) -> bool:
    """Return whether ``kind`` is a ``TypedDict``, with type arguments or without."""
    origin: Any = get_origin(kind) or kind
    # Not ``typing.is_typeddict``, which does not know those of ``typing_extensions``.
    return isinstance(origin, type) and hasattr(origin, "__required_keys__")


# A cache, because unions ask for the fields at each message.
@cache
def fields_of(kind: Any) -> tuple[Field, ...]:
    """Return the fields of an attrs class, a dataclass or a ``TypedDict``.

    Raises ``TypeError`` for fields that cannot be told apart on the wire, and what
    ``typing.get_type_hints`` raises for an annotation that cannot be evaluated.
    """
    origin: Any = get_origin(kind) or kind
    if is_typed_dict(kind):
        kinds = _kinds_of_keys(kind, {})
        return tuple(
            Field(key, key, key, resolved(kinds[key]), is_required=key in origin.__required_keys__)
            for key in kinds
        )
    hints, given = get_type_hints(origin), _given_types(kind, {})

    def kind_of(name: str, unhinted: Any, owner: type) -> Any:
        return resolved(with_arguments(hints.get(name, unhinted), given[owner]))

    if attrs.has(origin):
        return tuple(
            Field(
                a.name,
                wire,
                (a.alias or a.name) if a.init else None,
                kind_of(a.name, a.type or Any, _attrs_owner(origin, a)),
                is_required=a.default is attrs.NOTHING,
                omits=omits_of(a),
                rule=a.metadata.get("rule"),
            )
            for a, wire in members_of(origin)
        )
    from dataclasses import MISSING, fields

    return tuple(
        Field(
            each.name,
            each.name,
            each.name if each.init else None,
            kind_of(each.name, each.type, _dataclass_owner(origin, each)),
            is_required=each.default is MISSING and each.default_factory is MISSING,
        )
        for each in fields(origin)
    )


def with_arguments(kind: Any, given: Mapping[Any, Any]) -> Any:
    """Return a type with the types ``given`` in place of type variables."""
    variables = getattr(kind, "__parameters__", ())
    if not given:
        return kind
    if getattr(kind, "__hash__", None) and kind in given:
        return given[kind]
    if not variables or isinstance(kind, type):
        return kind
    return kind[tuple(given.get(variable, variable) for variable in variables)]


def _kinds_of_keys(kind: Any, outer: Mapping[Any, Any]) -> dict[str, Any]:
    # A ``TypedDict`` has no bases but ``dict``; those that it was written with are here.
    origin: Any = get_origin(kind) or kind
    own = _own_types(kind, outer)
    kinds: dict[str, Any] = {}
    for base in vars(origin).get("__orig_bases__", ()):
        if is_typed_dict(base):
            kinds |= _kinds_of_keys(base, own)
    hints = get_type_hints(origin)
    return kinds | {key: with_arguments(hints[key], own) for key in hints if key not in kinds}


def _given_types(kind: Any, outer: Mapping[Any, Any]) -> dict[type, dict[Any, Any]]:
    """Return the types that a class, such as ``Box[int]``, and its bases have for type variables.

    Two bases may use one variable for different types, so each class has a mapping of its own.
    """
    origin: Any = get_origin(kind) or kind
    own = _own_types(kind, outer)
    given: dict[type, dict[Any, Any]] = {}
    for base in vars(origin).get("__orig_bases__", origin.__bases__):
        given |= _given_types(base, own)
    return given | {origin: own}


def _own_types(kind: Any, outer: Mapping[Any, Any]) -> dict[Any, Any]:
    variables = getattr(get_origin(kind) or kind, "__parameters__", ())
    arguments = (with_arguments(argument, outer) for argument in get_args(kind))
    return dict(zip(variables, arguments, strict=False))


def _attrs_owner(kind: type, attribute: "attrs.Attribute[Any]") -> type:
    """Return the class, ``kind`` or one of its bases, that defines a field of an attrs class."""
    # ``attrs.has`` is true also of a class that only derives from an attrs class.
    for each in (each for each in kind.__mro__ if "__attrs_attrs__" in vars(each)):
        field = attrs.fields_dict(each).get(attribute.name)
        if field is not None and not getattr(field, "inherited", False):  # untyped in attrs
            return each
    return kind


def _dataclass_owner(kind: type, field: Any) -> type:
    # A dataclass has the very field of the base from which it inherits it.
    own = (
        each
        for each in reversed(kind.__mro__)
        if vars(each).get("__dataclass_fields__", {}).get(field.name) is field
    )
    return next(own, kind)
