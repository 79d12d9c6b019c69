"""``moby-plugins serve``, run as a process."""

import fcntl
import signal
import stat
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from moby_plugins import Settings, new_client, new_local_registry
from moby_plugins.subsystems import VolumeDriver
from tests.integration.certificates import Certificates
from tests.integration.cli.machine import SECONDS, Machine

SHELVES = """
from moby_plugins import Response
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import VolumeDriver


class Shelves(VolumeDriver):
    def list(self):
        return ()


class Needy(Shelves):
    def __init__(self, root):
        self.root = root


def function(request):
    return Response(200, b'{"Implements": ["VolumeDriver"], "Volumes": []}')


shelves = Shelves()
app = PluginApp(shelves)
number = 3
"""
ASYNC_SHELVES = """
from moby_plugins.aio import AsyncPluginApp, AsyncResponse, AsyncVolumeDriver


class Shelves(AsyncVolumeDriver):
    async def list(self):
        return ()


async def function(request):
    return AsyncResponse(200, b'{"Implements": ["VolumeDriver"], "Volumes": []}')


shelves = Shelves()
app = AsyncPluginApp(shelves)
"""


@pytest.fixture
def module(machine: Machine) -> Path:
    """A module in the directory where the command is run."""
    path = machine.root / "shelves.py"
    path.write_text(SHELVES)
    return path


