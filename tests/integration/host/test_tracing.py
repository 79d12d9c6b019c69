"""An app in the place of a plugin's socket, for a time; and the socket back in its place."""

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


def test_hosts_reach_what_stands_in_between_until_it_ends(
    plugin_dir: PluginDirectory, stand_between: Interpose
) -> None:
    """The plugin's name leads there; afterwards everything is as it was."""
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


def test_the_socket_keeps_its_owner_and_mode(
    plugin_dir: PluginDirectory, stand_between: Interpose
) -> None:
    """Those who may call the plugin may call what stands in between, and no others."""
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


def test_a_scan_finds_the_plugin_once(
    plugin_dir: PluginDirectory, stand_between: Interpose
) -> None:
    """The socket that is aside has no name for anybody who looks around."""
    from moby_plugins import new_local_discovery

    discovery = new_local_discovery(plugin_dir.settings)
    with alive(plugin_dir), stand_between():
        assert discovery.scan() == ["shelf"]
        # The engine's own scan takes any socket in the directory, and NAME/NAME.sock.
        sockets = [path.name for path in plugin_dir.sockets.iterdir() if path.is_socket()]
        assert sockets == ["shelf.sock"]


def test_a_plugin_in_a_directory_of_its_own(
    plugin_dir: PluginDirectory, stand_between: Interpose
) -> None:
    """Engines look there too."""
    with alive(plugin_dir, str(plugin_dir.sockets / "shelf" / "shelf.sock")):
        path = plugin_dir.sockets / "shelf" / "shelf.sock"
        with stand_between():
            assert said(path) == "past the plugin"
        assert said(path) == "the plugin"


def test_a_link_stays_a_link(plugin_dir: PluginDirectory, stand_between: Interpose) -> None:
    """What it leads to is not moved."""
    with LivePlugin(plugin, "far", plugin_dir.path):
        path = plugin_dir.symlink("shelf", Path("../far.sock"))
        with stand_between():
            assert said(path) == "past the plugin"
        assert path.readlink() == Path("../far.sock")
        assert said(path) == "the plugin"


def test_a_plugin_found_by_a_spec_is_hidden_meanwhile(
    plugin_dir: PluginDirectory, stand_between: Interpose
) -> None:
    """A socket wins over any spec; it goes away with what stands in between."""
    with LivePlugin(plugin, "far", plugin_dir.path) as far:
        plugin_dir.spec("shelf", far.addr)
        with stand_between() as there:
            assert there.plugin == Address(far.addr)
            assert said(plugin_dir.sockets / "shelf.sock") == "past the plugin"
        assert files(plugin_dir) == ["etc/shelf.spec", "far.sock"]


def test_two_at_once_are_refused(plugin_dir: PluginDirectory, stand_between: Interpose) -> None:
    """The second says so, and the first goes on; another plugin is not a matter."""
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


def test_what_cannot_be_moved_is_an_error(
    plugin_dir: PluginDirectory, stand_between: Interpose
) -> None:
    """The plugin goes on as if nothing had been tried."""
    (plugin_dir.sockets / ".traced").write_text("no directory")
    with alive(plugin_dir):
        with (
            pytest.raises(SpecError, match=r"/shelf\.sock: a trace cannot replace or restore"),
            stand_between(),
        ):
            pass

        assert said(plugin_dir.sockets / "shelf.sock") == "the plugin"


def test_a_link_to_where_nobody_can_dial_is_an_error(
    plugin_dir: PluginDirectory, stand_between: Interpose
) -> None:
    """A socket's path has room for 107 bytes, however a host comes by it."""
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


def test_a_plugin_that_is_not_there_is_an_error(
    plugin_dir: PluginDirectory, stand_between: Interpose
) -> None:
    """Nothing is left of the attempt."""
    with pytest.raises(PluginNotFoundError), stand_between():
        pass

    assert files(plugin_dir) == []


def test_a_plugin_that_made_its_socket_anew_keeps_it(
    plugin_dir: PluginDirectory, stand_between: Interpose
) -> None:
    """A plugin that was restarted during the trace is not given its old socket back."""
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


def test_a_plugin_that_took_its_socket_away_is_gone(
    plugin_dir: PluginDirectory, stand_between: Interpose
) -> None:
    """It removed what was at its path, and ended."""
    with alive(plugin_dir), stand_between() as there:
        plugin_path = Path(there.plugin.path)
        (plugin_dir.sockets / "shelf.sock").unlink()
        plugin_path.unlink()
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(plugin_path))
        assert there.lost()

    assert files(plugin_dir) == []


def test_a_socket_that_somebody_removed_comes_back(
    plugin_dir: PluginDirectory, stand_between: Interpose
) -> None:
    """The plugin still listens."""
    path = plugin_dir.sockets / "shelf.sock"
    with alive(plugin_dir):
        with stand_between():
            path.unlink()

        assert said(path) == "the plugin"


