"""``moby-plugins check``, run as a process against the plugins of ``examples``."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from moby_plugins.serving import PluginApp
from moby_plugins.testing import LivePlugins
from tests.integration.cli.machine import EXAMPLES, Machine, appear
from tests.unit.checks.broken_volumes import refuses_if
from tests.unit.checks.good_plugin import Volumes

WRITING = EXAMPLES.parent / "docs" / "writing-a-plugin.md"
POLICY = '[[allow]]\nmethods = ["GET"]\npath = "/.*"\n'


@contextmanager
def example(machine: Machine, program: str, argument: Path) -> Iterator[Path]:
    """An example that serves at the socket whose path this is."""
    path = machine.sockets / "plugin.sock"
    with machine.running([sys.executable, str(EXAMPLES / program), str(path), str(argument)]):
        appear(path)
        yield path


def unpassed(shown: dict[str, Any]) -> dict[str, str]:
    """The verdicts that are not "passed", by check."""
    findings = [each for each in shown["findings"] if each["outcome"] != "passed"]
    return {f"{each['subsystem']}: {each['check']}": each["outcome"] for each in findings}


@pytest.mark.parametrize(
    ("program", "subsystem", "found"),
    [
        ("volume_plugin.py", "VolumeDriver", {"VolumeDriver: capabilities": "warned"}),
        (
            "log_plugin.py",
            "LogDriver",
            {"LogDriver: no reading without the capability": "skipped"},
        ),
        ("authz_plugin.py", "authz", {}),
        (
            "metrics_plugin.py",
            "MetricsCollector",
            {"MetricsCollector: managed plugin": "failed"},
        ),
    ],
)
def test_the_examples_keep_to_the_protocol(
    machine: Machine, program: str, subsystem: str, found: dict[str, str]
) -> None:
    """The few findings are true, such as a missing Capabilities, and known to this test."""
    argument = machine.root / "argument"
    if program == "authz_plugin.py":
        argument.write_text(POLICY)
    elif program != "metrics_plugin.py":
        argument.mkdir()

    with example(machine, program, argument):
        ran = machine.run("check", "plugin", "--json")

    assert (ran.returncode, ran.stderr) == (int("failed" in found.values()), "")
    shown = json.loads(ran.stdout)
    assert unpassed(shown) == {"Plugin: spec directory": "skipped"} | found
    assert {each["subsystem"] for each in shown["findings"]} == {"Plugin", subsystem}
    assert shown["summary"]["passed"] > 15
    if program == "volume_plugin.py":
        assert not any(argument.iterdir())  # nothing is left


def test_a_metrics_collector_passes_only_at_an_address_where_no_host_finds_it(
    machine: Machine,
) -> None:
    """In a directory of plugins it fails: a metrics collector has to be a managed plugin."""
    with example(machine, "metrics_plugin.py", machine.root / "argument") as path:
        elsewhere = machine.root / "meter.sock"
        elsewhere.symlink_to(path)
        only = ("--subsystem", "MetricsCollector")
        managed = machine.run("check", f"unix://{elsewhere}", *only)
        found = machine.run("check", f"unix://{path}", *only)

    assert managed.returncode == 0, managed.stdout
    assert "1 warned, 0 failed" in managed.stdout
    assert found.returncode == 1
    assert f"hosts find {path}" in found.stdout


def test_a_volume_plugin_can_be_checked_for_podman_alone(machine: Machine) -> None:
    """``--host podman`` runs only the checks of what Podman uses, which has no authz plugins."""
    with machine.shelf():
        ran = machine.run("check", "shelf", "--host", "podman", "--json")
        other = machine.run("check", "shelf", "--host", "podman", "--subsystem", "authz")

    shown = json.loads(ran.stdout)
    assert ran.returncode == 0, ran.stdout
    assert unpassed(shown) == {}
    assert all("podman" in each["hosts"] for each in shown["findings"])
    assert other.returncode == 2


def test_explain_prints_parts_of_the_protocol_without_a_plugin(machine: Machine) -> None:
    """``--explain`` takes a section, a numbered trap or several of them; ``--json`` works too."""
    trap = machine.run("check", "--explain", "B11 trap 12")
    both = json.loads(machine.run("check", "--explain", "P1, b11 trap 2", "--json").stdout)

    assert (trap.returncode, trap.stderr) == (0, "")
    assert trap.stdout.startswith("12. Same `Name`+`ID` is mounted several times")
    assert both["P1"].startswith("### P1. The handshake")
    assert both["b11 trap 2"].startswith("2. 201/204 are failures")


def test_a_check_can_be_chosen_by_its_name_without_the_subsystem(machine: Machine) -> None:
    """``--check`` takes the name of a check as the JSON and the documents show it."""
    with machine.shelf():
        ran = machine.run("check", "shelf", "--check", "unknown keys", "--json")

    (found,) = json.loads(ran.stdout)["findings"]
    assert (found["subsystem"], found["check"]) == ("VolumeDriver", "unknown keys")


def test_a_failed_create_without_options_suggests_volume_opt(machine: Machine) -> None:
    """With the options that the driver needs, given by ``--volume-opt``, the check passes."""
    (machine.root / "volumes").mkdir()
    needy = refuses_if(lambda args: not args.get("Opts"), "VolumeDriver.Create")
    with LivePlugins(machine.sockets) as start:
        start(needy(PluginApp(Volumes())), "needy")
        ran = machine.run("check", "needy", "--check", "create")
        given = machine.run("check", "needy", "--check", "create", "--volume-opt", "size=1M")

    assert ran.returncode == 1
    assert "--volume-opt KEY=VALUE" in ran.stdout
    assert given.returncode == 0


def test_the_first_program_of_the_guide_passes_the_checks(machine: Machine) -> None:
    """The program is in docs/writing-a-plugin.md, and is served and checked as that page says."""
    page = WRITING.read_text(encoding="utf-8")
    program = page.partition("```python\n")[2].partition("```")[0]
    (machine.root / "scratch.py").write_text(program)
    path = machine.root / "scratch.sock"

    with machine.running(machine.command("serve", "scratch:app", "--name", str(path))):
        appear(path)
        ran = machine.run("check", f"unix://{path}")

    assert ran.returncode == 0, ran.stdout
    for line in ran.stdout.splitlines()[-3:]:
        assert f"\n{line}\n" in page


def test_check_prints_a_table(machine: Machine) -> None:
    """There is a line for each check with what it expects, and a last line with the counts."""
    with machine.shelf() as path:
        ran = machine.run("check", f"unix://{path}", "--check", "volumedriver: cap*")

    heading, line, summary = ran.stdout.splitlines()
    assert heading.split("  ")[0] == "OUTCOME"
    assert line.startswith("warned   VolumeDriver: capabilities  Capabilities has a Scope")
    assert line.endswith(
        'answered 404 {"Err":"this plugin has no method VolumeDriver.Capabilities"}'
    )
    assert summary == "0 passed, 1 warned, 0 failed, 0 skipped"
    assert ran.returncode == 0


def test_check_writes_a_junit_report_for_build_servers(machine: Machine) -> None:
    """``--junit`` writes the findings to a file, in addition to what is printed."""
    with machine.shelf():
        machine.run("check", "shelf", "--subsystem", "VolumeDriver", "--junit", "report.xml")

    (suite,) = ET.parse(machine.root / "report.xml").getroot()  # noqa: S314  our own
    assert suite.get("name") == "moby-plugins check shelf"
    assert suite.get("failures") == "0"
    assert {case.get("classname") for case in suite} == {"VolumeDriver"}
    assert len(suite) > 30


@pytest.mark.parametrize(
    "words", [["nosuch"], ["shelf", "--check", "zzz"], ["--list"]], ids=["lost", "none", "list"]
)
def test_an_earlier_report_stays_if_no_check_is_run(machine: Machine, words: list[str]) -> None:
    """It is replaced by a complete one only."""
    report = machine.root / "report.xml"
    report.write_text("earlier")
    with machine.shelf():
        machine.run("check", *words, "--junit", str(report))

    assert report.read_text() == "earlier"
    assert [path.name for path in machine.root.glob("*report*")] == ["report.xml"]


def test_what_is_no_file_is_not_replaced_by_a_report(machine: Machine) -> None:
    """The results are printed, and the exit status is 9."""
    fifo = machine.root / "fifo"
    os.mkfifo(fifo)
    with machine.shelf():
        ran = machine.run("check", "shelf", "--subsystem", "Plugin", "--junit", str(fifo))

    assert fifo.is_fifo()
    assert ran.returncode == 9
    assert "passed" in ran.stdout
    assert "fifo: cannot be written: the path is not that of a regular file" in ran.stderr


def test_check_with_read_only_makes_no_volume(machine: Machine) -> None:
    """``--read-only`` runs only the checks that change nothing, not even for a moment."""
    with machine.shelf():
        before = (machine.root / "volumes").stat().st_mtime_ns
        ran = machine.run("check", "shelf", "--read-only", "--json")
        after = (machine.root / "volumes").stat().st_mtime_ns

    findings = json.loads(ran.stdout)["findings"]
    assert ran.returncode == 0
    assert len(findings) > 20
    assert all(each["reads_only"] for each in findings)
    assert before == after


def test_the_checks_can_be_listed_without_a_plugin(machine: Machine) -> None:
    """``--list`` shows what each check expects, its source, and whether it leaves traces."""
    listed = json.loads(machine.run("check", "--list", "--json").stdout)
    few = machine.run("check", "--list", "--subsystem", "authz", "--check", "*empty*")

    assert len(listed) > 150
    assert all(each["expects"] and each["source"] for each in listed)
    (_, line) = few.stdout.splitlines()
    assert line.startswith("authz: empty body")
    assert line.endswith("traces")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "Missing argument 'NAME|ADDRESS'"),
        (["shelf", "--check", "nothing*"], "no check for this plugin matches the options"),
        (["shelf", "--check", "unknown kees"], "did you mean unknown keys?"),
        (["--explain", "B12"], "'B12' is not a section of the protocol; did you mean B2, B1, B11?"),
        (["shelf", "--host", "nerdctl"], "'nerdctl' is not one of 'docker', 'podman'"),
        (
            ["shelf", "--subsystem", "volumedriver"],
            "no checks for the subsystem 'volumedriver'; did you mean VolumeDriver?; there are: ",
        ),
        (["shelf", "--volume-opt", "size"], "'size' is not of the form KEY=VALUE"),
        (["shelf", "--volume-opt", "=1g"], "'=1g' is not of the form KEY=VALUE"),
        (["shelf", "--junit", "nowhere/report.xml"], "no file can be made in nowhere"),
        (["shelf", "--junit", "/tmp"], "'/tmp' is not the path of a file"),
        (["shelf", "--junit", ""], "'' is not the path of a file"),
        (["shelf", "--timeout", "0"], "0 is not a positive number of seconds"),
    ],
)
def test_a_command_line_of_check_with_a_mistake_is_refused(
    machine: Machine, arguments: list[str], why: str
) -> None:
    """The exit status is 2, and the message says what is wrong."""
    with machine.shelf():
        ran = machine.run("check", *arguments)

    assert (ran.returncode, ran.stdout) == (2, "")
    assert why in ran.stderr
