"""Where a plugin's UNIX socket is made, what it replaces, and what it leaves alone."""

import fcntl
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from moby_plugins import InvalidPluginNameError, SettingsError, SpecError, new_client
from moby_plugins.adapters.server.listeners import listen_unix
from moby_plugins.serving import PluginApp, PluginServer, plugin_server_unix
from tests.integration.serving.plugins import Echoes

APP = PluginApp(Echoes())


def server_in(directory: Path, name: str = "echo") -> PluginServer:
    """A server of a plugin, not started yet."""
    return plugin_server_unix(APP, name, sockets_path=str(directory), drain=0.5)


def assert_serves(server: PluginServer) -> None:
    """The server answers at its address."""
    with new_client(server.addr) as client:
        assert client.call("Plugin.Activate") == {"Implements": ["Echo"]}


@contextmanager
def somebody_at(path: Path) -> Iterator[socket.socket]:
    """A socket of another process, bound to ``path``; it listens when told to."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        yield sock


def test_the_socket_and_its_directory_are_made(short_path: Path) -> None:
    """A plugin's name becomes a socket in the directory where hosts look."""
    with server_in(short_path / "docker" / "plugins") as server:
        path = short_path / "docker" / "plugins" / "echo.sock"

        assert server.addr == f"unix://{path}"
        assert path.is_socket()
        assert path.parent.stat().st_mode & 0o777 == 0o755
        assert_serves(server)

    assert not path.exists()


def test_an_absolute_path_is_taken_as_it_is(short_path: Path) -> None:
    """A plugin can listen elsewhere, and its directory is made there too."""
    path = short_path / "mine" / "plugin"

    with server_in(short_path, str(path)) as server:
        assert server.addr == f"unix://{path}"
        assert_serves(server)

    assert list(short_path.iterdir()) == [path.parent]


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\0b"])
def test_a_bad_name_is_an_error_before_anything_is_made(short_path: Path, name: str) -> None:
    """The name is checked when the server object is made, before its start."""
    with pytest.raises(InvalidPluginNameError):
        server_in(short_path / "plugins", name)

    assert list(short_path.iterdir()) == []


def test_the_socket_is_for_its_owner_and_group(short_path: Path) -> None:
    """The mode is 0660 unless given, whatever the umask."""
    with server_in(short_path):
        assert (short_path / "echo.sock").stat().st_mode & 0o777 == 0o660


def test_mode_and_group_can_be_given(short_path: Path) -> None:
    """The mode and group of the socket decide which users may call the plugin."""
    # Root can give any group, others one of their own.
    group = 4711 if os.getuid() == 0 else os.getgroups()[-1]

    with plugin_server_unix(
        APP, "echo", sockets_path=str(short_path), mode=0o606, group=group, drain=0.5
    ):
        found = (short_path / "echo.sock").stat()

        assert (found.st_mode & 0o777, found.st_gid) == (0o606, group)


def test_an_unknown_group_is_an_error(short_path: Path) -> None:
    """The ``SettingsError`` names the group, and no directory and no socket is made."""
    server = plugin_server_unix(APP, "echo", sockets_path=f"{short_path}/a", group="no such group")

    with pytest.raises(SettingsError, match=r"^there is no group 'no such group'$"):
        server.start()

    assert list(short_path.iterdir()) == []


def test_a_stale_socket_is_replaced(short_path: Path) -> None:
    """A socket that a killed plugin left behind does not keep the next one from starting."""
    with somebody_at(short_path / "echo.sock"):
        pass

    with server_in(short_path) as server:
        assert_serves(server)


def test_a_live_socket_is_never_replaced(short_path: Path) -> None:
    """A second plugin of the same name is an error, and the first goes on."""
    with server_in(short_path) as first:
        second = server_in(short_path)

        with pytest.raises(SpecError) as raised:
            second.start()
        second.stop()

        assert str(raised.value) == f"{short_path}/echo.sock: another plugin already listens there"
        assert_serves(first)


def test_a_socket_whose_queue_is_full_is_not_replaced(short_path: Path) -> None:
    """A busy plugin refuses connections with another error than a stale socket does."""
    path = short_path / "echo.sock"
    with somebody_at(path) as sock, socket.socket(socket.AF_UNIX) as caller:
        sock.listen(0)
        caller.connect(str(path))

        with pytest.raises(SpecError, match="another plugin already listens there"):
            server_in(short_path).start()


def test_a_socket_of_another_kind_is_left_alone(short_path: Path) -> None:
    """A datagram socket cannot be probed, so it is not taken for a stale one."""
    path = short_path / "echo.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))

        with pytest.raises(SpecError, match="cannot listen there: Protocol wrong type for socket"):
            server_in(short_path).start()

    assert path.is_socket()