def test_elsewhere_nothing_is_touched(plugin_dir: PluginDirectory) -> None:
    """With an address of its own it is one more plugin."""
    listen = Address(f"unix://{plugin_dir.path}/mine.sock")
    with (
        alive(plugin_dir) as live,
        tracing_proxy_at(listen, Address(live.addr), between, plugin_dir.settings) as there,
    ):
        assert said(plugin_dir.path / "mine.sock") == "past the plugin"
        assert said(plugin_dir.sockets / "shelf.sock") == "the plugin"
        assert not there.lost()

    assert files(plugin_dir) == []


def test_it_listens_at_a_unix_socket_only(plugin_dir: PluginDirectory) -> None:
    """Hosts of this machine are the ones that it is for."""
    with (
        pytest.raises(SpecError, match="at a unix:// address only, not at tcp://h:1"),
        tracing_proxy_at(Address("tcp://h:1"), Address("tcp://h:2"), between, plugin_dir.settings),
    ):
        pass


def test_an_app_without_a_response_closes_the_connection(plugin_dir: PluginDirectory) -> None:
    """A host sees what it would see of a plugin that hung up, and no made-up status."""
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
def test_a_plugin_is_started_again_in_the_place_of_what_stands_in(
    plugin_dir: PluginDirectory, stand_between: Interpose, *, by_spec: bool
) -> None:
    """Its own socket is dead, or it had none; while it listens another plugin is refused."""
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


def test_who_may_not_list_the_directory_may_look_for_a_name(
    plugin_dir: PluginDirectory, stand_between: Interpose
) -> None:
    """A plugin of another user finds its own socket there, and nothing by reading."""
    with alive(plugin_dir), stand_between():
        assert (plugin_dir.sockets / ".traced").stat().st_mode & 0o777 == 0o711


def test_a_plugin_that_has_ended_leaves_no_socket(
    plugin_dir: PluginDirectory, stand_between: Interpose
) -> None:
    """It would have removed it, had it been there."""
    with alive(plugin_dir) as live, stand_between():
        live.stop()

    assert files(plugin_dir) == []


def test_a_socket_that_was_put_there_and_does_not_listen_yet_is_left_alone(
    plugin_dir: PluginDirectory, stand_between: Interpose
) -> None:
    """A plugin that starts binds first, and listens a moment later."""
    path = plugin_dir.sockets / "shelf.sock"
    with alive(plugin_dir) as live, stand_between():
        live.stop()
        path.unlink()
        with socket.socket(socket.AF_UNIX) as starting:
            starting.bind(str(path))
            own = path.stat()

    assert os.path.samestat(path.stat(), own)


def test_paths_go_through_as_they_came(plugin_dir: PluginDirectory) -> None:
    """Escapes are neither decoded nor added, on the way in and on the way out."""
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


def test_connections_from_before_are_known_however_the_path_is_written(
    plugin_dir: PluginDirectory,
) -> None:
    """A plugin binds /var/run/…, a host dials /run/…; those of the trace are not among them."""
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


def test_hosts_that_have_left_hold_nothing(plugin_dir: PluginDirectory) -> None:
    """More than there are threads follow a quiet stream and leave; the next is served."""
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


def test_a_plugin_of_the_settings_is_stood_in_for_at_its_own_socket(
    plugin_dir: PluginDirectory,
) -> None:
    """Hosts of these settings dial that, and no directory is touched; TCP is refused."""
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


def test_a_socket_whose_path_is_as_long_as_one_can_be_is_stood_in_for(
    plugin_dir: PluginDirectory,
) -> None:
    """As an engine's directory of a plugin has it: 84 bytes, and 22 for the socket's name."""
    directory = plugin_dir.sockets / ("d" * (84 - len(str(plugin_dir.sockets)) - 1))
    path = directory / ("s" * 17 + ".sock")
    assert len(str(path)) == 107
    with LivePlugin(plugin, path.stem, directory):
        with tracing_proxy(f"unix://{path}", between, plugin_dir.settings):
            assert said(path) == "past the plugin"
            assert abandoned_sockets(str(directory)) == []
        assert said(path) == "the plugin"
    assert not (directory / ".traced").exists()


def test_what_stood_in_at_a_long_path_and_was_killed_is_found(short_path: Path) -> None:
    """By the path of the plugin's socket."""
    directory = short_path / ("d" * (84 - len(str(short_path)) - 1))
    path = str(directory / ("s" * 17 + ".sock"))
    with listening(path):
        stand_in = SocketStandIn(path).__enter__()
        with listening(stand_in.waiting):
            stand_in.take()
            os.rename(stand_in.waiting.removesuffix(".new") + ".lock", directory / "lock")

            assert abandoned_sockets(str(directory)) == [path]


def test_a_managed_plugin_without_a_socket_has_none_made(short_path: Path) -> None:
    """The engine removes its directory with it: nothing of ours is to be in the next."""
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
