"""``moby-plugins call``, run as a process."""

import json
import subprocess
import time
from contextlib import suppress

import pytest

from tests.dummy_plugin import Conversation, DummyPlugin, answering, http, keeps_answering
from tests.integration.cli.machine import SECONDS, Machine
from tests.integration.cli.terminal import at_terminal
from tests.integration.components import requires
from tests.integration.engine.test_rclone import rclone_at

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_call_takes_arguments_from_the_command_line_a_file_or_standard_input(
    machine: Machine,
) -> None:
    """The volume created in each way exists afterwards; the response is printed as JSON."""
    (machine.root / "created.json").write_text('{"Name": "two"}')
    with machine.shelf():
        for arguments, sent in [
            ('{"Name": "one"}', None),
            ("@created.json", None),
            ("-", '{"Name": "three"}'),
        ]:
            ran = machine.run("call", "shelf", "VolumeDriver.Create", arguments, sent=sent)
            assert (ran.returncode, ran.stdout, ran.stderr) == (0, "{}\n", "")
        listed = machine.run("call", "shelf", "VolumeDriver.List")

    names = [volume["Name"] for volume in json.loads(listed.stdout)["Volumes"]]
    assert names == ["one", "three", "two"]


def test_call_takes_an_address_in_place_of_a_name(machine: Machine) -> None:
    """A ``unix://`` address is called as it is, and no plugin is looked up."""
    with machine.shelf() as path:
        moved = path.rename(machine.root / "elsewhere")
        ran = machine.run("call", f"unix://{moved}", "VolumeDriver.List", "{}")

    assert json.loads(ran.stdout) == {"Volumes": []}


def test_call_sends_one_request(machine: Machine) -> None:
    """There is no handshake and no second attempt; without arguments the request has no body."""
    with DummyPlugin.on_unix(machine.sockets / "p.sock", Conversation.read_request) as plugin:
        ran = machine.run("call", "p", "A.B")
        connections = plugin.connections
    requests: list[bytes] = []
    answer = keeps_answering(b"", requests)
    with DummyPlugin.on_unix(machine.sockets / "q.sock", answer):
        silent = machine.run("call", "q", "A.B")

    assert (ran.returncode, connections) == (5, 1)
    assert "closed the connection without a response" in ran.stderr
    assert (silent.returncode, silent.stdout) == (0, "")
    (request,) = requests
    assert request.startswith(b"POST /A.B HTTP/1.1\r\n")
    assert request.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("answer", "method", "status", "said"),
    [
        (http(b'{"Err": "no such volume"}', 500), "VolumeDriver.Get", 7, "no such volume"),
        (http(b'{"Err": "no such volume"}'), "VolumeDriver.Get", 7, "no such volume"),
        (http(b'{"error": "no pool"}'), "IpamDriver.RequestPool", 7, "no pool"),
        (http(b"\x1b[2Jwiped", 404), "Own.Method", 7, "\\x1b[2Jwiped"),
        (http(b"<html>"), "VolumeDriver.Get", 8, "JSON"),
        (http(b"{}", length=10), "VolumeDriver.Get", 8, "cut off"),
    ],
)
def test_a_failed_call_is_reported_on_standard_error_and_by_the_exit_status(
    machine: Machine, answer: bytes, method: str, status: int, said: str
) -> None:
    """Standard output stays empty, so that no script takes the message for a response."""
    with DummyPlugin.on_unix(machine.sockets / "p.sock", answering(answer)):
        ran = machine.run("call", "p", method, "{}")

    assert (ran.returncode, ran.stdout) == (status, "")
    assert ran.stderr.startswith("moby-plugins: ")
    assert method in ran.stderr
    assert said in ran.stderr


