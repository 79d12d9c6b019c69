"""Discovery that asks an engine, in memory: names, disabled plugins, and answers of no use."""

from typing import Any

import pytest

from moby_plugins import (
    EngineDiscovery,
    InvalidPluginNameError,
    Manifest,
    PluginDisabledError,
    PluginError,
    PluginNotFoundError,
    SpecError,
    StatusError,
    TransportError,
    TransportTimeoutError,
    WireError,
)
from moby_plugins.ports import Discovery, Survey
from moby_plugins.testing import (
    FakeClock,
    FakeEngine,
    Response,
    drips,
    drops,
    drops_mid_body,
    hangs,
    malformed,
    missing_socket,
    not_json,
    refused,
)
from moby_plugins.testing.contracts import DiscoveryContract
from tests.cases import every

# What an engine has for no plugin, or what would lead elsewhere in its URLs.
NO_NAMES = [
    *("", ".", "..", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", "a\\b", "a\0b"),
    *(
        "a?x",
        "a#x",
        "a%2fb",
        "a b",
        "a\r\nGET /x",
        "a\n",
        ":",
        "a:",
        ":a",
        "a:b:c",
        "A/B",
        "a" * 10_240,
    ),
    *("-a", "a-", "a..b", "a___b", "x@sha256:0", "ü", "a/\ud800", "DB", "a" * 256),
]
# What is one, however odd it looks.
ODD_NAMES = ["a.b", "a__b", "a--b", "a_b/c.d", "localhost:5000/a/b", "Example.com/a", "a" * 255]


class InEngine:
    """A place that is an engine of a test; a plugin that changes is installed again."""

    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.ids: dict[str, str] = {}
        self.discovery: Discovery = self.engine.discovery(timeout=None)

    def add(self, name: str, addr: str) -> None:
        self.ids[name] = self.engine.install(name)

    def remove(self, name: str) -> None:
        self.engine.remove(name)


class TestEngineDiscovery(DiscoveryContract):
    """What every discovery promises, of one that asks an engine."""

    NO_NAMES = NO_NAMES
    ABSENT_NAMES = ("a", "mp/none:v1", "0123456789ab")
    OTHER_NAMES = ("d", "db3", "db2:v2")
    ODD_NAMES = ODD_NAMES
    NAMES = ("b", "a", "10", "9", "mp/a")
    MANIFEST = Manifest(("VolumeDriver",))

    def found_as(self, name: str) -> str:
        return f"{name}:latest"

    def found_at(self, place: Any, name: str, addr: str) -> str:
        return f"unix:///run/docker/plugins/{place.ids[name]}/plugin.sock"

    @pytest.fixture
    def place(self) -> InEngine:
        """An engine without plugins."""
        return InEngine()


@pytest.fixture
def clock() -> FakeClock:
    """Time of a test's own."""
    return FakeClock()


@pytest.fixture
def engine() -> FakeEngine:
    """An engine with one plugin, ``mp/shelf``."""
    engine = FakeEngine(root="/var/lib/docker/100000.100000")
    engine.install("mp/shelf", ["docker.volumedriver/1.0"], propagated_mount="/var/lib/shelf")
    return engine


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_name_that_no_engine_can_have_is_not_asked_for(engine: FakeEngine, name: str) -> None:
    """Not one byte of it reaches a request line."""
    with pytest.raises(InvalidPluginNameError):
        engine.discovery().lookup(name)

    assert engine.requests == []


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("mp/shelf", "/v1.41/plugins/mp/shelf:latest/json"),
        ("mp/shelf:v2", "/v1.41/plugins/mp/shelf:v2/json"),
        ("localhost:5000/a", "/v1.41/plugins/localhost:5000/a:latest/json"),
        ("x@sha256:" + "0" * 64, f"/v1.41/plugins/x@sha256:{'0' * 64}/json"),
        ("0123456789ab", "/v1.41/plugins/0123456789ab/json"),
        ("cafe", "/v1.41/plugins/cafe:latest/json"),
    ],
)
def test_what_is_asked_for(engine: FakeEngine, name: str, path: str) -> None:
    """The version of the engine, and a name with its tag, unless it is a part of an id."""
    if name == "mp/shelf":
        engine.discovery().lookup(name)
    else:
        with pytest.raises(PluginNotFoundError):
            engine.discovery().lookup(name)

    assert engine.requests[:2] == ["/_ping", path]


@pytest.mark.parametrize("version", ["", "1", "1.41/../x", "latest"])
def test_an_engine_that_tells_no_version_is_asked_without_one(version: str) -> None:
    """What it tells is part of a path, and has to be a number."""
    engine = FakeEngine(version=version)
    engine.install("shelf")

    engine.answer_with(lambda _: {} if engine.requests[-1] == "/_ping" else [])
    assert engine.discovery().scan() == []
    assert engine.requests == ["/_ping", "/plugins"]


