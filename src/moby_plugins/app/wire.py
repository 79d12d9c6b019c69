"""Conversion between Python values and JSON bodies: the only module that uses cattrs.

cattrs by itself is too lenient: it converts 1 to ``"1"`` and a string to a list of its letters, and
raises ``AttributeError`` if a body is not an object. The hooks in this module check JSON types
strictly. They are lenient where hosts always were: keys are compared without regard to case,
unknown keys are ignored, and an absent key or ``null`` gives a field's default, or else the zero
value of its type (protocol.md A4, B0).
"""

import base64
import json
import re
from collections import deque
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
from typing import TYPE_CHECKING, Any, TypeAlias, get_args, get_origin

import attrs

from moby_plugins.descriptors import with_descriptors
from moby_plugins.domain.errors import WireError
from moby_plugins.domain.json import first_value, kind_of
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


# Types whose values need no conversion.
_PLAIN = frozenset({str, int, bool})


# JSON escapes: of a backslash, of a pair of surrogates, and of half a pair.
_ESCAPES = re.compile(r"\\\\|\\ud[89ab]..\\ud[c-f]..|\\ud[89a-f]..")


class _MismatchError(ValueError):
    """A value of the wrong JSON type; ``path`` holds the steps to the value, outermost first."""

    def __init__(self, wanted: str, value: object) -> None:
        super().__init__(f"{wanted} expected, not {kind_of(value)}")
        self.path: list[str] = []

    def __str__(self) -> str:
        path = shown("".join(self.path).removeprefix("."))
        return f"{path}: {self.args[0]}" if path else str(self.args[0])


class _UnknownTypeError(TypeError):
    """A type that cattrs does not know, or that contains such a type."""


def encode(args: Any) -> bytes:
    """Return the body for a call's arguments: JSON and a newline, or nothing for ``None``.

    ``args`` may be an attrs value or any other value that cattrs can convert. Half of a surrogate
    pair becomes U+FFFD, as in Go. Raise ``ValueError`` or ``TypeError`` if a value has no JSON
    form, and ``WireError`` if cattrs cannot be imported.
    """
    if args is None:
        return b""
    try:
        text = "".join(_encoded(args, 0))
    except RecursionError:  # a value that contains itself: this encoder raises ValueError for it
        try:
            text = _ENCODER.encode(args)
        except RecursionError as error:
            raise ValueError("the arguments are nested too deeply for JSON") from error
    if "\\ud" in text:
        text = _ESCAPES.sub(_whole, text)
    return text.encode() + b"\n"


def decode(body: bytes, into: Any = None) -> Any:
    """Return the first JSON value in a body, converted to the type ``into`` if that is given.

    Without ``into``, an empty body gives ``None``. Raise ``WireError`` if the body is not JSON or
    the value does not fit ``into``, and ``TypeError`` if cattrs does not know the type.
    """
    if into is None and not body:
        return None
    try:
        value = first_value(body)
    except ValueError as error:
        raise WireError(str(error)) from error
    return value if into is None else structure(value, into)


def structure(value: Any, into: Any) -> Any:
    """Return a decoded JSON value converted to the type ``into``.

    Raise ``WireError`` if the value does not fit, ``TypeError`` if cattrs does not know the type.
    """
    try:
        hook = _hook(into)
    except _UnknownTypeError:
        raise
    except TypeError as error:  # ``into`` is not hashable
        raise _UnknownTypeError(_unknown_type_text(into, error)) from error
    try:
        return hook(value, into)
    except (_UnknownTypeError, WireError):
        raise
    except _MismatchError as error:
        raise WireError(str(error)) from error
    except Exception as error:  # a type's own hooks and validators may raise anything
        raise WireError(f"not {shown(into)}: {shown(error)}") from error


def name_on_wire(attribute: "attrs.Attribute[Any]") -> str:
    """Return a field's name in JSON: its metadata ``wire``, or else its name, title-cased."""
    name = attribute.metadata.get("wire")
    if name is not None:
        return str(name)
    return title(attribute.name)


