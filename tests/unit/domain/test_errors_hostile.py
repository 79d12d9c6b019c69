"""Errors made of hostile text: one line, printable, bounded; the attributes keep all of it."""

import copy
import inspect
import pickle
import traceback
from collections.abc import Iterator

import pytest

from moby_plugins.domain import errors
from moby_plugins.domain.errors import (
    DriverError,
    PluginError,
    StatusError,
    TransportError,
    WireError,
    in_full,
    sign,
)
from tests.cases import every

FORGED = "\n2026-01-01T00:00:00 CRITICAL sshd: \x1b]0;x\x07\x1b[2J\r\x9b\x7f\u2028\u202e\udcff\0"
HOSTILE = (FORGED * (1 << 12))[: 1 << 15]


def kinds(base: type[PluginError] = PluginError) -> Iterator[type[PluginError]]:
    """The class and all below it."""
    yield base
    for kind in base.__subclasses__():
        if kind.__module__ == "moby_plugins":
            yield from kinds(kind)


EVERY_KIND = sorted(set(kinds()), key=lambda kind: kind.__name__)


def hostile(kind: type[PluginError]) -> PluginError:
    """An error all of whose arguments are hostile, lists of such texts included."""
    if kind.__init__ is Exception.__init__:
        return kind(HOSTILE)
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    values = {"int": 500, "Iterable[str]": [HOSTILE, HOSTILE]}
    named = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    return kind(*(_value(p, values) for p in named)) if named else kind(HOSTILE)


def _value(parameter: inspect.Parameter, values: dict[str, object]) -> object:
    annotation = parameter.annotation
    if annotation is int:
        return values["int"]
    return values["Iterable[str]"] if "Iterable" in str(annotation) else HOSTILE


@every("kind", EVERY_KIND)
def test_an_error_of_hostile_text_is_one_short_line(kind: type[PluginError]) -> None:
    """Text from a plugin, a file or a caller is escaped, and cut to fewer than 1,500 characters."""
    for text in (str(hostile(kind)), in_full(hostile(kind)), repr(hostile(kind))):
        assert text.isprintable()
        assert len(text) < 1500


def test_the_test_of_hostile_text_covers_every_class_of_errors() -> None:
    """No class that ``domain.errors`` defines is missing from the list of those tested."""
    there = {
        each
        for each in vars(errors).values()
        if inspect.isclass(each) and issubclass(each, PluginError)
    }

    assert there <= set(EVERY_KIND)


@pytest.mark.parametrize("error", [StatusError(500, "M.x", HOSTILE), DriverError("M.x", HOSTILE)])
def test_the_message_attribute_keeps_the_whole_message(error: StatusError | DriverError) -> None:
    """Only the text of the error, METHOD: MESSAGE, is escaped and cut."""
    assert error.message == HOSTILE
    assert str(error).startswith("M.x: \\n2026-01-01T00:00:00 CRITICAL sshd: \\x1b]0;x\\x07")
    assert str(error).endswith("… of 32768")


def test_up_to_300_characters_of_a_message_are_shown() -> None:
    """A message of 301 characters is cut, and its length is shown."""
    assert str(DriverError("M.x", "x" * 300)) == "M.x: " + "x" * 300
    assert str(DriverError("M.x", "x" * 301)) == "M.x: " + "x" * 300 + "… of 301"


def test_a_long_reason_by_the_library_itself_is_not_cut() -> None:
    """A long reason stays whole, since foreign texts that it quotes were cut before."""
    reason = " ".join(["word"] * 90)

    assert reason in in_full(TransportError(reason, "tcp://h:1"))


def test_the_status_takes_the_place_of_an_empty_message_in_logs() -> None:
    """``in_full`` shows the status; ``str``, which programs may compare, stays METHOD: MESSAGE."""
    error = StatusError(503, "X.Create", "")

    assert str(error) == "X.Create: "
    assert in_full(error) == "X.Create: status 503 Service Unavailable"
    assert in_full(StatusError(599, "X.Create", "")) == "X.Create: status 599 Unknown"

    sign(error, "", "tcp://h:1")
    assert in_full(error) == "X.Create: status 503 Service Unavailable (tcp://h:1)"


@pytest.mark.parametrize(
    ("error", "origin"),
    [
        (StatusError(404, "M.x", "gone"), "plugin 'db' at tcp://h:1, status 404 Not Found"),
        (DriverError("M.x", "gone"), "plugin 'db' at tcp://h:1, status 200 OK"),
    ],
)
def test_sign_records_which_plugin_sent_an_error_response(
    error: StatusError | DriverError, origin: str
) -> None:
    """Attributes, a note in tracebacks, and the text for logs name the plugin, also in copies."""
    sign(error, "db", "tcp://h:1")

    thawed = pickle.loads(pickle.dumps(error))  # noqa: S301  our own bytes
    for each in (error, copy.copy(error), copy.deepcopy(error), thawed):
        assert (each.plugin, each.address) == ("db", "tcp://h:1")
        assert str(each) == "M.x: gone"
        assert in_full(each) == f"M.x: gone ({origin})"
        assert traceback.format_exception_only(each)[-1] == f"{origin}\n"


def test_an_error_response_without_a_recorded_plugin_shows_its_status_alone() -> None:
    """``in_full`` names the plugin only after ``sign``; it escapes errors of other classes too."""
    assert in_full(StatusError(500, "M.x", "no")) == "M.x: no (status 500 Internal Server Error)"
    assert in_full(WireError("no", "M.x")) == "M.x: no"
    assert in_full(OSError("a\nb")) == "a\\nb"


def test_credentials_in_a_message_are_left_out_of_the_text_of_an_error() -> None:
    """A plugin may repeat a URL with a password; only the ``message`` attribute keeps it."""
    error = DriverError("M.x", "cannot pull https://me:pw@registry/x")

    assert str(error) == "M.x: cannot pull https://***@registry/x"
    assert repr(error) == "DriverError('M.x', 'cannot pull https://***@registry/x')"
    assert error.message == "cannot pull https://me:pw@registry/x"
