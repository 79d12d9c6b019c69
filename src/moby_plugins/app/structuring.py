"""Conversion of decoded JSON values to types: the only module that uses cattrs.

cattrs by itself is too lenient: it converts 1 to ``"1"`` and a string to a list of its letters, and
raises ``AttributeError`` if a body is not an object. The hooks in this module check JSON types
strictly. They are lenient where hosts always were: keys are compared without regard to case,
unknown keys are ignored, and an absent key or ``null`` gives a field's default, or else the zero
value of its type (protocol.md A4, B0). Types that no hook here knows, such as paths, are cattrs'.
"""

import base64
from collections import Counter, defaultdict, deque
from collections.abc import (
    Callable,
    Iterable,
    Mapping,
    MutableMapping,
    MutableSequence,
    MutableSet,
    Sequence,
)
from collections.abc import Set as AbstractSet
from functools import cache
from itertools import repeat
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import attrs

from moby_plugins.app.alternatives import (
    Hook,
    MismatchError,
    alternatives,
    enum_hook,
    expected,
    is_enum,
    is_union,
    literal_hook,
    refused_by,
    union_hook,
)
from moby_plugins.app.fields import (
    fields_of,
    is_record,
    is_typed_dict,
    members_of,
    omits_of,
    resolved,
)
from moby_plugins.descriptors import with_descriptors
from moby_plugins.domain.errors import WireError
from moby_plugins.domain.text import quoted, shown

if TYPE_CHECKING:
    from cattrs import Converter

# The Python type that is made from a JSON array, by the annotated type.
_SEQUENCES: dict[Any, Callable[..., Any]] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    deque: deque,
    AbstractSet: frozenset,
    MutableSet: set,
    Sequence: list,
    MutableSequence: list,
    Iterable: list,
}


# What an object is made into, by the annotated type; a subclass of ``dict`` is made as it is.
_MAPPINGS: dict[Any, Callable[[dict[Any, Any]], Any]] = {
    dict: dict,
    Mapping: dict,
    MutableMapping: dict,
    MappingProxyType: MappingProxyType,
}


# Types of which no string, such as the key of an object, can be read.
_NOT_KEYS = frozenset({int, float, bool})

# Types whose values need no conversion.
_PLAIN = frozenset({str, int, bool})


class _UnknownTypeError(TypeError):
    """A type that cattrs does not know, or that contains such a type."""


def structure(value: Any, into: Any) -> Any:
    """Return a decoded JSON value converted to the type ``into``.

    Raise ``WireError`` if the value does not fit, ``TypeError`` if cattrs does not know the type.
    """
    try:
        hook = _hook(into)
    except _UnknownTypeError:
        raise
    except TypeError as error:  # ``into`` is not hashable
        if (kind := resolved(into)) is not into:  # only what it is annotated with
            return structure(value, kind)
        raise _UnknownTypeError(_unknown_type_text(into, error)) from error
    try:
        return hook(value, into)
    except (_UnknownTypeError, WireError):
        raise
    except MismatchError as error:
        raise WireError(str(error)) from error
    except Exception as error:  # a type's own hooks and validators may raise anything
        raise WireError(f"not {shown(into)}: {shown(error)}") from error


# A cache, not state: the hook of a type never changes. It is made on first use.
@cache
def _hook(into: Any) -> Hook:
    try:
        kind = resolved(into)
        make = next((make for fits, make in _FACTORIES if fits(kind)), None)
        # Most messages need only these types, and are decoded without importing cattrs.
        hook: Hook = make(kind) if make else _of_cattrs(kind)
    except WireError:
        raise
    except Exception as error:  # cattrs raises various errors for a type that it does not know
        raise _UnknownTypeError(_unknown_type_text(into, error)) from error
    return hook if kind is into else lambda value, _: hook(value, kind)


def _of_cattrs(kind: Any) -> Hook:
    hook = converter().get_structure_hook(kind)

    def structure(value: Any, into: Any) -> Any:
        try:
            return hook(value, into)
        except (MismatchError, _UnknownTypeError, WireError):
            raise
        except Exception as error:  # cattrs and the type may raise anything
            raise refused_by(kind, error) from error

    return structure


def _unknown_type_text(into: Any, error: Exception) -> str:
    given = "given as into, or declared by a method"
    return f"no JSON can be decoded as {quoted(into)}, which is {given}: {shown(error)}"