@pytest.mark.parametrize("app", ["Shelves", "shelves", "app", "function"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("source", [SHELVES, ASYNC_SHELVES], ids=["threads", "loop"])
def test_a_class_an_object_an_app_or_a_function_is_served_until_a_signal(
    machine: Machine, module: Path, source: str, app: str, number: signal.Signals
) -> None:
    """The socket is where hosts look, and is removed after SIGTERM or SIGINT."""
    module.write_text(source)
    command = machine.command("serve", f"shelves:{app}", "--mode", "600")
    with machine.running(command) as process:
        assert process.stderr is not None
        path = machine.sockets / "shelves.sock"
        what = "a function" if app == "function" else "VolumeDriver"
        assert process.stderr.readline() == f"serving {what} at unix://{path}\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with new_client(f"unix://{path}", settings=Settings()) as client:
            assert VolumeDriver(client).list() == ()
        process.send_signal(number)
        assert process.wait(SECONDS) == 0
        assert process.stderr.read() == ""
    assert not path.exists()


def test_sighup_ends_a_server_as_sigterm_does(machine: Machine, module: Path) -> None:
    """A terminal that is closed leaves no socket behind."""
    with machine.running(machine.command("serve", "shelves:app", "--drain", "0")) as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGHUP)
        assert process.wait(SECONDS) == 0
    assert list(machine.sockets.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_ends_the_wait_for_the_lock_of_a_socket(
    number: signal.Signals, machine: Machine, module: Path
) -> None:
    """Another server that opens the socket holds the lock; the exit status is 0."""
    with (machine.sockets / ".shelves.sock.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with machine.running(machine.command("serve", "shelves:app")) as process:
            ends = time.monotonic() + SECONDS
            while not catches(process.pid, number) and time.monotonic() < ends:
                time.sleep(0.01)
            process.send_signal(number)
            assert process.wait(SECONDS) == 0
            assert process.stderr is not None
            assert process.stderr.read() == ""


def catches(process: int, number: signal.Signals) -> bool:
    """Whether a process has a handler of the signal."""
    status = Path(f"/proc/{process}/status").read_text()
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught >> (number - 1) & 1)


def test_under_nohup_sighup_does_not_end_a_server(machine: Machine, module: Path) -> None:
    """A signal that was ignored when the process began stays ignored; SIGTERM ends the server."""
    command = ["nohup", *machine.command("serve", "shelves:app")]
    with machine.running(command) as process:
        assert process.stderr is not None
        while "serving" not in (line := process.stderr.readline()):
            assert line.startswith("nohup: ")
        process.send_signal(signal.SIGHUP)
        assert machine.run("call", "shelves", "VolumeDriver.List").returncode == 0
        process.terminate()
        assert process.wait(SECONDS) == 0


DYING = """
import os
from moby_plugins.subsystems import VolumeDriver


class Shelves(VolumeDriver):
    def list(self):
        os.closerange(3, 64)
        return ()

    def remove(self, name):
        raise SystemExit("in use")
"""


def test_a_server_that_ends_by_itself_is_an_error(machine: Machine, module: Path) -> None:
    """The socket is removed, and the exit status is 1; an exception of a method ends no server."""
    module.write_text(DYING)
    with machine.running(machine.command("serve", "shelves:Shelves")) as process:
        assert process.stderr is not None
        process.stderr.readline()
        refused = machine.run("call", "shelves", "VolumeDriver.Remove", '{"Name":"v"}')
        assert refused.stderr.startswith("moby-plugins: VolumeDriver.Remove: in use (unix:")
        machine.run("call", "shelves", "VolumeDriver.List", "--timeout", "1")
        assert process.wait(SECONDS) == 1
        assert "has ended by itself: its socket no longer listens" in process.stderr.read()
    assert list(machine.sockets.iterdir()) == []


@pytest.mark.parametrize(("drain", "status"), [("5", 0), ("0.1", 5)])
def test_running_calls_have_the_time_of_drain_to_end(
    machine: Machine, module: Path, drain: str, status: int
) -> None:
    """After SIGTERM a call may run for ``--drain`` seconds; one that takes longer is cut off."""
    slow = (
        'import sys, time; print("called", file=sys.stderr, flush=True); time.sleep(1.5); return ()'
    )
    module.write_text(SHELVES.replace("return ()", slow))
    command = machine.command("serve", "shelves:Shelves", "--drain", drain)
    with machine.running(command) as process, ThreadPoolExecutor(1) as pool:
        assert process.stderr is not None
        process.stderr.readline()
        call = pool.submit(machine.run, "call", "shelves", "VolumeDriver.List", "--timeout", "9")
        assert process.stderr.readline() == "called\n"
        process.terminate()
        assert process.wait(SECONDS) == 0
        assert call.result().returncode == status


def test_an_exception_of_the_plugin_is_logged_with_its_traceback(
    machine: Machine, module: Path
) -> None:
    """The traceback is on standard error, for the author; the host gets the message."""
    module.write_text(SHELVES.replace("return ()", "return 1 / 0"))
    with machine.running(machine.command("serve", "shelves:app", "--name", "shelf")) as process:
        assert process.stderr is not None
        process.stderr.readline()
        ran = machine.run("call", "shelf", "VolumeDriver.List")
        process.terminate()
        logged = process.stderr.read()

    assert (ran.returncode, ran.stderr) == (
        7,
        (
            "moby-plugins: VolumeDriver.List: division by zero "
            f"(unix://{machine.sockets}/shelf.sock, status 500 Internal Server Error)\n"
        ),
    )
    assert "ERROR VolumeDriver.List failed" in logged
    assert "ZeroDivisionError" in logged


def test_a_plugin_on_tcp_is_found_by_its_spec(machine: Machine, module: Path) -> None:
    """The spec is written to the first directory of specs, and removed at the end."""
    command = machine.command("serve", "shelves:app", "--name", "shelf", "--tcp", "127.0.0.1:0")
    with machine.running(command) as process:
        assert process.stderr is not None
        process.stderr.readline()
        with new_local_registry(settings(machine)) as registry:
            assert VolumeDriver(registry.get("shelf", "VolumeDriver").client).list() == ()
        process.terminate()
        assert process.wait(SECONDS) == 0
    assert list(machine.specs.iterdir()) == []


def test_the_spec_of_a_plugin_under_tls_has_what_verifies_it(
    machine: Machine, module: Path, tmp_path: Path
) -> None:
    """A host that finds the spec can call the plugin without further settings."""
    certificates = Certificates(tmp_path)
    cert, key = certificates.server_files()
    arguments = ["--tcp", "localhost:0", "--tls-cert", cert, "--tls-key", key]
    arguments += ["--tls-ca", certificates.ca_file]
    with machine.running(machine.command("serve", "shelves:app", *arguments)) as process:
        assert process.stderr is not None
        assert "https://localhost:" in process.stderr.readline()
        ran = machine.run("inspect", "shelves")
        process.terminate()
        assert process.wait(SECONDS) == 0

    assert f"verified by {certificates.ca_file}" in ran.stdout
    assert "implements    VolumeDriver" in ran.stdout


def settings(machine: Machine) -> Settings:
    """The machine's directories, as a host has them."""
    return Settings(sockets_path=machine.sockets, specs_paths=(machine.specs,))


def test_on_tcp_without_a_directory_for_the_spec_nothing_is_served(
    machine: Machine, module: Path
) -> None:
    """No host would find the plugin, so that the exit status is 9."""
    ran = machine.run("serve", "shelves:app", "--tcp", "127.0.0.1:0", MOBY_PLUGINS_SPECS_PATHS="")

    assert ran.returncode == 9
    assert "specs_paths is empty" in ran.stderr


@pytest.mark.parametrize("group", ["-5", "", "no-such-group"])
def test_an_unknown_group_is_an_error_before_a_socket_is_made(
    machine: Machine, module: Path, group: str
) -> None:
    """``--group`` takes a group that exists; the exit status is 9."""
    ran = machine.run("serve", "shelves:app", f"--group={group}")

    assert ran.returncode == 9
    assert "there is no group" in ran.stderr
    assert list(machine.sockets.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["shelves"], "'shelves' is not of the form MODULE:APP"),
        (["shelves:"], "is not of the form MODULE:APP"),
        (["../x:app"], "is not of the form MODULE:APP"),
        (["none:app"], "there is no module 'none' here or installed"),
        (["shelves.py:app"], "no module 'shelves.py' here or installed; did you mean 'shelves'?"),
        (["shelves:app", "--tcp", "127.0.0.1:0", "--mode", "660"], "are for a UNIX socket"),
        (["shelves:app", "--tcp", "127.0.0.1:0", "--group", "root"], "are for a UNIX socket"),
        (["shelves.none:app"], "there is no module 'shelves.none' here"),
        (["shelves:none"], "shelves has no 'none'; it has Needy, Shelves, app, shelves"),
        (["shelves:number"], "is 'int', and neither a PluginApp, a subsystem nor a function"),
        (["shelves:Needy"], "missing 1 required positional argument: 'root'"),
        (["shelves:VolumeDriver"], "does not implement any method of a subsystem"),
        (["shelves:app", "--mode", "999"], "'999' is not a file mode"),
        (["shelves:app", "--drain", "-1"], "-1.0 is not in the range"),
        (["shelves:app", "--drain", "nan"], "nan is not a number of seconds"),
        (["shelves:app", "--drain", "inf"], "is not in the range"),
        (["shelves:app", "--drain", "soon"], "'soon' is not a valid float"),
        (["shelves:app", "--mode=-1"], "'-1' is not a file mode"),
        (["shelves:app", "--mode", "1777"], "'1777' is not a file mode"),
        (["shelves:app", "--mode", "6_0"], "'6_0' is not a file mode"),
        (["shelves:app", "--tls-cert", "x"], "TLS needs --tcp"),
        (["shelves:app", "--tcp", "127.0.0.1:0", "--tls-cert", "x"], "both --tls-cert and"),
    ],
)
def test_an_app_or_option_that_cannot_be_used_is_refused_with_the_usage(
    machine: Machine, module: Path, arguments: list[str], said: str
) -> None:
    """The exit status is 2, and no socket is made."""
    ran = machine.run("serve", *arguments)

    assert ran.returncode == 2
    assert said in " ".join(ran.stderr.split())
    assert "Usage: moby-plugins serve" in ran.stderr
    assert list(machine.sockets.iterdir()) == []