def test_a_file_or_link_in_place_of_the_socket_is_left_alone(short_path: Path) -> None:
    """The start fails, and neither a file nor a link is replaced."""
    path = short_path / "echo.sock"
    path.write_text("precious")
    (short_path / "link.sock").symlink_to("echo.sock")

    for name in ("echo", "link"):
        with pytest.raises(SpecError) as raised:
            server_in(short_path, name).start()

        assert str(raised.value) == (
            f"{short_path}/{name}.sock: it exists, is not a socket, and was left unchanged"
        )
    assert path.read_text() == "precious"


def test_a_path_that_is_too_long_is_an_error(short_path: Path) -> None:
    """The error has the length of the path and the limit of the kernel."""
    path = f"{short_path}/{'x' * 107}.sock"

    with pytest.raises(SpecError) as raised:
        server_in(short_path, "x" * 107).start()

    assert str(raised.value) == f"socket path {path} has {len(path)} bytes; the limit is 107"


def test_a_directory_that_cannot_be_made_is_an_error(short_path: Path) -> None:
    """The error has the operating system's reason and the path."""
    (short_path / "file").write_text("")

    with pytest.raises(SpecError, match="cannot listen there: Not a directory") as raised:
        server_in(short_path / "file" / "plugins").start()

    assert raised.value.file == f"{short_path}/file/plugins/echo.sock"


def test_a_group_that_cannot_be_set_leaves_no_socket(short_path: Path) -> None:
    """If the group cannot be set, the socket that was just made is removed."""
    path = short_path / "echo.sock"

    with pytest.raises(OverflowError):
        listen_unix(str(path), 0o660, group=1 << 40)

    assert not path.exists()


def test_a_stopping_server_does_not_remove_the_socket_of_another_process(short_path: Path) -> None:
    """If another process has replaced the socket by its own, that socket stays."""
    path = short_path / "echo.sock"
    server = server_in(short_path)
    server.start()
    path.unlink()

    with somebody_at(path):
        server.stop()

    assert path.is_socket()


def test_stopping_a_server_whose_socket_is_gone_is_no_error(short_path: Path) -> None:
    """Another process may have removed the socket before."""
    with server_in(short_path):
        (short_path / "echo.sock").unlink()

    assert list(short_path.iterdir()) == []


def test_a_lock_on_the_directory_does_not_keep_a_plugin_from_starting(short_path: Path) -> None:
    """Any user who can read the directory can lock it, so such a lock is ignored."""
    descriptor = os.open(short_path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with server_in(short_path) as server:
            assert_serves(server)
    finally:
        os.close(descriptor)


@contextmanager
def lock_held(path: Path) -> Iterator[None]:
    """Another process of the same user is about to listen there."""
    with open(path.parent / f".{path.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_a_plugin_waits_at_most_five_seconds_for_another_that_is_starting(short_path: Path) -> None:
    """The error names the lock file; a lock file that no process holds is used again."""
    began = time.monotonic()
    with lock_held(short_path / "echo.sock"), pytest.raises(SpecError, match=r"\.echo\.sock\.lock"):
        server_in(short_path).start()

    assert 4.5 < time.monotonic() - began < 8
    with server_in(short_path) as server:
        assert_serves(server)
    assert list(short_path.iterdir()) == []


def test_a_plugin_that_waits_for_the_lock_can_be_stopped(short_path: Path) -> None:
    """``request_stop`` ends the wait soon, and ``run`` returns without an error."""
    server = server_in(short_path)
    with lock_held(short_path / "echo.sock"):
        threading.Timer(0.2, server.request_stop).start()
        began = time.monotonic()
        server.run()

    assert time.monotonic() - began < 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file another's")
def test_a_lock_of_another_user_is_not_trusted(short_path: Path) -> None:
    """Another user could hold the lock for ever, so the error says which file to remove."""
    lock = short_path / ".echo.sock.lock"
    lock.touch()
    os.chown(lock, 65534, 65534)

    with pytest.raises(SpecError, match="remove it"):
        server_in(short_path).start()


def test_of_plugins_that_start_at_the_same_time_only_one_is_served(short_path: Path) -> None:
    """Of eight plugins that find a stale socket, one replaces it, and the others get an error."""
    with somebody_at(short_path / "echo.sock"):
        pass
    servers = [server_in(short_path) for _ in range(8)]
    failures: list[SpecError] = []

    def start(server: PluginServer) -> None:
        try:
            server.start()
        except SpecError as error:
            failures.append(error)

    threads = [threading.Thread(target=start, args=[server]) for server in servers]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(failures) == len(servers) - 1
        with new_client(f"unix://{short_path}/echo.sock") as client:
            assert client.call("Plugin.Activate") == {"Implements": ["Echo"]}
    finally:
        for server in servers:
            server.stop()
