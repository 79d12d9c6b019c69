"""Encoding of a plugin's results as JSON, checked against the method's declared types.

A host decodes a response by the types of the method (``structuring.py``). This module checks a
result against the same types before it is sent, and more strictly: ``None`` is allowed only if the
type is optional, because engines crash on ``null`` in place of an object (trap 10 in
docs/protocol.md). A value of the declared type ``Any`` may be any JSON.

A ``Form`` is a function that converts a value of one type to plain JSON. It is made once for each
type, on first use.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from functools import cache, partial
from types import UnionType
from typing import Any, Literal, TypeAlias, TypeVar, Union, get_args, get_origin

from moby_plugins.app import wire
from moby_plugins.app.alternatives import alternatives, fitting
from moby_plugins.app.fields import Field, fields_of, is_record, is_typed_dict, resolved
from moby_plugins.app.structuring import structure
from moby_plugins.domain.errors import WireError
from moby_plugins.domain.json import MAX_DEPTH, kind_of
from moby_plugins.domain.text import quoted

Form: TypeAlias = Callable[[Any], Any]

# Go decodes whole numbers into 64 bits.
_SMALLEST, _LARGEST = -(1 << 63), (1 << 63) - 1
# The depth that is allowed under ``Any``: such a value is a few levels deep in a response.
_FREE_DEPTH = MAX_DEPTH - 10
_BINARY = (bytes, bytearray, memoryview)
_TOO_DEEP = "nested too deeply"


class _MismatchError(ValueError):
    """A value that does not fit its type; ``path`` has the steps to the value, outermost first."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.path: list[str] = []


def encode_result(value: Any, kind: Any, *, key: str, method: str) -> bytes:
    """Return the body of a response of ``method`` with ``value``, under ``key`` if that is given.

    Raise ``WireError``, naming the method, the field and the expected type, if the value does not
    fit the type ``kind``.
    """
    try:
        plain = _form(kind)(value)
    except RecursionError as error:
        raise WireError(f"{key}: {_TOO_DEEP}".removeprefix(": "), method) from error
    except _MismatchError as error:
        where = (key + "".join(error.path)).removeprefix(".")
        raise WireError(f"{where}: {error}" if where else str(error), method) from error
    if key:
        return wire.encode({key: plain})
    return wire.encode({} if plain is None else plain)


def mismatch(wanted: str, value: object) -> str:
    """Return a message that ``wanted`` was expected instead of ``value``."""
    return f"{wanted} expected, not {kind_of(value)}"


def _expected(wanted: str, value: object) -> _MismatchError:
    return _MismatchError(mismatch(wanted, value))


