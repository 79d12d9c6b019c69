"""Misspelt input gets a "did you mean"; a plugin that is not found, the paths of the search."""

import json

import pytest

from tests.dummy_plugin import DummyPlugin, answering, http, keeps_answering
from tests.integration.cli.machine import Machine


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", "shlf"],
        ["call", "shlf", "VolumeDriver.List"],
        ["check", "shlf"],
        ["trace", "shlf"],
        ["wait", "shlf", "--timeout", "0.3"],
        ["inspect", "SHELF"],
    ],
    ids=" ".join,
)
def test_a_misspelt_plugin_name_gets_a_suggestion(machine: Machine, arguments: list[str]) -> None:
    """Every command that takes a name suggests one, also with the directories of ``--config``."""
    (machine.specs / "shelf.spec").write_text("tcp://127.0.0.1:1")
    file = machine.root / "settings.toml"
    file.write_text(f'sockets_path = "{machine.sockets}"\nspecs_paths = ["{machine.specs}"]\n')

    ran = machine.run(*arguments)
    other = machine.run(*arguments, "--config", str(file), MOBY_PLUGINS_SPECS_PATHS="/none")

    assert (ran.returncode, other.returncode) == (3, 3)
    assert "; did you mean shelf?" in ran.stderr
    assert "; did you mean shelf?" in other.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", "none"],
        ["call", "none", "VolumeDriver.List"],
        ["check", "none"],
        ["wait", "none", "--timeout", "0.3"],
        ["trace", "none"],
    ],
    ids=" ".join,
)
def test_the_message_for_a_missing_plugin_has_one_path_a_line(
    machine: Machine, arguments: list[str]
) -> None:
    """No line of the message has two of the searched paths, in any command."""
    ran = machine.run(*arguments)

    assert ran.returncode == 3
    assert "plugin 'none' not found" in ran.stderr
    assert "did you mean" not in ran.stderr
    assert all(line.count(str(machine.root)) < 2 for line in ran.stderr.splitlines())


def test_the_searched_paths_are_listed_in_the_order_of_the_search(machine: Machine) -> None:
    """Hosts look for the socket first, then for the specs."""
    ran = machine.run("inspect", "a b")

    assert ran.stderr.splitlines() == [
        "moby-plugins: plugin 'a b' not found (tried once)",
        f"searched: {machine.sockets}/a b.sock",
        f"          {machine.sockets}/a b/a b.sock",
        f"          {machine.specs}/a b.spec",
        f"          {machine.specs}/a b/a b.spec",
        f"          {machine.specs}/a b.json",
        f"          {machine.specs}/a b/a b.json",
    ]


@pytest.mark.parametrize(
    ("method", "hint"),
    [
        ("VolumeDriver.Lst", "; did you mean VolumeDriver.List?"),
        ("volumedriver.create", "; did you mean VolumeDriver.Create?"),
        ("Plugin.Activte", "; did you mean Plugin.Activate?"),
        ("GraphDriver.ApplyDif?id=1", "; did you mean GraphDriver.ApplyDiff?"),
        ("VolumeDriver.List", ""),
        ("Own.Method", ""),
    ],
)
def test_a_misspelt_method_gets_a_suggestion(machine: Machine, method: str, hint: str) -> None:
    """The method is sent as it was typed, for a plugin may have methods of its own."""
    requests: list[bytes] = []
    answer = answering(http(b"404 page not found", 404), requests=requests)
    with DummyPlugin.on_unix(machine.sockets / "p.sock", answer):
        ran = machine.run("call", "p", method, "{}")

    assert ran.returncode == 7
    assert requests[0].startswith(f"POST /{method} ".encode())
    assert ran.stderr.endswith(f"(unix://{machine.sockets}/p.sock, status 404 Not Found){hint}\n")


def test_a_misspelt_subsystem_gets_a_suggestion(machine: Machine) -> None:
    """A subsystem is suggested that the plugin implements or that engines know."""
    answer = keeps_answering(b'{"Implements": ["authz", "MyOwnThing"]}')
    with DummyPlugin.on_unix(machine.sockets / "p.sock", answer):
        for given, meant in [
            ("authZ", "authz"),
            ("VolumDriver", "VolumeDriver"),
            ("MyOwnThin", "MyOwnThing"),
        ]:
            ran = machine.run("wait", "p", given)
            assert ran.returncode == 4
            assert f"; did you mean {meant}?" in ran.stderr


def test_a_misspelt_check_or_subsystem_gets_a_suggestion(machine: Machine) -> None:
    """``check`` then runs no check, and ends with exit status 2."""
    with machine.shelf():
        check = machine.run("check", "shelf", "--check", "VolumeDriver: unknwn keys")
        subsystem = machine.run("check", "shelf", "--subsystem", "VolumDriver")

    assert (check.returncode, subsystem.returncode) == (2, 2)
    assert "no check for this plugin matches the options; did you mean " in check.stderr
    assert "; did you mean VolumeDriver?; there are: " in subsystem.stderr


@pytest.mark.parametrize(
    ("given", "hint"), [("inspcet", "; did you mean inspect?"), ("dokter", "doctor"), ("xyz", "")]
)
def test_a_misspelt_command_gets_a_suggestion(machine: Machine, given: str, hint: str) -> None:
    """The suggested command is not run."""
    ran = machine.run(given)

    assert ran.returncode == 2
    assert f"No such command '{given}'" in ran.stderr
    assert hint in ran.stderr
    assert ("did you mean" in ran.stderr) == bool(hint)


@pytest.mark.parametrize(
    "arguments",
    [["inspect"], ["call", "A.B"], ["check"], ["wait", "--timeout", "1"]],
    ids=lambda arguments: str(arguments[0]),
)
@pytest.mark.parametrize("given", ["{root}/x y.sock", "./x y.sock"])
def test_a_path_in_place_of_an_address_gets_the_address_suggested(
    machine: Machine, arguments: list[str], given: str
) -> None:
    """The path may be absolute or relative; the suggested address has the absolute path."""
    command, *others = arguments
    ran = machine.run(command, given.format(root=machine.root), *others)

    assert ran.returncode == 9
    assert f"did you mean unix://{machine.root}/x y.sock?" in ran.stderr


def test_a_path_in_a_spec_gets_the_address_suggested(machine: Machine) -> None:
    """``doctor`` reports a spec that has a path without ``unix://``."""
    (machine.specs / "a.spec").write_text("/run/x.sock")

    found = json.loads(machine.run("doctor", "--json").stdout)

    assert found[0]["what"].endswith("; did you mean unix:///run/x.sock?")