def title(name: str) -> str:
    """Return a name in title case: ``create_network`` becomes ``CreateNetwork``."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _plain(value: Any) -> Any:
    # The encoder calls this only for values that are not JSON types; most calls have none.
    plain = _converter().unstructure(value)
    if type(plain) is type(value):
        raise TypeError(f"{type(value).__name__} has no JSON form")
    return plain


def _whole(escape: re.Match[str]) -> str:
    return r"\ufffd" if len(escape[0]) == len(r"\ufffd") else escape[0]


_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=_plain)


def _reusable_encoder(encoder: json.JSONEncoder) -> Callable[[Any, int], Iterable[str]]:
    """Return a function like ``encoder.iterencode``, with a C encoder that is made only once.

    ``iterencode`` makes one for each value, which takes as long as encoding a small value.
    """
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    if make is None:  # this Python has no C encoder
        return lambda value, _: encoder.iterencode(value)
    quote = json.encoder.encode_basestring_ascii
    # Without its check for circular references, whose state all threads would share.
    cached: Callable[[Any, int], Iterable[str]] = make(
        None, encoder.default, quote, None, ":", ",", False, False, False
    )
    return cached


_encoded = _reusable_encoder(_ENCODER)


# A cache, not state: the hook of a type never changes. It is made on first use.
@cache
def _hook(into: Any) -> Hook:
    try:
        make = next((make for fits, make in _FACTORIES if fits(into)), None)
        # Most messages need only these types, and are decoded without importing cattrs.
        return make(into) if make else _converter().get_structure_hook(into)
    except WireError:
        raise
    except Exception as error:  # cattrs raises various errors for a type that it does not know
        raise _UnknownTypeError(_unknown_type_text(into, error)) from error


def _unknown_type_text(into: Any, error: Exception) -> str:
    return f"no response can be decoded as {quoted(into)}, which is given as into: {shown(error)}"


@cache
def _converter() -> "Converter":
    try:
        converter = _new_converter()
    except (ImportError, OSError) as error:  # a later call may have a descriptor for the import
        raise WireError(f"cattrs cannot be imported: {shown(error)}") from error
    for kind, hook in _PLAIN_HOOKS.items():
        converter.register_structure_hook(kind, hook)
    converter.register_unstructure_hook(bytes, lambda data: base64.b64encode(data).decode())
    for fits, make in reversed(_FACTORIES[1:]):  # cattrs tries the last registered first
        converter.register_structure_hook_factory(fits, make)
    converter.register_unstructure_hook_factory(attrs.has, _attrs_unhook)
    return converter


@with_descriptors
def _new_converter() -> "Converter":
    # Imported on first use, because importing cattrs is slow.
    from cattrs import Converter

    return Converter(detailed_validation=False)


# cattrs passes these hooks derived types, too: enumerations of strings, for example.
def _exactly(kind: type, wanted: str) -> Hook:
    def structure(value: Any, into: Any) -> Any:
        if type(value) is not kind:
            if value is not None:
                raise _MismatchError(wanted, value)
            value = kind()
        return value if into is kind else into(value)

    return structure


def _number(value: Any, into: Any) -> Any:
    if type(value) in {int, float} or value is None:
        return into(float(value or 0))
    raise _MismatchError("a number", value)


def _from_base64(value: Any, into: Any) -> Any:
    # Go encodes bytes as standard base64 (protocol.md part B).
    text = "" if value is None else value
    if type(text) is not str:
        raise _MismatchError("base64", value)
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise _MismatchError("base64", value) from error
    return data if into is bytes else into(data)


def _is_sequence(kind: Any) -> bool:
    return (get_origin(kind) or kind) in _SEQUENCES


def _sequence_hook(kind: Any) -> Hook:
    make, types = _SEQUENCES[get_origin(kind) or kind], get_args(kind) or (Any,)
    if make is tuple and types[-1] is not Ellipsis and get_args(kind):
        raise TypeError(f"{shown(kind)}: a JSON array has no fixed length; take tuple[T, ...]")
    item_type = types[0]
    is_object = attrs.has(item_type)
    own = {item_type}
    is_plain = own <= _PLAIN

    def structure(value: Any, _: Any) -> Any:
        if value is None:
            return make()
        if type(value) is not list:
            raise _MismatchError("an array", value)
        # ``null`` is the zero value of most types, but not an object: a list with ``null`` in place
        # of an object has crashed hosts (trap 10 in docs/protocol.md).
        if is_object and None in value:
            raise _MismatchError("objects", None)
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
    return (get_origin(kind) or kind) in {dict, Mapping, MutableMapping}


def _mapping_hook(kind: Any) -> Hook:
    key_type, item_type = get_args(kind) or (str, Any)

    def structure(value: Any, _: Any) -> Any:
        if value is None:
            return {}
        if type(value) is not dict:
            raise _MismatchError("an object", value)
        if key_type is str and item_type in {Any, object}:
            return dict(value)
        key_hook, hook = _hook(key_type), _hook(item_type)
        items = {}
        for key, item in value.items():
            decoded_key = key_hook(key, key_type)
            try:
                items[decoded_key] = hook(item, item_type)
            except _MismatchError as error:
                error.path.insert(0, f".{key}")
                raise
        return items

    return structure


def _attrs_hook(kind: Any) -> Hook:
    origin = get_origin(kind) or kind
    fields = [a for a in attrs.fields(attrs.resolve_types(origin)) if a.init]
    given = _given_types(kind, {})
    # A field's name on the wire, its argument, its type, and whether it has a default.
    slots = [
        (
            name_on_wire(a),
            a.alias or a.name,
            _with_arguments(a.type or Any, given[_defining_class(origin, a.name)]),
            a.default is not attrs.NOTHING,
        )
        for a in fields
    ]
    names = {wire: wire for wire, *_ in slots}
    by_name = {wire.casefold(): wire for wire in names} | names
    # Made when the first value is read, because a type may contain itself.
    hooks: dict[str, Hook] = {}

    def structure(value: Any, _: Any) -> Any:
        if value is None:
            value = {}
        if type(value) is not dict:
            raise _MismatchError("an object", value)
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
        return origin(**arguments)

    return structure


def _given_types(kind: Any, outer: Mapping[Any, Any]) -> dict[type, dict[Any, Any]]:
    """Return the types that a class, such as ``Box[int]``, and its bases have for type variables.

    Two bases may use one variable for different types, so each class has a mapping of its own.
    """
    origin: Any = get_origin(kind) or kind
    arguments = (_with_arguments(argument, outer) for argument in get_args(kind))
    own = dict(zip(getattr(origin, "__parameters__", ()), arguments, strict=False))
    given: dict[type, dict[Any, Any]] = {}
    for base in vars(origin).get("__orig_bases__", origin.__bases__):
        given |= _given_types(base, own)
    return given | {origin: own}


def _defining_class(kind: type, name: str) -> type:
    """Return the class, ``kind`` or one of its bases, that defines the field of an attrs class."""
    for each in filter(attrs.has, kind.__mro__):
        field = attrs.fields_dict(each).get(name)
        if field is not None and not getattr(field, "inherited", False):  # untyped in attrs
            return each
    return kind


def _with_arguments(kind: Any, given: Mapping[Any, Any]) -> Any:
    """Return a field's type with the types ``given`` in place of type variables."""
    variables = getattr(kind, "__parameters__", ())
    if kind in given:
        return given[kind]
    if not given or not variables or isinstance(kind, type):
        return kind
    return kind[tuple(given.get(variable, variable) for variable in variables)]


def _renamed(value: Mapping[str, Any], by_name: Mapping[str, str]) -> dict[str, Any]:
    # Keys match without regard to case; unknown keys are ignored; of two equal keys the last wins.
    members = {}
    for key, item in value.items():
        wire = by_name.get(key) or by_name.get(key.casefold())
        if wire is not None:
            members[wire] = item
    return members


def _attrs_unhook(kind: Any) -> Callable[[Any], dict[str, Any]]:
    fields = [
        (a.name, name_on_wire(a), a.metadata.get("omitempty"), a.metadata.get("rule"))
        for a in attrs.fields(kind)
    ]

    def unstructure(value: Any) -> dict[str, Any]:
        plain = {}
        for name, wire, omitempty, rule in fields:
            item = getattr(value, name)
            if item or not omitempty:
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
    (attrs.has, _attrs_hook),
    (_is_mapping, _mapping_hook),
    (_is_sequence, _sequence_hook),
)
