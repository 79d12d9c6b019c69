"""Plugins as processes of their own: signals, kills, systemd's sockets, gunicorn."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moby_plugins import RetryPolicy, Settings, new_client
from tests.integration.serving.plugins import Echo

ROOT = Path(__file__).parents[3]
SECONDS = 20.0

SERVE = """
import sys
from moby_plugins.serving import PluginApp, serve_tcp, serve_unix
from tests.integration.serving.plugins import Echoes

def unix(directory):
    serve_unix(PluginApp(Echoes()), "echo", sockets_path=directory)

def tcp(directory):
    serve_tcp(PluginApp(Echoes()), "echo", specs_path=directory)

globals()[sys.argv[1]](sys.argv[2])
print("served")
"""

# systemd names the process that the sockets are for, which is known once it runs.
ACTIVATED = "import os; os.environ['LISTEN_PID'] = str(os.getpid())\n" + SERVE

GUNICORN = """
from moby_plugins.serving import PluginApp, wsgi
from tests.integration.serving.plugins import Echoes, Layers

application = wsgi(PluginApp(Echoes(), Layers()))
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start Python with these arguments; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def popen(*arguments: str, **options: object) -> "subprocess.Popen[str]":
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}  # type: ignore[dict-item]
        process: subprocess.Popen[str] = subprocess.Popen(
            [sys.executable, "-W", "error", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            **options,  # type: ignore[call-overload]
        )
        started.append(process)
        return process

    yield popen
    for process in started:
        process.kill()
        process.communicate()


def output(process: "subprocess.Popen[str]") -> str:
    """What a process has said when it ended by itself."""
    return process.communicate(timeout=SECONDS)[0]


def say(addr: str) -> str:
    """Call the plugin, waiting until it is there."""
    retry = RetryPolicy(initial=0.05, factor=1.0, budget=SECONDS)
    with new_client(addr, settings=Settings(retry=retry)) as client:
        return Echo(client).say("hello")


def appear(path: Path) -> None:
    """Wait for a file."""
    ends = time.monotonic() + SECONDS
    while not path.exists():
        assert time.monotonic() < ends, f"{path} did not appear"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_plugin_and_removes_its_socket(
    short_path: Path, start: Start, number: signal.Signals
) -> None:
    """On SIGTERM and SIGINT ``serve_unix`` removes the socket, and returns to the program."""
    process = start("-c", SERVE, "unix", str(short_path))
    assert say(f"unix://{short_path}/echo.sock") == "hello"

    process.send_signal(number)

    assert (output(process), process.returncode) == ("served\n", 0)
    assert list(short_path.iterdir()) == []


def test_a_signal_ends_the_plugin_and_removes_its_spec(short_path: Path, start: Start) -> None:
    """On SIGTERM ``serve_tcp`` removes the spec, and returns to the program."""
    process = start("-c", SERVE, "tcp", str(short_path))
    appear(short_path / "echo.spec")
    assert say((short_path / "echo.spec").read_text()) == "hello"

    process.terminate()

    assert (output(process), process.returncode) == ("served\n", 0)
    assert list(short_path.iterdir()) == []


def test_a_killed_plugin_can_be_started_again(short_path: Path, start: Start) -> None:
    """``kill -9`` leaves a stale socket, which the next process of the plugin replaces."""
    path = short_path / "echo.sock"
    first = start("-c", SERVE, "unix", str(short_path))
    assert say(f"unix://{path}") == "hello"
    first.kill()
    first.wait()
    assert path.is_socket()

    second = start("-c", SERVE, "unix", str(short_path))

    assert say(f"unix://{path}") == "hello"
    second.terminate()
    assert output(second) == "served\n"


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_a_socket_of_systemd_is_served(short_path: Path, start: Start, kind: str) -> None:
    """Descriptor 3 is served as it is; no socket file and no spec is made or removed."""
    path = short_path / "systemd.sock"
    if kind == "unix":
        sock, addr = socket.socket(socket.AF_UNIX), f"unix://{path}"
        sock.bind(str(path))
        sock.listen()
    else:
        sock = socket.create_server(("127.0.0.1", 0))
        addr = f"tcp://127.0.0.1:{sock.getsockname()[1]}"
    before = sorted(short_path.iterdir())
    with sock:
        # As systemd does: the socket is descriptor 3, and nothing else is passed.
        launcher = (
            f"import os, sys; os.dup2({sock.fileno()}, 3); os.execv(sys.argv[1], sys.argv[1:])"
        )
        process = start(
            "-c",
            launcher,
            *(sys.executable, "-c", ACTIVATED, kind, str(short_path)),
            env={"LISTEN_FDS": "1"},
            pass_fds=[sock.fileno()],
        )

        assert say(addr) == "hello"
        process.terminate()

        assert output(process) == "served\n"
    assert sorted(short_path.iterdir()) == before


@pytest.mark.parametrize(
    ("make", "count", "why"),
    [
        ("socket.create_server(('127.0.0.1', 0))", 2, "systemd opened 2 sockets"),
        ("socket.socket(socket.AF_INET, socket.SOCK_DGRAM)", 1, "not a stream socket that listens"),
        ("socket.socket(socket.AF_UNIX)", 1, "not a stream socket that listens"),
        ("socket.socketpair()[0]", 1, "not a stream socket that listens"),
        ("socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)", 1, "not a stream socket"),
        ("open(os.devnull)", 1, "descriptor 3 is not a socket"),
    ],
)
@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_a_descriptor_of_systemd_that_cannot_be_served_is_an_error(
    short_path: Path, start: Start, *, kind: str, make: str, count: int, why: str
) -> None:
    """The ``SpecError`` says why; systemd's variables are unset, and no file is made."""
    script = (
        f"import os, socket\nmade = {make}\n"
        "os.dup2(made.fileno(), 3) if made.fileno() != 3 else None\n"
        "import atexit; atexit.register(lambda: print(os.environ.get('LISTEN_FDS')))\n" + ACTIVATED
    )
    process = start("-c", script, kind, str(short_path), env={"LISTEN_FDS": str(count)})

    said = output(process)

    assert process.returncode == 1
    assert "SpecError" in said
    assert why in said
    assert "None" in said.splitlines()
    assert list(short_path.iterdir()) == []


def test_systemd_sockets_for_another_process_are_not_served(short_path: Path, start: Start) -> None:
    """If ``LISTEN_PID`` names another process, the plugin makes its own socket."""
    process = start(
        "-c", SERVE, "unix", str(short_path), env={"LISTEN_PID": "1", "LISTEN_FDS": "1"}
    )

    assert say(f"unix://{short_path}/echo.sock") == "hello"
    process.terminate()
    assert output(process) == "served\n"


def test_serving_in_another_thread_leaves_signals_alone(short_path: Path, start: Start) -> None:
    """Only the main thread can set signal handlers, so SIGTERM ends the process as usual."""
    script = SERVE.replace("globals()", "import threading\nrun = globals()").replace(
        "run = globals()[sys.argv[1]](sys.argv[2])",
        "threading.Thread(target=unix, args=[sys.argv[2]], daemon=True).start()\n"
        "sys.stdin.readline()",
    )
    process = start("-c", script, "unix", str(short_path), stdin=subprocess.PIPE)

    assert say(f"unix://{short_path}/echo.sock") == "hello"
    process.terminate()
    process.wait(SECONDS)

    assert process.returncode == -signal.SIGTERM


def test_serving_without_cheroot_says_what_to_install(short_path: Path, start: Start) -> None:
    """Serving needs a library that calling does not need."""
    process = start("-c", f"import sys; sys.modules['cheroot'] = None\n{SERVE}", "unix", "/none")

    assert output(process).splitlines()[-1] == (
        "moby_plugins.SettingsError: serving needs cheroot: pip install 'moby-plugins[serve]'"
    )


def test_the_same_app_runs_under_gunicorn(short_path: Path, start: Start) -> None:
    """``wsgi(app)`` makes calls, chunked bodies and streams work under a WSGI server."""
    (short_path / "plugin.py").write_text(GUNICORN)
    path = short_path / "echo.sock"
    arguments = ["--bind", f"unix:{path}", "--workers", "1", "--threads", "4"]
    process = start(
        *("-m", "gunicorn", *arguments, "--chdir", str(short_path), "--no-control-socket"),
        "plugin:application",
    )

    assert say(f"unix://{path}") == "hello"
    with new_client(f"unix://{path}") as client:
        chunks = (bytes(1 << 20) for _ in range(3))
        assert client.send_file("GraphDriver.ApplyDiff?id=a&parent=b", chunks) == {"Size": 3 << 20}
        with client.stream("GraphDriver.Diff", {"ID": "a", "Parent": ""}) as stream:
            assert b"".join(stream) == b"firstlast"
    process.terminate()
    output(process)
    assert process.returncode == 0
