"""Definitions of subsystems that cannot be, and what their authors are told."""

from typing import Any

import pytest

from moby_plugins.app.subsystem import omitempty
from moby_plugins.subsystems import LogDriver, Subsystem, Volume, VolumeDriver, remote
from tests.cases import every
from tests.unit.app.subsystems.exchanges import client_to


def define(function: Any, **options: Any) -> None:
    """Make a subsystem ``Odd`` of one function."""
    type("Odd", (Subsystem,), {"do": remote("Do", **options)(function)})


def _no_type(self: Any, name) -> None: ...  # type: ignore[no-untyped-def]


def _no_result(self: Any, name: str): ...  # type: ignore[no-untyped-def]


def _many(self: Any, *names: str) -> None: ...


def _keywords(self: Any, **names: str) -> None: ...


def _keyword(self: Any, *, name: str) -> None: ...


def _text(self: Any) -> str: ...  # type: ignore[empty-body]


def _maybe(self: Any) -> Volume | None: ...


@every(
    ("function", "message"),
    [
        (_no_type, "Odd.Do: parameter 'name' needs a type"),
        (
            _no_result,
            "Odd.Do: the result needs a type: annotate it, with None where there is no result",
        ),
        (_many, "Odd.Do: *names: str is not an ordinary parameter"),
        (_keywords, "Odd.Do: **names: str is not an ordinary parameter"),
        (_keyword, "Odd.Do: name: str is not an ordinary parameter"),
        (
            _text,
            (
                "Odd.Do: a result of type <class 'str'> needs a key in the response: name it with"
                ' @remote(result="KEY")'
            ),
        ),
    ],
)
def test_a_definition_that_cannot_be_is_refused_at_once(function: Any, message: str) -> None:
    """When the class is made, naming method and parameter."""
    with pytest.raises(TypeError) as caught:
        define(function)

    assert str(caught.value) == message


def test_an_optional_message_needs_a_key() -> None:
    """Nothing could not be told from an empty message."""
    with pytest.raises(TypeError, match=r"needs a key in the response"):
        define(_maybe)

    define(_maybe, result="Volume")


def test_a_name_that_is_never_defined_is_told_at_the_first_call() -> None:
    """A type may be defined later than its method, but not never."""

    class Odd(Subsystem):
        @remote()
        def do(self, thing: "Nowhere") -> None:  # type: ignore[name-defined]  # noqa: F821
            raise NotImplementedError

    client, _ = client_to({})

    with pytest.raises(TypeError, match=r"^Odd\.Do: name 'Nowhere' is not defined$"):
        Odd(client).do(1)


def test_one_class_implements_one_subsystem() -> None:
    """Methods of the same name would answer for each other."""
    with pytest.raises(
        TypeError,
        match=r"^Both derives from several subsystems: write one class for each of \['Log",
    ):
        type("Both", (VolumeDriver, LogDriver), {})


def test_an_asynchronous_method_needs_the_other_base() -> None:
    """Of a plain subsystem a thread would not await it."""

    async def do(_: object) -> None: ...

    told = r"^Odd\.do is asynchronous: derive from AsyncSubsystem$"
    with pytest.raises(TypeError, match=told):
        type("Odd", (Subsystem,), {"do": remote("Do")(do)})


def test_a_subsystem_is_shown_by_what_it_is_for() -> None:
    """A proxy by its client."""
    client, _ = client_to({})

    assert repr(VolumeDriver()) == "<VolumeDriver for VolumeDriver>"
    assert repr(type("Odd", (Subsystem,), {})()) == "<Odd for a subsystem>"
    assert repr(VolumeDriver(client)) == f"<VolumeDriver of {client!r}>"


def test_a_base_that_is_no_subsystem_is_none() -> None:
    """A class of the author's may add methods, before or behind the subsystem."""

    class Mixin:
        """Something of the author's."""

    first: Any = type("First", (Mixin, VolumeDriver), {})
    last: Any = type("Last", (VolumeDriver, Mixin), {})

    assert (first.interface, last.interface) == ("VolumeDriver", "VolumeDriver")


def test_a_field_may_be_left_out_under_a_name_of_its_own() -> None:
    """What tells ``encode`` so is in the field's metadata."""
    assert omitempty() == {"omitempty": True}
    assert omitempty("ID") == {"omitempty": True, "wire": "ID"}
