"""A custom subsystem: one class is the host's proxy and the plugin's interface."""

from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from moby_plugins.domain.errors import DriverError, StatusError, WireError
from moby_plugins.domain.retry import RetryPolicy
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import (
    GraphDriver,
    MetricsCollector,
    Subsystem,
    VolumeDriver,
    omitempty,
    remote,
    wire_name,
)
from moby_plugins.testing import refused, status
from tests.unit.app.subsystems.exchanges import asked, client_to, replying


@attrs.frozen
class Card:
    """A message."""

    to: str
    text: str = "hello"
    priority: int = attrs.field(default=0, metadata=omitempty())
    sender_id: str = attrs.field(default="", metadata=wire_name("SenderID"))


class Greeter(Subsystem):
    """Greets."""

    @remote(result="Greeting")
    def greet(self, name: str, times: int = 1, guest_id: str = "") -> str:
        """A greeting."""
        raise NotImplementedError

    @remote()
    def post(self, card: Card) -> None:
        """One attrs class is the whole message."""
        raise NotImplementedError

    @remote("Latest")
    def latest_card(self) -> Card:
        """The answer is a message."""
        raise NotImplementedError

    @remote(sends_body=False, result="Tags", default_if_missing={"none": "1"})
    def tags(self) -> Mapping[str, str]:
        """A plugin may lack this."""
        raise NotImplementedError

    @remote()
    def later(self) -> "Later":
        """Its type is defined further down."""
        raise NotImplementedError


@attrs.frozen
class Later:
    """A message that is defined after its method."""

    value: int = 0


class Polite(Greeter):
    """An implementation of some of it; takes what it needs to be made."""

    def __init__(self, word: str) -> None:
        self.word = word
        self.cards: list[Card] = []

    def greet(self, name: str, times: int = 1, guest_id: str = "") -> str:
        return f"{self.word}, {name}{guest_id}" * times

    def post(self, card: Card) -> None:
        self.cards.append(card)

    def latest_card(self) -> Card:
        return self.cards[-1]

    def later(self) -> Later:
        return Later(5)


@pytest.mark.parametrize(
    ("arguments", "named", "body"),
    [
        (("Ada",), {}, '{"Name":"Ada","Times":1,"GuestID":""}'),
        (("Ada", 2, "x"), {}, '{"Name":"Ada","Times":2,"GuestID":"x"}'),
        ((), {"guest_id": "x", "name": "Ada"}, '{"Name":"Ada","Times":1,"GuestID":"x"}'),
        (("Ada",), {"times": 3}, '{"Name":"Ada","Times":3,"GuestID":""}'),
    ],
)
def test_a_proxy_method_takes_positional_keyword_and_default_arguments(
    arguments: tuple[Any, ...], named: dict[str, Any], body: str
) -> None:
    """Each argument is a key of the JSON body, in which ``guest_id`` is ``GuestID``."""
    client, line = client_to({"Greeter.Greet": {"Greeting": "hi"}})

    assert Greeter(client).greet(*arguments, **named) == "hi"
    assert line.requests[0].read().decode() == body + "\n"


@pytest.mark.parametrize(
    ("arguments", "named", "message"),
    [
        ((), {}, "missing a required argument: 'name'"),
        (("Ada",), {"nick": "A"}, "got an unexpected keyword argument 'nick'"),
        (("Ada", 1, "x", "y"), {}, "too many positional arguments"),
    ],
)
def test_wrong_arguments_are_a_type_error(
    arguments: tuple[Any, ...], named: dict[str, Any], message: str
) -> None:
    """The message is that of an ordinary Python call, and nothing is sent."""
    client, line = client_to({})

    with pytest.raises(TypeError, match=message):
        Greeter(client).greet(*arguments, **named)
    assert line.requests == []


def test_a_proxy_and_an_implementation_of_one_definition_work_together() -> None:
    """Message classes, with their defaults and metadata, may be arguments and results."""
    part = Polite("Good morning")
    client, line = client_to(PluginApp(part))
    greeter = Greeter(client)
    card = Card("Ada", sender_id="s")

    assert greeter.greet("Ada", times=2) == "Good morning, AdaGood morning, Ada"
    assert greeter.post(card) is None
    assert greeter.latest_card() == card
    assert greeter.later() == Later(5)
    assert line.requests[1].read() == b'{"To":"Ada","Text":"hello","SenderID":"s"}\n'
    assert [request.method for request in line.requests] == [
        "Greeter.Greet",
        "Greeter.Post",
        "Greeter.Latest",
        "Greeter.Later",
    ]


def test_a_method_without_parameters_sends_an_empty_object_or_no_body() -> None:
    """The body is ``{}``, or nothing with ``sends_body=False``."""
    client, line = client_to({"Greeter.Latest": {"To": "x"}, "Greeter.Tags": {}})

    Greeter(client).latest_card()
    Greeter(client).tags()

    assert [request.read() for request in line.requests] == [b"{}\n", b""]


