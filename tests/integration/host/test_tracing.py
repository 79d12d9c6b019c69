"""A tracing proxy takes the place of a plugin's socket for a time, and then puts it back."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Semaphore

import pytest
from attrs import evolve

from moby_plugins import PluginNotFoundError, Settings, SpecError, TransportError, new_client
from moby_plugins.adapters.disk.stand_in import SocketStandIn, abandoned_sockets
from moby_plugins.domain.address import Address
from moby_plugins.domain.http import Request, Response
from moby_plugins.ports import Transport
from moby_plugins.serving import hung_up
from moby_plugins.testing import FakeEngine, LivePlugin, PluginDirectory
from moby_plugins.tracing import RecordedCall, Trace, TracingProxy, tracing_proxy, tracing_proxy_at

Interpose = Callable[..., AbstractContextManager[TracingProxy]]


def plugin(request: Request) -> Response:
    """The plugin itself: it answers with its name."""
    return Response(200, b'"the plugin"')


def between(transport: Transport) -> Callable[[Request], Response]:
    """What stands in between: it asks the plugin, and adds something."""

    def app(request: Request) -> Response:
        return Response(200, transport.send(request, 5).body.read(100).replace(b"the", b"past the"))

    return app


@pytest.fixture
def plugin_dir(short_path: Path) -> Iterator[PluginDirectory]:
    """Directories with nothing in them."""
    with PluginDirectory(short_path) as directory:
        yield directory


@pytest.fixture
def stand_between(plugin_dir: PluginDirectory) -> Interpose:
    """Interpose in those directories."""
    return lambda name="shelf": tracing_proxy(name, between, plugin_dir.settings)


@contextmanager
def alive(plugin_dir: PluginDirectory, name: str = "shelf") -> Iterator[LivePlugin]:
    """The plugin on its socket."""
    with LivePlugin(plugin, name, plugin_dir.sockets) as live:
        yield live


@contextmanager
def listening(path: str) -> Iterator[None]:
    """Something listens at ``path``, whose directory is made."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen()
        yield


def said(path: Path) -> object:
    """What a host is told at the socket ``path``."""
    with new_client(f"unix://{path}", settings=Settings(timeout=5)) as client:
        return client.call("M.x")


def files(plugin_dir: PluginDirectory) -> list[str]:
    """All files below the directories."""
    return sorted(
        str(path.relative_to(plugin_dir.path))
        for path in plugin_dir.path.rglob("*")
        if not path.is_dir()
    )


def test_hosts_of_a_traced_plugin_reach_the_proxy_until_the_trace_ends(
    plugin_dir: PluginDirectory, stand_between: Interpose
) -> None:
    """The plugin's path leads to the proxy; afterwards the plugin's own socket is there."""
    with alive(plugin_dir) as live:
        path = plugin_dir.sockets / "shelf.sock"
        before = path.stat()
        with live.client as connected:
            assert connected.call("M.x") == "the plugin"
            with stand_between() as there:
                assert there.addr == f"unix://{path}"
                assert said(path) == "past the plugin"
                assert connected.call("M.x") == "the plugin"
                assert not there.lost()
        assert said(path) == "the plugin"
        assert os.path.samestat(path.stat(), before)
    assert files(plugin_dir) == []


def test_the_socket_of_a_proxy_has_the_owner_and_mode_of_the_plugins_socket(
    plugin_dir: PluginDirectory, stand_between: Interpose
) -> None:
    """The users who may call the plugin may call the proxy, and no others."""
    path = plugin_dir.socket("shelf")
    path.chmod(0o612)
    if os.getuid() == 0:
        os.chown(path, 4711, 4712)
    before = path.stat()

    with stand_between():
        found = path.stat()

    assert found.st_ino != before.st_ino
    assert (found.st_mode, found.st_uid, found.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )
    assert path.stat().st_ino == before.st_ino


