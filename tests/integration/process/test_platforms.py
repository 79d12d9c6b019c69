"""A Python without what Windows or another UNIX lacks: what works, and how the rest fails."""

import subprocess
import sys
import textwrap

import pytest

from moby_plugins.platforms import NEEDS

# What Python on Windows does not have, of what any part of this library asks for.
WINDOWS = """
import importlib, os, select, signal, socket, sys
for module in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[module] = None
for module, names in {
    os: "chown fchmod geteuid getuid mkfifo O_NONBLOCK O_NOCTTY O_CLOEXEC O_NOFOLLOW O_DIRECTORY",
    select: "poll POLLRDHUP",
    signal: "SIGHUP",
    socket: "AF_UNIX MSG_DONTWAIT SO_PEERCRED",
}.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
sys.platform = "win32"
"""
# What another UNIX does not have.
OTHER_UNIX = """
import select, socket, sys
del select.POLLRDHUP, socket.SO_PEERCRED
sys.platform = "darwin"
"""
LACKS = "which this platform, win32, lacks"


def run(program: str, before: str = WINDOWS) -> str:
    """What the program prints, by itself on such a platform."""
    # Libraries load what they need of the machine before it is taken away.
    libraries = (
        "import asyncio, cheroot.server, httptools, pytest, requests, tempfile, subprocess\n"
        "import urllib3\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", libraries + before + textwrap.dedent(program)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_public_module_can_be_imported_on_windows() -> None:
    """All public names can be imported although Python lacks all that only UNIX has."""
    run(
        """
        from moby_plugins import *
        from moby_plugins.ports import *
        from moby_plugins.subsystems import *
        from moby_plugins.serving import *
        from moby_plugins.tracing import *
        from moby_plugins.diagnosis import *
        from moby_plugins.checks import *
        from moby_plugins.testing import *
        from moby_plugins.testing.contracts import *
        """
    )


def test_plugins_in_memory_work_on_windows() -> None:
    """A registry, proxies, plugins and transports in memory need nothing that only UNIX has."""
    run(
        """
        from moby_plugins import Settings, new_local_registry
        from moby_plugins.serving import PluginApp
        from moby_plugins.subsystems import Volume, VolumeDriver
        from moby_plugins.testing import MemoryTransport

        class Shelf(VolumeDriver):
            def list(self):
                return [Volume("books")]

        plugin = MemoryTransport(PluginApp(Shelf()))
        settings = Settings(
            plugins={"shelf": "unix:///shelf.sock"},
            transports={"unix": plugin.connect},
            sockets_path="/none",
            specs_paths=(),
        )
        with new_local_registry(settings) as registry:
            assert registry.get("shelf", VolumeDriver).list() == (Volume("books"),)
            assert registry.scan() == ["shelf"]
        """
    )


def test_specs_are_found_without_the_open_flags_of_unix() -> None:
    """A spec is opened with those flags of ``os.open`` that the platform has."""
    run(
        """
        import tempfile
        from pathlib import Path
        from moby_plugins import Settings, new_local_discovery

        with tempfile.TemporaryDirectory() as path:
            Path(path, "far.spec").write_text("tcp://127.0.0.1:7000")
            discovery = new_local_discovery(Settings(sockets_path=path, specs_paths=(path,)))
            assert discovery.scan() == ["far"]
            assert discovery.lookup("far").addr == "tcp://127.0.0.1:7000"
        """
    )


@pytest.mark.parametrize(
    ("part", "program"),
    [
        ("calling over sockets", "new_client('tcp://127.0.0.1:1')"),
        ("calling over sockets", "new_client('unix:///a.sock')"),
        ("calling over sockets", "connect_by_name('urllib3')"),
        ("serving", "serve_tcp(PluginApp(), 'a', specs_path='.')"),
        ("serving on a UNIX socket", "serve_unix(PluginApp(), 'a', sockets_path='.')"),
        ("FaultServer", "FaultServer.unix(refused(), 'a').start()"),
        ("FaultServer", "FaultServer.tcp({}).start()"),
        ("a UNIX socket", "PluginDirectory(Path('.')).socket('a')"),
        ("tracing", "tracing_proxy('a', lambda _: PluginApp(), Settings()).__enter__()"),
        ("diagnose", "diagnose(Settings())"),
    ],
)
def test_a_part_that_cannot_work_on_the_platform_raises_an_error(part: str, program: str) -> None:
    """The ``SettingsError`` names the part, what is missing, and the platform."""
    said = run(
        f"""
        from pathlib import Path
        from moby_plugins import *
        from moby_plugins.diagnosis import diagnose
        from moby_plugins.serving import *
        from moby_plugins.testing import *
        from moby_plugins.tracing import tracing_proxy
        try:
            {program}
        except SettingsError as error:
            print(error)
        """
    ).strip()

    assert said.startswith(f"{part} needs ")
    assert said.endswith(LACKS)
    assert any(needed in said for needed in NEEDS[part])


def test_without_unix_sockets_only_clients_of_unix_addresses_are_refused() -> None:
    """A client of a TCP address is made; the error of a UNIX address names ``socket.AF_UNIX``."""
    said = run(
        """
        from moby_plugins import SettingsError, new_client
        new_client("tcp://127.0.0.1:1").close()
        try:
            new_client("unix:///a.sock")
        except SettingsError as error:
            print(error)
        """,
        "import socket\ndel socket.AF_UNIX\n",
    ).strip()

    assert said == f"a UNIX socket needs socket.AF_UNIX, which this platform, {sys.platform}, lacks"


def test_serving_and_calling_work_on_a_unix_other_than_linux() -> None:
    """UNIX sockets and TCP work without ``POLLRDHUP`` and ``SO_PEERCRED`` of Linux."""
    run(
        """
        import tempfile
        from moby_plugins import new_client
        from moby_plugins.serving import PluginApp, plugin_server_tcp, plugin_server_unix

        with tempfile.TemporaryDirectory() as path:
            for server in (
                plugin_server_unix(PluginApp(), "a", sockets_path=path),
                plugin_server_tcp(PluginApp(), "a", specs_path=path),
            ):
                with server, new_client(server.addr) as client:
                    assert client.call("Plugin.Activate") == {"Implements": []}
        """,
        OTHER_UNIX,
    )


def test_a_signal_that_the_platform_lacks_does_not_prevent_serving() -> None:
    """Windows has no SIGHUP; ``stopped_by_signals`` handles the other signals."""
    run(
        """
        from moby_plugins.serving import PluginApp, plugin_server_tcp, stopped_by_signals
        with stopped_by_signals(plugin_server_tcp(PluginApp(), "a")):
            pass
        """
    )
