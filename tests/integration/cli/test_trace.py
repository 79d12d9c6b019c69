"""``moby-plugins trace``, run as a process between a host and a plugin."""

import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from moby_plugins import Settings, StatusError, TransportError, WireError, new_client
from moby_plugins.domain.http import Request, Response
from moby_plugins.testing import FaultServer, LivePlugin, MemoryTransport, drops, drops_mid_body
from moby_plugins.tracing import load_recording
from tests.integration.cli.machine import SECONDS, Machine
from tests.integration.cli.tracing import ONCE, call, echo, exchanged, tracing, without_times

RECORDINGS = Path(__file__).parents[2] / "recordings"
README = Path(__file__).parents[3] / "README.md"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_each_call_is_shown_and_the_socket_is_put_back_at_the_end(
    machine: Machine, number: int
) -> None:
    """Shown are time, method, bodies, status and duration, until a signal ends the trace."""
    with machine.shelf() as path:
        inode = path.stat().st_ino
        with tracing(machine, "shelf") as traced:
            assert call(path, "Plugin.Activate") == {"Implements": ["VolumeDriver"]}
            with pytest.raises(StatusError, match="no option 'token'"):
                call(path, "VolumeDriver.Create", {"Name": "a", "Opts": {"token": "hunter2"}})
            lines = traced.end(number)

        assert path.stat().st_ino == inode
        assert call(path, "Plugin.Activate") == {"Implements": ["VolumeDriver"]}
        assert list(machine.sockets.iterdir()) == [path]
    assert traced.heading == (
        f"calls to unix://{path} go on to unix://{machine.sockets}/.traced/shelf.sock;"
        " Ctrl-C ends this\n"
    )
    assert without_times(lines) == [
        "Plugin.Activate 200",
        '  ← {"Implements":["VolumeDriver"]}',
        "VolumeDriver.Create 500",
        '  → {"Name":"a","Opts":{"token":"***"}}',
        '  ← {"Err":"no option \'token\'; there is size=10M"}',
    ]
    assert lines[0].split()[0].count(":") == 2
    assert lines[0].endswith("ms")


def test_trace_prints_a_json_object_for_each_call(machine: Machine) -> None:
    """``--json`` prints JSON lines, with secrets masked as in the text."""
    with machine.shelf() as path, tracing(machine, "shelf", "--json") as traced:
        call(path, "VolumeDriver.Create", {"Name": "a", "Password": "hunter2"})
        [line] = traced.end()

    shown = json.loads(line)
    assert (shown["method"], shown["status"], shown["answer"]) == (
        "VolumeDriver.Create",
        200,
        "{}\n",
    )
    assert shown["request"] == '{"Name":"a","Password":"***"}\n'
    assert 0 < shown["took"] < SECONDS
    assert shown["time"][10] == "T"


def test_a_recording_can_stand_in_for_the_plugin_in_a_test(machine: Machine) -> None:
    """``MemoryTransport.replay`` gives the recorded responses to the same calls."""
    file = machine.root / "calls.jsonl"
    with machine.shelf() as path, tracing(machine, "shelf", "--record", str(file)) as traced:
        call(path, "VolumeDriver.Create", {"Name": "a", "Password": "hunter2"})
        listed = call(path, "VolumeDriver.List", {})
        traced.end()

    assert "hunter2" not in file.read_text()
    played = MemoryTransport.replay(file)
    settings = Settings(transports={"unix": played.connect})
    with new_client("unix:///x.sock", settings=settings) as client:
        assert client.call("VolumeDriver.List", {}) == listed
        client.call("VolumeDriver.Create", {"Name": "a", "Password": "another"})
    played.assert_used_up()


def test_secrets_are_recorded_with_record_secrets(machine: Machine) -> None:
    """The printed lines mask the secrets all the same."""
    file = machine.root / "calls.jsonl"
    options = ("--record", str(file), "--record-secrets")
    with machine.shelf() as path, tracing(machine, "shelf", *options) as traced:
        call(path, "VolumeDriver.Create", {"Name": "a", "Password": "hunter2"})
        lines = traced.end()

    assert "hunter2" not in "".join(lines)
    assert load_recording(file).calls[0].request.data == b'{"Name":"a","Password":"hunter2"}\n'
    assert not load_recording(file).masked


