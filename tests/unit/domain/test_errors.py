"""What people read when something went wrong, and what programs can ask."""

import copy
import pickle
from itertools import pairwise

import pytest

from moby_plugins.domain.errors import (
    DriverError,
    InvalidPluginNameError,
    NotImplementedByPluginError,
    PluginError,
    PluginNotFoundError,
    SettingsError,
    SpecError,
    StatusError,
    TransportError,
    TransportTimeoutError,
    WireError,
    is_not_found,
)

EVERY_KIND = [
    PluginError("odd"),
    PluginNotFoundError("db", ["/run/db.sock", "/etc/db.spec"]),
    InvalidPluginNameError("a/b"),
    NotImplementedByPluginError("db", "VolumeDriver", ["authz", "LogDriver"]),
    SpecError("no address", "/etc/db.json"),
    SettingsError("unknown setting 'x'"),
    TransportError("refused", "tcp://h:1", "db"),
    TransportTimeoutError("timed out", "tcp://h:1", "db"),
    StatusError(500, "VolumeDriver.Get", "disk on fire"),
    DriverError("VolumeDriver.Get", "no such volume"),
    WireError("not JSON", "VolumeDriver.Get", "tcp://h:1", "db"),
]
KIND_NAMES = [type(error).__name__ for error in EVERY_KIND]


def transport_error(**attributes: object) -> TransportError:
    """An error of the exchange, with attributes as the retry loop would set them."""
    error = TransportError("refused", "tcp://h:1", "db")
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


@pytest.mark.parametrize("error", EVERY_KIND, ids=KIND_NAMES)
def test_an_error_survives_copying_and_pickling(error: PluginError) -> None:
    """A copy has the class, the text and all attributes of the original, later ones included."""
    original = copy.copy(error)
    original.attempts, original.elapsed = 5, 15.0
    original.add_note("seen in the field")

    thawed = pickle.loads(pickle.dumps(original))  # noqa: S301  our own bytes
    for transferred in (copy.copy(original), copy.deepcopy(original), thawed):
        assert transferred is not original
        assert type(transferred) is type(error)
        assert str(transferred) == str(original)
        assert transferred.args == error.args
        assert vars(transferred) == vars(original)
        assert (transferred.attempts, transferred.elapsed) == (5, 15.0)


@pytest.mark.parametrize(
    ("kind", "base"),
    [
        (PluginNotFoundError, LookupError),
        (InvalidPluginNameError, ValueError),
        (SpecError, ValueError),
        (SettingsError, ValueError),
        (TransportTimeoutError, TransportError),
        (TransportTimeoutError, TimeoutError),
        (WireError, ValueError),
    ],
)
def test_an_error_is_also_what_python_calls_it(kind: type, base: type) -> None:
    """Errors can be caught by the built-in class that means the same."""
    assert issubclass(kind, base)


def test_every_error_is_a_plugin_error() -> None:
    """One ``except PluginError`` catches all; none has been retried when it is made."""
    for error in EVERY_KIND:
        assert isinstance(error, PluginError)
        assert (error.attempts, error.elapsed) == (1, 0.0)


@pytest.mark.parametrize(
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
                "not tried again: its body was partly read and cannot be rewound)"
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
def test_the_text_says_who_and_why(error: PluginError, text: str) -> None:
    """An error's text names the plugin, the place and the reason, as far as they are known."""
    assert str(error) == text


def test_what_was_searched_and_implemented_is_kept_as_tuples() -> None:
    """Errors carry values of their own, even where they were given an iterator."""
    missing = PluginNotFoundError("db", iter(["/a", "/b"]))
    unsuitable = NotImplementedByPluginError("db", "authz", iter(["LogDriver"]))

    assert missing.searched == ("/a", "/b")
    assert unsuitable.implements == ("LogDriver",)


def test_nothing_was_answered_unless_it_says_so() -> None:
    """A new ``TransportError`` neither had an answer nor used its body up."""
    error = TransportTimeoutError("timed out")

    assert (error.answered, error.body_spent) == (False, False)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (StatusError(404, "M.x", "gone"), True),
        (StatusError(500, "M.x", "not found"), False),
        (PluginNotFoundError("db"), False),
        (TransportError("refused"), False),
        (None, False),
    ],
)
def test_not_found_is_status_404_alone(error: PluginError | None, *, expected: bool) -> None:
    """``is_not_found`` is about the plugin's own answer, and no other kind of absence."""
    assert is_not_found(error) is expected


def chained(*errors: BaseException) -> BaseException:
    """The first error, caused by the second, and so on."""
    for error, cause in pairwise(errors):
        error.__cause__ = cause
    return errors[0]


def test_not_found_is_seen_through_causes() -> None:
    """An error that wraps a 404, however deep, is "not found" too."""
    wrapped = chained(RuntimeError("a"), OSError("b"), StatusError(404, "M.x", "gone"))

    assert is_not_found(wrapped)


def test_not_found_is_not_seen_through_context() -> None:
    """A 404 that was merely being handled at the time does not count."""
    unrelated = RuntimeError("while cleaning up")
    unrelated.__context__ = StatusError(404, "M.x", "gone")

    assert not is_not_found(unrelated)


def test_a_circle_of_causes_ends() -> None:
    """Errors that cause one another are looked at once."""
    first, second = RuntimeError("a"), RuntimeError("b")
    chained(first, second, first)

    assert not is_not_found(first)