SLOW = """
import time
from moby_plugins.subsystems import VolumeDriver


class Slow(VolumeDriver):
    def list(self):
        print("called", flush=True)
        time.sleep(60)
"""
SLOW_TASK = """
import asyncio
from moby_plugins.aio import AsyncVolumeDriver


class Slow(AsyncVolumeDriver):
    async def list(self):
        print("called", flush=True)
        await asyncio.sleep(60)
"""


@pytest.mark.parametrize("source", [SLOW, SLOW_TASK], ids=["threads", "loop"])
def test_a_second_ctrl_c_cuts_running_calls_off(
    machine: Machine, module: Path, source: str
) -> None:
    """The first one waits for them, and says so; SIGTERM does not hurry."""
    module.write_text(source)
    command = machine.command("serve", "shelves:Slow", "--name", "p", "--drain", "60")
    with machine.running(command) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stderr.readline().startswith("serving VolumeDriver at ")
        with machine.running(machine.command("call", "p", "VolumeDriver.List")) as host:
            assert process.stdout.readline() == "called\n"
            process.send_signal(signal.SIGINT)
            assert "calls are still running: they have 59 s to end" in process.stderr.readline()
            process.send_signal(signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)
            process.send_signal(signal.SIGINT)
            assert process.wait(SECONDS) == 0
            assert host.wait(SECONDS) != 0
    assert list(machine.sockets.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        (
            "import nonsense_that_is_missing\n",
            [
                "Traceback (most recent call last):",
                '  File "shelves.py", line 1, in <module>',
                "    import nonsense_that_is_missing",
                "ModuleNotFoundError: No module named 'nonsense_that_is_missing'",
            ],
        ),
        (
            "x = (\n",
            [
                '  File "shelves.py", line 1',
                "    x = (",
                "        ^",
                "SyntaxError: '(' was never closed",
            ],
        ),
        ("raise SystemExit(3)", ["Error: importing shelves ends the program: SystemExit(3)"]),
    ],
    ids=["missing", "syntax", "exit"],
)
def test_a_module_that_cannot_be_imported_shows_its_own_part_of_the_traceback(
    machine: Machine, module: Path, source: str, shown: list[str]
) -> None:
    """The frames of this library are left out; the exit status is 1."""
    module.write_text(source)

    ran = machine.run("serve", "shelves:app")

    assert ran.returncode == 1
    assert ran.stderr.replace(f"{machine.root}/", "").splitlines() == shown


def test_a_socket_that_is_served_already_is_not_taken(machine: Machine, module: Path) -> None:
    """The second server names the socket and ends with status 9, and the first goes on."""
    with machine.running(machine.command("serve", "shelves:app")) as process:
        assert process.stderr is not None
        process.stderr.readline()
        second = machine.run("serve", "shelves:app")
        first = machine.run("call", "shelves", "VolumeDriver.List")

    assert second.returncode == 9
    assert str(machine.sockets / "shelves.sock") in second.stderr
    assert first.returncode == 0