def test_a_method_that_a_plugin_may_lack_has_a_value_for_404() -> None:
    """Any other status of an error still raises a ``StatusError``."""
    assert replying(Greeter, "Tags", status(404)).tags() == {"none": "1"}
    assert replying(Greeter, "Tags", {"Tags": None}).tags() == {}
    with pytest.raises(StatusError):
        replying(Greeter, "Tags", status(503)).tags()


def test_a_subsystem_may_set_its_names_in_manifest_paths_and_errors() -> None:
    """A method with ``default_on_error`` returns that value for a failure of any kind."""

    class Lamp(Subsystem):
        implements = "lamp"
        interface = "LampDriver"
        error_keys = ("Fault",)

        @remote("On", result="Lit", default_on_error=False)
        def switch_on(self) -> bool:
            raise NotImplementedError

        @remote()
        def off(self) -> None:
            raise NotImplementedError

    class Candle(Lamp):
        def switch_on(self) -> bool:
            return True

    app = PluginApp(Candle())

    assert asked(app, "Plugin.Activate") == (200, '{"Implements":["lamp"]}')
    assert asked(app, "LampDriver.On") == (200, '{"Lit":true}')
    assert replying(Lamp, "On", {"Lit": True}).switch_on() is True
    for failure in ({"Lit": True, "Fault": "fuse"}, refused(), status(404), b"?"):
        assert replying(Lamp, "On", failure).switch_on() is False
    assert replying(Lamp, "Off", {"Err": "not its key"}).off() is None
    with pytest.raises(DriverError, match=r"(?m)^LampDriver.Off: fuse$"):
        replying(Lamp, "Off", {"fault": "fuse"}).off()


def test_a_subsystem_can_be_extended() -> None:
    """A derived definition has its base's methods and its own, under the same interface."""

    class Snapshots(VolumeDriver):
        @remote(result="ID")
        def snapshot(self, name: str) -> str:
            raise NotImplementedError

    class Mine(Snapshots):
        def snapshot(self, name: str) -> str:
            return f"{name}@1"

        def remove(self, name: str) -> None:
            """Nothing to do."""

    client, _ = client_to(PluginApp(Mine()))

    assert Snapshots(client).snapshot("db") == "db@1"
    assert Snapshots(client).remove("db") is None
    assert "Snapshot" not in VolumeDriver.remotes


def test_the_error_of_a_response_of_a_wrong_type_names_address_and_method() -> None:
    """A wrong result and a wrong ``Err`` both raise such a ``WireError``."""
    with pytest.raises(WireError, match=r"^tcp://host:1: Greeter\.Greet: Greeting: a string"):
        replying(Greeter, "Greet", {"Greeting": 1}).greet("Ada")
    with pytest.raises(WireError, match=r"^tcp://host:1: Greeter\.Greet: Err: a string"):
        replying(Greeter, "Greet", {"Err": 1}).greet("Ada")
    with pytest.raises(WireError, match=r"an object expected, not an array$"):
        replying(Greeter, "Greet", []).greet("Ada")


@pytest.mark.parametrize("part", [Greeter(), Polite("x")])
def test_a_subsystem_made_without_a_client_cannot_call(part: Greeter) -> None:
    """An unimplemented method and the attribute ``client`` raise a clear ``TypeError``."""
    message = f"^{type(part).__name__} is not a proxy: it was made without a client$"

    with pytest.raises(TypeError, match=message):
        part.tags()
    with pytest.raises(TypeError, match=message):
        _ = part.client


def test_a_time_out_for_an_unknown_method_is_an_error() -> None:
    """The constructor raises a ``ValueError`` that names the class and the method."""
    with pytest.raises(ValueError, match=r"^timeouts: VolumeDriver has no method 'Mount'$"):
        VolumeDriver(timeouts={"Mount": 1.0})
    told = r"^timeouts: VolumeDriver has no method 'x{300}'… of 9000$"
    with pytest.raises(ValueError, match=told):
        VolumeDriver(timeouts={"x" * 9000: 1.0})


def test_the_timeouts_of_a_proxy_are_those_of_its_calls() -> None:
    """The keys of ``timeouts`` are method names, for calls, notices and uploads alike."""
    client, line = client_to(
        {
            "VolumeDriver.Remove": {},
            "MetricsCollector.StartMetrics": {},
            "GraphDriver.ApplyDiff": {"Size": 3},
        }
    )

    VolumeDriver(client, timeouts={"remove": 1.5}).remove("books")
    MetricsCollector(client, timeouts={"start_metrics": 2.5}).start_metrics()
    GraphDriver(client, timeouts={"apply_diff": 3.5}).apply_diff("a", "", [b"tar"])

    assert line.timeouts == [1.5, 2.5, 3.5]


def test_the_response_to_an_upload_is_read_as_the_declared_result() -> None:
    """A response of a wrong type is a ``WireError`` that names the method."""
    client, _ = client_to({"GraphDriver.ApplyDiff": {"Size": "much"}}, retry=RetryPolicy.never())

    with pytest.raises(WireError, match=r"GraphDriver\.ApplyDiff"):
        GraphDriver(client).apply_diff("a", "", [b"tar"])
