"""What a look-up chooses from: all the files of one name, the first of which decides."""

from pathlib import Path

import pytest

from moby_plugins import (
    Candidate,
    InvalidPluginNameError,
    Plugin,
    Settings,
    SpecError,
    new_local_discovery,
)
from moby_plugins.adapters.disk.discovery import FilesystemDiscovery
from moby_plugins.ports import Survey
from tests.plugin_directories import PluginDirectories, make_socket, unreadable


@pytest.fixture
def place(tmp_path: Path) -> PluginDirectories:
    """Empty directories."""
    return PluginDirectories(tmp_path)


@pytest.fixture
def survey(place: PluginDirectories) -> Survey:
    """What looks at them."""
    specs = (place.specs, place.more_specs)
    return FilesystemDiscovery(place.sockets, specs, uid_map=str(place.user_ids))


def test_candidates_come_in_the_order_in_which_they_decide(
    place: PluginDirectories, survey: Survey
) -> None:
    """Sockets before specs, one directory after the other; the first is what a look-up finds."""
    make_socket(place.sockets / "a.sock")
    for path, text in [
        (place.specs / "a.spec", "tcp://h:1"),
        (place.specs / "a" / "a.json", '{"Addr": "tcp://h:2"}'),
        (place.more_specs / "a.spec", "tcp://h:3"),
        (place.more_specs / "b.spec", "tcp://h:4"),
    ]:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    candidates = survey.candidates("a")

    assert [Path(candidate.path).relative_to(place.base) for candidate in candidates] == [
        Path("run/a.sock"),
        Path("etc/a.spec"),
        Path("etc/a/a.json"),
        Path("usr/a.spec"),
    ]
    assert candidates[0].plugin == survey.lookup("a")
    assert candidates[1].plugin == Plugin.local("a", "tcp://h:1")


def test_one_that_cannot_be_used_says_why(place: PluginDirectories, survey: Survey) -> None:
    """It is a candidate all the same, and the others are still told."""
    place.add("a", "nowhere")
    (place.more_specs / "a.spec").write_text("tcp://h:1")

    broken, whole = survey.candidates("a")

    assert broken.plugin is None
    assert isinstance(broken.error, SpecError)
    assert broken.error.file == broken.path == str(place.specs / "a.spec")
    assert (whole.plugin, whole.error) == (Plugin.local("a", "tcp://h:1"), None)


def test_a_directory_that_cannot_be_read_is_told_for_each_path(
    place: PluginDirectories, survey: Survey
) -> None:
    """What lies there is unknown."""
    with unreadable(place.specs):
        candidates = survey.candidates("a")

    errors = {item.path: item.error for item in candidates}
    reasons = {path: e.reason for path, e in errors.items() if isinstance(e, SpecError)}
    for file in ("a.spec", "a/a.spec", "a.json", "a/a.json"):
        assert reasons[str(place.specs / file)] == "cannot be read: Permission denied"


def test_a_name_without_files_has_no_candidates(survey: Survey) -> None:
    """That is no error; a name that cannot be one is."""
    assert survey.candidates("a") == []
    with pytest.raises(InvalidPluginNameError):
        survey.candidates("../a")


def test_the_discovery_of_this_machine_looks_where_settings_say(place: PluginDirectories) -> None:
    """``new_local_discovery`` is what a registry of the same settings finds plugins with."""
    place.add("a", "tcp://h:1")
    paths = (str(place.specs),)

    found = new_local_discovery(Settings(sockets_path=place.sockets, specs_paths=paths))

    assert found.scan() == ["a"]
    assert found.ignored() == []


def test_a_candidate_is_a_value() -> None:
    """Two that say the same are equal."""
    assert Candidate("/a.spec") == Candidate("/a.spec")