def test_a_scan_finds_a_traced_plugin_only_once(
    plugin_dir: PluginDirectory, stand_between: Interpose
) -> None:
    """No scan, of hosts or of engines, lists the plugin's socket that was moved aside."""
    from moby_plugins import new_local_discovery

    discovery = new_local_discovery(plugin_dir.settings)
    with alive(plugin_dir), stand_between():
        assert discovery.scan() == ["shelf"]
        # The engine's own scan takes any socket in the directory, and NAME/NAME.sock.
        sockets = [path.name for path in plugin_dir.sockets.iterdir() if path.is_socket()]
        assert sockets == ["shelf.sock"]


def test_a_plugin_in_a_directory_of_its_own_can_be_traced(
    plugin_dir: PluginDirectory, stand_between: Interpose
) -> None:
    """Engines look for a socket at NAME/NAME.sock too."""
    with alive(plugin_dir, str(plugin_dir.sockets / "shelf" / "shelf.sock")):
        path = plugin_dir.sockets / "shelf" / "shelf.sock"
        with stand_between():
            assert said(path) == "past the plugin"
        assert said(path) == "the plugin"


def test_a_symbolic_link_to_a_socket_is_a_link_again_after_the_trace(
    plugin_dir: PluginDirectory, stand_between: Interpose
) -> None:
    """The proxy takes the place of the link; the socket that it leads to is not moved."""
    with LivePlugin(plugin, "far", plugin_dir.path):
        path = plugin_dir.symlink("shelf", Path("../far.sock"))
        with stand_between():
            assert said(path) == "past the plugin"
        assert path.readlink() == Path("../far.sock")
        assert said(path) == "the plugin"


def test_a_plugin_that_has_a_spec_is_traced_at_a_new_socket(
    plugin_dir: PluginDirectory, stand_between: Interpose
) -> None:
    """Hosts take a socket before any spec; the proxy's is removed when the trace ends."""
    with LivePlugin(plugin, "far", plugin_dir.path) as far:
        plugin_dir.spec("shelf", far.addr)
        with stand_between() as there:
            assert there.plugin == Address(far.addr)
            assert said(plugin_dir.sockets / "shelf.sock") == "past the plugin"
        assert files(plugin_dir) == ["etc/shelf.spec", "far.sock"]


def test_a_second_trace_of_the_same_plugin_is_refused(
    plugin_dir: PluginDirectory, stand_between: Interpose
) -> None:
    """The first trace goes on, and another plugin can be traced at the same time."""
    path = plugin_dir.sockets / "shelf.sock"
    with alive(plugin_dir), alive(plugin_dir, "other"), stand_between():
        with (
            pytest.raises(
                SpecError, match=r"/shelf\.sock: another trace of this plugin is running$"
            ),
            stand_between(),
        ):
            pass
        with stand_between("other"):
            assert said(path) == "past the plugin"


def test_a_socket_that_cannot_be_moved_aside_is_an_error(
    plugin_dir: PluginDirectory, stand_between: Interpose
) -> None:
    """The trace raises ``SpecError``, and the plugin can be called as before."""
    (plugin_dir.sockets / ".traced").write_text("no directory")
    with alive(plugin_dir):
        with (
            pytest.raises(SpecError, match=r"/shelf\.sock: a trace cannot replace or restore"),
            stand_between(),
        ):
            pass

        assert said(plugin_dir.sockets / "shelf.sock") == "the plugin"


def test_a_link_to_a_socket_whose_path_is_too_long_is_an_error(
    plugin_dir: PluginDirectory, stand_between: Interpose
) -> None:
    """A socket's path may have 107 bytes, also behind a link; the link stays as it was."""
    deep = plugin_dir.path / ("d" * 100)
    deep.mkdir()
    descriptor = os.open(deep, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"/proc/self/fd/{descriptor}/far.sock")
    os.close(descriptor)
    link = plugin_dir.symlink("shelf", deep / "far.sock")

    with pytest.raises(SpecError, match="the limit is 107"), stand_between():
        pass

    assert link.readlink() == deep / "far.sock"
    assert [path.name for path in plugin_dir.sockets.iterdir()] == ["shelf.sock"]


