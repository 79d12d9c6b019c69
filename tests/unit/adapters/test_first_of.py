"""``FirstOf``, one discovery made of two: an engine's plugins before those on disk."""

from pathlib import Path
from typing import Any

import pytest

from moby_plugins import (
    EngineDiscovery,
    FirstOf,
    InvalidPluginNameError,
    PluginDisabledError,
    PluginNotFoundError,
    Settings,
    StaticDiscovery,
    TransportError,
    new_local_discovery,
)
from moby_plugins.testing import FakeEngine, MemoryDiscovery, refused
from moby_plugins.testing.contracts import DiscoveryContract
from tests.plugin_directories import PluginDirectories


@pytest.fixture
def engine() -> FakeEngine:
    """An engine with a plugin that is enabled, and one that is not."""
    engine = FakeEngine()
    engine.install("shelf")
    engine.install("off", enabled=False)
    return engine


@pytest.fixture
def both(engine: FakeEngine) -> FirstOf:
    """That engine before plugins of the same names on disk, and one more there."""
    disk = MemoryDiscovery({"shelf": "tcp://h:1", "off": "tcp://h:2", "v1": "tcp://h:3"})
    return FirstOf(engine.discovery(), disk)


class TestFirstOf(DiscoveryContract):
    """What every discovery promises, with an engine without plugins before the directories."""

    # What the engine could have is looked for; the directories take what it cannot.
    NO_NAMES = ("", ".", "..", "/a", "a/", "../a", "a\\b", "a\0b")
    ABSENT_NAMES = ("a/b", "mp/shelf:v1", "\ud800")

    @pytest.fixture
    def place(self, tmp_path: Path) -> Any:
        """Empty directories behind an engine."""
        place = PluginDirectories(tmp_path)
        place.discovery = FirstOf(FakeEngine().discovery(), place.discovery)
        return place


def test_a_plugin_of_the_engine_goes_before_one_on_disk(both: FirstOf) -> None:
    """The plugin on disk is found if the engine has none of that name."""
    assert both.lookup("shelf").name == "shelf:latest"
    assert both.lookup("v1").addr == "tcp://h:3"
    assert both.scan() == ["off", "shelf", "shelf:latest", "v1"]


def test_a_plugin_that_is_disabled_in_the_engine_is_not_taken_from_disk(both: FirstOf) -> None:
    """As in an engine itself, a look-up raises ``PluginDisabledError`` instead."""
    with pytest.raises(PluginDisabledError):
        both.lookup("off")


def test_an_engine_that_cannot_be_reached_is_an_error_even_for_plugins_on_disk(
    engine: FakeEngine, both: FirstOf
) -> None:
    """The engine might have a plugin of that name, which would go before the one on disk."""
    engine.answer_with(refused())

    for ask in (both.scan, lambda: both.lookup("v1")):
        with pytest.raises(TransportError):
            ask()
    assert isinstance(both.candidates("v1")[0].error, TransportError)


def test_a_name_that_neither_discovery_has_is_not_found(both: FirstOf) -> None:
    """The error lists where both looked; a name invalid for one is looked up in the other."""
    with pytest.raises(PluginNotFoundError) as caught:
        both.lookup("none")
    assert caught.value.searched == ("none at memory://engine", "memory://none")

    with pytest.raises(PluginNotFoundError) as caught:
        both.lookup("mp/none")
    assert caught.value.searched == ("mp/none at memory://engine",)

    with pytest.raises(PluginNotFoundError) as caught:
        both.lookup("NONE")
    assert caught.value.searched == ("memory://NONE",)

    with pytest.raises(InvalidPluginNameError):
        both.lookup("../none")
    with pytest.raises(InvalidPluginNameError):
        both.candidates("../none")


def test_candidates_and_strays_of_both_discoveries_are_listed(both: FirstOf) -> None:
    """The engine's candidate comes first, because it hides the one on disk."""
    assert [each.path for each in both.candidates("shelf")] == [
        "shelf:latest at memory://engine",
        repr(both.then),
    ]
    assert [each.path for each in both.candidates("NONE")] == []
    assert [each.name for each in both.ignored()] == ["off:latest"]


def test_settings_put_an_engine_before_the_directories(tmp_path: Path) -> None:
    """Plugins named in the settings go before both; without the setting no engine is asked."""
    settings = Settings(tmp_path, (tmp_path,), engine="unix:///e.sock", activation_timeout=2.0)
    discovery = new_local_discovery(settings)
    assert isinstance(discovery, FirstOf)
    assert isinstance(discovery.first, EngineDiscovery)
    assert discovery.first.timeout == 2.0

    settings = Settings(engine="unix:///e.sock", plugins={"a": "tcp://h:1"})
    discovery = new_local_discovery(settings)
    assert isinstance(discovery, FirstOf)
    assert isinstance(discovery.first, StaticDiscovery)
    assert isinstance(discovery.then, FirstOf)

    assert not isinstance(new_local_discovery(Settings()), FirstOf)
