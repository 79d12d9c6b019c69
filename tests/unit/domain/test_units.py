"""The text of units, as systemd reads it."""

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


def test_each_begins_with_its_path() -> None:
    """As a comment, so that both can be printed one after the other."""
    assert unit().service().startswith("# /etc/systemd/system/shelf.service\n[Unit]\n")
    assert unit().socket().startswith("# /etc/systemd/system/shelf.socket\n[Unit]\n")


def test_each_is_for_the_plugin_of_its_name() -> None:
    """It says so, and no line is for what was not given."""
    assert "Docker plugin shelf\n" in unit().service()
    assert "Docker plugin shelf\n" in unit().socket()
    assert "python3 -m moby_plugins\nTimeoutStopSec" in unit().service()
    assert "ListenStream=/X/shelf.sock\n" in unit(sockets_path="/X/").socket()


def test_both_are_there_before_the_engine() -> None:
    """And neither needs the engine: then each would wait for the other."""
    for text in (unit().service(), unit().socket()):
        assert "Before=docker.service\n" in text
        assert "docker.service" not in text.replace("Before=docker.service", "")


def test_systemd_is_told_and_waits_longer_than_calls_may_run() -> None:
    """Ready once connections are taken; killed only after the drain."""
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
def test_words_of_a_command_stand_for_themselves(word: str, written: str) -> None:
    """No specifier, no variable and no quote of theirs is systemd's."""
    assert f"ExecStart=/bin/x {written}\n" in unit(command=("/bin/x", word)).service()


def test_paths_have_no_specifiers() -> None:
    """In a directory and a socket's path."""
    made = unit(directory="/a%b", sockets_path="/run/%p/")

    assert "WorkingDirectory=/a%%b\n" in made.service()
    assert "ListenStream=/run/%%p/shelf.sock\n" in made.socket()


@every("name", ["a b", "a@b", "a\nType=x", "ü", "a" * 241])
def test_a_name_that_no_unit_has_is_refused(name: str) -> None:
    """Nothing of it becomes a line of its own."""
    with pytest.raises(SettingsError) as caught:
        unit(name=name)
    assert str(caught.value) == (
        f"{quoted(name)} is not a valid unit name: use letters, digits and :_.-; choose another"
        " with --name"
    )


@pytest.mark.parametrize("name", ["", "..", "a/b"])
def test_a_name_that_no_plugin_has_is_refused(name: str) -> None:
    """As everywhere."""
    with pytest.raises(InvalidPluginNameError):
        unit(name=name)


@pytest.mark.parametrize("given", [{"directory": "/a\nb"}, {"command": ("/x", "a\nb")}])
def test_a_text_that_would_be_two_lines_is_refused(given: dict[str, object]) -> None:
    """Nothing of it becomes a setting."""
    with pytest.raises(SettingsError, match=r"\\nb' has a character that no systemd unit may have"):
        unit(**given)