def test_a_trace_of_a_missing_plugin_is_an_error(
    plugin_dir: PluginDirectory, stand_between: Interpose
) -> None:
    """The trace raises ``PluginNotFoundError``, and leaves no file."""
    with pytest.raises(PluginNotFoundError), stand_between():
        pass

    assert files(plugin_dir) == []


def test_a_plugin_that_is_restarted_during_a_trace_keeps_its_new_socket(
    plugin_dir: PluginDirectory, stand_between: Interpose
) -> None:
    """The end of the trace does not put the old socket in its place."""
    path = plugin_dir.sockets / "shelf.sock"
    with alive(plugin_dir):
        standing = stand_between()
        there = standing.__enter__()
    path.unlink()
    assert there.lost()

    with alive(plugin_dir):
        standing.__exit__(None, None, None)

        assert said(path) == "the plugin"
        assert files(plugin_dir) == ["run/shelf.sock"]


def test_a_dead_socket_is_not_put_back_when_a_trace_ends(
    plugin_dir: PluginDirectory, stand_between: Interpose
) -> None:
    """If a plugin removed its socket during the trace and ended, no file is left."""
    with alive(plugin_dir), stand_between() as there:
        plugin_path = Path(there.plugin.path)
        (plugin_dir.sockets / "shelf.sock").unlink()
        plugin_path.unlink()
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(plugin_path))
        assert there.lost()

    assert files(plugin_dir) == []


def test_the_plugins_socket_is_put_back_though_the_proxys_was_removed(
    plugin_dir: PluginDirectory, stand_between: Interpose
) -> None:
    """The plugin still listens, and can be called when the trace has ended."""
    path = plugin_dir.sockets / "shelf.sock"
    with alive(plugin_dir):
        with stand_between():
            path.unlink()

        assert said(path) == "the plugin"


def test_a_proxy_at_an_address_of_its_own_does_not_touch_the_plugins_socket(
    plugin_dir: PluginDirectory,
) -> None:
    """The proxy is one more plugin; the plugin can still be called at its own address."""
    listen = Address(f"unix://{plugin_dir.path}/mine.sock")
    with (
        alive(plugin_dir) as live,
        tracing_proxy_at(listen, Address(live.addr), between, plugin_dir.settings) as there,
    ):
        assert said(plugin_dir.path / "mine.sock") == "past the plugin"
        assert said(plugin_dir.sockets / "shelf.sock") == "the plugin"
        assert not there.lost()

    assert files(plugin_dir) == []


def test_a_proxy_listens_at_a_unix_socket_only(plugin_dir: PluginDirectory) -> None:
    """A TCP address is a ``SpecError``, as a proxy is for hosts of its own machine."""
    with (
        pytest.raises(SpecError, match="at a unix:// address only, not at tcp://h:1"),
        tracing_proxy_at(Address("tcp://h:1"), Address("tcp://h:2"), between, plugin_dir.settings),
    ):
        pass


def test_an_app_that_raises_no_answer_error_closes_the_connection(
    plugin_dir: PluginDirectory,
) -> None:
    """A host sees a plugin that hung up, and no status that the app did not send."""
    from moby_plugins import RetryPolicy
    from moby_plugins.domain.http import NoAnswerError

    def dead(_: Request) -> Response:
        raise NoAnswerError("gone")

    settings = Settings(retry=RetryPolicy.never(), timeout=5)
    with (
        LivePlugin(dead, "shelf", plugin_dir.sockets) as live,
        new_client(live.addr, settings=settings) as client,
        pytest.raises(TransportError, match="closed the connection without a response") as caught,
    ):
        client.call("M.x")

    assert not caught.value.answered


@pytest.mark.parametrize("by_spec", [False, True])
def test_a_plugin_can_be_started_again_during_a_trace(
    plugin_dir: PluginDirectory, stand_between: Interpose, *, by_spec: bool
) -> None:
    """The new process takes the proxy's path, unless the old one listens at the moved socket."""
    path = plugin_dir.sockets / "shelf.sock"
    first = LivePlugin(plugin, "far" if by_spec else "shelf", plugin_dir.sockets)
    with first:
        if by_spec:
            plugin_dir.spec("shelf", first.addr)
        with stand_between() as there:
            if not by_spec:
                with (
                    pytest.raises(SpecError, match="another plugin already listens there"),
                    alive(plugin_dir),
                ):
                    pass
                first.stop()
            assert not there.lost()
            with alive(plugin_dir):
                assert there.lost()
                assert said(path) == "the plugin"


