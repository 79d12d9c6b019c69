"""A request whose body an engine hides from its plugin is denied (CVE-2024-41110, 2026-34040)."""

import contextlib
import http.client
import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from moby_plugins.serving import PluginApp, plugin_server_unix
from moby_plugins.subsystems import AuthZPlugin, AuthZRequest, Verdict
from tests.integration.components import requires
from tests.integration.engine.dockerd import IMAGE, Engine
from tests.integration.engine.plugin_process import SOCKETS

pytestmark = requires("docker.io", "dockerd", "docker", "busybox", root=True)

# Engines and their clients agree on a version, which is not the same for all.
IMAGES_CREATE = re.compile(r"(/v[\d.]+)?/images/create\b")
BODY = json.dumps({"Image": IMAGE, "Cmd": ["echo"], "HostConfig": {"Privileged": True}}).encode()
JSON = {"Content-Type": "application/json"}


class Inspector(AuthZPlugin):
    """Denies requests that have "Privileged" in their body, and allows the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.unseen: list[str] = []

    def authorize_request(self, request: AuthZRequest) -> Verdict:
        return Verdict(b'"Privileged": true' not in request.request_body, "privileged")

    def authorize_unseen(self, request: AuthZRequest) -> Verdict:
        self.unseen.append(request.request_uri)
        if IMAGES_CREATE.match(request.request_uri):
            return Verdict(True)  # the test's own image, as a file
        return super().authorize_unseen(request)

    def authorize_response(self, request: AuthZRequest) -> Verdict:
        return Verdict(True)


@pytest.fixture(scope="module")
def inspector() -> Inspector:
    """The plugin."""
    return Inspector()


@pytest.fixture(scope="module")
def guarded(inspector: Inspector) -> Iterator[Engine]:
    """An engine that asks the plugin first."""
    SOCKETS.mkdir(parents=True, exist_ok=True)
    name = f"mp-test-inspector-{os.getpid()}"
    with plugin_server_unix(PluginApp(inspector), name, sockets_path=str(SOCKETS)):
        engine = Engine(f"--authorization-plugin={name}")
        try:
            engine.start()
            engine.import_image()
            yield engine
        finally:
            engine.close()


class EngineConnection(http.client.HTTPConnection):
    """A connection to an engine's own socket, for what its client would not send."""

    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=30)
        self._path = path

    def connect(self) -> None:
        """Dial the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(self._path))


def post(engine: Engine, headers: dict[str, str], parts: list[bytes]) -> tuple[int, str]:
    """Status and text of the engine's answer to a container that is asked for so."""
    conn = EngineConnection(engine.directory / "docker.sock")
    try:
        version = engine.docker("version", "--format", "{{.Server.APIVersion}}")
        conn.putrequest("POST", f"/v{version}/containers/create")
        for header, value in headers.items():
            conn.putheader(header, value)
        with contextlib.suppress(BrokenPipeError):  # refused before it has read all of it
            conn.endheaders(b"".join(parts))
        answer = conn.getresponse()
        return answer.status, answer.read().decode()
    finally:
        conn.close()


CHUNKS = [b"%x\r\n" % len(BODY), BODY, b"\r\n0\r\n\r\n"]
# Over a megabyte engines have shown nothing, and over four newer ones take nothing.
LARGE = BODY + b" " * (2 << 20)

ATTACKS = {
    "as it should be": (JSON | {"Content-Length": str(len(BODY))}, [BODY]),
    "in chunks": (JSON | {"Transfer-Encoding": "chunked"}, CHUNKS),
    "in chunks beside a length of 0": (
        JSON | {"Content-Length": "0", "Transfer-Encoding": "chunked"},
        CHUNKS,
    ),
    "too large to be shown": (JSON | {"Content-Length": str(len(LARGE))}, [LARGE]),
    "with a charset": (
        {
            "Content-Type": "application/json; charset=utf-8",
            "Content-Length": str(len(BODY)),
        },
        [BODY],
    ),
    "in other letters": (
        {"Content-Type": "Application/JSON", "Content-Length": str(len(BODY))},
        [BODY],
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_privileged_container_is_denied_however_its_request_is_sent(
    guarded: Engine, attack: str
) -> None:
    """No container is made, whether the engine shows the body to the plugin, or hides it."""
    status, told = post(guarded, *ATTACKS[attack])

    assert status >= 400, told
    assert guarded.docker("ps", "--all", "--quiet") == ""


def test_a_request_that_the_plugin_sees_whole_is_allowed_by_its_policy(guarded: Engine) -> None:
    """Requests without a body, and with a body that the plugin sees, succeed."""
    container = guarded.docker("create", "--network", "none", IMAGE, "echo", "hello")

    assert guarded.docker("start", "--attach", container) == "hello"
    guarded.docker("rm", container)