def test_faults_of_a_plugin_reach_the_host_unchanged(machine: Machine) -> None:
    """A missing response and one that is cut off reach the host as such, and both are shown."""
    table = {"M.drops": drops(), "M.half": drops_mid_body(b"half")}
    path = machine.sockets / "bad.sock"
    with FaultServer.unix(table, path), tracing(machine, "bad") as traced:
        with pytest.raises(TransportError, match="closed the connection without a response"):
            call(path, "M.drops")
        with pytest.raises(WireError, match="cut off"):
            call(path, "M.half")
        lines = traced.end()

    closed = "the host's connection was closed"
    assert without_times(lines) == [
        "M.drops no",
        f"  ✗ the plugin closed the connection without a response; {closed}",
        "M.half 200",
        '  ← "half"',
        f"  ✗ the response's body is cut off or badly chunked; {closed}",
    ]


def test_a_plugin_that_refuses_the_connection_is_shown_as_a_stale_socket(machine: Machine) -> None:
    """The host's connection is closed without a response."""
    path = machine.sockets / "dead.sock"
    with (
        LivePlugin(echo, "dead", machine.sockets) as live,
        tracing(machine, "dead") as traced,
    ):
        live.stop()
        with pytest.raises(TransportError):
            call(path, "M.x")
        lines = traced.end()

    assert lines[1].startswith("  ✗ stale socket: it exists, but no process listens on it")


def test_a_stream_is_shown_while_it_passes(machine: Machine) -> None:
    """Pieces reach the host as they are sent, and a line each second shows the progress."""

    def ticking(_: Request) -> Response:
        def ticks() -> Iterator[bytes]:
            for _ in range(15):
                time.sleep(0.1)
                yield b"\x00tick"

        return Response(200, ticks())

    with (
        LivePlugin(ticking, "clock", machine.sockets) as live,
        tracing(machine, "clock") as traced,
        new_client(live.addr, settings=ONCE) as client,
        client.stream("M.ticks") as chunks,
    ):
        assert chunks.read(100) == b"\x00tick"
        assert traced.process.stdout is not None
        line = traced.process.stdout.readline()
        rest = b"".join(chunks)
        lines = traced.end()

    assert len(rest) == 14 * 5
    assert "M.ticks  answer so far: " in line
    assert lines[-1].startswith("  ← 75 bytes in 15 pieces: 00 74 69 63 6b 00")


def test_a_trace_with_listen_does_not_move_the_plugins_socket(machine: Machine) -> None:
    """Hosts call the address given by ``--listen``; the plugin is given by name or address."""
    mine = machine.root / "mine.sock"
    with machine.shelf() as path:
        for target in ("shelf", f"unix://{path}"):
            with tracing(machine, target, "--listen", f"unix://{mine}") as traced:
                assert call(mine, "Plugin.Activate") == {"Implements": ["VolumeDriver"]}
                assert len(traced.end()) == 2

    assert not mine.exists()


def test_a_trace_that_would_forward_to_itself_is_refused(machine: Machine) -> None:
    """Each call would otherwise be forwarded without an end."""
    address = f"unix://{machine.root}/mine.sock"
    ran = machine.run("trace", address, "--listen", address)

    assert ran.returncode == 9
    assert "this is the plugin's own address" in ran.stderr


def test_a_plugin_can_be_traced_by_its_unix_address(machine: Machine) -> None:
    """A TCP address needs ``--listen``, and a file that is not a socket is refused and kept."""
    for name in ("shelf.sock", "other"):
        path = machine.root / name
        with (
            LivePlugin(echo, str(path), machine.root),
            tracing(machine, f"unix://{path}") as traced,
        ):
            assert call(path, "M.x", 1) == 1
            assert without_times(traced.end())[0] == "M.x 200"
        assert not (machine.root / ".traced").exists()
    far = machine.run("trace", "tcp://127.0.0.1:1")
    none = machine.run("trace", f"unix://{machine.root}/none.sock")
    (machine.root / "file").write_text("mine")
    file = machine.run("trace", f"unix://{machine.root}/file")

    assert (far.returncode, none.returncode, file.returncode) == (2, 5, 9)
    assert "can be traced only with --listen" in far.stderr
    assert "no socket there" in none.stderr
    assert "is not a socket" in file.stderr
    assert (machine.root / "file").read_text() == "mine"


def test_a_recording_that_cannot_be_written_is_an_error(machine: Machine) -> None:
    """No socket is moved if the file cannot be opened; on a full disk the socket is put back."""
    with machine.shelf() as path:
        inode = path.stat().st_ino
        ran = machine.run("trace", "shelf", "--record", "no/such/file")
        full = machine.run("trace", "shelf", "--record", "/dev/full")
        assert path.stat().st_ino == inode

    assert (ran.returncode, full.returncode) == (9, 9)
    assert (
        ran.stderr == "moby-plugins: no/such/file: cannot be written: No such file or directory\n"
    )
    assert "/dev/full: cannot be written: No space left on device" in full.stderr