@cache
def _form(kind: Any) -> Form:
    kind = resolved(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in _PLAIN:
        form = _PLAIN[kind]
    elif origin in _OF_TYPES:
        form = _OF_TYPES[origin](arguments)
    elif isinstance(kind, TypeVar):  # of a generic class without type arguments
        form = _free
    elif isinstance(origin or kind, type):
        form = _of_class(kind, origin or kind, arguments)
    else:
        form = _foreign(kind)
    return form


def _of_class(kind: Any, concrete: type, arguments: tuple[Any, ...]) -> Form:
    if issubclass(concrete, Enum):
        form = _member_of(concrete)
    elif is_typed_dict(kind):
        form = _typed_dict(kind)
    elif is_record(kind):
        form = _record(kind)
    elif issubclass(concrete, _BINARY):
        form = _base64
    elif issubclass(concrete, Mapping):
        # ``Counter`` has one argument.
        form = _object(*((*arguments, Any)[:2] if arguments else (str, Any)))
    elif issubclass(concrete, Iterable) and not issubclass(concrete, str):
        form = _array(arguments[0] if arguments else Any)
    else:
        form = _foreign(kind)
    return form


def _nothing(value: Any) -> None:
    if value is not None:
        raise _expected("nothing", value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise _expected("a string", value)


def _boolean(value: Any) -> bool:
    if value is True or value is False:
        return value
    raise _expected("a boolean", value)


def _whole(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        if _SMALLEST <= value <= _LARGEST:
            return value
        raise _MismatchError("a whole number of 64 bits expected, not a larger one")
    raise _expected("a whole number", value)


def _number(value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            if math.isfinite(value):
                return value
        except OverflowError:
            pass
        raise _MismatchError("a number expected, not NaN, infinity or one too large for a float")
    raise _expected("a number", value)


def _base64(value: Any) -> str:
    if isinstance(value, _BINARY):
        return str(json.loads(wire.encode(bytes(value))))
    raise _expected("bytes", value)


def _free(value: Any, depth: int = 0) -> Any:
    if depth > _FREE_DEPTH:
        raise _MismatchError(_TOO_DEEP)
    plain: Any
    if value is None or value is True or value is False or isinstance(value, str):
        plain = value
    elif isinstance(value, Enum):
        plain = _free(value.value, depth)
    elif isinstance(value, (int, float)):
        plain = _number(value)
    elif isinstance(value, Mapping):
        plain = _each_member(value, _text, lambda item: _free(item, depth + 1))
    elif isinstance(value, (*_BINARY, type)):
        raise _expected("a JSON value", value)
    elif isinstance(value, Sequence):
        plain = _each_item(value, lambda item: _free(item, depth + 1))
    elif is_record(type(value)):
        plain = _own_record(value)
    else:
        plain = _as_cattrs_has_it(value, "JSON")
    return plain


def _one_of(kinds: tuple[Any, ...]) -> Form:
    def form(value: Any) -> Any:
        if value is None and optional:
            return None
        errors: list[_MismatchError] = []
        if (own := by_class.get(type(value))) is not None:
            try:
                return _form(own)(value)
            except _MismatchError as error:
                errors.append(error)
        if isinstance(value, Iterator):  # each type reads it from the beginning
            value = [*value]
        for kind in fitting(others, value):
            try:
                return _form(kind)(value)
            except _MismatchError as error:
                errors.append(error)
        raise next((error for error in errors if error.path), errors[-1])

    every = [each for kind in kinds for each in alternatives(kind)]
    optional = type(None) in every
    others = [kind for kind in every if kind is not type(None)]
    # Most values are of exactly one of the classes.
    by_class = {get_origin(kind) or kind: kind for kind in reversed(others)}
    return form


def _literal(values: tuple[Any, ...]) -> Form:
    def form(value: Any) -> Any:
        for known in values:
            if type(value) is type(known) and value == known:
                return _free(value)
        raise _expected(f"one of {', '.join(map(repr, values))}", value)

    return form


def _member_of(kind: type[Enum]) -> Form:
    def form(value: Any) -> Any:
        try:
            return _free(kind(value).value)
        except ValueError as error:
            raise _MismatchError(f"{quoted(value)} is no {kind.__name__}") from error

    return form


def _array(kind: Any) -> Form:
    def form(value: Any) -> list[Any]:
        # Iterating over a mapping gives its keys, and over bytes gives numbers: both are mistakes.
        if isinstance(value, Iterable) and not isinstance(value, (str, Mapping, *_BINARY, type)):
            return _each_item(value, _form(kind))
        raise _expected("an array", value)

    return form


def _each_item(value: Iterable[Any], form: Form) -> list[Any]:
    items = []
    for item in value:
        try:
            items.append(form(item))
        except _MismatchError as error:
            error.path.insert(0, f"[{len(items)}]")
            raise
    return items


def _object(key_kind: Any, kind: Any) -> Form:
    def form(value: Any) -> dict[Any, Any]:
        if isinstance(value, Mapping):
            return _each_member(value, _form(key_kind), _form(kind))
        raise _expected("an object", value)

    return form


def _each_member(value: Mapping[Any, Any], key_form: Form, form: Form) -> dict[Any, Any]:
    members = {}
    for key, item in value.items():
        try:
            members[key_form(key)] = form(item)
        except _MismatchError as error:
            error.path.insert(0, f".{key!s:.100}")
            raise
    return members


def _typed_dict(kind: Any) -> Form:
    fields = _with_forms(kind)

    def form(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise _expected("an object", value)
        forms = {field.name: form for field, form in fields()}
        for field, _ in fields():
            if field.is_required and field.name not in value:
                raise _MismatchError(f"{quoted(field.name)} is missing")
        members = _each_member(value, _text, lambda item: item)
        return {name: _member(name, forms.get(name, _free), members[name]) for name in members}

    return form


def _with_forms(kind: Any) -> Callable[[], Sequence[tuple[Field, Form]]]:
    # Made when the first value is converted, because a type may contain itself.
    return cache(lambda: [(field, _form(field.kind)) for field in fields_of(kind)])


@cache
def _record(kind: Any) -> Form:
    fields, concrete = _with_forms(kind), get_origin(kind) or kind

    def form(value: Any) -> dict[str, Any]:
        if type(value) is not concrete:
            return _related(value)
        members = {}
        for field, form in fields():
            item = getattr(value, field.name)
            plain = _member(field.wire, form, item)
            if field.omits is not None and field.omits(item):
                continue
            if field.rule is not None:
                _member(field.wire, partial(_keep, field.rule), item)
            members[field.wire] = plain
        return members

    def _related(value: Any) -> dict[str, Any]:
        if isinstance(value, concrete):
            return _own_record(value)
        if isinstance(value, Mapping):
            plain = _free(value)
            _check_members(value, fields())
            return form(_structured(plain, kind))
        raise _expected("an object", value)

    return form


def _member(key: str, form: Form, item: Any) -> Any:
    try:
        return form(item)
    except _MismatchError as error:
        error.path.insert(0, f".{key}")
        raise


def _check_members(value: Mapping[str, Any], fields: Iterable[tuple[Field, Form]]) -> None:
    # A host would read ``null`` as a zero value, at any depth; here it is a mistake unless the type
    # is optional.
    forms = {field.wire.casefold(): (field, form) for field, form in fields}
    for key, item in value.items():
        field, form = forms.get(key.casefold(), (None, _free))
        if field is not None:
            _member(field.wire, form, item)
    given = {key.casefold() for key in value}
    for key, (field, _) in forms.items():
        if field.is_required and field.argument is not None and key not in given:
            raise _MismatchError(f"{quoted(field.wire)} is missing")


def _own_record(value: object) -> dict[str, Any]:
    kind: Any = type(value)
    members: dict[str, Any] = _form(kind)(value)
    return members


def _keep(rule: Callable[[Any], None], item: Any) -> None:
    try:
        rule(item)
    except ValueError as error:
        raise _MismatchError(str(error)) from error


def _structured(plain: Any, kind: Any) -> Any:
    try:
        return structure(plain, kind)
    except WireError as error:
        raise _MismatchError(error.reason) from error


def _foreign(kind: Any) -> Form:
    # For a type that only cattrs knows, such as a path: check the JSON by decoding it.
    def form(value: Any) -> Any:
        wanted = getattr(kind, "__name__", str(kind))
        plain = _as_cattrs_has_it(value, wanted)
        _structured(plain, kind)
        return plain

    return form


def _as_cattrs_has_it(value: Any, wanted: str) -> Any:
    try:
        return json.loads(wire.encode(value))
    except (ValueError, TypeError) as error:
        if wanted == type(value).__name__:
            raise _MismatchError(str(error)) from error
        raise _expected(wanted, value) from error


_PLAIN: dict[Any, Form] = {
    Any: _free,
    object: _free,
    None: _nothing,
    type(None): _nothing,
    str: _text,
    bool: _boolean,
    int: _whole,
    float: _number,
    bytes: _base64,
}
_OF_TYPES: dict[Any, Callable[[tuple[Any, ...]], Form]] = {
    Union: _one_of,
    UnionType: _one_of,
    Literal: _literal,
}
