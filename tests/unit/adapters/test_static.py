"""Plugins that are given by name: in code, and in settings."""

from pathlib import Path
from typing import Any

import pytest

from moby_plugins import (
    InvalidPluginNameError,
    Plugin,
    PluginNotFoundError,
    Settings,
    SettingsError,
    SpecError,
    StaticDiscovery,
    TLSOptions,
    new_local_discovery,
    new_local_registry,
)
from moby_plugins.diagnosis import diagnose
from moby_plugins.ports import Candidate, Discovery
from moby_plugins.testing import FakeClock, MemoryDiscovery
from moby_plugins.testing.contracts import DiscoveryContract
from tests.cases import every
from tests.transports import RecordingConnect, install_discovery


class Given:
    """A place whose plugins are in a dictionary."""

    def __init__(self) -> None:
        self.plugins: dict[str, str | Plugin] = {}
        self.discovery: Discovery = StaticDiscovery(self.plugins)

    def add(self, name: str, addr: str) -> None:
        self.plugins[name] = addr

    def remove(self, name: str) -> None:
        del self.plugins[name]


class BySettings(Given):
    """Plugins named in settings, from which each look makes a discovery; before ``others``."""

    def __init__(self, directory: Path, **others: Any) -> None:
        super().__init__()
        self.directory = directory
        self.others = others

    @property
    def discovery(self) -> Discovery:
        """As a registry of such settings finds plugins."""
        return new_local_discovery(
            Settings(self.directory, (self.directory,), plugins=self.plugins, **self.others)
        )

    @discovery.setter
    def discovery(self, _: Discovery) -> None:
        pass


class TestStaticDiscovery(DiscoveryContract):
    @pytest.fixture
    def place(self) -> Given:
        return Given()


