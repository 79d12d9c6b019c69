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
from contextvars import ContextVar
from enum import Enum
from functools import cache
from itertools import repeat
from types import MappingProxyType, UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Union, get_args, get_origin

import attrs

from moby_plugins.app.fields import (
    alternatives,
    constants_of,
    fields_of,
    fitting,
    is_record,
    is_typed_dict,
    members_of,
    omits_of,
    resolved,
)
from moby_plugins.descriptors import with_descriptors
from moby_plugins.domain.errors import WireError
from moby_plugins.domain.json import kind_of
from moby_plugins.domain.text import quoted, shown

if TYPE_CHECKING:
    from cattrs import Converter

Hook: TypeAlias = Callable[[Any, Any], Any]

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

# What the unions of one message have made of its objects and arrays, by the object and the union:
# an alternative that is tried after another one makes nothing again. Else each level of a union
# inside a union would double the time. The value is kept, so that no other gets its identity.
_MADE: ContextVar[dict[tuple[int, Any], tuple[Any, Any]] | None] = ContextVar("made", default=None)


class _MismatchError(ValueError):
    """A value that does not fit its type; ``path`` holds the steps to it, outermost first.

    ``wanted`` says what would fit; the message has it with ``seen``, unless that is empty.
    """

    def __init__(self, wanted: str, seen: str) -> None:
        super().__init__(f"{wanted} expected, not {seen}" if seen else wanted)
        self.wanted = wanted
        self.seen = seen
        self.path: list[str] = []

    def again(self) -> "_MismatchError":
        """Return an error like this one, to which an outer value can add its own step."""
        error = _MismatchError(self.wanted, self.seen)
        error.path = [*self.path]
        return error

    def __str__(self) -> str:
        path = shown("".join(self.path).removeprefix("."))
        return f"{path}: {self.args[0]}" if path else str(self.args[0])


def _expected(wanted: str, value: object) -> _MismatchError:
    return _MismatchError(wanted, kind_of(value))


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
    except _MismatchError as error:
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
        except (_MismatchError, _UnknownTypeError, WireError):
            raise
        except Exception as error:  # cattrs and the type may raise anything
            raise _refused_by(kind, error) from error

    return structure


def _refused_by(kind: Any, error: Exception) -> _MismatchError:
    return _MismatchError(f"not {shown(kind)}: {shown(error)}", "")


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
                raise _expected(wanted, value)
            value = kind()
        return value if into is kind else _derived(into, value)

    return structure


def _derived(into: Any, value: Any) -> Any:
    try:
        return into(value)
    except Exception as error:  # a class of others may raise anything
        raise _refused_by(into, error) from error


def _number(value: Any, into: Any) -> Any:
    if type(value) not in {int, float} and value is not None:
        raise _expected("a number", value)
    try:
        number = float(value or 0)
    except OverflowError as error:
        raise _MismatchError("a number", "one too large for a float") from error
    return number if into is float else _derived(into, number)


def _from_base64(value: Any, into: Any) -> Any:
    # Go encodes bytes as standard base64 (protocol.md part B).
    text = "" if value is None else value
    if type(text) is not str:
        raise _expected("base64", value)
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise _expected("base64", value) from error
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
            raise _expected("an array", value)
        # ``null`` is the zero value of most types, but not an object: a list with ``null`` in place
        # of an object has crashed hosts (trap 10 in docs/protocol.md).
        if is_object and None in value:
            raise _expected("objects", None)
        # Most items have exactly the wanted plain type.
        if is_plain and {*map(type, value)} <= own:
            return make(value)
        hook = _hook(item_type)
        items: list[Any] = []
        try:
            # One by one, so that the length of ``items`` is the index of a wrong item.
            items.extend(map(hook, value, repeat(item_type)))
        except _MismatchError as error:
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
            raise _expected("an object", value)
        if key_type is str and item_type in {Any, object}:
            return make(value)
        key_hook, hook = _hook(key_type), _hook(item_type)
        items = {}
        for key, item in value.items():
            decoded_key = key_hook(key, key_type)
            try:
                items[decoded_key] = hook(item, item_type)
            except _MismatchError as error:
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
            raise _expected("an object", value)
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
                except _MismatchError as error:
                    error.path.insert(0, f".{wire}")
                    raise
        try:
            return make(arguments)
        except Exception as error:  # a type's own converters and validators may raise anything
            raise _MismatchError(f"not {name}: {shown(error)}", "") from error

    return structure


