"""``moby-plugins inspect``, run as a process."""

import json
from pathlib import Path

import pytest

from tests.dummy_plugin import DummyPlugin, http, keeps_answering
from tests.integration.cli.machine import Machine
from tests.integration.cli.terminal import at_terminal
from tests.integration.components import requires
from tests.integration.engine.test_rclone import rclone_at


def fields(text: str) -> dict[str, str]:
    """The labels and values that were printed."""
    return {line.split()[0]: line.split(maxsplit=1)[1] for line in text.splitlines()}


def test_inspect_shows_how_a_host_finds_and_reaches_a_plugin(machine: Machine) -> None:
    """Shown are the file found, the files that it hides, the address, TLS and the manifest."""
    (machine.specs / "shelf.spec").write_text("tcp://127.0.0.1:1")
    (machine.specs / "shelf.json").write_text("{")
    with machine.shelf() as path:
        ran = machine.run("inspect", "shelf")

    shown = fields(ran.stdout)
    assert (ran.returncode, ran.stderr) == (0, "")
    handshake = shown.pop("handshake")
    assert handshake.endswith(" ms")
    assert 0 < float(handshake.split()[0]) < 5000
    hidden = next(key for key in shown if key.startswith("/"))
    assert hidden == f"{machine.specs}/shelf.json"
    del shown[hidden]
    assert shown == {
        "name": "shelf",
        "found": str(path),
        "hides": f"{machine.specs}/shelf.spec (tcp://127.0.0.1:1)",
        "address": f"unix://{path} (the UNIX socket {path})",
        "tls": "none: plain text",
        "transport": "httptools (auto)",
        "implements": "VolumeDriver",
        "capabilities": "VolumeDriver: scope=local",
    }


def test_inspect_prints_the_same_as_json(machine: Machine) -> None:
    """The handshake's time is in seconds, and the capabilities are an object."""
    with machine.shelf() as path:
        ran = machine.run("inspect", "shelf", "--json")

    shown = json.loads(ran.stdout)
    assert 0 < shown.pop("handshake_seconds") < 5
    assert shown == {
        "name": "shelf",
        "found": str(path),
        "hides": [],
        "address": f"unix://{path}",
        "tls": "none: plain text",
        "transport": "httptools (auto)",
        "error": None,
        "implements": ["VolumeDriver"],
        "capabilities": {"VolumeDriver": {"scope": "local"}},
    }


@pytest.mark.parametrize(
    ("spec", "tls"),
    [
        ('{"Addr": "https://127.0.0.1:1"}', "verified by the system's certificates"),
        (
            '{"Addr": "https://127.0.0.1:1", "TLSConfig": {}}',
            "TLS without verification of the plugin",
        ),
        (
            '{"Addr": "tcp://127.0.0.1:1", "TLSConfig": {"CAFile": "/ca.pem"}}',
            "TLS options are given, but only https:// is encrypted: this is plain text",
        ),
    ],
)
def test_inspect_shows_whether_tls_verifies_the_plugin(
    machine: Machine, spec: str, tls: str
) -> None:
    """TLS may be verified, unverified, or unused in spite of options; the plugin need not run."""
    (machine.specs / "far.json").write_text(spec)

    ran = machine.run("inspect", "far")

    shown = fields(ran.stdout)
    assert ran.returncode == 5
    assert shown["tls"] == tls
    assert shown["address"].endswith("(host 127.0.0.1, port 1)")
    assert shown["error"] == "connection refused: no process listens there"


def test_a_plugin_is_inspected_by_its_address(machine: Machine) -> None:
    """No file is shown, as none was looked up."""
    with machine.shelf() as path:
        moved = path.rename(machine.root / "elsewhere")
        ran = machine.run("inspect", f"unix://{moved}")
        told = json.loads(machine.run("inspect", f"unix://{moved}", "--json").stdout)

    shown = fields(ran.stdout)
    assert ran.returncode == 0
    assert [*shown] == ["address", "tls", "transport", "implements", "handshake", "capabilities"]
    assert shown["implements"] == "VolumeDriver"
    assert (told["name"], told["found"], told["hides"]) == (None, None, [])
    assert told["implements"] == ["VolumeDriver"]