@cache
def converter() -> "Converter":
    """Return the one converter, which has the hooks of this module.

    Raises ``WireError`` if cattrs cannot be imported.
    """
    try:
        converter = _new_converter()
    except (ImportError, OSError) as error:  # a later call may have a descriptor for the import
        raise WireError(f"cattrs cannot be imported: {shown(error)}") from error
    for kind, hook in _PLAIN_HOOKS.items():
        converter.register_structure_hook(kind, hook)
    converter.register_unstructure_hook(bytes, lambda data: base64.b64encode(data).decode())
    for fits, make in reversed(_FACTORIES[1:]):  # cattrs tries the last registered first
        converter.register_structure_hook_factory(fits, make)
    converter.register_unstructure_hook_factory(is_record, _record_unhook)
    return converter


@with_descriptors
def _new_converter() -> "Converter":
    # Imported on first use, because importing cattrs is slow.
    from cattrs import Converter

    return Converter(
        detailed_validation=False,
        # JSON has no sets. In an order that is the same in each process.
        unstruct_collection_overrides={AbstractSet: lambda items: sorted(items, key=repr)},
    )


# cattrs passes these hooks derived types, too: a subclass of ``str``, for example.
def _exactly(kind: type, wanted: str) -> Hook:
    def structure(value: Any, into: Any) -> Any:
        if type(value) is not kind:
            if value is not None:
                raise expected(wanted, value)
            value = kind()
        return value if into is kind else _derived(into, value)

    return structure


def _derived(into: Any, value: Any) -> Any:
    try:
        return into(value)
    except Exception as error:  # a class of others may raise anything
        raise refused_by(into, error) from error


def _number(value: Any, into: Any) -> Any:
    if type(value) not in {int, float} and value is not None:
        raise expected("a number", value)
    try:
        number = float(value or 0)
    except OverflowError as error:
        raise MismatchError("a number", "one too large for a float") from error
    return number if into is float else _derived(into, number)


def _from_base64(value: Any, into: Any) -> Any:
    # Go encodes bytes as standard base64 (protocol.md part B).
    text = "" if value is None else value
    if type(text) is not str:
        raise expected("base64", value)
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise expected("base64", value) from error
    return data if into is bytes else _derived(into, data)


def _is_sequence(kind: Any) -> bool:
    return (get_origin(kind) or kind) in _SEQUENCES


def _sequence_hook(kind: Any) -> Hook:
    make, types = _SEQUENCES[get_origin(kind) or kind], get_args(kind) or (Any,)
    if make is tuple and types[-1] is not Ellipsis and get_args(kind):
        raise TypeError(f"{shown(kind)}: a JSON array has no fixed length; take tuple[T, ...]")
    item_type = resolved(types[0])
    is_object = all(is_record(each) or is_typed_dict(each) for each in alternatives(item_type))
    own = {item_type}
    is_plain = own <= _PLAIN

    def structure(value: Any, _: Any) -> Any:
        if value is None:
            return make()
        if type(value) is not list:
            raise expected("an array", value)
        # ``null`` is the zero value of most types, but not an object: a list with ``null`` in place
        # of an object has crashed hosts (trap 10 in docs/protocol.md).
        if is_object and None in value:
            raise expected("objects", None)
        # Most items have exactly the wanted plain type.
        if is_plain and {*map(type, value)} <= own:
            return make(value)
        hook = _hook(item_type)
        items: list[Any] = []
        try:
            # One by one, so that the length of ``items`` is the index of a wrong item.
            items.extend(map(hook, value, repeat(item_type)))
        except MismatchError as error:
            error.path.insert(0, f"[{len(items)}]")
            raise
        return make(items)

    return structure