@pytest.mark.parametrize(
    ("answer", "status", "told"),
    [
        (http(b'{"Volumes": []}'), 0, {"status": 200, "answer": {"Volumes": []}, "error": None}),
        (http(b""), 0, {"status": 200, "answer": None, "error": None}),
        (http(b"gone", 404), 7, {"status": 404, "answer": None, "kind": "StatusError"}),
        (http(b'{"Err": "no"}'), 7, {"status": 200, "answer": None, "kind": "DriverError"}),
        (http(b"<html>"), 8, {"status": None, "answer": None, "kind": "WireError"}),
    ],
)
def test_call_prints_the_response_or_the_error_as_json(
    machine: Machine, answer: bytes, status: int, told: dict[str, object]
) -> None:
    """The object also has the HTTP status; standard error is empty, the exit status as usual."""
    with DummyPlugin.on_unix(machine.sockets / "p.sock", answering(answer)):
        ran = machine.run("call", "p", "VolumeDriver.List", "{}", "--json")

    printed = json.loads(ran.stdout)
    assert (ran.returncode, ran.stderr) == (status, "")
    if status:
        error = printed.pop("error")
        assert error["kind"] == told.pop("kind")
        assert error.get("status") == told["status"]
    assert printed == {"method": "VolumeDriver.List"} | told


def test_a_plugin_that_is_not_found_is_an_error_in_json_too(machine: Machine) -> None:
    """With ``--json`` an object is printed even if no plugin was called."""
    ran = machine.run("call", "none", "A.B", "--json")

    assert ran.returncode == 3
    assert json.loads(ran.stdout)["error"]["kind"] == "PluginNotFoundError"


@requires("rclone", "rclone")
def test_call_works_with_the_volume_plugin_of_rclone(machine: Machine) -> None:
    """A response of rclone is printed, and an error of rclone is reported."""
    with rclone_at(machine.sockets / "rclone.sock", machine.root):
        listed = machine.run("call", "rclone", "VolumeDriver.List", "{}")
        refused = machine.run("call", "rclone", "VolumeDriver.Get", '{"Name": "none"}')

    assert (listed.returncode, [*json.loads(listed.stdout)]) == (0, ["Volumes"])
    assert refused.returncode == 7
    assert refused.stderr == (
        "moby-plugins: VolumeDriver.Get: volume not found "
        f"(unix://{machine.sockets}/rclone.sock, status 500 Internal Server Error)\n"
    )


def test_a_response_that_takes_too_long_is_given_up(machine: Machine) -> None:
    """``--timeout`` bounds the call, and the exit status is 6."""
    with DummyPlugin.on_unix(machine.sockets / "p.sock", Conversation.hang):
        began = time.monotonic()
        ran = machine.run("call", "p", "A.B", "--timeout", "0.5")
        took = time.monotonic() - began

    assert ran.returncode == 6
    assert took < 5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["p", "A.B", "{"], "Expecting property name"),
        (["p", "A.B", "@none"], "No such file"),
        (["p", "A B"], "'A B' is not a method"),
        (["p", "A.B", "{}", "--send", "-"], "--send cannot be combined with"),
        (["p", "A.B", "--send", "none"], "'none' does not exist"),
        (["p", "A.B", "NaN"], "a number in JSON must be finite, not NaN"),
        (["p", "A.B", '{"a": [1e999]}'], "a number in JSON must be finite, not 1e999"),
        (["p", "A.B", "--json", "--raw"], "--json cannot be combined with"),
        (["p", "A.B", "--json", "--stream"], "--json cannot be combined with"),
        (["p", "A.B", "--timeout", "nan"], "is not a positive number"),
        (["p"], "Missing argument 'METHOD'"),
    ],
)
def test_invalid_arguments_of_call_are_refused_before_anything_is_sent(
    machine: Machine, arguments: list[str], said: str
) -> None:
    """The message comes with the usage, and the exit status is 2."""
    ran = machine.run("call", *arguments)

    assert (ran.returncode, ran.stdout) == (2, "")
    assert said in ran.stderr
    assert "Usage: moby-plugins call" in ran.stderr


def test_raw_prints_the_bytes_of_the_response_unchanged(machine: Machine) -> None:
    """The response need not be JSON, and is printed to the last byte."""
    answer = answering(http(b"\x00\xff{not json}\n"))
    with DummyPlugin.on_unix(machine.sockets / "p.sock", answer):
        printed = subprocess.check_output(
            machine.command("call", "p", "A.B", "--raw"),
            env=machine.environment,
            timeout=SECONDS,
        )

    assert printed == b"\x00\xff{not json}\n"


