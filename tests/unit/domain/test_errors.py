"""The library's errors: their texts for people, and their attributes for programs."""

import copy
import pickle

import pytest

from moby_plugins.domain.errors import (
    DriverError,
    InvalidPluginNameError,
    NotImplementedByPluginError,
    PluginDisabledError,
    PluginError,
    PluginNotFoundError,
    RecordingError,
    SettingsError,
    SpecError,
    StatusError,
    TransportError,
    TransportTimeoutError,
    WaitCancelledError,
    WireError,
    response_in_brief,
)
from tests.cases import every

EVERY_KIND: list[tuple[type[PluginError], tuple[object, ...]]] = [
    (PluginError, ("odd",)),
    (PluginNotFoundError, ("db", ("/run/db.sock", "/etc/db.spec"))),
    (InvalidPluginNameError, ("a/b",)),
    (NotImplementedByPluginError, ("db", "VolumeDriver", ("authz", "LogDriver"))),
    (SpecError, ("no address", "/etc/db.json")),
    (SettingsError, ("unknown setting 'x'",)),
    (RecordingError, ("not JSON", "/tmp/calls.jsonl", 3)),
    (TransportError, ("refused", "tcp://h:1", "db")),
    (TransportTimeoutError, ("timed out", "tcp://h:1", "db")),
    (StatusError, (500, "VolumeDriver.Get", "disk on fire")),
    (DriverError, ("VolumeDriver.Get", "no such volume")),
    (PluginDisabledError, ("db:latest",)),
    (WireError, ("not JSON", "VolumeDriver.Get", "tcp://h:1", "db")),
]


def transport_error(**attributes: object) -> TransportError:
    """An error of the exchange, with attributes as the retry loop would set them."""
    error = TransportError("refused", "tcp://h:1", "db")
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


@every(("kind", "args"), EVERY_KIND)
def test_an_error_survives_copying_and_pickling(
    kind: type[PluginError], args: tuple[object, ...]
) -> None:
    """A copy has the class, the text and all attributes of the original, later ones included."""
    original = kind(*args)
    original.attempts, original.elapsed = 5, 15.0
    original.add_note("seen in the field")

    thawed = pickle.loads(pickle.dumps(original))  # noqa: S301  our own bytes
    for transferred in (copy.copy(original), copy.deepcopy(original), thawed):
        assert transferred is not original
        assert type(transferred) is kind
        assert str(transferred) == str(original)
        assert transferred.args == original.args
        assert vars(transferred) == vars(original)
        assert (transferred.attempts, transferred.elapsed) == (5, 15.0)


@every(("kind", "args"), EVERY_KIND)
def test_the_args_of_an_error_are_those_of_its_constructor(
    kind: type[PluginError], args: tuple[object, ...]
) -> None:
    """A transport error has its reason alone, since ``OSError`` interprets several arguments."""
    shown = args[:1] if issubclass(kind, TransportError) else args

    assert kind(*args).args == shown


@every(
    ("kind", "base"),
    [
        (PluginNotFoundError, LookupError),
        (InvalidPluginNameError, ValueError),
        (SpecError, ValueError),
        (SettingsError, ValueError),
        (RecordingError, ValueError),
        (TransportTimeoutError, TransportError),
        (TransportTimeoutError, TimeoutError),
        (WireError, ValueError),
    ],
)
def test_an_error_is_also_of_the_built_in_class_with_the_same_meaning(
    kind: type, base: type
) -> None:
    """Errors can be caught by the built-in class that means the same."""
    assert issubclass(kind, base)


def test_every_error_is_a_plugin_error() -> None:
    """One ``except PluginError`` catches all; a new error counts one attempt in 0 seconds."""
    for kind, args in EVERY_KIND:
        error = kind(*args)
        assert isinstance(error, PluginError)
        assert (error.attempts, error.elapsed) == (1, 0.0)


@every(
    ("error", "text"),
    [
        (
            PluginNotFoundError("db", ["/run/db.sock", "/etc/db.spec"]),
            "plugin 'db' not found (tried once; searched /run/db.sock, /etc/db.spec)",
        ),
        (PluginNotFoundError("db"), "plugin 'db' not found (tried once; searched nothing)"),
        (
            InvalidPluginNameError("a/b"),
            "'a/b' is not a plugin name: no separators, no NUL, not empty, '.' or '..'",
        ),
        (
            NotImplementedByPluginError("db", "VolumeDriver", ["authz", "LogDriver"]),
            "plugin 'db' does not implement 'VolumeDriver'; it implements authz, LogDriver",
        ),
        (
            NotImplementedByPluginError("db", "authz"),
            "plugin 'db' does not implement 'authz'; it implements nothing",
        ),
        (SpecError("no address", "/etc/db.json"), "/etc/db.json: no address"),
        (SpecError("no address"), "no address"),
        (RecordingError("not JSON", "/x", 3), "/x, line 3: not JSON"),
        (RecordingError("not JSON", "/x"), "/x: not JSON"),
        (TransportError("refused"), "refused (tried once)"),
        (TransportError("refused", "tcp://h:1"), "tcp://h:1: refused (tried once)"),
        (TransportError("refused", "", "db"), "plugin 'db': refused (tried once)"),
        (
            TransportTimeoutError("timed out", "tcp://h:1", "db"),
            "plugin 'db' at tcp://h:1: timed out (tried once)",
        ),
        (
            transport_error(attempts=5, elapsed=15.0),
            "plugin 'db' at tcp://h:1: refused (tried 5 times in 15 s)",
        ),
        (
            transport_error(attempts=2, elapsed=1.23456, body_spent=True),
            (
                "plugin 'db' at tcp://h:1: refused (tried 2 times in 1.23 s; "
                "not tried again: the request's body was partly read and cannot be rewound)"
            ),
        ),
        (StatusError(404, "VolumeDriver.Get", "gone"), "VolumeDriver.Get: gone"),
        (DriverError("VolumeDriver.Get", "gone"), "VolumeDriver.Get: gone"),
        (WireError("not JSON"), "not JSON"),
        (WireError("not JSON", "M.x"), "M.x: not JSON"),
        (
            WireError("not JSON", "M.x", "tcp://h:1", "db"),
            "plugin 'db' at tcp://h:1: M.x: not JSON",
        ),
    ],
)
def test_the_text_of_an_error_names_the_plugin_the_place_and_the_reason(
    error: PluginError, text: str
) -> None:
    """Parts that are not known, such as the name of the plugin, are left out."""
    assert str(error) == text