def test_the_directory_of_sockets_moved_aside_can_be_searched_but_not_listed(
    plugin_dir: PluginDirectory, stand_between: Interpose
) -> None:
    """With mode 0711, a plugin of another user finds its own socket there, and no others."""
    with alive(plugin_dir), stand_between():
        assert (plugin_dir.sockets / ".traced").stat().st_mode & 0o777 == 0o711


def test_a_plugin_that_ends_during_a_trace_leaves_no_socket(
    plugin_dir: PluginDirectory, stand_between: Interpose
) -> None:
    """The trace removes the socket, as the plugin would have done."""
    with alive(plugin_dir) as live, stand_between():
        live.stop()

    assert files(plugin_dir) == []


def test_a_new_socket_that_does_not_listen_yet_is_left_alone(
    plugin_dir: PluginDirectory, stand_between: Interpose
) -> None:
    """A plugin that is restarted during a trace first binds its socket, and listens later."""
    path = plugin_dir.sockets / "shelf.sock"
    with alive(plugin_dir) as live, stand_between():
        live.stop()
        path.unlink()
        with socket.socket(socket.AF_UNIX) as starting:
            starting.bind(str(path))
            own = path.stat()

    assert os.path.samestat(path.stat(), own)


def test_paths_of_requests_pass_through_a_proxy_unchanged(plugin_dir: PluginDirectory) -> None:
    """Percent signs are neither decoded nor encoded on the way to the plugin."""
    came: list[str] = []

    def listening(request: Request) -> Response:
        came.append(request.method)
        return Response(200, b"{}")

    def passing(transport: Transport) -> Callable[[Request], Response]:
        return lambda request: transport.send(request, 5)

    sent = ["A%2520", "M.x%2Fy?a=%20&b", "M%2Ex", "A?", "a//b/../c;d", "%41"]
    with (
        LivePlugin(listening, "shelf", plugin_dir.sockets),
        tracing_proxy("shelf", passing, plugin_dir.settings) as there,
        new_client(there.addr) as client,
    ):
        for method in sent:
            client.call(method)

    assert came == sent


def test_connections_from_before_a_trace_are_counted_by_any_path_of_the_socket(
    plugin_dir: PluginDirectory,
) -> None:
    """A plugin may bind /var/run/… and a host dial /run/…; the proxy's own do not count."""
    linked = plugin_dir.path / "linked"
    linked.symlink_to(plugin_dir.sockets)
    with (
        LivePlugin(plugin, "shelf", linked),
        LivePlugin(plugin, "other", linked),
        socket.socket(socket.AF_UNIX) as mine,
        socket.socket(socket.AF_UNIX) as anothers,
    ):
        mine.connect(str(plugin_dir.sockets / "shelf.sock"))
        anothers.connect(str(plugin_dir.sockets / "other.sock"))
        with tracing_proxy("shelf", between, plugin_dir.settings) as there:
            assert said(plugin_dir.sockets / "shelf.sock") == "past the plugin"
            assert there.passed_by() == 1