def test_a_stream_is_printed_as_it_comes_until_interrupted(machine: Machine) -> None:
    """A line is printed before the next is sent; Ctrl-C ends the command with exit status 130."""

    def behave(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(CHUNKED + b"6\r\nfirst\n\r\n")
        conversation.hang()

    with (
        DummyPlugin.on_unix(machine.sockets / "p.sock", behave),
        machine.running(machine.command("call", "p", "A.B", "--stream")) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == "first\n"
        process.send_signal(2)
        assert process.wait(SECONDS) == 130
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_send_sends_a_file_or_standard_input_as_the_body(machine: Machine) -> None:
    """A file is sent with its length, a pipe in chunks; only the response is printed."""
    requests: list[bytes] = []
    content = bytes(range(256)) * 1000
    (machine.root / "layer").write_bytes(content)
    answer = keeps_answering(b'{"Size": 3}', requests)
    with DummyPlugin.on_unix(machine.sockets / "p.sock", answer):
        ran = machine.run("call", "p", "GraphDriver.ApplyDiff?id=1", "--send", "layer")
        piped = machine.run("call", "p", "GraphDriver.ApplyDiff?id=1", "--send", "-", sent="abc")

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, '{\n  "Size": 3\n}\n', "")
    assert piped.returncode == 0
    whole, chunked = requests
    assert whole.startswith(b"POST /GraphDriver.ApplyDiff?id=1 HTTP/1.1\r\n")
    assert b"content-length: 256000" in whole.lower()
    assert whole.endswith(content)
    assert b"3\r\nabc\r\n0\r\n" in chunked


def slowly(conversation: Conversation) -> None:
    """A plugin that stops to think after the first bytes of a request, then answers."""
    conversation.sock.recv(1024)
    conversation.stopped.wait(0.5)
    while b"END" not in conversation.sock.recv(1 << 16):
        pass
    conversation.send(http(b"{}"))


def test_a_terminal_shows_the_progress_of_a_sent_file(machine: Machine) -> None:
    """The progress bar is cleared at the end, and the response is left."""
    (machine.root / "layer").write_bytes(bytes(20 << 20) + b"END")
    command = machine.command("call", "p", "G.A", "--send", str(machine.root / "layer"))
    with (
        DummyPlugin.on_unix(machine.sockets / "p.sock", slowly),
        at_terminal(command, machine.environment) as terminal,
    ):
        assert terminal.end() == 0

    assert "/20.0 MiB" in terminal.plain
    assert "━" in terminal.plain
    assert terminal.plain.rstrip().endswith("{}")


def test_call_ends_without_a_message_when_the_reader_closes_the_pipe(machine: Machine) -> None:
    """``call … --stream | head -1`` ends when head does, without a traceback."""

    def behave(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(CHUNKED)
        with suppress(OSError):  # the reader leaves
            while not conversation.stopped.is_set():
                conversation.sock.sendall(b"6\r\nagain\n\r\n")

    command = " ".join([*machine.command("call", "p", "A.B", "--stream"), "| head -1"])
    with DummyPlugin.on_unix(machine.sockets / "p.sock", behave):
        ran = subprocess.run(
            ["/bin/sh", "-c", command],
            capture_output=True,
            text=True,
            check=True,
            timeout=SECONDS,
            env=machine.environment,
        )

    assert (ran.stdout, ran.stderr) == ("again\n", "")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("@/dev/zero", "@/dev/zero: the arguments are larger than 67108864 bytes"),
    ],
)
def test_arguments_that_are_nested_too_deeply_or_too_large_are_an_error_of_usage(
    machine: Machine, given: str, said: str
) -> None:
    """The command ends without a traceback, and does not fill the machine's memory."""
    ran = machine.run("call", "unix:///nowhere.sock", "A.B", given)

    assert ran.returncode == 2
    assert said in ran.stderr
