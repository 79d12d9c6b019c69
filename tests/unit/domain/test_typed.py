"""Public values check the types of their fields when they are made."""

from collections.abc import Awaitable, Callable
from enum import Enum
from functools import wraps
from importlib import import_module
from types import UnionType
from typing import Any, Literal, cast, get_args, get_origin  # noqa: F401  annotations name them

import attrs
import pytest
from attrs import NOTHING

from moby_plugins import (
    ActivePlugin,
    Client,
    DriverError,
    InvalidPluginNameError,
    Manifest,
    Plugin,
    Request,
    Response,
)
from moby_plugins.aio import AsyncClient, AsyncRequest, AsyncResponse
from moby_plugins.checks.outcome import Function
from moby_plugins.domain.typed import returned_kind, typed
from moby_plugins.ports import (
    Address,
    CallEnded,
    CallStarted,
    Managed,
    ManagedPlugin,
    RequestEnded,
    RequestStarted,
)
from moby_plugins.testing import (
    AsyncMemoryTransport,
    FakeClock,
    MemoryDiscovery,
    MemoryTransport,
    drips,
    drops_mid_body,
    hangs,
    status,
)
from moby_plugins.tracing import Recording
from tests.cases import every
from tests.unit.app.in_memory import MemoryHost

DOORS = ["", ".aio", ".ports", ".serving", ".tracing", ".diagnosis", ".checks", ".testing"]
# Made for each call: what is wrong with one is told where it is sent.
OF_EACH_CALL = {
    AsyncRequest,
    AsyncResponse,
    CallEnded,
    CallStarted,
    Request,
    RequestEnded,
    RequestStarted,
    Response,
}
OBJECT: Any = object()
FIVE: Any = 5
FIVES: Any = [5]


def public_values() -> list[type]:
    """The public classes of values, except the messages of subsystems."""
    doors = [import_module(f"moby_plugins{door}") for door in DOORS]
    found = {getattr(door, name) for door in doors for name in door.__all__}
    values = [kind for kind in found if isinstance(kind, type) and attrs.has(kind)]
    return sorted({*values} - OF_EACH_CALL, key=lambda kind: (kind.__module__, kind.__name__))


def right(field: "attrs.Attribute[Any]") -> Any:
    """Something that the field takes."""
    kind: Any = get_args(field.type)[0] if get_origin(field.type) is UnionType else field.type
    if kind is AsyncClient:
        return AsyncClient(AsyncMemoryTransport({}), Address("tcp://h:1"))
    if field.name in BY_NAME:
        return BY_NAME[field.name]
    if get_origin(kind) is Callable or kind is Function:
        return print
    if attrs.has(kind):
        return example(kind)
    kind = get_origin(kind) or kind
    return next(iter(kind)) if issubclass(kind, Enum) else kind()


BY_NAME: dict[str, Any] = {
    "addr": "tcp://h:1",
    "address": "tcp://h:1",
    "text": "tcp://h:1",
    "name": "a",
    "method": "A.B",
    "first": MemoryDiscovery(),
    "then": MemoryDiscovery(),
    "client": Client(MemoryTransport({}), Address("tcp://h:1"), clock=FakeClock()),
    "subsystem": "VolumeDriver",
    "expects": "it answers",
    "source": "B2",
    "plugins": {},
    "error": DriverError("A.B", "x"),
}


def example(kind: Any, **arguments: Any) -> Any:
    """A value of the class, of what it needs and of ``arguments``."""
    needed = [field for field in attrs.fields(kind) if field.init and field.default is NOTHING]
    return kind(**{field.alias: right(field) for field in needed} | arguments)


@every("kind", public_values())
def test_public_values_refuse_arguments_of_the_wrong_type(kind: type) -> None:
    """Each argument in turn is given an ``object()``, which has no type that a field takes."""
    assert isinstance(example(kind), kind)
    taken = []
    for field in attrs.fields(cast("Any", kind)):
        if field.init and field.type is not Function:
            try:
                example(kind, **{field.alias: OBJECT})
            except (TypeError, ValueError):
                continue
            taken.append(field.name)

    assert taken == []