def _is_mapping(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    is_dict = isinstance(origin, type) and issubclass(origin, dict)
    return origin in _MAPPINGS or (is_dict and not issubclass(origin, defaultdict))


def _mapping_hook(kind: Any) -> Hook:
    origin = get_origin(kind) or kind
    make = _MAPPINGS.get(origin, origin)
    arguments = (*map(resolved, get_args(kind)), Any)
    key_type, item_type = arguments[:2] if len(arguments) > 1 else (str, Any)
    if issubclass(origin, Counter):
        item_type = int
    if key_type in _NOT_KEYS:
        raise TypeError(f"{shown(kind)}: the keys of a JSON object are strings; take dict[str, T]")

    def structure(value: Any, _: Any) -> Any:
        if value is None:
            return make({})
        if type(value) is not dict:
            raise expected("an object", value)
        if key_type is str and item_type in {Any, object}:
            return make(value)
        key_hook, hook = _hook(key_type), _hook(item_type)
        items = {}
        for key, item in value.items():
            decoded_key = key_hook(key, key_type)
            try:
                items[decoded_key] = hook(item, item_type)
            except MismatchError as error:
                error.path.insert(0, f".{key}")
                raise
        return make(items)

    return structure


def _record_hook(kind: Any) -> Hook:
    make = get_origin(kind) or kind
    return _object_hook(kind, lambda arguments: make(**arguments), shown(make))


def _typed_dict_hook(kind: Any) -> Hook:
    return _object_hook(kind, dict, shown(kind))


def _object_hook(kind: Any, make: Callable[[dict[str, Any]], Any], name: str) -> Hook:
    """Return the hook of a type whose values are objects.

    ``make`` makes a value of arguments. ``name`` is the type, for messages.
    """
    # A field's name on the wire, its argument, its type, and whether it has a default.
    slots = [
        (field.wire, field.argument, field.kind, not field.is_required)
        for field in fields_of(kind)
        if field.argument is not None
    ]
    names = {wire: wire for wire, *_ in slots}
    by_name = {wire.casefold(): wire for wire in names} | names
    # Made when the first value is read, because a type may contain itself.
    hooks: dict[str, Hook] = {}

    def structure(value: Any, _: Any) -> Any:
        if value is None:
            value = {}
        if type(value) is not dict:
            raise expected("an object", value)
        # Most messages spell all keys exactly, and need no renaming.
        members = value if names.keys() >= value.keys() else _renamed(value, by_name)
        arguments = {}
        for wire, argument, wanted, has_default in slots:
            item = members.get(wire)
            # Most values have exactly the wanted plain type.
            if type(item) is wanted and wanted in _PLAIN:
                arguments[argument] = item
            elif item is not None or not has_default:
                hook = hooks.get(wire) or hooks.setdefault(wire, _hook(wanted))
                try:
                    arguments[argument] = hook(item, wanted)
                except MismatchError as error:
                    error.path.insert(0, f".{wire}")
                    raise
        try:
            return make(arguments)
        except Exception as error:  # a type's own converters and validators may raise anything
            raise MismatchError(f"not {name}: {shown(error)}", "") from error

    return structure


def _renamed(value: Mapping[str, Any], by_name: Mapping[str, str]) -> dict[str, Any]:
    # Keys match without regard to case; unknown keys are ignored; of two equal keys the last wins.
    members = {}
    for key, item in value.items():
        wire = by_name.get(key) or by_name.get(key.casefold())
        if wire is not None:
            members[wire] = item
    return members


def _record_unhook(kind: Any) -> Callable[[Any], dict[str, Any]]:
    if attrs.has(kind):
        fields = [
            (a.name, wire, omits_of(a), a.metadata.get("rule")) for a, wire in members_of(kind)
        ]
    else:
        from dataclasses import fields as fields_of_dataclass

        fields = [
            (each.name, each.name, None, None) for each in fields_of_dataclass(kind) if each.init
        ]

    def unstructure(value: Any) -> dict[str, Any]:
        plain = {}
        for name, wire, omits, rule in fields:
            item = getattr(value, name)
            if omits is None or not omits(item):
                plain[wire] = item
                if rule is not None:
                    rule(item)
        return plain

    return unstructure


def _is_anything(kind: Any) -> bool:
    return kind is object or kind is Any


def _unchanged(value: Any, _: Any) -> Any:
    return value


def _is_plain(kind: Any) -> bool:
    return isinstance(kind, type) and kind in _PLAIN_HOOKS


_PLAIN_HOOKS: dict[Any, Hook] = {
    str: _exactly(str, "a string"),
    bool: _exactly(bool, "a boolean"),
    int: _exactly(int, "a whole number"),
    float: _number,
    bytes: _from_base64,
}
# Pairs of a test of a type and a function that makes its hook; the first that matches is used.
_FACTORIES: tuple[tuple[Callable[[Any], bool], Callable[[Any], Hook]], ...] = (
    (_is_plain, _PLAIN_HOOKS.__getitem__),
    (_is_anything, lambda _: _unchanged),
    (is_enum, enum_hook),
    (is_record, _record_hook),
    (is_typed_dict, _typed_dict_hook),
    (_is_mapping, _mapping_hook),
    (_is_sequence, _sequence_hook),
    (is_union, lambda kind: union_hook(kind, _hook)),
    (lambda kind: get_origin(kind) is Literal, literal_hook),
)
