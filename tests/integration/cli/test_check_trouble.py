"""``moby-plugins check`` of plugins that are broken, hang, or are not there."""

import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from moby_plugins import Request, Response
from moby_plugins.serving import PluginApp
from moby_plugins.testing import LivePlugins
from tests.dummy_plugin import Conversation, DummyPlugin, answering
from tests.integration.cli.machine import Machine, stale_socket
from tests.unit.checks.broken import does, edits, refuses, says
from tests.unit.checks.good_plugin import Volumes, good_plugin


def findings(text: str) -> dict[str, dict[str, Any]]:
    """What was found, by check."""
    found = json.loads(text)["findings"]
    return {f"{each['subsystem']}: {each['check']}": each for each in found}


def test_a_correct_plugin_of_every_subsystem_passes_over_a_socket(machine: Machine) -> None:
    """One check fails rightly: hosts find this plugin, which is a MetricsCollector too."""
    with LivePlugins(machine.sockets) as start:
        start(good_plugin(), "good")
        ran = machine.run("check", "good", "--secret", "password", "--json")

    assert ran.returncode == 1, ran.stdout
    found = findings(ran.stdout)
    assert len(found) > 150
    amiss = {name: each["outcome"] for name, each in found.items()}
    assert {name: it for name, it in amiss.items() if it in ("failed", "warned")} == {
        "MetricsCollector: managed plugin": "failed"
    }
    assert {name for name, each in found.items() if each["outcome"] == "skipped"} == {
        "Plugin: spec directory",
        "LogDriver: no reading without the capability",
    }


def test_a_failed_check_is_printed_with_the_response_that_it_got(machine: Machine) -> None:
    """The last line counts the failure, and the exit status is 1."""
    broken = says("VolumeDriver.List", {"Volumes": [None]})(PluginApp(Volumes()))
    with LivePlugins(machine.sockets) as start:
        start(broken, "broken")
        ran = machine.run("check", "broken", "--check", "*null*")

    assert ran.returncode == 1
    assert "failed   VolumeDriver: no null in list  no entry of Volumes is null" in ran.stdout
    assert 'trap 10) -> VolumeDriver.List answered 200 {"Volumes": [null]}' in ran.stdout
    assert ran.stdout.endswith("0 passed, 0 warned, 1 failed, 0 skipped\n")


def test_control_characters_in_a_response_are_not_printed(machine: Machine) -> None:
    """They are printed escaped, and so cannot move the cursor of a terminal."""
    broken = edits("VolumeDriver.List", lambda _: {"Volumes": "\x1b[2J"})(PluginApp(Volumes()))
    with LivePlugins(machine.sockets) as start:
        start(broken, "broken")
        ran = machine.run("check", "broken", "--check", "volumedriver: list")

    assert ran.returncode == 1
    assert "\x1b" not in ran.stdout


def test_a_plugin_that_hangs_does_not_hang_the_command(machine: Machine) -> None:
    """Each method times out once; the checks that depend on such a method are skipped."""
    with DummyPlugin.on_unix(machine.sockets / "mute.sock", Conversation.hang):
        began = time.monotonic()
        ran = machine.run("check", "mute", "--timeout", "0.3", "--json")
        took = time.monotonic() - began

    assert ran.returncode == 1
    assert took < 5
    found = findings(ran.stdout)
    failed = [name for name, each in found.items() if each["outcome"] == "failed"]
    assert failed == ["Plugin: handshake succeeds", "Plugin: unknown method"]
    assert {each["outcome"] for each in found.values()} == {"failed", "skipped"}
    assert sum(f"follows from {failed[0]!r}" in each["came_back"] for each in found.values()) > 10


def test_one_method_that_hangs_holds_up_its_own_checks_alone(machine: Machine) -> None:
    """Only the checks of Mount fail or are skipped; the other methods are checked as usual."""
    wait: Callable[[Request, Any], Any] = lambda _, __: time.sleep(1.2)  # noqa: E731
    app = does(wait, "VolumeDriver.Mount")(PluginApp(Volumes()))
    with LivePlugins(machine.sockets) as start:
        start(app, "slow")
        ran = machine.run("check", "slow", "--timeout", "0.3", "--json")

    found = findings(ran.stdout)
    assert ran.returncode == 1
    (failed,) = [name for name, each in found.items() if each["outcome"] == "failed"]
    assert "timed out" in found[failed]["came_back"]
    for name in ("VolumeDriver: mount", "VolumeDriver: mount again"):
        assert found[name]["outcome"] == "skipped"
        assert "was not asked again" in found[name]["came_back"]
        assert f"follows from {failed!r}" in found[name]["came_back"]
    assert found["VolumeDriver: remove"]["outcome"] == "passed"


@pytest.mark.parametrize(("name", "status"), [("stale", 5), ("missing", 3), ("a/b", 9)])
def test_a_plugin_that_cannot_be_reached_is_an_error_and_not_a_finding(
    machine: Machine, name: str, status: int
) -> None:
    """The exit status says why nothing was checked."""
    stale_socket(machine.sockets / "stale.sock")

    for arguments in ([name], [name, "--subsystem", "authz"]):
        ran = machine.run("check", *arguments)

        assert (ran.returncode, ran.stdout) == (status, "")
        assert ran.stderr.startswith("moby-plugins: ")


def test_a_plugin_without_handshake_is_checked_as_the_given_subsystem(machine: Machine) -> None:
    """Managed plugins may lack Plugin.Activate; ``--subsystem`` then says what to check."""
    app = refuses("Plugin.Activate", status=404)(PluginApp(Volumes()))
    with LivePlugins(machine.sockets) as start:
        plugin = start(app, "managed")
        ran = machine.run("check", plugin.addr, "--subsystem", "VolumeDriver")

    assert ran.returncode == 0, ran.stdout
    assert ran.stdout.endswith(" passed, 0 warned, 0 failed, 0 skipped\n")


def test_a_handshake_that_is_cut_off_is_a_failed_check(machine: Machine) -> None:
    """The command does not end with an error; a check says what is wrong with the handshake."""
    half = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")
    with DummyPlugin.on_unix(machine.sockets / "half.sock", half):
        ran = machine.run("check", "half", "--check", "*shape")

    assert ran.returncode == 1
    assert "failed   Plugin: manifest shape" in ran.stdout
    assert "cut off" in ran.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_check_removes_the_volumes_that_it_made(
    machine: Machine, number: int
) -> None:
    """After such a signal they are removed before the command ends with exit status 130."""
    volumes = Volumes()
    app = PluginApp(volumes)

    def slow(request: Request) -> Response:
        time.sleep(0.05)
        return app(request)

    with LivePlugins(machine.sockets) as start:
        start(slow, "slow")
        command = machine.command("check", "slow", "--check", "*get again and again*")
        with machine.running(command) as process:
            until(lambda: bool(volumes.list()))
            os.kill(process.pid, number)
            process.communicate(timeout=10)

    assert process.returncode == 130
    assert volumes.list() == ()


def until(wanted: Callable[[], bool]) -> None:
    """Wait for it."""
    ends = time.monotonic() + 10
    while not wanted():
        assert time.monotonic() < ends, "it did not come"
        time.sleep(0.005)
