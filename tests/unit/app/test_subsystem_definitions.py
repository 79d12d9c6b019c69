"""Definitions of subsystems that cannot be, and what their authors are told."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import pytest

from moby_plugins.app.subsystem import message_class, omitempty, remote_of, timed
from moby_plugins.app.wire import decode, encode
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


def test_a_message_is_named_after_its_method_and_holds_its_arguments() -> None:
    """A value of its own class: frozen, with the defaults of the method's parameters."""
    empty = inspect.Parameter.empty
    message: Any = message_class(
        "Odd.Do", {"name": ("Name", str, empty), "times": ("Count", int, 1)}
    )

    assert message.__name__ == "OddDo"
    assert decode(b'{"Name":"a"}', message) == message(name="a", times=1)
    assert decode(b'{"Count":2}', message) == message(name="", times=2)
    with pytest.raises(TypeError, match="required"):
        message()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        message(name="a").name = "b"


def test_a_time_in_a_field_is_checked_when_it_is_sent() -> None:
    """A host in Go reads nothing but RFC 3339; what it sends is not checked."""

    @attrs.frozen
    class Entry:
        at: str = attrs.field(metadata=timed())

    assert encode(Entry("2026-01-02T03:04:05Z")) == b'{"At":"2026-01-02T03:04:05Z"}\n'
    assert decode(b'{"At":"noon"}', Entry) == Entry("noon")
    with pytest.raises(ValueError, match=r"'noon' is not a time in RFC 3339"):
        encode(Entry("noon"))


def test_a_result_may_be_a_sequence_a_message_or_a_mapping() -> None:
    """A host gets tuples, at any depth; a message and a mapping need no key."""

    @attrs.frozen
    class Card:
        text: str = ""

    class Cards(Subsystem):
        @remote(result="Rows", timeout=1.25)
        def rows(self) -> Sequence[Sequence[int]]:
            raise NotImplementedError

        @remote()
        def card(self) -> Card:
            raise NotImplementedError

        @remote()
        def plain(self) -> dict:  # type: ignore[type-arg]
            raise NotImplementedError

        @remote()
        def mapping(self) -> Mapping[str, int]:
            raise NotImplementedError

    client, line = client_to(
        {
            "Cards.Rows": {"Rows": [[1], []]},
            "Cards.Card": {"Text": "a"},
            "Cards.Plain": {"a": [1]},
            "Cards.Mapping": {"a": 1},
        }
    )
    cards = Cards(client)

    assert cards.rows() == ((1,), ())
    assert cards.card() == Card("a")
    assert cards.plain() == {"a": [1]}
    assert cards.mapping() == {"a": 1}
    assert line.timeouts[0] == 1.25


def test_an_attribute_by_the_name_of_the_mark_is_no_mark() -> None:
    """A function of the author's may have one for its own purposes."""

    def function() -> None: ...

    function.remote = "elsewhere"  # type: ignore[attr-defined]

    assert remote_of(function) is None
    assert remote_of(VolumeDriver.list) is VolumeDriver.remotes["List"]
