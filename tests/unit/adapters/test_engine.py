"""Discovery that asks an engine, in memory: names, disabled plugins and unusable responses."""

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
def test_an_invalid_plugin_name_is_never_sent_to_the_engine(engine: FakeEngine, name: str) -> None:
    """It raises ``InvalidPluginNameError`` before any request is made."""
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
def test_the_path_of_a_look_up_has_the_api_version_and_the_name_with_its_tag(
    engine: FakeEngine, name: str, path: str
) -> None:
    """A name without a tag gets ``:latest``, unless it may be the beginning of a plugin's id."""
    if name == "mp/shelf":
        engine.discovery().lookup(name)
    else:
        with pytest.raises(PluginNotFoundError):
            engine.discovery().lookup(name)

    assert engine.requests[:2] == ["/_ping", path]


@pytest.mark.parametrize("version", ["", "1", "1.41/../x", "latest"])
def test_without_a_valid_api_version_the_engine_is_asked_by_unversioned_paths(version: str) -> None:
    """The version that an engine reports becomes part of a path, and so must be a number."""
    engine = FakeEngine(version=version)
    engine.install("shelf")

    engine.answer_with(lambda _: {} if engine.requests[-1] == "/_ping" else [])
    assert engine.discovery().scan() == []
    assert engine.requests == ["/_ping", "/plugins"]


def test_a_plugin_is_found_by_its_name_and_by_its_id(engine: FakeEngine) -> None:
    """The tag may be left out, and 12 digits of the id will do; the plugin is always the same."""
    discovery = engine.discovery()
    plugin = discovery.lookup("mp/shelf")
    identity = plugin.address.path.split("/")[4]

    for name in ("mp/shelf:latest", "docker.io/mp/shelf", identity, identity[:12], identity[:40]):
        assert discovery.lookup(name) == plugin
    assert plugin.name == "mp/shelf:latest"
    with pytest.raises(PluginNotFoundError):
        discovery.lookup(identity[:11])


def test_an_id_that_is_the_beginning_of_two_plugins_ids_is_an_error() -> None:
    """The error has the engine's own message, and the engine's address."""
    engine = FakeEngine()
    engine.answer_with(Response(400, b'{"message": "multiple plugins found for \\"aaa\\""}'))

    with pytest.raises(StatusError) as caught:
        engine.discovery().lookup("a" * 12)

    assert "multiple plugins found" in str(caught.value)
    assert caught.value.address == "memory://engine"


def test_a_response_about_another_plugin_counts_as_not_found(engine: FakeEngine) -> None:
    """An engine takes "db" for the beginning of an id, which must not hide "db" on disk."""
    engine.answer_with({"Id": "db" * 32, "Name": "mp/shelf:latest", "Enabled": True})

    with pytest.raises(PluginNotFoundError):
        engine.discovery().lookup("db")


def test_a_managed_plugin_has_the_manifest_and_paths_that_the_engine_reports(
    engine: FakeEngine,
) -> None:
    """It is no v1 plugin: its manifest is known without a call, and its files are the engine's."""
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


def test_a_disabled_plugin_is_an_error_that_says_how_to_enable_it(engine: FakeEngine) -> None:
    """A scan leaves it out; ``candidates`` and ``strays`` list it."""
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
    assert [each.name for each in discovery.ignored()] == ["mp/shelf:latest"]


@every("socket", ["", ".", "..", "a/b", "../../evil.sock", "/run/x.sock", "a\0b"])
def test_a_socket_name_that_leads_out_of_the_plugins_directory_is_refused(socket: str) -> None:
    """Looking the plugin up is a ``SpecError``; a scan lists it like a broken spec."""
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
def test_the_engines_description_of_a_plugin_is_validated(
    told: dict[str, Any], reason: str
) -> None:
    """A field of a wrong type, or one that is unsafe in a path, is an error that says which."""
    engine = FakeEngine()
    whole = {"Id": "a" * 64, "Name": "shelf:latest", "Enabled": True}
    engine.answer_with({**whole, **told})

    with pytest.raises(PluginError) as caught:
        engine.discovery().lookup("shelf")

    assert reason in str(caught.value)
    assert "memory://engine" in str(caught.value)


def test_null_in_an_engines_response_counts_as_an_absent_value() -> None:
    """Engines write null for an empty list; a response that is null itself is an error."""
    engine = FakeEngine()
    engine.install("shelf", None, propagated_mount=None, environment=None, mounts=None)
    discovery = engine.discovery()

    assert discovery.lookup("shelf").manifest == Manifest(())
    engine.answer_with(None)
    with pytest.raises(WireError):
        discovery.lookup("shelf")


@pytest.mark.parametrize("root", ["", "relative", None, 5])
def test_an_engine_without_an_absolute_root_directory_is_an_error(root: Any) -> None:
    """Without it the paths of plugins would lead anywhere."""
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
def test_an_engine_that_fails_is_an_error_with_the_reason_and_its_address(
    clock: FakeClock, engine: FakeEngine, reply: Any, kind: type[PluginError], reason: str
) -> None:
    """Scans and look-ups raise it within their time-out, and ``candidates`` has it."""
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


def test_all_requests_of_a_look_up_share_its_timeout(clock: FakeClock, engine: FakeEngine) -> None:
    """A look-up makes three requests, which together must not take longer."""
    engine.answer_with(hangs(2.0, {}))

    with pytest.raises(TransportTimeoutError):
        engine.discovery(timeout=3.0, clock=clock).lookup("mp/shelf")

    assert clock.now() == 3.0
    assert len(engine.requests) == 2


def test_the_timeout_of_an_engine_is_none_or_a_positive_number(engine: FakeEngine) -> None:
    """``None`` means no bound; 0 is a ``ValueError``."""
    assert engine.discovery(timeout=None).scan() == ["mp/shelf:latest"]
    with pytest.raises(ValueError, match="positive number of seconds"):
        engine.discovery(timeout=0)


def test_the_repr_of_an_engine_discovery_shows_the_address_without_credentials() -> None:
    """A path alone is no address, and is refused."""
    discovery = EngineDiscovery("https://me:secret@engine:2376")

    assert repr(discovery) == "EngineDiscovery('https://engine:2376')"
    with pytest.raises(SpecError):
        EngineDiscovery("/var/run/docker.sock")