def test_a_plugin_has_several_names(engine: FakeEngine) -> None:
    """With its tag and without, the whole id, and 12 digits of it and more; all are one value."""
    discovery = engine.discovery()
    plugin = discovery.lookup("mp/shelf")
    identity = plugin.address.path.split("/")[4]

    for name in ("mp/shelf:latest", "docker.io/mp/shelf", identity, identity[:12], identity[:40]):
        assert discovery.lookup(name) == plugin
    assert plugin.name == "mp/shelf:latest"
    with pytest.raises(PluginNotFoundError):
        discovery.lookup(identity[:11])


def test_the_beginning_of_two_ids_is_an_error_that_says_so() -> None:
    """The engine's own words, and its address."""
    engine = FakeEngine()
    engine.answer_with(Response(400, b'{"message": "multiple plugins found for \\"aaa\\""}'))

    with pytest.raises(StatusError) as caught:
        engine.discovery().lookup("a" * 12)

    assert "multiple plugins found" in str(caught.value)
    assert caught.value.address == "memory://engine"


def test_a_response_of_another_plugin_is_none(engine: FakeEngine) -> None:
    """An engine takes any beginning of an id for a name, which hides plugins on disk."""
    engine.answer_with({"Id": "db" * 32, "Name": "mp/shelf:latest", "Enabled": True})

    with pytest.raises(PluginNotFoundError):
        engine.discovery().lookup("db")


def test_what_is_found_is_what_the_engine_says(engine: FakeEngine) -> None:
    """No v1 plugin: its manifest is known, and its paths are the engine's."""
    plugin = engine.discovery().lookup("mp/shelf")

    assert not plugin.is_v1
    assert plugin.protocol == "moby.plugins.http/v1"
    assert plugin.manifest == Manifest(("VolumeDriver",))
    assert plugin.implements("volumedriver")
    assert plugin.implements("VolumeDriver")
    identity = plugin.address.path.split("/")[4]
    there = f"/var/lib/docker/100000.100000/plugins/{identity}"
    assert plugin.scoped_path("/var/lib/shelf/a") == f"{there}/propagated-mount/a"
    assert plugin.scoped_path("/etc/x") == f"{there}/rootfs/etc/x"


def test_a_plugin_that_is_disabled_says_so(engine: FakeEngine) -> None:
    """It is not listed, and its error tells what to do; a survey has it."""
    engine.disable("mp/shelf")
    discovery = engine.discovery()

    assert discovery.scan() == []
    for name in ("mp/shelf", "mp/shelf:latest"):
        with pytest.raises(PluginDisabledError) as caught:
            discovery.lookup(name)
        assert caught.value.name == "mp/shelf:latest"
        assert "docker plugin enable mp/shelf" in str(caught.value)
    assert isinstance(discovery, Survey)
    [candidate] = discovery.candidates("mp/shelf")
    assert isinstance(candidate.error, PluginDisabledError)
    assert candidate.managed is not None
    assert not candidate.managed.enabled
    assert [stray.name for stray in discovery.ignored()] == ["mp/shelf:latest"]


@every("socket", ["", ".", "..", "a/b", "../../evil.sock", "/run/x.sock", "a\0b"])
def test_a_socket_that_leads_elsewhere_is_not_dialled(socket: str) -> None:
    """It has no address; the plugin is listed, as a broken spec is."""
    engine = FakeEngine()
    engine.install("evil", socket=socket)
    discovery = engine.discovery()

    assert discovery.scan() == ["evil:latest"]
    with pytest.raises(SpecError, match=r"evil:latest at memory://engine: .*which is not a file's"):
        discovery.lookup("evil")
    [candidate] = discovery.candidates("evil")
    assert isinstance(candidate.error, SpecError)


