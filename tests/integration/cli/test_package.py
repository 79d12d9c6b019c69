"""``moby-plugins package``, run as a process; it runs the app in a chroot, which needs root."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from moby_plugins.domain.plugin_config import DESCRIBE
from tests.integration.cli.machine import EXAMPLES, Machine
from tests.integration.components import requires
from tests.integration.python_root import python_root

AS_ROOT = requires("chroot", "chroot", "ldd", root=True)
SOUND: dict[str, Any] = {
    "entrypoint": ["/x"],
    "interface": {"types": ["docker.volumedriver/1.0"], "socket": "x.sock"},
    "propagatedMount": "/v",
}


def plugin(machine: Machine, **change: Any) -> Path:
    """A directory like that of a managed plugin, of others."""
    directory = machine.root / "plugin"
    (directory / "rootfs").mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(SOUND | change))
    # A link to a program that is there, loader and all, is enough: nothing is run.
    (directory / "rootfs" / "x").write_bytes(Path(sys.executable).read_bytes())
    (directory / "rootfs" / "x").chmod(0o755)
    return directory


@pytest.fixture(scope="session")
def root() -> Iterator[Path]:
    """A root file system with Python and this library."""
    path = Path(tempfile.mkdtemp(prefix="mp-"))
    python_root(path / "root")
    yield path / "root"
    shutil.rmtree(path)


def package(
    machine: Machine, root: Path | str, *words: str, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Package the example volume driver, with more words on the command line."""
    app = ("package", "volume_plugin:app", "--name", "mp/shelf:1", "--rootfs", str(root))
    source = ("--source", str(EXAMPLES / "volume_plugin.py"))
    command = machine.command(*app, *source, *words)
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=machine.root,
        env=machine.environment | environment,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize(
    ("change", "status", "told"),
    [
        ({"interface": {"types": ["volumedriver"], "socket": "x.sock"}}, 1, "is not of the form"),
        ({"user": {"uid": 1000}, "propagatedMount": "", "Extra": 1}, 0, "3 warnings"),
        ({"entrypoint": ["/none"]}, 1, "/none is not in rootfs"),
    ],
)
def test_package_check_reports_problems_of_an_existing_plugin_directory(
    machine: Machine, change: dict[str, Any], status: int, told: str
) -> None:
    """With a problem the exit status is 1, with warnings alone 0."""
    directory = plugin(machine, mounts=[{"source": "/", "destination": "/lib64"}], **change)

    ran = machine.run("package", "--check", str(directory))

    assert (ran.returncode, told in ran.stdout) == (status, True), ran.stdout


def test_package_check_prints_its_findings_as_json(machine: Machine) -> None:
    """The objects have the same keys as the findings of ``doctor``."""
    directory = plugin(machine, workdir="x")

    ran = machine.run("package", "--check", str(directory), "--json")

    findings = json.loads(ran.stdout)
    assert {"severity", "where", "what", "why", "remedy"} == findings[0].keys()
    assert "config.json: workdir" in {each["where"] for each in findings}


