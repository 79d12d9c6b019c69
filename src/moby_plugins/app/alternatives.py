"""Types of which a value is one of several: unions, enumerations and literals.

Which type of a union a message has is decided by the message itself (``fitting``), for decoding
(``structuring.py``) and for the check of a plugin's results (``results.py``).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin

from moby_plugins.app.fields import fields_of, is_record, is_typed_dict, resolved
from moby_plugins.domain.json import kind_of
from moby_plugins.domain.text import quoted, shown

# Makes a value of the type, its second argument, of a decoded JSON value.
Hook: TypeAlias = Callable[[Any, Any], Any]

# What is ranked, and how well it fits.
_Rank: TypeAlias = tuple[str, bool, bool, int, int]


# What the unions of one message have made of its objects and arrays, by the object and the union:
# an alternative that is tried after another one makes nothing again. Else each level of a union
# inside a union would double the time. The value is kept, so that no other gets its identity.
_MADE: ContextVar[dict[tuple[int, Any], tuple[Any, Any]] | None] = ContextVar("made", default=None)


class MismatchError(ValueError):
    """A value that does not fit its type; ``path`` holds the steps to it, outermost first.

    ``wanted`` says what would fit; the message has it with ``seen``, unless that is empty.
    """

    def __init__(self, wanted: str, seen: str) -> None:
        super().__init__(f"{wanted} expected, not {seen}" if seen else wanted)
        self.wanted = wanted
        self.seen = seen
        self.path: list[str] = []

    def again(self) -> "MismatchError":
        """Return an error like this one, to which an outer value can add its own step."""
        error = MismatchError(self.wanted, self.seen)
        error.path = [*self.path]
        return error

    def __str__(self) -> str:
        path = shown("".join(self.path).removeprefix("."))
        return f"{path}: {self.args[0]}" if path else str(self.args[0])


def expected(wanted: str, value: object) -> MismatchError:
    """Return the error of a JSON value of another kind than ``wanted``."""
    return MismatchError(wanted, kind_of(value))


def refused_by(kind: Any, error: Exception) -> MismatchError:
    """Return the error of a value that a type itself refuses with ``error``."""
    return MismatchError(f"not {shown(kind)}: {shown(error)}", "")


def alternatives(kind: Any) -> list[Any]:
    """Return the types of a union, those of unions inside it included; of another type, itself."""
    kind = resolved(kind)
    if not is_union(kind):
        return [kind]
    return [each for part in get_args(kind) for each in alternatives(part)]


def fitting(kinds: Sequence[Any], value: Any) -> Sequence[Any]:
    """Return which types of a union a JSON value may be: the likeliest, and those not ranked.

    Only records are ranked, and arrays and objects of records, each of the three among themselves.
    A record is likelier than another if its ``Literal`` fields have values of theirs in the
    message; of such, if the message has all its required fields; of such, if it knows more of the
    keys; and of such, if it has fewer others. Of an array, or of an object of objects, the first
    object directly inside is looked at.
    """
    if not isinstance(value, (Mapping, Sequence)) or isinstance(value, (str, bytes)):
        return kinds
    ranks = {kind: _rank(kind, value) for kind in kinds}
    best: dict[str, _Rank] = {}
    for rank in filter(None, ranks.values()):
        best[rank[0]] = max(rank, best.get(rank[0], rank))
    return [kind for kind, rank in ranks.items() if rank is None or rank == best[rank[0]]]


def _rank(kind: Any, value: Any) -> _Rank | None:
    if is_record(kind) or is_typed_dict(kind):
        return _rank_of_record(kind, value) if isinstance(value, Mapping) else None
    origin, arguments = get_origin(kind), [*get_args(kind)]
    if not (isinstance(origin, type) and issubclass(origin, Iterable) and arguments):
        return None
    if issubclass(origin, Mapping) != isinstance(value, Mapping):
        return None
    items = value.values() if isinstance(value, Mapping) else value
    item = next((item for item in items if isinstance(item, Mapping)), None)
    inside = alternatives(arguments[0] if arguments[-1] is ... else arguments[-1])
    records = [each for each in inside if is_record(each) or is_typed_dict(each)]
    if item is None or not records:
        return None
    return (origin.__name__, *max(_rank_of_record(each, item) for each in records)[1:])


def _rank_of_record(kind: Any, message: Mapping[Any, Any]) -> _Rank:
    wires, required, constants = _shape(kind)
    keys = {str(key).casefold(): value for key, value in message.items()}
    # ``null`` stands for the default.
    given = {key: keys[key] for key in constants if keys.get(key) is not None}
    if not all(_is_one(value, constants[key]) for key, value in given.items()):
        return "record", False, False, 0, 0  # all of these are tried, for an error that names all
    return (
        "record",
        True,
        required <= keys.keys(),
        len(wires & keys.keys()),
        -len(wires),
    )


@cache
def _shape(kind: Any) -> tuple[frozenset[str], frozenset[str], Mapping[str, Sequence[Any]]]:
    """Return the keys of a record, in lower case: all, those required, and those of constants."""
    fields = {field.wire.casefold(): field for field in fields_of(kind)}
    constants = {key: constants_of(field.kind) for key, field in fields.items()}
    return (
        frozenset(fields),
        frozenset(key for key, field in fields.items() if field.is_required),
        {key: values for key, values in constants.items() if values is not None},
    )


def constants_of(kind: Any) -> Sequence[Any] | None:
    """Return the values in JSON of a ``Literal``, or of a union of some; ``None`` for other types.

    A union may be optional too.
    """
    values: list[Any] = []
    for each in (kinds := alternatives(kind)):
        if get_origin(each) is Literal:
            values += (v.value if isinstance(v, Enum) else v for v in get_args(each))
        elif each is not NoneType or len(kinds) == 1:
            return None
    return values


def _is_one(value: Any, values: Iterable[Any]) -> bool:
    # By type too, as ``True == 1``.
    if isinstance(value, Enum):
        value = value.value
    return any(type(value) is type(each) and value == each for each in values)


def is_union(kind: Any) -> bool:
    """Return whether ``kind`` is a union, in either spelling."""
    return get_origin(kind) in {Union, UnionType}


def union_hook(kind: Any, hook_of: Callable[[Any], Hook]) -> Hook:
    """Return the hook of a union; ``hook_of`` returns those of its types.

    Raises ``TypeError`` if values of two of its types cannot be told apart.
    """
    kinds = alternatives(kind)
    # In an order of its own: types that differ in the order of a union are equal, and share a hook.
    others = sorted({*kinds} - {NoneType}, key=_order)
    if {bytes, str} <= {*others}:
        raise TypeError(f"{shown(kind)}: a string in JSON may be both; take one of bytes and str")
    choose = _choice(kind, others, hook_of) if len(others) > 1 else hook_of(others[0])
    into = kind if len(others) > 1 else others[0]
    if NoneType not in kinds:
        return choose
    return lambda value, _: None if value is None else choose(value, into)


def _choice(kind: Any, kinds: Sequence[Any], hook_of: Callable[[Any], Hook]) -> Hook:
    hooks = {each: hook_of(each) for each in kinds}

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
                errors: list[MismatchError] = []
                for each in fitting(kinds, value):
                    try:
                        known = value, hooks[each](value, each)
                        break
                    except MismatchError as error:
                        errors.append(error)
                # Without a traceback, whose frames would keep what was made alive.
                known = made[id(value), kind] = known or (value, _of_all(errors).again())
                errors.clear()
        finally:
            if outermost is not None:
                _MADE.reset(outermost)
        if isinstance(known[1], MismatchError):
            raise known[1].again()
        return known[1]

    return structure


def _first_of(hooks: Mapping[Any, Hook], value: Any) -> Any:
    errors = []
    for each, hook in hooks.items():
        try:
            return hook(value, each)
        except MismatchError as error:
            errors.append(error)
    raise _of_all(errors)


def _order(kind: Any) -> tuple[int, str]:
    # First what only some strings or numbers are, last what all are.
    if is_enum(kind) or get_origin(kind) is Literal:
        return 0, repr(kind)
    return (2 if kind in {float, str} else 1), repr(kind)


def _of_all(errors: Sequence[MismatchError]) -> MismatchError:
    # An error inside of a value is of the type that the value was likeliest to be of.
    first = errors[0]
    if (
        any((error.path, error.seen) != (first.path, first.seen) for error in errors)
        or not first.seen
    ):
        return next((error for error in errors if error.path), first)
    joined = MismatchError(" or ".join(dict.fromkeys(error.wanted for error in errors)), first.seen)
    joined.path = first.path
    return joined


def literal_hook(kind: Any) -> Hook:
    """Return the hook of a ``Literal``."""
    values = constants_of(kind) or ()
    known = dict(zip([(type(value), value) for value in values], get_args(kind), strict=True))

    def structure(value: Any, _: Any) -> Any:
        try:
            return known[type(value), value]
        except (KeyError, TypeError):  # an array or an object has no hash
            raise _one_expected(values, value) from None

    return structure


def is_enum(kind: Any) -> bool:
    """Return whether ``kind`` is an enumeration."""
    return isinstance(kind, type) and issubclass(kind, Enum)


# In this order, because a boolean is a whole number too in Python.
_OF_MEMBERS = (bool, int, float, str, type(None))


def enum_hook(kind: type[Enum]) -> Hook:
    """Return the hook of an enumeration, whose values in JSON are those of its members."""
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


def _one_expected(values: Iterable[Any], value: Any) -> MismatchError:
    seen = quoted(value) if isinstance(value, (str, int, float)) else kind_of(value)
    return MismatchError(f"one of {shown(', '.join(map(repr, values)))}", seen)
