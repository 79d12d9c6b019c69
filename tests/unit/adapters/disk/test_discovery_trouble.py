"""Discovery on disk where something is broken, odd or out of bounds."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moby_plugins import PluginNotFoundError, SpecError
from moby_plugins.domain.plugin import MAX_SPEC_BYTES
from tests.plugin_directories import PluginDirectories, make_socket, unreadable


@pytest.fixture
def place(short_path: Path) -> PluginDirectories:
    """Empty directories that anybody may come to."""
    short_path.chmod(0o755)
    return PluginDirectories(short_path)


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("a.spec", b"", "address '' is not of the form scheme://… or unix:/path"),
        ("a.spec", b"\x7fELF\x01", "address '\\x7fELF\\x01' holds a control character"),
        ("a.spec", b"\xff\xfe\x00", "not UTF-8 at byte 0"),
        (
            "a.spec",
            b"#!/bin/sh\n",
            "address '#!/bin/sh' is not of the form scheme://… or unix:/path",
        ),
        ("a.json", b"", "empty where JSON was expected"),
        ("a.json", b"\x00", "not JSON: Expecting value: line 1 column 1 (char 0)"),
        ("a.json", b"[]", "spec must be an object, not an array"),
    ],
)
def test_a_broken_spec_is_not_passed_over_and_its_error_names_the_file(
    file: str, content: bytes, reason: str, place: PluginDirectories
) -> None:
    """A scan lists it, and a look-up raises the reason, even if another spec is behind it."""
    path = place.specs / file
    path.write_bytes(content)
    (place.more_specs / "a.spec").write_text("tcp://h:1")

    assert place.discovery.scan() == ["a"]
    with pytest.raises(SpecError) as caught:
        place.discovery.lookup("a")

    assert caught.value.file == str(path)
    assert str(caught.value) == f"{path}: {reason}"


@pytest.mark.parametrize("size", [MAX_SPEC_BYTES + 1, 1 << 30])
def test_a_huge_spec_is_an_error(size: int, place: PluginDirectories) -> None:
    """At most 1 MiB of a file is read, however large it is."""
    path = place.specs / "a.spec"
    path.touch()
    os.truncate(path, size)

    with pytest.raises(SpecError) as caught:
        place.discovery.lookup("a")

    assert str(caught.value) == f"{path}: the file is larger than 1048576 bytes"


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.mkdir(),
        os.mkfifo,
        make_socket,
        lambda path: path.symlink_to("/dev/null"),
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.symlink_to(path),
        lambda path: path.symlink_to(path.parent),
    ],
    ids=["directory", "fifo", "socket", "device", "dangling", "loop", "directory link"],
)
def test_a_spec_that_is_not_a_regular_file_is_ignored(
    make: Callable[[Path], None], place: PluginDirectories, *, nested: bool
) -> None:
    """A FIFO is not waited for, and a directory or a link to nowhere hides no other spec."""
    directory = place.specs / "odd" if nested else place.specs
    directory.mkdir(exist_ok=True)
    make(directory / "odd.spec")
    make(directory / "odd.json")
    place.add("a", "tcp://h:1")
    place.add("z", "tcp://h:1")

    assert place.discovery.scan() == ["a", "z"]
    with pytest.raises(PluginNotFoundError):
        place.discovery.lookup("odd")

    (place.more_specs / "odd.spec").write_text("tcp://h:2")
    assert place.discovery.scan() == ["a", "odd", "z"]
    assert place.discovery.lookup("odd").addr == "tcp://h:2"


@pytest.mark.parametrize("link", ["loop", "loop.sock", "loop.spec"])
def test_a_link_to_itself_hides_no_other_plugin(link: str, place: PluginDirectories) -> None:
    """Such a loop among sockets or specs is ignored, and all plugins around it are found."""
    for directory in (place.sockets, place.specs):
        (directory / link).symlink_to(link)
    for name in "az":
        make_socket(place.sockets / f"{name}.sock")
        place.add(f"{name}{name}", "tcp://h:1")

    assert place.discovery.scan() == ["a", "aa", "z", "zz"]
    with pytest.raises(PluginNotFoundError):
        place.discovery.lookup("loop")


def test_a_name_that_is_too_long_is_not_found(place: PluginDirectories) -> None:
    """No file has such a name, so there is no such plugin."""
    with pytest.raises(PluginNotFoundError):
        place.discovery.lookup("x" * 300)


def test_an_unreadable_spec_is_an_error(place: PluginDirectories) -> None:
    """Like a broken spec it is listed and hides others, and a look-up raises the reason."""
    place.add("a", "tcp://h:1")
    path = place.specs / "a.spec"
    (place.more_specs / "a.spec").write_text("tcp://h:2")

    with unreadable(path):
        scanned = place.discovery.scan()
        with pytest.raises(SpecError) as caught:
            place.discovery.lookup("a")

    assert scanned == ["a"]
    assert str(caught.value) == f"{path}: cannot be read: Permission denied"
    assert isinstance(caught.value.__cause__, PermissionError)


def test_an_unreadable_directory_is_an_error(place: PluginDirectories) -> None:
    """Neither a scan nor a look-up passes silently over what it may not see."""
    place.add("a", "tcp://h:1")

    with unreadable(place.sockets):
        with pytest.raises(SpecError) as scanning:
            place.discovery.scan()
        with pytest.raises(SpecError) as looking_up:
            place.discovery.lookup("a")

    reason = "cannot be read: Permission denied"
    assert str(scanning.value) == f"{place.sockets}: {reason}"
    assert str(looking_up.value) == f"{place.sockets}/a.sock: {reason}"


def test_unreadable_directories_are_ignored_in_a_user_namespace(place: PluginDirectories) -> None:
    """There the machine's own directories have an unknown owner; the others still count."""
    place.enter_user_namespace()
    make_socket(place.sockets / "hidden.sock")
    place.add("a", "tcp://h:1")

    with unreadable(place.sockets):
        scanned = place.discovery.scan()
        found = place.discovery.lookup("a")
        with pytest.raises(PluginNotFoundError):
            place.discovery.lookup("hidden")

    assert scanned == ["a"]
    assert found.addr == "tcp://h:1"