def test_a_trace_of_a_plugin_that_is_not_found_is_an_error(machine: Machine) -> None:
    """The exit status is 3, as for every command."""
    ran = machine.run("trace", "nothing")

    assert ran.returncode == 3
    assert "plugin 'nothing' not found" in ran.stderr


def test_a_large_upload_reaches_the_plugin_while_it_is_sent(machine: Machine) -> None:
    """The plugin reads the first piece before the host sends the last; the size is shown."""
    arrived = threading.Event()

    def receiver(request: Request) -> Response:
        size = 0
        for piece in request.body:
            size += len(piece)  # type: ignore[arg-type]  # large bodies come in pieces
            arrived.set()
        return Response(200, str(size).encode())

    def upload() -> Iterator[bytes]:
        yield bytes(64 << 10)
        assert arrived.wait(SECONDS), "the plugin saw nothing before the end"
        for _ in range(40):
            yield bytes(64 << 10)

    with (
        LivePlugin(receiver, "graph", machine.sockets) as live,
        tracing(machine, "graph") as traced,
        new_client(live.addr, settings=ONCE) as client,
    ):
        assert client.send_file("GraphDriver.ApplyDiff?id=1&parent=", upload()) == 41 << 16
        lines = traced.end()

    assert lines[0].split()[1:3] == ["GraphDriver.ApplyDiff?id=1&parent=", "200"]
    assert lines[1].startswith("  → 2,686,976 bytes in ")
    assert lines[2] == "  ← 2686976"


def test_the_plugin_gets_the_headers_of_its_host_unchanged(machine: Machine) -> None:
    """An engine sends an empty Host and a Go User-Agent; the trace adds no header of its own."""

    def headers(request: Request) -> Response:
        return Response(200, json.dumps(dict(request.headers)).encode(), {"X-Plugin": "mine"})

    sent = "Host: \r\nUser-Agent: Go-http-client/1.1\r\nAccept: v1.2\r\nX-Own: 1\r\n"
    request = f"POST /M.x HTTP/1.1\r\n{sent}Content-Length: 2\r\n\r\n{{}}".encode()
    with LivePlugin(headers, "plugin", machine.sockets) as live:
        alone = exchanged(live.addr, request)
        with tracing(machine, "plugin"):
            traced = exchanged(live.addr, request)

    head, _, body = traced.partition(b"\r\n\r\n")
    assert json.loads(body) == json.loads(alone.partition(b"\r\n\r\n")[2])
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"X-Plugin: mine" in head


def test_recordings_are_exported_as_one_trace_for_perfetto(machine: Machine) -> None:
    """``--export`` reads recordings and writes the plugins and their hosts as tracks."""
    file = machine.root / "trace.json"
    recordings = [str(RECORDINGS / f"{name}.jsonl") for name in ("volume_driver", "authorization")]

    done = machine.run("trace", *recordings, "--export", str(file))

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    trace = json.loads(file.read_text())
    names = [e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "process_name"]
    assert names == ["hosts of shelf", "shelf", "hosts of doorman", "doorman"]
    assert file.stat().st_mode & 0o777 == 0o600


def test_export_refuses_to_replace_a_recording_that_it_reads(machine: Machine) -> None:
    """This holds for links to the file too; a last line that is cut off is left out."""
    file, link = machine.root / "calls.jsonl", machine.root / "link.jsonl"
    whole = (RECORDINGS / "volume_driver.jsonl").read_text()
    file.write_text(whole + whole.splitlines()[1][:30])
    link.symlink_to(file)
    out = machine.root / "trace.json"

    refused = [
        machine.run("trace", str(source), "--export", str(target))
        for source, target in ((file, file), (link, file), (file, link))
    ]
    done = machine.run("trace", str(file), "--export", str(out))

    assert [each.returncode for each in refused] == [2] * 3
    assert "would replace the recording" in refused[0].stderr
    assert file.read_text().startswith(whole)
    assert (done.returncode, done.stdout) == (0, "")
    assert "the last line is cut off, and is left out" in done.stderr
    slices = [e for e in json.loads(out.read_text())["traceEvents"] if e["ph"] == "X"]
    assert len(slices) == 2 * (len(whole.splitlines()) - 1)


def test_a_file_that_is_not_a_recording_is_not_exported(machine: Machine) -> None:
    """The error names the file, and an existing trace file stays as it is."""
    file = machine.root / "trace.json"
    file.write_text("before")

    done = machine.run("trace", str(README), "--export", str(file))
    mixed = machine.run("trace", "a.jsonl", "--export", str(file), "--summary")
    many = machine.run("trace", "a", "b")

    assert done.returncode == 9
    assert "README.md, line 1: not a recording" in done.stderr
    assert (mixed.returncode, many.returncode) == (2, 2)
    assert file.read_text() == "before"