def test_package_check_of_a_missing_directory_has_exit_status_9(machine: Machine) -> None:
    """Other files that cannot be used have the same exit status."""
    ran = machine.run("package", "--check", "none")

    assert (ran.returncode, ran.stderr) == (
        9,
        "moby-plugins: none: there is no such directory\n",
    )


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        ([], 2, "name an app as MODULE:APP, or a plugin's directory with --check"),
        (["a:b", "--check", "x"], 2, "name an app as MODULE:APP"),
        (["a:b"], 2, "--name is missing"),
        (["a:b", "--name", "x"], 2, "--rootfs is missing"),
        (["--check", "x", "--create"], 2, "--name is missing"),
        (["ab", "--name", "x", "--rootfs", "y"], 9, "is not of the form MODULE:APP"),
        (["a:b;c", "--name", "x", "--rootfs", "y"], 9, "is not of the form MODULE:APP"),
        (["a:b", "--name", "Upper", "--rootfs", "y"], 9, "is not a managed plugin's name"),
        (["a:b", "--name", "x", "--rootfs", "y", "--entrypoint", "x y"], 9, "an absolute path"),
        (["a:b", "--name", "x", "--rootfs", "y", "--entrypoint", "'"], 2, "No closing quotation"),
        (["a:b", "--name", "x", "--rootfs", "none"], 9, "none: No such file"),
        (["a:b", "--name", "x", "--rootfs", "y", "--env", "-"], 9, "not of the form NAME"),
        (["a:b", "--name", "x", "--rootfs", "y", "--mount", "-"], 9, "not of the form NAME:"),
        (["a:b", "--name", "x", "--rootfs", "y", "--capability", "-"], 9, "is not a capability"),
        (["a:b", "--name", "x", "--rootfs", "y", "--propagated-mount", "v"], 9, "absolute path"),
    ],
)
def test_wrong_options_of_package_are_refused_before_anything_is_made(
    machine: Machine, words: list[str], status: int, told: str
) -> None:
    """The message says what is missing, or what to write instead."""
    ran = machine.run("package", *words)

    assert (ran.returncode, told in ran.stderr) == (status, True), ran.stderr
    assert {path.name for path in machine.root.iterdir()} == {"s", "specs"}


@AS_ROOT
def test_the_example_is_packaged_without_a_finding(machine: Machine, root: Path) -> None:
    """Types, socket and bytecode are made by running the app; all requested options are there."""
    words = (
        "--propagated-mount",
        "/var/lib/shelf",
        "--env",
        "DEBUG=0",
        "--capability",
        "sys_admin",
    )

    ran = package(machine, root, *words, "--out", "made")

    assert (ran.returncode, ran.stdout) == (0, "nothing is wrong\n"), ran.stderr
    config = json.loads((machine.root / "made" / "config.json").read_text())
    assert config["interface"] == {"types": ["docker.volumedriver/1.0"], "socket": "shelf.sock"}
    assert config["network"] == {"type": ""}
    assert config["propagatedMount"] == "/var/lib/shelf"
    assert config["linux"]["capabilities"] == ["CAP_SYS_ADMIN"]
    inside = machine.root / "made" / "rootfs"
    assert (inside / "run/docker/plugins").is_dir()
    assert (inside / "var/lib/shelf").is_dir()
    assert [*(inside / "app" / "__pycache__").glob("volume_plugin.*.pyc")]
    assert not (root / "app").exists()


@AS_ROOT
@pytest.mark.parametrize(
    ("source", "words", "told"),
    [
        (None, ["--propagated-mount", "/v"], "No module named 'other'; copy it there"),
        ("import requests", ["--propagated-mount", "/v"], "'requests'; install that into"),
        ("app = 3", ["--propagated-mount", "/v"], "neither a PluginApp, a subsystem"),
        ("", ["--propagated-mount", "/v"], "cannot import name 'app'"),
        ("from volume_plugin import app", [], "--no-propagated-mount"),
        ("import time; time.sleep(0.1); exit()", ["--no-propagated-mount"], "status 0"),
    ],
)
def test_an_app_that_does_not_run_in_the_root_file_system_is_refused(
    machine: Machine, root: Path, source: str | None, words: list[str], told: str
) -> None:
    """The message says what to do about it, and no directory is left behind."""
    if source is not None:
        (machine.root / "other.py").write_text(source)
        words = [*words, "--source", "other.py"]
    app = ("package", "other:app", "--name", "shelf", "--rootfs", str(root))
    command = machine.command(*app, "--source", str(EXAMPLES / "volume_plugin.py"), *words)

    ran = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=machine.root,
        env=machine.environment,
    )

    assert (ran.returncode, told in ran.stderr) == (9, True), ran.stderr
    assert not (machine.root / "shelf").exists()


