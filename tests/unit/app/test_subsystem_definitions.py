"""Invalid definitions of subsystems, and the errors that their authors get."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import pytest

from moby_plugins import Settings, new_client
from moby_plugins.app.subsystem import message_class, omitempty, remote_of, timed
from moby_plugins.app.wire import decode, encode
from moby_plugins.domain.errors import DriverError
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import LogDriver, Subsystem, Volume, VolumeDriver, remote
from moby_plugins.testing import MemoryTransport
from tests.cases import every
from tests.unit.app.subsystems.exchanges import client_to, replying


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


def _twice(self: Any, id: str, id_: str) -> None: ...


def _no_code(self: Any) -> "list[": ...  # type: ignore[valid-type]  # noqa: F722


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
        (_twice, "Odd.Do: id and id_ are both 'ID' on the wire"),
        (_no_code, "Odd.Do: Forward reference must be an expression -- got 'list['"),
        (
            _text,
            (
                "Odd.Do: a result of type <class 'str'> needs a key in the response: name it with"
                ' @remote(result="KEY")'
            ),
        ),
    ],
)
def test_an_invalid_method_definition_is_refused_when_the_class_is_made(
    function: Any, message: str
) -> None:
    """The ``TypeError`` names the method and the parameter."""
    with pytest.raises(TypeError) as caught:
        define(function)

    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["client", "implements", "interface", "remotes", "timeout_of"])
def test_a_method_with_a_name_that_every_subsystem_has_is_refused(name: str) -> None:
    """It would take the place of what the class itself uses."""
    with pytest.raises(TypeError, match=f"^Odd.{name}: every subsystem has '{name}'"):
        type("Odd", (Subsystem,), {name: remote(name.title())(named(name))})


def named(name: str) -> Any:
    """A function of that name, for a subsystem."""

    def function(self: Any) -> None: ...

    function.__name__ = name
    return function


@attrs.frozen
class _Failing:
    code: int = 0
    err: str = ""


@every(
    ("kind", "key", "named"),
    [
        (str, "Err", "Err"),
        (str, "err", "err"),
        (_Failing, "", "Err"),
    ],
)
def test_a_result_under_the_key_of_errors_is_refused(kind: Any, key: str, named: str) -> None:
    """Each success would be an error for the host, which reads keys without regard to case."""

    def do(self: Any) -> None: ...

    do.__annotations__["return"] = kind

    with pytest.raises(
        TypeError, match=f"^Odd.Do: '{named}' is the key of an error in a response$"
    ):
        define(do, result=key)


def test_two_methods_with_one_name_on_the_wire_are_refused() -> None:
    """One of them would never be called."""
    size, text = remote("Get")(named("size")), remote("Get")(named("text"))
    with pytest.raises(TypeError, match=r"^Odd: size and text are both 'Get' on the wire$"):
        type("Odd", (Subsystem,), {"size": size, "text": text})

    base = type("Base", (Subsystem,), {"size": size})
    with pytest.raises(TypeError, match=r"^Odd: size and text are both 'Get' on the wire$"):
        type("Odd", (base,), {"text": text})
    type("Odd", (base,), {"size": remote("Get")(named("size"))})


def test_a_parameter_may_begin_with_an_underscore() -> None:
    """It is sent, and its value is read by the plugin."""

    class Odd(Subsystem):
        @remote(result="R")
        def do(self, _from: str, _: int) -> str:
            raise NotImplementedError

    class Impl(Odd):
        def do(self, _from: str, _: int) -> str:
            return f"{_from} {_}"

    plugin = MemoryTransport(PluginApp(Impl()))
    with new_client(
        "unix:///p.sock", settings=Settings(transports={"unix": plugin.connect})
    ) as client:
        assert Odd(client).do("a", 2) == "a 2"


def test_the_key_of_errors_may_be_any_text() -> None:
    """It need not be a name in Python."""

    class Odd(Subsystem):
        error_keys = ("Error Text", "Class")

        @remote(result="R")
        def do(self) -> str:
            raise NotImplementedError

    with pytest.raises(DriverError, match="no room"):
        replying(Odd, "Do", {"Class": "no room"}).do()
    assert replying(Odd, "Do", {"R": "a"}).do() == "a"


def test_a_sequence_without_a_type_is_of_anything() -> None:
    """The host gets a tuple, as of ``Sequence[str]``."""

    class Odd(Subsystem):
        @remote(result="R")
        def do(self) -> Sequence:  # type: ignore[type-arg]
            raise NotImplementedError

    assert replying(Odd, "Do", {"R": ["a", 1]}).do() == ("a", 1)


def test_an_optional_message_needs_a_key() -> None:
    """A result ``None`` without a key could not be distinguished from an empty message."""
    with pytest.raises(TypeError, match=r"needs a key in the response"):
        define(_maybe)

    define(_maybe, result="Volume")


def test_an_undefined_name_in_an_annotation_is_an_error_at_the_first_call() -> None:
    """A type may be defined after its method, so names are not resolved before a call."""

    class Odd(Subsystem):
        @remote()
        def do(self, thing: "Nowhere") -> None:  # type: ignore[name-defined]  # noqa: F821
            raise NotImplementedError

    client, _ = client_to({})

    with pytest.raises(TypeError, match=r"^Odd\.Do: name 'Nowhere' is not defined$"):
        Odd(client).do(1)


def test_a_class_cannot_derive_from_two_subsystems() -> None:
    """Methods of the same name would be confused; the ``TypeError`` says to write two classes."""
    with pytest.raises(
        TypeError,
        match=r"^Both derives from several subsystems: write one class for each of \['Log",
    ):
        type("Both", (VolumeDriver, LogDriver), {})


def test_an_asynchronous_method_in_a_synchronous_subsystem_is_refused() -> None:
    """The error says to derive from ``AsyncSubsystem``, since no thread awaits a coroutine."""

    async def do(_: object) -> None: ...

    told = r"^Odd\.do is asynchronous: derive from AsyncSubsystem$"
    with pytest.raises(TypeError, match=told):
        type("Odd", (Subsystem,), {"do": remote("Do")(do)})


def test_the_repr_of_a_subsystem_shows_its_interface_or_its_client() -> None:
    """A proxy shows its client, and an object without a client what it is for."""
    client, _ = client_to({})

    assert repr(VolumeDriver()) == "<VolumeDriver for VolumeDriver>"
    assert repr(type("Odd", (Subsystem,), {})()) == "<Odd for a subsystem>"
    assert repr(VolumeDriver(client)) == f"<VolumeDriver of {client!r}>"


def test_a_subsystem_may_have_a_mixin_class_before_or_after_it() -> None:
    """A base class of the author's own does not change the interface."""

    class Mixin:
        """Something of the author's."""

    first: Any = type("First", (Mixin, VolumeDriver), {})
    last: Any = type("Last", (VolumeDriver, Mixin), {})

    assert (first.interface, last.interface) == ("VolumeDriver", "VolumeDriver")