@every(
    ("told", "reason"),
    [
        ({"Id": "../x"}, "has the id '../x'"),
        ({"Id": None}, "has the id ''"),
        ({"Name": ""}, "a plugin has the invalid name ''"),
        ({"Name": 5}, "Name must be a string, not a number"),
        ({"Config": []}, "Config must be an object, not an array"),
        ({"Config": {"Interface": "x"}}, "Config.Interface must be an object, not a string"),
        ({"Config": {"Interface": {"Types": "docker.x/1.0"}}}, "Types must be an array"),
        ({"Config": {"Interface": {"Types": [5]}}}, "Types must be a string, not a number"),
        ({"Config": {"PropagatedMount": 1}}, "PropagatedMount must be a string"),
        ({"Enabled": "yes"}, "Enabled must be a boolean, not a string"),
        ({"Settings": {"Env": [1]}}, "Settings.Env must be a string"),
        ({"Settings": {"Mounts": [[]]}}, "Settings.Mounts must be an object"),
    ],
)
def test_what_the_engine_tells_of_a_plugin_is_checked(told: dict[str, Any], reason: str) -> None:
    """What has another type, or would be part of a path, is an error that says so."""
    engine = FakeEngine()
    whole = {"Id": "a" * 64, "Name": "shelf:latest", "Enabled": True}
    engine.answer_with({**whole, **told})

    with pytest.raises(PluginError) as caught:
        engine.discovery().lookup("shelf")

    assert reason in str(caught.value)
    assert "memory://engine" in str(caught.value)


def test_null_is_an_absent_value() -> None:
    """As engines tell empty lists."""
    engine = FakeEngine()
    engine.install("shelf", None, propagated_mount=None, environment=None, mounts=None)
    discovery = engine.discovery()

    assert discovery.lookup("shelf").manifest == Manifest(())
    engine.answer_with(None)
    with pytest.raises(WireError):
        discovery.lookup("shelf")


@pytest.mark.parametrize("root", ["", "relative", None, 5])
def test_an_engine_without_a_directory_is_an_error(root: Any) -> None:
    """Paths of plugins would lead anywhere."""
    engine = FakeEngine(root=root)
    engine.install("shelf")

    with pytest.raises(SpecError, match="which is not an absolute path"):
        engine.discovery().lookup("shelf")


@pytest.mark.parametrize(
    ("reply", "kind", "reason"),
    [
        (refused(), TransportError, "no process listens"),
        (missing_socket(), TransportError, "no socket there; is the engine running?"),
        (drops(), TransportError, "the engine closed the connection without a response"),
        (malformed(), TransportError, "malformed response"),
        (hangs(), TransportTimeoutError, "timed out"),
        (drips(b"[" + b" " * 100), TransportTimeoutError, "timed out"),
        (drops_mid_body(), WireError, "cut off"),
        (not_json(), WireError, "the engine's response cannot be used: "),
        (b"", WireError, "empty where JSON was expected"),
        (b"[" * 100_000, WireError, "cannot be used"),
        (b"\xff", WireError, "not UTF-8"),
        (b" " * ((16 << 20) + 1), WireError, "larger than 16777216 bytes"),
        ({"message": "hello"}, WireError, "must be an array, not an object"),
        (Response(500, b'{"message": "no"}'), StatusError, "GET /plugins: no"),
        (Response(404, b"<html>"), WireError, "404 Not Found cannot be used"),
        (Response(301, b""), WireError, "301 Moved Permanently"),
    ],
)
def test_an_engine_of_no_use_is_an_error_that_says_so(
    clock: FakeClock, engine: FakeEngine, reply: Any, kind: type[PluginError], reason: str
) -> None:
    """Within the bound, with the engine's address; for each question alike."""
    engine.answer_with(reply)
    discovery = engine.discovery(timeout=5.0, clock=clock)

    for ask in (discovery.scan, lambda: discovery.lookup("mp/shelf")):
        began = clock.now()
        with pytest.raises(kind) as caught:
            ask()
        assert clock.now() - began <= 5.0
        if ask == discovery.scan:
            assert reason in str(caught.value)
        assert vars(caught.value)["address"] == "memory://engine"
    [candidate] = discovery.candidates("mp/shelf")
    assert isinstance(candidate.error, kind)
    assert discovery.ignored() == []


def test_all_requests_of_a_question_share_its_time(clock: FakeClock, engine: FakeEngine) -> None:
    """A look-up has three, and each of them may not take all of it."""
    engine.answer_with(hangs(2.0, {}))

    with pytest.raises(TransportTimeoutError):
        engine.discovery(timeout=3.0, clock=clock).lookup("mp/shelf")

    assert clock.now() == 3.0
    assert len(engine.requests) == 2


def test_a_long_time_is_none(engine: FakeEngine) -> None:
    """Without a bound, and with one that is not a number of seconds."""
    assert engine.discovery(timeout=None).scan() == ["mp/shelf:latest"]
    with pytest.raises(ValueError, match="positive number of seconds"):
        engine.discovery(timeout=0)


def test_it_says_which_engine_it_asks() -> None:
    """Without what stands before the "@" of an address."""
    discovery = EngineDiscovery("https://me:secret@engine:2376")

    assert repr(discovery) == "EngineDiscovery('https://engine:2376')"
    with pytest.raises(SpecError):
        EngineDiscovery("/var/run/docker.sock")