class TestPluginsOfSettings(DiscoveryContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> BySettings:
        return BySettings(tmp_path)


class TestPluginsBeforeAnotherDiscovery(DiscoveryContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> BySettings:
        return BySettings(tmp_path, discovery=lambda _: MemoryDiscovery())


class TestDiscoveryOfSettings(DiscoveryContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Any:
        """One of another package, behind a table that is empty."""
        memory = MemoryDiscovery()

        class Installed:
            discovery = new_local_discovery(Settings(tmp_path, discovery=lambda _: memory))
            add = staticmethod(memory.add)
            remove = staticmethod(memory.remove)

        return Installed()


def local(directory: Path, **settings: Any) -> Settings:
    """Settings of one directory, for sockets and specs."""
    return Settings(sockets_path=directory, specs_paths=(directory,), **settings)


def test_plugins_named_in_settings_hide_those_in_directories(tmp_path: Path) -> None:
    """Other plugins in the directories are found as before."""
    (tmp_path / "shelf.spec").write_text("tcp://disk:1")
    (tmp_path / "db.spec").write_text("tcp://disk:2")
    discovery = new_local_discovery(local(tmp_path, plugins={"shelf": "unix:///run/shelf.sock"}))

    assert discovery.scan() == ["db", "shelf"]
    assert discovery.lookup("shelf").addr == "unix:///run/shelf.sock"
    assert discovery.lookup("db").addr == "tcp://disk:2"
    assert [each.path for each in discovery.candidates("shelf")] == [
        "[plugins] shelf",
        f"{tmp_path}/shelf.spec",
    ]
    with pytest.raises(PluginNotFoundError) as caught:
        discovery.lookup("none")
    assert caught.value.searched[:2] == ("[plugins] none", f"{tmp_path}/none.sock")


def test_a_plugin_that_only_settings_name_can_be_activated(tmp_path: Path) -> None:
    """Neither a socket nor a spec in a directory is needed."""
    recorder = RecordingConnect()
    settings = local(
        tmp_path / "none", plugins={"shelf": "memory://shelf"}, transports={"memory": recorder}
    )

    with new_local_registry(settings, clock=FakeClock()) as registry:
        assert registry.get("shelf", "VolumeDriver").addr == "memory://shelf"
        assert "StaticDiscovery('shelf')" in repr(registry)
        assert ": 1 active; " in repr(registry)
    assert recorder.asked == [("memory://shelf", None)]


def test_a_plugin_at_https_is_verified_unless_its_options_say_otherwise() -> None:
    """An address alone is verified by the system's roots; a ``Plugin`` can have TLS options."""
    options = TLSOptions(ca_file="/ca.pem")
    discovery = StaticDiscovery({"a": "https://h", "b": Plugin("b", "https://h", options)})

    assert discovery.lookup("a").tls_config is None
    assert discovery.lookup("b").tls_config == options


def test_the_argument_discovery_replaces_that_of_the_settings(tmp_path: Path) -> None:
    """Neither the settings' plugins nor their directories are looked at."""
    (tmp_path / "db.spec").write_text("tcp://disk:2")
    settings = local(tmp_path, plugins={"shelf": "tcp://h:1"})

    with new_local_registry(settings, discovery=StaticDiscovery({"x": "tcp://h:1"})) as registry:
        assert registry.scan() == ["x"]


@every(
    ("plugins", "error", "message"),
    [
        (5, TypeError, "plugins must be a mapping from name to address, not 5"),
        (["a"], TypeError, r"plugins must be a mapping from name to address, not \['a'\]"),
        ({"a": 5}, TypeError, r"\[plugins\] a: an address or a Plugin is expected, not 5"),
        ({"a": "nonsense"}, SpecError, r"\[plugins\] a: address 'nonsense' is not of the form"),
        (
            {"a": Plugin("b", "tcp://h:1")},
            SpecError,
            r"\[plugins\] a: the Plugin given as 'a' has another name",
        ),
        ({"a/b": "tcp://h:1"}, InvalidPluginNameError, "'a/b' is not a plugin name"),
        ({5: "tcp://h:1"}, InvalidPluginNameError, "5 is not a plugin name"),
    ],
)
def test_an_invalid_table_of_plugins_is_refused(
    plugins: Any, error: type[Exception], message: str
) -> None:
    """``StaticDiscovery`` raises when it is made; its error names the argument or the plugin."""
    with pytest.raises(error, match=f"^{message}"):
        StaticDiscovery(plugins)


def test_a_discovery_of_an_installed_package_finds_plugins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its entry point is called with the settings; its look-ups serve as candidates too."""
    monkeypatch.syspath_prepend(tmp_path)
    source = """
        from moby_plugins.testing import MemoryDiscovery

        class Named(MemoryDiscovery):
            def __repr__(self):
                return "the catalogue"

        def make(settings):
            return Named({"db": "tcp://" + settings.sockets_path.lstrip("/") + ":1"})
    """
    install_discovery(tmp_path, "catalogue", source)
    settings = Settings.from_env(
        {
            "MOBY_PLUGINS_DISCOVERY": "catalogue",
            "MOBY_PLUGINS_PLUGINS": "db2=tcp://h:2",
            "MOBY_PLUGINS_SOCKETS_PATH": "/host",
        }
    )
    discovery = new_local_discovery(settings)

    assert discovery.scan() == ["db", "db2"]
    found = discovery.lookup("db")
    assert found.addr == "tcp://host:1"
    assert discovery.candidates("db") == [Candidate("the catalogue", found)]
    assert discovery.candidates("none") == []
    assert discovery.ignored() == []
    with pytest.raises(SettingsError, match="there are: catalogue, local"):
        Settings(discovery="lokal")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise ImportError('gone')", "the discovery 'odd' cannot be loaded: gone"),
        ("make = 5", "the discovery 'odd' is not a function: 5"),
    ],
)
def test_a_discovery_that_cannot_be_loaded_is_an_error_in_the_settings(
    source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says which discovery it is, and why."""
    monkeypatch.syspath_prepend(tmp_path)
    install_discovery(tmp_path, "odd", source)

    with pytest.raises(SettingsError) as caught:
        new_local_discovery(Settings(discovery="odd"))

    assert str(caught.value) == message


def test_a_function_in_the_settings_that_returns_no_discovery_is_an_error() -> None:
    """It is a ``TypeError`` when the function is used, and says what a discovery must have."""
    made: Any = lambda _: 5  # noqa: E731  no discovery

    with pytest.raises(TypeError, match=r"returns must be an object with scan\(\), lookup\(\), no"):
        new_local_discovery(Settings(discovery=made))


def test_a_discovery_that_fails_is_a_candidate_with_an_error(tmp_path: Path) -> None:
    """This holds for a discovery that has ``scan`` and ``lookup`` alone, as for a broken spec."""
    (tmp_path / "db.json").write_text("[]")

    class Plain:
        """A discovery and no more."""

        def scan(self) -> list[str]:
            return ["db"]

        def lookup(self, name: str) -> Plugin:
            raise SpecError("no use", name)

        def __repr__(self) -> str:
            return "plain"

    discovery = new_local_discovery(local(tmp_path, discovery=lambda _: Plain()))

    [candidate] = discovery.candidates("db")
    assert (candidate.path, candidate.plugin, str(candidate.error)) == ("plain", None, "db: no use")


def test_a_diagnosis_includes_plugins_that_settings_name(tmp_path: Path) -> None:
    """A finding about a missing socket names the entry in the settings, and no file."""
    missing = tmp_path / "none.sock"
    settings = local(tmp_path, plugins={"shelf": f"unix://{missing}"})

    [finding] = diagnose(settings)

    assert finding.where == "[plugins] shelf"
    assert finding.what == "no socket there; is the plugin running?"
