"""What a type annotation stands for, and the fields of classes whose values are JSON objects.

Decoding (``structuring.py``) and the check of a plugin's results (``results.py``) both go by these
fields. A class may be an attrs class, a dataclass or a ``TypedDict``, and generic: the types that
``Box[int]`` and its bases have for their type variables are put into its fields' types.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
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
        omitempty: Whether it is not sent if its value is empty, zero or false.
        rule: Raises ``ValueError`` for a value in a wrong format.
    """

    name: str
    wire: str
    argument: str | None
    kind: Any
    is_required: bool
    omitempty: bool = False
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
        has_value = isinstance(a.default, (str, int, float, bytes, tuple)) and a.default
        if a.metadata.get("omitempty") and has_value:
            raise TypeError(
                f"{kind.__name__}.{a.name} is omitempty(), and its default is not empty:"
                f" {quoted(type(a.default)())} would be read as {quoted(a.default)}"
            )
    return members


def resolved(kind: Any) -> Any:
    """Return the type that a ``NewType``, ``Annotated``, ``Final`` or ``type`` alias stands for."""
    for _ in range(_MOST_ALIASES):
        origin = get_origin(kind)
        if isinstance(kind, type):
            return kind
        if origin in {Annotated, Final}:
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
    return is_typeddict(get_origin(kind) or kind)


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
                omitempty=bool(a.metadata.get("omitempty")),
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


def fitting(kinds: Iterable[Any], message: Mapping[Any, Any]) -> list[Any]:
    """Return which of the types of a union a JSON object may be: the likeliest records, all others.

    A record is likelier than another if its ``Literal`` fields have values of theirs in the
    message; of such, if the message has all its required fields; and of such, if it knows more of
    the keys.
    """
    keys = {str(key).casefold(): value for key, value in message.items()}
    ranks = {kind: _rank(kind, keys) for kind in kinds if is_record(kind) or is_typed_dict(kind)}
    likeliest = max(ranks.values(), default=None)
    return [kind for kind in kinds if ranks.get(kind, likeliest) == likeliest]


def _rank(kind: Any, keys: Mapping[str, Any]) -> tuple[bool, bool, int]:
    fields = {field.wire.casefold(): field for field in fields_of(kind)}
    literals = {
        key: get_args(field.kind)
        for key, field in fields.items()
        if get_origin(field.kind) is Literal
    }
    return (
        all(keys[key] in values for key, values in literals.items() if key in keys),
        all(key in keys for key, field in fields.items() if field.is_required),
        len(fields.keys() & keys.keys()),
    )


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
    for each in filter(attrs.has, kind.__mro__):
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
