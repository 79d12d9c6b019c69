"""The commands with managed plugins, which a ``FakeEngine`` on a socket lists."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moby_plugins.testing import FakeEngine
from tests.integration.cli.machine import Machine, stale_socket


@pytest.fixture
def engine(machine: Machine) -> Iterator[FakeEngine]:
    """An engine with a plugin that is enabled, and one that is not, which settings name."""
    engine = FakeEngine()
    engine.install(
        "mp/shelf",
        environment=["DEBUG=0"],
        mounts=[{"Source": "/data", "Destination": "/var/lib/data", "Options": ["rbind"]}],
    )
    engine.install("off", enabled=False)
    with engine.serve(machine.root / "e.sock") as server:
        machine.environment["MOBY_PLUGINS_ENGINE"] = server.addr
        yield engine


def rows(machine: Machine, *arguments: str) -> dict[str, Any]:
    """What ``ls`` lists, by name."""
    ran = machine.run("ls", "--json", *arguments)
    assert ran.returncode == 0, ran.stderr
    return {row["name"]: row for row in json.loads(ran.stdout)}


@pytest.mark.usefixtures("engine")
def test_ls_lists_the_managed_plugins_of_an_engine(machine: Machine) -> None:
    """A disabled plugin has the command that enables it; without an engine none is listed."""
    found = rows(machine)
    text = machine.run("ls").stdout

    assert list(found) == ["mp/shelf:latest", "off:latest"]
    assert found["mp/shelf:latest"]["implements"] == ["VolumeDriver"]
    assert found["mp/shelf:latest"]["found"] == "managed"
    assert found["off:latest"]["error"]["kind"] == "PluginDisabledError"
    assert "docker plugin enable off:latest" in found["off:latest"]["error"]["message"]
    assert "docker plugin enable off:latest" in text
    assert "managed" in text
    address = machine.environment.pop("MOBY_PLUGINS_ENGINE")
    assert rows(machine) == {}
    assert rows(machine, "--engine", address) == found


@pytest.mark.usefixtures("engine")
def test_inspect_shows_what_the_engine_knows_of_a_managed_plugin(machine: Machine) -> None:
    """Shown are mounts, environment, socket and hidden files; the plugin itself is not called."""
    (machine.specs / "off.spec").write_text("tcp://127.0.0.1:1")
    ran = machine.run("inspect", "off", "--json")
    told = json.loads(ran.stdout)

    assert ran.returncode == 5
    assert told["error"]["kind"] == "PluginDisabledError"
    assert told["hides"] == [str(machine.specs / "off.spec")]
    assert (told["enabled"], told["socket"]) == (False, "plugin.sock")
    shelf = json.loads(machine.run("inspect", "mp/shelf", "--json").stdout)
    assert shelf["environment"] == ["DEBUG=0"]
    [mount] = shelf["mounts"]
    assert (mount["source"], mount["destination"]) == ("/data", "/var/lib/data")
    text = machine.run("inspect", "mp/shelf").stdout
    for word in ("DEBUG=0", "/data at /var/lib/data (rbind)", "plugin.sock"):
        assert word in text


@pytest.mark.parametrize(
    "command",
    [
        ("inspect", "{}"),
        ("call", "{}", "VolumeDriver.List"),
        ("check", "{}"),
        ("trace", "{}"),
        ("wait", "{}", "--timeout", "2.7"),
    ],
    ids=lambda command: command[0],
)
def test_a_name_with_a_slash_is_valid_only_where_there_is_an_engine(
    machine: Machine, engine: FakeEngine, command: tuple[str, ...]
) -> None:
    """With an engine the plugin is looked up by that name; without one the name is invalid."""
    missing = machine.run(*(word.format("mp/none") for word in command))
    disabled = machine.run(*(word.format("off") for word in command))
    del machine.environment["MOBY_PLUGINS_ENGINE"]
    nameless = machine.run(*(word.format("mp/none") for word in command))

    assert missing.returncode == 3, missing.stderr
    assert "plugin 'mp/none' not found" in missing.stderr
    assert disabled.returncode == 5, disabled.stderr
    assert "docker plugin enable off:latest" in disabled.stdout + disabled.stderr
    assert nameless.returncode == 9, nameless.stderr
    assert "'mp/none' is not a plugin name" in nameless.stderr
    assert engine.requests


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    "command",
    [("check",), ("trace",), ("call", "VolumeDriver.List")],
    ids=lambda command: command[0],
)
def test_a_managed_plugin_whose_socket_is_gone_cannot_be_reached(
    machine: Machine, command: tuple[str, ...]
) -> None:
    """The engine has the plugin enabled; the exit status is 5, and no failed check is reported."""
    name, *rest = command
    ran = machine.run(name, "mp/shelf", *rest)

    assert ran.returncode == 5, ran.stdout
    assert "no socket there; is the plugin running?" in ran.stderr
    assert ran.stdout == ""


@pytest.mark.usefixtures("engine")
def test_wait_says_that_an_engine_was_asked_too(machine: Machine) -> None:
    """The message says that there is no socket, no spec and no plugin of the engine."""
    ran = machine.run("wait", "mp/none", "--timeout", "3")

    assert "the engine has no such plugin, and there is no socket and no spec" in ran.stderr


def test_each_command_that_looks_for_plugins_takes_an_engine(machine: Machine) -> None:
    """The help of each of these commands has ``--engine``; that of others has not."""
    for command in ("ls", "inspect", "call", "wait", "doctor", "check", "trace", "package"):
        assert "--engine ADDRESS" in machine.run(command, "--help").stdout, command
    for command in ("serve", "unit"):
        assert "--engine" not in machine.run(command, "--help").stdout, command


def test_an_engine_option_that_is_not_an_address_is_refused(machine: Machine) -> None:
    """A path is refused with the address that was probably meant."""
    ran = machine.run("ls", "--engine", "/var/run/docker.sock")

    assert ran.returncode == 9
    assert "did you mean unix:///var/run/docker.sock?" in ran.stderr


def test_an_engine_that_cannot_be_reached_is_reported_with_its_address(machine: Machine) -> None:
    """``ls`` ends with exit status 5, and ``doctor`` reports a problem."""
    stale_socket(machine.root / "gone.sock")
    address = f"unix://{machine.root}/gone.sock"
    (machine.specs / "far.spec").write_text("tcp://127.0.0.1:1")

    listed = machine.run("ls", "--engine", address)
    doctor = machine.run("doctor", "--json", "--engine", address)

    assert listed.returncode == 5
    assert address in listed.stderr
    assert doctor.returncode == 1
    [problem] = [each for each in json.loads(doctor.stdout) if each["severity"] == "problem"]
    assert problem["where"] == address


def test_doctor_reports_problems_of_managed_plugins(machine: Machine, engine: FakeEngine) -> None:
    """Each problem is reported under the plugin's name, without a call of the plugin."""
    (machine.specs / "off.spec").write_text("tcp://127.0.0.1:1")
    engine.install("long", socket="x" * 18 + ".sock")
    engine.install("loud", ["docker.VolumeDriver/1.0"])

    ran = machine.run("doctor", "--json")
    findings = json.loads(ran.stdout)
    told = {(each["severity"], each["where"].split(" ")[0], each["what"]) for each in findings}
    spec = str(machine.specs / "off.spec")

    assert ran.returncode == 1
    assert ("problem", "off:latest", f"disabled, and hides {spec}") in told
    hides = "hides the managed plugin off:latest in volume commands"
    assert ("warning", spec, hides) in told
    whats = [each["what"] for each in findings]
    assert any("has 23 bytes" in what for what in whats)
    assert any("'docker.VolumeDriver/1.0' is matched by no look-up" in what for what in whats)
    assert any("enabled, and without a socket" in what for what in whats)


def test_the_shell_completes_the_names_of_managed_plugins(
    machine: Machine, engine: FakeEngine
) -> None:
    """Completion asks the engine for its plugins, and offers their names."""
    completing = {"COMP_WORDS": "moby-plugins inspect mp", "COMP_CWORD": "2"}
    ran = machine.run(_MOBY_PLUGINS_COMPLETE="bash_complete", **completing)

    assert "mp/shelf:latest" in ran.stdout
    assert engine.requests


def test_a_path_in_place_of_a_name_is_refused_with_its_address(
    machine: Machine, tmp_path: Path
) -> None:
    """Although names may have slashes, an absolute path is taken for a mistyped address."""
    ran = machine.run("inspect", f"{tmp_path}/x.sock")

    assert ran.returncode == 9
    assert f"did you mean unix://{tmp_path}/x.sock?" in ran.stderr