def _union_hook(kind: Any) -> Hook:
    kinds = alternatives(kind)
    # In an order of its own: types that differ in the order of a union are equal, and share a hook.
    others = sorted({*kinds} - {type(None)}, key=_order)
    if {bytes, str} <= {*others}:
        raise TypeError(f"{shown(kind)}: a string in JSON may be both; take one of bytes and str")
    choose = _choice(kind, others) if len(others) > 1 else _hook(others[0])
    into = kind if len(others) > 1 else others[0]
    if len(others) == len(kinds):
        return choose
    return lambda value, _: None if value is None else choose(value, into)


def _choice(kind: Any, kinds: Sequence[Any]) -> Hook:
    hooks = {each: _hook(each) for each in kinds}

    def structure(value: Any, _: Any) -> Any:
        if type(value) not in {dict, list}:
            return _first_of(hooks, value)
        # Not by ``_first_of``: a value may be 200 levels deep, and the stack is bounded.
        outermost = None
        if (made := _MADE.get()) is None:
            outermost = _MADE.set(made := {})
        try:
            known = made.get((id(value), kind))
            if known is None:
                errors: list[_MismatchError] = []
                for each in fitting(kinds, value):
                    try:
                        known = value, hooks[each](value, each)
                        break
                    except _MismatchError as error:
                        errors.append(error)
                known = made[id(value), kind] = known or (value, _of_all(errors))
        finally:
            if outermost is not None:
                _MADE.reset(outermost)
        if isinstance(known[1], _MismatchError):
            raise known[1].again()
        return known[1]

    return structure


def _first_of(hooks: Mapping[Any, Hook], value: Any) -> Any:
    errors = []
    for each, hook in hooks.items():
        try:
            return hook(value, each)
        except _MismatchError as error:
            errors.append(error)
    raise _of_all(errors)


def _order(kind: Any) -> tuple[int, str]:
    # First what only some strings or numbers are, last what all are.
    if _is_enum(kind) or get_origin(kind) is Literal:
        return 0, repr(kind)
    return (2 if kind in {float, str} else 1), repr(kind)


def _of_all(errors: Sequence[_MismatchError]) -> _MismatchError:
    # An error inside of a value is of the type that the value was likeliest to be of.
    first = errors[0]
    if (
        any((error.path, error.seen) != (first.path, first.seen) for error in errors)
        or not first.seen
    ):
        return next((error for error in errors if error.path), first)
    joined = _MismatchError(
        " or ".join(dict.fromkeys(error.wanted for error in errors)), first.seen
    )
    joined.path = first.path
    return joined


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in {Union, UnionType}


def _literal_hook(kind: Any) -> Hook:
    values = constants_of(kind) or ()
    known = dict(zip([(type(value), value) for value in values], get_args(kind), strict=True))

    def structure(value: Any, _: Any) -> Any:
        try:
            return known[type(value), value]
        except (KeyError, TypeError):  # an array or an object has no hash
            raise _one_expected(values, value) from None

    return structure


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)


# In this order, because a boolean is a whole number too in Python.
_OF_MEMBERS = (bool, int, float, str, type(None))


def _enum_hook(kind: type[Enum]) -> Hook:
    values = [member.value for member in kind]
    # The types of JSON that its values have. A whole number may stand for a float.
    types = {next((json for json in _OF_MEMBERS if isinstance(v, json)), None) for v in values}
    if float in types:
        types.add(int)

    zero = "" if types == {str} else 0 if types == {int} else None

    def structure(value: Any, _: Any) -> Any:
        plain = zero if value is None else value
        if type(plain) not in types:
            raise _one_expected(values, value)
        try:
            return kind(plain)
        except ValueError:
            raise _one_expected(values, value) from None

    return structure


def _one_expected(values: Iterable[Any], value: Any) -> _MismatchError:
    seen = quoted(value) if isinstance(value, (str, int, float)) else kind_of(value)
    return _MismatchError(f"one of {shown(', '.join(map(repr, values)))}", seen)


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

        fields = [(each.name, each.name, None, None) for each in fields_of_dataclass(kind)]

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
    (_is_enum, _enum_hook),
    (is_record, _record_hook),
    (is_typed_dict, _typed_dict_hook),
    (_is_mapping, _mapping_hook),
    (_is_sequence, _sequence_hook),
    (_is_union, _union_hook),
    (lambda kind: get_origin(kind) is Literal, _literal_hook),
)
