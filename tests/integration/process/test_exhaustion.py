"""No free file descriptor, or a full disk: an error while this lasts, and none afterwards."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from moby_plugins import Settings, new_client
from moby_plugins.app.settings import BUILT_IN
from tests.dummy_plugin import DummyPlugin, keeps_answering
from tests.integration.certificates import Certificates
from tests.integration.components import requires
from tests.integration.process.exhausted import DESCRIPTORS
from tests.integration.process.programs import SECONDS, environment, python
from tests.integration.serving.plugins import post

EXHAUSTED = ("-m", "tests.integration.process.exhausted")
MANIFEST = b'{"Implements":["A"]}'


@pytest.mark.parametrize("transport", sorted(BUILT_IN))
@pytest.mark.parametrize("kind", ["unix", "tcp", "https"])
def test_a_host_without_free_descriptors_gets_an_error_and_recovers(
    kind: str, transport: str, short_path: Path, tmp_path: Path
) -> None:
    """Call, scan and get raise a ``PluginError`` that names the cause, and later work again."""
    certificates = Certificates(tmp_path)
    make: dict[str, Callable[[], DummyPlugin]] = {
        "unix": lambda: DummyPlugin.on_unix(short_path / "q.sock", keeps_answering(MANIFEST)),
        "tcp": lambda: DummyPlugin.on_tcp(keeps_answering(MANIFEST)),
        "https": lambda: DummyPlugin.on_tcp(keeps_answering(MANIFEST), certificates.server()),
    }
    with (
        make[kind]() as plugin,
        DummyPlugin.on_unix(short_path / "p.sock", keeps_answering(MANIFEST)),
    ):
        said = python(
            *(*EXHAUSTED, "host", transport, plugin.addr, certificates.ca_file, str(short_path))
        )

    names = "['p', 'q']" if kind == "unix" else "['p']"
    well = ["{'Implements': ['A']}", names, "p"]
    assert said[:3] == well
    assert said[6:] == well
    called, scanned, got = said[3:6]
    # A CA file is read before anything is dialled.
    assert called.startswith("SpecError" if kind == "https" else "TransportError")
    assert "Too many open files" in called or "CAFile" in called
    assert scanned.startswith("SpecError")
    assert "Too many open files" in scanned
    assert got.startswith(("SpecError", "TransportError"))
    assert "Too many open files" in got


class Plugin:
    """A plugin process with few descriptors, and what it does when none is free."""

    def __init__(self, directory: Path, log: Path) -> None:
        self.path, self._log = directory / "echo.sock", log
        with log.open("w") as said:
            self._process = subprocess.Popen(
                [sys.executable, *EXHAUSTED, "plugin", str(directory)],
                env=environment(),
                stderr=said,
            )

    def call(self, timeout: float) -> object:
        """What a host is answered."""
        with new_client(f"unix://{self.path}", settings=Settings(timeout=timeout)) as client:
            return client.call("Echo.Say", {"Text": "well?"})

    def busy(self, seconds: float) -> float:
        """The share of the time that it keeps a processor busy."""
        before = self._spent()
        time.sleep(seconds)
        return (self._spent() - before) / seconds

    def said(self) -> list[str]:
        """The lines of its log."""
        return self._log.read_text().splitlines()

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        assert self._process.wait(SECONDS) == 0

    def _spent(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture
def plugin(short_path: Path, tmp_path: Path) -> Iterator[Plugin]:
    """One that is running."""
    running = Plugin(short_path, tmp_path / "log")
    try:
        running.call(SECONDS)
        yield running
    finally:
        running.stop()


def test_a_plugin_without_free_descriptors_waits_and_recovers(plugin: Plugin) -> None:
    """While connections wait, the plugin neither keeps a processor busy nor floods its log."""
    with ExitStack() as hosts:
        for _ in range(DESCRIPTORS + 20):
            sock = hosts.enter_context(socket.socket(socket.AF_UNIX))
            sock.connect(str(plugin.path))
            # So that it is kept, for the next request.
            sock.sendall(post("Echo.Say", b'{"Text":"hello"}'))

        assert plugin.busy(1.0) < 0.5
        assert len(plugin.said()) < 50

    assert plugin.call(5.0) == {"Said": "well?"}


def test_a_plugin_whose_spec_does_not_fit_on_the_disk_does_not_start(tmp_path: Path) -> None:
    """``start`` raises ``SpecError``, and no part of the spec is left."""
    assert python(*EXHAUSTED, "disk", str(tmp_path)) == [
        f"SpecError: {tmp_path}/echo.spec: cannot be written: File too large",
        "",
    ]


def test_a_full_disk_leaves_an_older_spec_unchanged(tmp_path: Path) -> None:
    """An older spec is replaced by a whole one or not at all."""
    (tmp_path / "echo.spec").write_text("tcp://localhost:1")

    assert python(*EXHAUSTED, "disk", str(tmp_path))[-1] == "echo.spec"
    assert (tmp_path / "echo.spec").read_text() == "tcp://localhost:1"


# A disk of two pages in a mount namespace, both of which end with the program.
ON_A_SMALL_DISK = """
mount -t tmpfs -o size=8k none "$1" && printf tcp://localhost:1 > "$1/echo.spec" && exec "${@:2}"
"""


@requires("mount", "unshare", "mount", root=True)
def test_a_real_full_disk_leaves_an_older_spec_unchanged(tmp_path: Path) -> None:
    """On a tmpfs without space the start fails; once there is space, the plugin starts."""
    directory = str(tmp_path)
    disk = ("unshare", "--mount", "bash", "-c", ON_A_SMALL_DISK, "-", directory)

    assert python(*EXHAUSTED, "full", directory, under=disk) == [
        "No space left on device",
        f"SpecError: {directory}/echo.spec: cannot be written: No space left on device",
        "echo.spec",
        "filler",
        "echo.spec",
        "True",
    ]
    assert os.listdir(directory) == []