@every(
    ("make", "message"),
    [
        (lambda: Plugin("a", "tcp://h:1", manifest=FIVE), "manifest takes a Manifest, not 5"),
        (
            lambda: Plugin("a", "tcp://h:1", managed=FIVE),
            "managed takes a Managed, not 5",
        ),
        (
            lambda: ActivePlugin("a", "tcp://h:1", client=FIVE),
            "client must be a Client, not a int",
        ),
        (lambda: Managed(FIVE), "rootfs must be a str, not a int"),
        (lambda: ManagedPlugin("a", "b", enabled=FIVE), "enabled must be a bool, not a int"),
        (
            lambda: ManagedPlugin("a", "b", enabled=True, types=FIVES),
            r"types must be a tuple\[str, \.\.\.\], not a list",
        ),
        (lambda: Manifest(FIVE), "implements must be a list of names, not 5"),
        (lambda: Manifest(FIVES), r"implements must be a list of names, not \[5\]"),
        (lambda: Recording(FIVES), r"calls must be a tuple\[.*\], not a tuple of int"),
        (lambda: drips(FIVE), "body must be bytes, not 5"),
        (lambda: drips(b"{}", FIVES), r"every must be a number of seconds, 0 or more, not \[5\]"),
        (lambda: drips(b"{}", -1), "every must be a number of seconds, 0 or more, not -1"),
        (lambda: hangs(FIVES), r"seconds must be a number of seconds, 0 or more, not \[5\]"),
        (lambda: hangs(float("nan")), "seconds must be a number of seconds, 0 or more, not nan"),
        (lambda: drops_mid_body(FIVE), "sent must be bytes, not 5"),
        (lambda: drops_mid_body(b"", FIVES), r"status must be int, not \[5\]"),
        (lambda: status(FIVES), r"code must be int, not \[5\]"),
        (lambda: status(500, FIVE), "message must be str, not 5"),
    ],
)
def test_the_error_of_a_wrong_type_names_the_argument_and_the_expected_type(
    make: Callable[[], object], message: str
) -> None:
    """The text of the error has no details of attrs."""
    with pytest.raises(TypeError, match=f"^{message}$"):
        make()


def test_invalidating_a_plugin_by_a_number_is_an_error() -> None:
    """``invalidate`` refuses an invalid name, as ``get`` does."""
    with pytest.raises(InvalidPluginNameError):
        MemoryHost({}).registry.invalidate(FIVE)


@attrs.frozen(field_transformer=typed)
class Even:
    """A value with a rule of its own besides the type."""

    number: int = attrs.field()

    @number.validator
    def _is_even(self, _: Any, value: int) -> None:
        if value % 2:
            raise ValueError("it is odd")


def test_a_fields_type_is_checked_once_and_before_its_own_validator() -> None:
    """This holds for inherited fields; a field that is not an argument is not checked."""

    def short(_: object, attribute: Any, value: Any) -> None:
        if len(value) > 3:
            raise ValueError(f"{attribute.name} is long")

    @attrs.frozen(field_transformer=typed)
    class Base:
        name: str = attrs.field(validator=short)
        own: str = attrs.field(init=False, default=cast("Any", 5))

    @attrs.frozen(field_transformer=typed)
    class Sub(Base):
        size: tuple[int, ...] = ()

    names = [attrs.fields(kind).name.validator for kind in (Base, Sub)]
    assert names[0] is names[1]
    assert attrs.astuple(Sub("abc", (1,))) == ("abc", 5, (1,))
    with pytest.raises(ValueError, match=r"^name is long$"):
        Sub("abcd")
    with pytest.raises(TypeError, match=r"^name must be a str, not a bytes$"):
        Sub(cast("Any", b"abcd"))
    with pytest.raises(TypeError, match=r"^size must be a tuple\[int, \.\.\.\], not a int$"):
        Sub("a", cast("Any", 1))


def test_a_validator_of_a_field_runs_after_the_type_check() -> None:
    """The validator may rely on the type: a value of another type never reaches it."""
    assert Even(2).number == 2
    with pytest.raises(ValueError, match=r"^it is odd$"):
        Even(3)
    with pytest.raises(TypeError, match="number"):
        Even("3")  # type: ignore[arg-type]


def numbers() -> list[int]:
    """A function with an annotation of its result."""
    return [1]


@wraps(numbers)
def wrapped() -> str:
    """A wrapper with the annotation of another function."""
    return "1"


async def awaited() -> int:
    """A coroutine function."""
    return 1


def resolved(function: Callable[..., object], name: str) -> Callable[..., object]:
    """The function, with this annotation of its result."""
    function.__annotations__["return"] = name
    return function


@every(
    ("function", "kind"),
    [
        (numbers, list),
        (wrapped, None),
        (awaited, Awaitable),
        (resolved(lambda: 1, "int"), int),
        (resolved(lambda: 1, "Nowhere"), None),
        (resolved(lambda: 1, "Literal[1]"), None),
        (lambda: 1, None),
    ],
)
def test_the_class_of_a_functions_result_is_read_from_its_annotation(
    function: Any, kind: object
) -> None:
    """The class is unknown if the annotation is not a class, or is that of a wrapped function."""
    assert returned_kind(function) is kind