def test_an_error_response_without_a_message_is_described_by_its_status() -> None:
    """``response_in_brief`` gives the method with the message, or else with the status."""
    assert response_in_brief(StatusError(404, "M.x", "gone")) == "M.x: gone"
    assert response_in_brief(StatusError(404, "M.x", "")) == "M.x: status 404 Not Found"


@every(
    ("kind", "told"),
    [
        (PluginNotFoundError, {"name": "db", "searched": ("/run",)}),
        (InvalidPluginNameError, {"name": "a/b"}),
        (
            NotImplementedByPluginError,
            {"name": "db", "wanted": "authz", "implements": ("LogDriver",)},
        ),
        (SpecError, {"reason": "no address", "file": "/db.json"}),
        (RecordingError, {"reason": "not JSON", "file": "/x", "line": 3}),
        (TransportError, {"reason": "refused", "address": "tcp://h:1", "plugin": "db"}),
        (StatusError, {"status": 500, "method": "M.x", "message": "full"}),
        (DriverError, {"method": "M.x", "message": "full"}),
        (WireError, {"reason": "no", "method": "M.x", "address": "tcp://h:1", "plugin": "db"}),
    ],
)
def test_each_part_of_the_text_of_an_error_is_also_an_attribute(
    kind: type[PluginError], told: dict[str, object]
) -> None:
    """A caller that catches an error need not take its text apart."""
    error = kind(*told.values())

    assert {name: getattr(error, name) for name in told} == told


@pytest.mark.parametrize(
    ("kind", "first", "empty"),
    [
        (PluginNotFoundError, "db", {"searched": ()}),
        (SpecError, "no address", {"file": ""}),
        (TransportError, "refused", {"address": "", "plugin": ""}),
        (WireError, "not JSON", {"method": "", "address": "", "plugin": ""}),
    ],
)
def test_attributes_of_an_error_that_were_not_given_are_empty(
    kind: type[PluginError], first: str, empty: dict[str, object]
) -> None:
    """Only the first argument is required: the plugin's name, or what went wrong."""
    error = kind(first)

    assert {name: getattr(error, name) for name in empty} == empty


def test_searched_paths_and_implemented_subsystems_are_kept_as_tuples() -> None:
    """An error that is given an iterator keeps the items, and not the iterator."""
    missing = PluginNotFoundError("db", iter(["/a", "/b"]))
    unsuitable = NotImplementedByPluginError("db", "authz", iter(["LogDriver"]))

    assert missing.searched == ("/a", "/b")
    assert unsuitable.implements == ("LogDriver",)


def test_a_new_transport_error_says_that_nothing_was_received_and_no_body_read() -> None:
    """``answered`` and ``body_spent`` are false until a transport sets them."""
    error = TransportTimeoutError("timed out")

    assert (error.answered, error.body_spent) == (False, False)


@every(
    ("error", "text"),
    [
        (WaitCancelledError("closed"), "closed"),
        (WaitCancelledError("closed", "shelf"), "closed (plugin 'shelf')"),
        (
            WaitCancelledError("closed", "shelf", "tcp://h:1"),
            "closed (plugin 'shelf' at tcp://h:1)",
        ),
        (WaitCancelledError("closed", address="tcp://h:1"), "closed (tcp://h:1)"),
        (
            PluginDisabledError("mp/shelf:1"),
            "plugin 'mp/shelf:1' is disabled: docker plugin enable mp/shelf:1",
        ),
    ],
)
def test_errors_of_cancelled_waits_and_disabled_plugins_name_the_plugin(
    error: PluginError, text: str
) -> None:
    """The text has the name and address, if they are known; the text of a copy is the same."""
    assert str(error) == text
    assert str(copy.copy(error)) == text


def test_the_error_of_a_cancelled_wait_says_how_many_attempts_were_made() -> None:
    """The text gives the attempts and their seconds, after the plugin's name if that is known."""
    error, unnamed = WaitCancelledError("closed", "shelf"), WaitCancelledError("closed")
    error.attempts = unnamed.attempts = 2
    error.elapsed = unnamed.elapsed = 1.0

    assert str(error) == "closed (plugin 'shelf'; tried 2 times in 1 s)"
    assert str(unnamed) == "closed (tried 2 times in 1 s)"


def test_the_error_of_a_cancelled_wait_has_a_reason_a_plugin_and_an_address() -> None:
    """The attributes and the text have all three; a new error counts no attempts."""
    error = WaitCancelledError("this client is closed", "db", "tcp://h:1")

    assert error.args == ("this client is closed", "db", "tcp://h:1")
    assert (error.reason, error.plugin, error.address, error.attempts) == (*error.args, 0)
    assert str(error) == "this client is closed (plugin 'db' at tcp://h:1)"
