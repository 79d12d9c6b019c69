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


def test_candidates_are_listed_in_their_order_of_precedence(
    place: PluginDirectories, survey: Survey
) -> None:
    """Sockets come before specs; the first candidate is what a look-up finds."""
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


def test_a_candidate_that_cannot_be_used_has_the_reason(
    place: PluginDirectories, survey: Survey
) -> None:
    """A broken spec is listed too, and so are the candidates after it."""
    place.add("a", "nowhere")
    (place.more_specs / "a.spec").write_text("tcp://h:1")

    broken, whole = survey.candidates("a")

    assert broken.plugin is None
    assert isinstance(broken.error, SpecError)
    assert broken.error.file == broken.path == str(place.specs / "a.spec")
    assert (whole.plugin, whole.error) == (Plugin.local("a", "tcp://h:1"), None)


def test_an_unreadable_directory_gives_a_candidate_with_an_error_for_each_path(
    place: PluginDirectories, survey: Survey
) -> None:
    """Which of the files exist is unknown."""
    with unreadable(place.specs):
        candidates = survey.candidates("a")

    errors = {item.path: item.error for item in candidates}
    reasons = {path: e.reason for path, e in errors.items() if isinstance(e, SpecError)}
    for file in ("a.spec", "a/a.spec", "a.json", "a/a.json"):
        assert reasons[str(place.specs / file)] == "cannot be read: Permission denied"


def test_a_name_without_files_has_no_candidates(survey: Survey) -> None:
    """The list is empty; only an invalid name is an error."""
    assert survey.candidates("a") == []
    with pytest.raises(InvalidPluginNameError):
        survey.candidates("../a")


def test_new_local_discovery_looks_in_the_directories_of_the_settings(
    place: PluginDirectories,
) -> None:
    """A registry with the same settings finds plugins by such a discovery."""
    place.add("a", "tcp://h:1")
    paths = (str(place.specs),)

    found = new_local_discovery(Settings(sockets_path=place.sockets, specs_paths=paths))

    assert found.scan() == ["a"]
    assert found.ignored() == []


def test_candidates_with_the_same_fields_are_equal() -> None:
    """A ``Candidate`` is a value, which is compared by its fields."""
    assert Candidate("/a.spec") == Candidate("/a.spec")