def test_without_a_map_of_user_ids_no_user_namespace_is_assumed(place: PluginDirectories) -> None:
    """An unreadable directory is an error then, as it is outside of a user namespace."""
    place.user_ids.unlink()

    with unreadable(place.specs), pytest.raises(SpecError, match="Permission denied"):
        place.discovery.scan()


@pytest.mark.parametrize("link", ["out.spec", "out"])
def test_a_link_into_an_unreadable_directory_hides_no_other_plugin(
    link: str, place: PluginDirectories
) -> None:
    """A scan ignores it, since its target is unknown; a look-up raises the reason."""
    (place.specs / link).symlink_to(place.elsewhere / "out.spec")
    (place.elsewhere / "out.spec").write_text("tcp://h:1")
    place.add("a", "tcp://h:1")
    place.add("z", "tcp://h:1")

    with unreadable(place.elsewhere):
        scanned = place.discovery.scan()
        with pytest.raises(SpecError, match=r"cannot be read: Permission denied$"):
            place.discovery.lookup("out")

    assert scanned == ["a", "z"]


def everything(directory: Path) -> Iterator[Path]:
    """Furnish a directory with every kind of entry, flat and nested, under every suffix."""
    makers: dict[str, Callable[[Path], object]] = {
        "file": lambda path: path.write_text("tcp://h:1"),
        "broken": lambda path: path.write_text("{"),
        "socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o600),
        "fifo": os.mkfifo,
        "dir": lambda path: path.mkdir(),
        "loop": lambda path: path.symlink_to(path),
        "dangling": lambda path: path.symlink_to("nowhere"),
        "file-link": lambda path: path.symlink_to("file.spec"),
        "socket-link": lambda path: path.symlink_to("socket.sock"),
    }
    for suffix in (".sock", ".spec", ".json", ".socket", ".SPEC", ""):
        for name, make in makers.items():
            flat, nested = directory / f"{name}{suffix}", f"{name}-in{suffix}"
            make(flat)
            (directory / nested).mkdir()
            make(directory / nested / f"{nested}.spec")
            make(directory / nested / f"{nested}.sock")
            yield from (flat, directory / nested)


def test_scans_and_look_ups_agree_on_files_of_every_type(place: PluginDirectories) -> None:
    """A name is listed if, and only if, looking it up finds a plugin or a broken spec."""
    entries = [entry for d in (place.sockets, place.specs) for entry in everything(d)]
    candidates = {name for entry in entries for name in (entry.name, entry.stem)}

    found = []
    for name in sorted(candidates):
        try:
            found.append(place.discovery.lookup(name).name)
        except SpecError:
            found.append(name)
        except PluginNotFoundError:
            continue

    assert place.discovery.scan() == found
    assert {"file", "broken", "socket", "file-link", "socket-link", "file-in", "socket-in"} < {
        *found
    }
    assert not {"fifo", "dir", "loop", "dangling", "fifo-in", "dir-in", "loop-in"} & {*found}


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("a.spec", "tcp://me:secret@h:1"),
        ("a.json", '{"Addr": "tcp://me:secret@h:1"}'),
        ("a.spec", "tcp://@h:1"),
    ],
)
def test_credentials_in_a_spec_are_left_out_with_one_warning(
    file: str, content: str, place: PluginDirectories, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning names the file and shows no credential; connecting does not warn again."""
    (place.specs / file).write_text(content)

    plugin = place.discovery.lookup("a")

    assert (plugin.addr, plugin.address.text) == ("tcp://h:1", "tcp://h:1")
    assert plugin.address.concern == ""
    assert "secret" not in repr(plugin)
    concern = "the user name and password in the address are left out: they are never sent"
    assert caplog.messages == [f"{place.specs / file}: {concern}"]


def test_a_file_name_cannot_forge_a_line_of_the_log(
    place: PluginDirectories, caplog: pytest.LogCaptureFixture
) -> None:
    """Line breaks and other control characters in it are escaped."""
    name = "a\n2026-01-01 CRITICAL sshd: \x1b[2J"
    (place.specs / f"{name}.spec").write_text("tcp://me@h:1")

    place.discovery.lookup(name)

    [message] = caplog.messages
    assert message.isprintable()


def test_an_error_shows_only_the_beginning_of_a_file_that_is_no_spec(
    place: PluginDirectories,
) -> None:
    """A link may lead to a file with secrets, such as /etc/shadow."""
    (place.elsewhere / "shadow").write_text("root:$y$j9T$" + "secret-hash" * 5 + ":19000:0:::\n")
    (place.specs / "a.spec").symlink_to(place.elsewhere / "shadow")

    with pytest.raises(SpecError) as caught:
        place.discovery.lookup("a")

    assert "hash" not in f"{caught.value} {caught.value!r}"
