"""What ``docs/protocol.md`` says of Podman, seen in a real one: P1 to P5."""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from moby_plugins import Request, Response
from moby_plugins.serving import plugin_server_unix
from tests.integration.components import requires

pytestmark = requires("podman", "podman", root=True)

Podman: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]
ACTIVATE = "Plugin.Activate"
CREATE, GET, LIST = "VolumeDriver.Create", "VolumeDriver.Get", "VolumeDriver.List"
USUAL = {
    ACTIVATE: (200, b'{"Implements": ["VolumeDriver"]}'),
    GET: (500, b'{"Err": "no such volume"}'),
    LIST: (200, b'{"Volumes": []}'),
}


class Script:
    """A plugin with given responses, which keeps the requests that it got."""

    def __init__(self) -> None:
        self.answers = USUAL
        self.sent: dict[str, bytes] = {}

    def __call__(self, request: Request) -> Response:
        self.sent[request.method] = request.read()
        return Response(*self.answers.get(request.method, (200, b"{}")))


@pytest.fixture(scope="module")
def script() -> Script:
    """The plugin."""
    return Script()


@pytest.fixture(scope="module")
def podman(script: Script) -> Iterator[Podman]:
    """Run a command of a podman that has no other state, and knows the plugin as ``ours``."""
    with tempfile.TemporaryDirectory(prefix="mp-") as home:
        socket, configuration = f"{home}/p.sock", Path(home, "containers.conf")
        configuration.write_text(f'[engine.volume_plugins]\nours = "{socket}"\n')
        places = ["--root", f"{home}/root", "--runroot", f"{home}/run", "--tmpdir", f"{home}/tmp"]
        environment = {**os.environ, "CONTAINERS_CONF": str(configuration)}

        def run(*words: str) -> subprocess.CompletedProcess[str]:
            command = ["podman", *places, "--storage-driver", "vfs", *words]
            return subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=60, check=False
            )

        with plugin_server_unix(script, socket):
            yield run


@pytest.mark.parametrize(
    ("answers", "status", "said"),
    [
        ({}, 0, "volume"),
        ({ACTIVATE: (200, b'{"Implements": ["VolumeDriver"]}{}')}, 125, "bytes left"),
        ({CREATE: (200, b'{"Err": "disk full"}')}, 0, "volume"),
        ({CREATE: (200, b"")}, 0, "volume"),
        ({CREATE: (500, b"disk full")}, 125, "unmarshalling JSON response"),
        ({CREATE: (500, b"{}")}, 125, "empty error from plugin"),
        ({CREATE: (500, b'{"Err": "disk full"}')}, 125, "disk full"),
    ],
)
def test_podman_decides_by_the_status_whether_create_succeeded(
    podman: Podman,
    script: Script,
    answers: dict[str, tuple[int, bytes]],
    status: int,
    said: str,
) -> None:
    """Podman ignores Err in a 200; an error's body must be a JSON object with Err (P1, P2)."""
    script.answers = USUAL | answers

    done = podman("volume", "create", "--driver", "ours", "volume")
    podman("volume", "rm", "volume")

    assert (done.returncode, said in done.stdout + done.stderr) == (status, True), done
    if status == 0:
        assert json.loads(script.sent[CREATE]) == {"Name": "volume"}


@pytest.mark.parametrize(
    ("volumes", "status"),
    [(b"[]", 0), (b"[]}{", 125), (b"[null]", 2), (b'[{"Name": "x", "CreatedAt": 7}]', 125)],
)
def test_podman_accepts_only_one_json_value_of_the_right_types_from_list(
    podman: Podman, script: Script, volumes: bytes, status: int
) -> None:
    """Podman sends List with an empty body; a volume that is null crashes Podman (P3, P4)."""
    script.answers = USUAL | {LIST: (200, b'{"Volumes": ' + volumes + b"}")}

    done = podman("volume", "reload")

    assert done.returncode == status, done.stderr
    assert script.sent[LIST] == b""
    assert not {"VolumeDriver.Capabilities", "VolumeDriver.Path"} & script.sent.keys()