def test_omitempty_may_also_set_the_name_of_a_field_on_the_wire() -> None:
    """Both are metadata of the field, which ``encode`` reads."""
    assert omitempty() == {"omitempty": True}
    assert omitempty("ID") == {"omitempty": True, "wire": "ID"}


def test_a_message_is_named_after_its_method_and_holds_its_arguments() -> None:
    """The message's class is frozen, and has the defaults of the method's parameters."""
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
    """``encode`` refuses what is not RFC 3339, as Go could not read it; ``decode`` accepts it."""

    @attrs.frozen
    class Entry:
        at: str = attrs.field(metadata=timed())

    assert encode(Entry("2026-01-02T03:04:05Z")) == b'{"At":"2026-01-02T03:04:05Z"}\n'
    assert decode(b'{"At":"noon"}', Entry) == Entry("noon")
    with pytest.raises(ValueError, match=r"'noon' is not a time in RFC 3339"):
        encode(Entry("noon"))


def test_a_result_may_be_a_sequence_a_message_or_a_mapping() -> None:
    """A sequence is returned as nested tuples; a message and a mapping need no key."""

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


def test_a_function_with_an_unrelated_remote_attribute_is_no_remote_method() -> None:
    """Authors may use an attribute ``remote`` for their own purposes."""

    def function() -> None: ...

    function.remote = "elsewhere"  # type: ignore[attr-defined]

    assert remote_of(function) is None
    assert remote_of(VolumeDriver.list) is VolumeDriver.remotes["List"]