def test_hosts_that_hang_up_take_no_threads_of_a_proxy(plugin_dir: PluginDirectory) -> None:
    """After 300 hosts left an idle stream, all streams end, and the next call is served."""
    ended = Semaphore(0)

    def following(request: Request) -> Response:
        if request.method == "M.x":
            return Response(200, b"1")

        def quiet() -> Iterator[bytes]:
            gone = hung_up()
            yield b"first"
            try:
                assert gone.wait(60)
            finally:
                ended.release()

        return Response(200, quiet())

    def passing(transport: Transport) -> Trace:
        return Trace(transport, time.monotonic, seen.append)

    seen: list[RecordedCall] = []
    with (
        LivePlugin(following, "shelf", plugin_dir.sockets),
        tracing_proxy("shelf", passing, plugin_dir.settings) as there,
    ):
        for _ in range(300):
            with socket.socket(socket.AF_UNIX) as host:
                host.settimeout(10)
                host.connect(there.addr.removeprefix("unix://"))
                host.sendall(b"POST /M.follow HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
                assert host.recv(100)
        assert said(Path(there.addr.removeprefix("unix://"))) == 1
        for _ in range(300):
            assert ended.acquire(timeout=10)

    assert sum(call.host_left for call in seen) == 300


def test_a_plugin_that_the_settings_name_is_traced_at_its_own_socket(
    plugin_dir: PluginDirectory,
) -> None:
    """No plugin directory is touched; a plugin of the settings on TCP is refused."""
    elsewhere = plugin_dir.path / "else"
    elsewhere.mkdir()
    given = {"books": f"unix://{elsewhere}/shelf.sock", "far": "tcp://127.0.0.1:1"}
    settings = evolve(plugin_dir.settings, plugins=given)
    with LivePlugin(plugin, "shelf", elsewhere):
        alone = said(elsewhere / "shelf.sock")
        with tracing_proxy("books", between, settings):
            together = said(elsewhere / "shelf.sock")

    assert alone != together
    assert files(plugin_dir) == []
    with (
        pytest.raises(SpecError, match="only a plugin at unix:"),
        tracing_proxy("far", between, settings),
    ):
        pass


def test_a_socket_with_a_path_of_the_greatest_length_can_be_traced(
    plugin_dir: PluginDirectory,
) -> None:
    """Sockets of managed plugins have such paths: 84 bytes for the directory, 22 for the name."""
    directory = plugin_dir.sockets / ("d" * (84 - len(str(plugin_dir.sockets)) - 1))
    path = directory / ("s" * 17 + ".sock")
    assert len(str(path)) == 107
    with LivePlugin(plugin, path.stem, directory):
        with tracing_proxy(f"unix://{path}", between, plugin_dir.settings):
            assert said(path) == "past the plugin"
            assert abandoned_sockets(str(directory)) == []
        assert said(path) == "the plugin"
    assert not (directory / ".traced").exists()


def test_a_socket_that_a_killed_trace_left_moved_aside_is_found_at_a_long_path(
    short_path: Path,
) -> None:
    """``abandoned_sockets`` returns the path of the plugin's socket."""
    directory = short_path / ("d" * (84 - len(str(short_path)) - 1))
    path = str(directory / ("s" * 17 + ".sock"))
    with listening(path):
        stand_in = SocketStandIn(path).__enter__()
        with listening(stand_in.waiting):
            stand_in.take()
            os.rename(stand_in.waiting.removesuffix(".new") + ".lock", directory / "lock")

            assert abandoned_sockets(str(directory)) == [path]


def test_what_a_killed_trace_left_disturbs_no_plugin_that_was_started_again(
    short_path: Path,
) -> None:
    """``abandoned_sockets`` returns the path only as long as the trace's socket takes its place."""
    path = str(short_path / "shelf.sock")
    with listening(path):
        stand_in = SocketStandIn(path).__enter__()
        with listening(stand_in.waiting):
            stand_in.take()
            os.rename(stand_in.waiting.removesuffix(".new") + ".lock", short_path / "lock")
            assert abandoned_sockets(str(short_path)) == [path]
    os.unlink(path)
    with listening(path):
        assert abandoned_sockets(str(short_path)) == []
    assert abandoned_sockets(str(short_path)) == []
    assert os.listdir(short_path / ".traced")


def test_a_trace_makes_no_socket_for_a_managed_plugin_without_one(short_path: Path) -> None:
    """The engine owns the plugin's directory and removes it, so the trace adds no file."""
    engine = FakeEngine()
    identity = engine.install("mp/shelf")
    with engine.serve(short_path / "e.sock") as server:
        settings = Settings(engine=server.addr, sockets_path=str(short_path), specs_paths=[])
        with (
            pytest.raises(TransportError, match="no socket there"),
            tracing_proxy("mp/shelf", between, settings),
        ):
            pass
    assert not Path("/run/docker/plugins", identity).exists()
