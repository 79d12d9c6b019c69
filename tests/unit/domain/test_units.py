"""The text of the systemd units for a plugin."""

import pytest

from moby_plugins import InvalidPluginNameError, SettingsError
from moby_plugins.domain.text import quoted
from moby_plugins.domain.units import Unit
from tests.cases import every


def unit(**given: object) -> Unit:
    """A plugin's units."""
    defaults: dict[str, object] = {
        "name": "shelf",
        "command": ("/usr/bin/python3", "-m", "moby_plugins"),
        "sockets_path": "/run/docker/plugins",
        "drain": 10.0,
    }
    return Unit(**(defaults | given))  # type: ignore[arg-type]


def test_each_systemd_unit_begins_with_its_path_in_a_comment() -> None:
    """The service and the socket can then be printed one after the other."""
    assert unit().service().startswith("# /etc/systemd/system/shelf.service\n[Unit]\n")
    assert unit().socket().startswith("# /etc/systemd/system/shelf.socket\n[Unit]\n")


def test_each_systemd_unit_is_for_the_plugin_that_it_names() -> None:
    """The description and the socket's path have the name; unset options have no line."""
    assert "Docker plugin shelf\n" in unit().service()
    assert "Docker plugin shelf\n" in unit().socket()
    assert "python3 -m moby_plugins\nTimeoutStopSec" in unit().service()
    assert "ListenStream=/X/shelf.sock\n" in unit(sockets_path="/X/").socket()


def test_both_systemd_units_start_before_the_engine() -> None:
    """Neither requires the engine, since each would then wait for the other."""
    for text in (unit().service(), unit().socket()):
        assert "Before=docker.service\n" in text
        assert "docker.service" not in text.replace("Before=docker.service", "")


def test_systemd_stops_the_service_only_after_its_calls_had_time_to_end() -> None:
    """The stop time-out exceeds the drain time; the service notifies systemd when it is ready."""
    text = unit(drain=29.5).service()

    assert "Type=notify\n" in text
    assert "TimeoutStopSec=35\n" in text


@every(
    ("word", "written"),
    [
        ("/usr/bin/python3", "/usr/bin/python3"),
        ("/a b", '"/a b"'),
        ("/100%", '"/100%%"'),
        ("$HOME", '"$$HOME"'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("a;b", '"a;b"'),
        ("", '""'),
    ],
)
def test_words_of_a_command_are_escaped_for_systemd(word: str, written: str) -> None:
    """A %, $ or quote in a word is not a specifier, a variable or a quote of systemd."""
    assert f"ExecStart=/bin/x {written}\n" in unit(command=("/bin/x", word)).service()


def test_percent_signs_in_paths_are_escaped_for_systemd() -> None:
    """A % in the working directory or the socket's path is not a specifier of systemd."""
    made = unit(directory="/a%b", sockets_path="/run/%p/")

    assert "WorkingDirectory=/a%%b\n" in made.service()
    assert "ListenStream=/run/%%p/shelf.sock\n" in made.socket()


@every("name", ["a b", "a@b", "a\nType=x", "ü", "a" * 241])
def test_a_name_that_is_not_valid_for_a_systemd_unit_is_refused(name: str) -> None:
    """A line end in the name, for example, would add a line to the unit."""
    with pytest.raises(SettingsError) as caught:
        unit(name=name)
    assert str(caught.value) == (
        f"{quoted(name)} is not a valid unit name: use letters, digits and :_.-; choose another"
        " with --name"
    )


@pytest.mark.parametrize("name", ["", "..", "a/b"])
def test_a_unit_for_an_invalid_plugin_name_is_refused(name: str) -> None:
    """An empty name, ``..`` and a name with a slash raise InvalidPluginNameError."""
    with pytest.raises(InvalidPluginNameError):
        unit(name=name)


@pytest.mark.parametrize("given", [{"directory": "/a\nb"}, {"command": ("/x", "a\nb")}])
def test_a_directory_or_command_with_a_line_end_is_refused_for_a_unit(
    given: dict[str, object],
) -> None:
    """The text after the line end would become a setting of the unit."""
    with pytest.raises(SettingsError, match=r"\\nb' has a character that no systemd unit may have"):
        unit(**given)
