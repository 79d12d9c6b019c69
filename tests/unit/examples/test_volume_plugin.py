"""The example volume driver, called in memory by a host's typed proxy (protocol.md B2)."""

from pathlib import Path

import pytest

from examples.volume_plugin import Shelf, bytes_of
from moby_plugins import StatusError
from moby_plugins.subsystems import VolumeDriver
from moby_plugins.testing import MemoryRegistry
from tests.cases import every


@pytest.fixture
def driver(tmp_path: Path, plugin_registry: MemoryRegistry) -> VolumeDriver:
    """A host's proxy of a shelf in ``tmp_path``."""
    plugin_registry.add("shelf", Shelf(tmp_path))
    return VolumeDriver(plugin_registry.get("shelf", "VolumeDriver").client)


def status(driver: VolumeDriver, name: str) -> dict[str, object]:
    """What the driver tells people of a volume."""
    found = driver.get(name)
    assert found is not None
    return dict(found.status)


def test_a_volume_is_a_directory(driver: VolumeDriver, tmp_path: Path) -> None:
    """Create makes the directory, get, list and path return its path, and remove deletes it."""
    driver.create("books")

    where = str(tmp_path / "books" / "data")
    assert Path(where).is_dir()
    assert driver.path("books") == where
    found = driver.get("books")
    assert found is not None
    assert (found.name, found.mountpoint) == ("books", where)
    assert [(volume.name, volume.mountpoint) for volume in driver.list()] == [("books", where)]

    driver.remove("books")

    assert list(tmp_path.iterdir()) == []
    assert driver.get("books") is None
    assert driver.list() == ()


def test_creating_a_volume_twice_keeps_its_content(driver: VolumeDriver, tmp_path: Path) -> None:
    """A Create that is sent again, because its response was lost, does no harm."""
    driver.create("books", {"size": "1K"})
    (tmp_path / "books" / "data" / "page").write_text("once upon a time")

    driver.create("books", {"size": "1K"})

    assert status(driver, "books") == {"Used": 16, "Quota": 1024, "Mounts": 0}


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "../up", "a\0b", "ümlaut", "-o"])
def test_an_invalid_volume_name_is_refused(driver: VolumeDriver, name: str) -> None:
    """No name leads out of the directory of all volumes."""
    with pytest.raises(StatusError) as caught:
        driver.create(name)

    assert caught.value.message == f"not a volume's name: {name!r}"


@every(
    ("size", "expected"),
    [("0", 0), ("1", 1), ("10k", 10240), ("10M", 10 << 20), ("2G", 2 << 30), ("1T", 1 << 40)],
)
def test_a_size_is_a_number_of_bytes(size: str, expected: int) -> None:
    """The units k, M, G and T are powers of 1024, in upper or lower case."""
    assert bytes_of(size) == expected


@pytest.mark.parametrize("size", ["", "M", "-1", "1.5G", "10 M", "10X", "1_0", "٣M", "10M\n"])
def test_an_invalid_size_is_refused(driver: VolumeDriver, tmp_path: Path, size: str) -> None:
    """No volume is made, and the message shows what a size looks like."""
    with pytest.raises(StatusError) as caught:
        driver.create("books", {"size": size})

    assert caught.value.message == f"not a size: {size!r}; 10M is one"
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_option_is_refused_by_name(driver: VolumeDriver, tmp_path: Path) -> None:
    """A misspelt option does not pass silently."""
    with pytest.raises(StatusError) as caught:
        driver.create("books", {"size": "1M", "sise": "2M"})

    assert caught.value.message == "no option 'sise'; there is size=10M"
    assert list(tmp_path.iterdir()) == []


def test_mounts_are_counted_by_name_and_id(driver: VolumeDriver) -> None:
    """An id that mounts a volume twice must unmount it twice (B11, trap 12)."""
    driver.create("books")
    for user in ("a", "a", "b"):
        driver.mount("books", user)

    counts = [status(driver, "books")["Mounts"]]
    for user in ("a", "b", "a"):
        driver.unmount("books", user)
        counts.append(status(driver, "books")["Mounts"])

    assert counts == [3, 2, 1, 0]


def test_unmounting_a_volume_that_is_not_mounted_is_no_error(driver: VolumeDriver) -> None:
    """An earlier process of the plugin may have mounted the volume; the count stays at 0."""
    driver.create("books")

    driver.unmount("books", "a")
    driver.mount("books", "a")

    assert status(driver, "books")["Mounts"] == 1


def test_a_mounted_volume_is_not_removed(driver: VolumeDriver, tmp_path: Path) -> None:
    """Remove fails until the volume's last unmount."""
    driver.create("books")
    driver.mount("books", "a")

    with pytest.raises(StatusError) as caught:
        driver.remove("books")

    assert caught.value.message == "volume books is in use"
    assert (tmp_path / "books" / "data").is_dir()
    driver.unmount("books", "a")
    driver.remove("books")


def test_a_volume_over_its_quota_is_not_mounted(driver: VolumeDriver, tmp_path: Path) -> None:
    """Mount fails with used and allowed bytes; a volume of exactly its quota is still mounted."""
    driver.create("books", {"size": "1K"})
    page = tmp_path / "books" / "data" / "chapter" / "page"
    page.parent.mkdir()
    page.write_bytes(bytes(1024))
    driver.mount("books", "a")
    page.write_bytes(bytes(1025))

    with pytest.raises(StatusError) as caught:
        driver.mount("books", "b")

    assert caught.value.message == "volume books is over its quota: 1025 of 1024 bytes"
    assert status(driver, "books") == {"Used": 1025, "Quota": 1024, "Mounts": 1}


@pytest.mark.parametrize("call", ["path", "mount", "remove"])
def test_path_mount_and_remove_fail_for_a_volume_that_does_not_exist(
    driver: VolumeDriver, call: str
) -> None:
    """The message of each call names the volume."""
    with pytest.raises(StatusError) as caught:
        getattr(driver, call)("nothing", *(["a"] if call == "mount" else []))

    assert caught.value.message == "no such volume: nothing"


def test_volumes_and_quotas_outlive_the_process_of_the_plugin(
    driver: VolumeDriver, tmp_path: Path
) -> None:
    """A second driver in the same directory finds the volume and its quota."""
    driver.create("books", {"size": "1M"})

    found = Shelf(tmp_path).get("books")

    assert found is not None
    assert found.status == {"Used": 0, "Quota": 1 << 20, "Mounts": 0}


def test_other_files_in_the_directory_are_not_listed_as_volumes(
    driver: VolumeDriver, tmp_path: Path
) -> None:
    """A file or directory that the driver did not make is ignored."""
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "notes").write_text("not a volume")
    driver.create("books")

    assert [volume.name for volume in driver.list()] == ["books"]
    assert driver.get("notes") is None