@AS_ROOT
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_an_interrupted_package_leaves_no_directory_and_no_program(
    machine: Machine, root: Path, number: int
) -> None:
    """The app that runs in the root file system is killed; the exit status is 130."""
    source = "import os, time; open('/pid', 'x').write(f'{os.getpid()}.'); time.sleep(60)"
    (machine.root / "other.py").write_text(source)
    begun = machine.root / "shelf" / "rootfs" / "pid"
    app = ("package", "other:app", "--name", "shelf", "--rootfs", str(root))
    with machine.running(machine.command(*app)) as process:
        text = written(begun)
        process.send_signal(number)
        process.communicate(timeout=20)

    assert process.returncode == 130
    assert not (machine.root / "shelf").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int(text), 0)


def written(path: Path) -> str:
    """The number in a file, once it is there and ends with a full stop."""
    ends = time.monotonic() + 60
    while True:
        with suppress(FileNotFoundError):
            text = path.read_text()
            if text.endswith("."):
                return text[:-1]
        assert time.monotonic() < ends, "the app was not run"
        time.sleep(0.01)


@AS_ROOT
def test_the_root_file_system_may_be_a_tar_on_standard_input(machine: Machine, root: Path) -> None:
    """``docker export`` writes such a tar; a module in the current directory is copied into it."""
    (machine.root / "mine.py").write_text(
        "from moby_plugins.subsystems import Verdict, AuthZPlugin\n"
        "class Door(AuthZPlugin):\n"
        "    def authorize_request(self, request):\n"
        "        return Verdict(True)\n"
        "    def authorize_response(self, request):\n"
        "        return Verdict(True)\n"
    )
    command = ["/usr/bin/env", "tar", "-C", str(root), "-c", "."]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as tar:
        ran = subprocess.run(
            machine.command("package", "mine:Door", "--name", "door", "--rootfs", "-"),
            stdin=tar.stdout,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            cwd=machine.root,
            env=machine.environment,
        )

    assert (ran.returncode, ran.stdout) == (0, "nothing is wrong\n"), ran.stderr
    config = json.loads((machine.root / "door" / "config.json").read_text())
    assert config["interface"]["types"] == ["docker.authz/1.0"]


def test_package_does_not_overwrite_an_existing_directory(machine: Machine) -> None:
    """The message says to remove the directory, or to choose another with ``--out``."""
    (machine.root / "shelf").mkdir()
    (machine.root / "empty").mkdir()

    ran = machine.run("package", "a:b", "--name", "shelf", "--rootfs", "empty")
    inside = machine.run("package", "a:b", "--name", "x", "--rootfs", "empty", "--out", "empty/x")

    assert "this path exists already: remove it, or choose another with --out" in ran.stderr
    assert "this directory lies in the root file system" in inside.stderr
    assert (machine.root / "shelf").is_dir()


def test_a_root_file_system_without_python_is_refused(machine: Machine) -> None:
    """The exit status is 9, and the message says that there is no python3."""
    (machine.root / "empty").mkdir()

    ran = machine.run("package", "a:b", "--name", "shelf", "--rootfs", "empty")

    assert ran.returncode == 9
    assert "there is no python3 in this root file system" in ran.stderr


def test_an_engine_that_cannot_be_reached_has_exit_status_5(machine: Machine) -> None:
    """The message names the address of the engine."""
    directory = plugin(machine, mounts=[{"source": "/", "destination": "/lib64"}])
    address = f"unix://{machine.root}/none.sock"

    ran = machine.run(
        "package", "--check", str(directory), "--name", "x", "--create", "--engine", address
    )

    assert (ran.returncode, address in ran.stderr) == (5, True), ran.stderr


def test_the_program_of_a_managed_plugin_describes_itself(machine: Machine) -> None:
    """If a variable asks for it, the program prints its subsystems and socket, and ends."""
    program = (
        "from moby_plugins.serving import serve_managed\n"
        "import volume_plugin\n"
        "print('hello')\n"
        "serve_managed(volume_plugin.app, 'shelf')\n"
    )
    environment = machine.environment | {DESCRIBE: "1", "PYTHONPATH": str(EXAMPLES)}

    ran = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
        env=environment,
    )

    assert ran.stdout == (
        'hello\n{"moby-plugins": {"implements": ["VolumeDriver"], "socket": "shelf.sock"}}\n'
    )