def test_an_address_without_a_plugin_is_shown_with_the_error(machine: Machine) -> None:
    """The exit status is that of a plugin that cannot be reached."""
    ran = machine.run("inspect", "tcp://127.0.0.1:1")

    assert ran.returncode == 5
    assert fields(ran.stdout)["error"] == "connection refused: no process listens there"


def test_invalid_capabilities_are_shown_as_an_error_in_their_own_field(machine: Machine) -> None:
    """A network driver with an invalid scope is still shown, with exit status 0."""
    answer = keeps_answering(b'{"Implements": ["NetworkDriver"], "Scope": "galaxy"}')
    with DummyPlugin.on_unix(machine.sockets / "net.sock", answer):
        ran = machine.run("inspect", "net")

    assert ran.returncode == 0
    told = fields(ran.stdout)["capabilities"]
    assert told.startswith("NetworkDriver: error: NetworkDriver.GetCapabilities")


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("none", 3, "plugin 'none' not found"),
        ("../etc", 9, "is not a plugin name"),
    ],
)
def test_a_plugin_name_that_is_unknown_or_invalid_is_an_error(
    machine: Machine, name: str, status: int, said: str
) -> None:
    """Standard error says why, and standard output stays empty."""
    ran = machine.run("inspect", name)

    assert (ran.returncode, ran.stdout) == (status, "")
    assert said in ran.stderr


def test_a_broken_spec_is_shown_with_its_reason(machine: Machine) -> None:
    """The exit status is 9, that of a spec that cannot be used."""
    (machine.specs / "odd.spec").write_text("nowhere")

    ran = machine.run("inspect", "odd", "--json")

    shown = json.loads(ran.stdout)
    assert ran.returncode == 9
    assert shown["error"]["kind"] == "SpecError"
    assert shown["address"] is None


def test_a_handshake_that_is_refused_is_shown_with_the_plugins_message(machine: Machine) -> None:
    """The exit status is 7, that of an error response."""
    with DummyPlugin.on_unix(
        machine.sockets / "no.sock", lambda talk: talk.send(http(b'{"Err": "not today"}', 500))
    ):
        ran = machine.run("inspect", "no")

    assert ran.returncode == 7
    assert fields(ran.stdout)["error"] == "Plugin.Activate: not today"


def test_inspect_prints_in_colour_on_a_terminal(machine: Machine) -> None:
    """Labels are faint, and a subsystem that is implemented is green."""
    with (
        machine.shelf(),
        at_terminal(machine.command("inspect", "shelf"), machine.environment) as terminal,
    ):
        assert terminal.end() == 0

    assert "\x1b[2mimplements" in terminal.written
    assert "\x1b[32mVolumeDriver" in terminal.written


def test_an_address_without_a_transport_is_shown(machine: Machine) -> None:
    """The field of the address names the missing transport, and the exit status is 9."""
    (machine.specs / "odd.spec").write_text("carrier://pigeon")

    ran = machine.run("inspect", "odd")

    assert ran.returncode == 9
    assert fields(ran.stdout)["address"] == "carrier://pigeon (the transport for carrier)"
    assert "no transport for carrier://" in fields(ran.stdout)["error"]


@requires("rclone", "rclone")
def test_inspect_works_with_the_volume_plugin_of_rclone(machine: Machine) -> None:
    """The plugin is shown as a volume driver of scope local."""
    with rclone_at(machine.sockets / "rclone.sock", machine.root):
        shown = fields(machine.run("inspect", "rclone").stdout)

    assert shown["implements"] == "VolumeDriver"
    assert shown["capabilities"] == "VolumeDriver: scope=local"


def test_a_plugin_from_the_settings_is_shown_with_their_entry(
    machine: Machine, tmp_path: Path
) -> None:
    """The entry of ``[plugins]`` stands for the file; the transport is the one in the settings."""
    config = tmp_path / "settings.toml"
    with machine.shelf() as path:
        config.write_text(
            f"""
            sockets_path = "{machine.specs}"
            transports = {{ unix = "urllib3" }}
            [plugins]
            books = "unix://{path}"
            """
        )
        ran = machine.run("inspect", "books", "--config", str(config))
        listed = machine.run("ls", "--json", "--config", str(config))

    shown = fields(ran.stdout)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert (shown["found"], shown["transport"]) == ("[plugins] books", "urllib3")
    [row] = json.loads(listed.stdout)
    assert (row["name"], row["found"], row["address"]) == (
        "books",
        "[plugins] books",
        f"unix://{path}",
    )
