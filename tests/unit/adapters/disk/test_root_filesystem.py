"""Root file systems, extracted from directories and tars of others, and packed again."""

import io
import os
import socket
import stat
import tarfile
from pathlib import Path

import pytest

from moby_plugins import SpecError
from moby_plugins.adapters.disk.root_filesystem import (
    MAX_BYTES,
    MAX_ENTRIES,
    EntryWriter,
    entries_of_directory,
    entries_of_tar,
    open_file,
    open_tar,
    packed,
    packed_size,
    remove_tree,
)


def tar_of(*members: tuple[str, dict[str, object]], content: bytes = b"") -> io.BytesIO:
    """A tar of members with these attributes; a regular file has ``content``."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, attributes in members:
            info = tarfile.TarInfo(name)
            info.mode = 0o755
            for key, value in attributes.items():
                setattr(info, key, value)
            data = content if info.isreg() else b""
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    file.seek(0)
    return file


DIRECTORY: dict[str, object] = {"type": tarfile.DIRTYPE}


def link(target: str) -> dict[str, object]:
    """A symbolic link's attributes."""
    return {"type": tarfile.SYMTYPE, "linkname": target}


@pytest.fixture
def root(short_path: Path) -> Path:
    """An empty directory to lay out in, with nothing of others above it."""
    path = short_path / "a" / "root"
    path.mkdir(parents=True)
    return path


def lay(
    root: Path, file: io.BytesIO, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES
) -> EntryWriter:
    """Lay out a tar."""
    writer = EntryWriter(str(root), "root.tar", max_entries, max_bytes)
    writer.write_all(entries_of_tar(file, "root.tar"))
    writer.finish()
    return writer


def test_the_members_of_a_tar_are_extracted(root: Path) -> None:
    """They are files, directories, and both kinds of links, with their modes."""
    file = tar_of(
        ("./", DIRECTORY),
        ("./usr/bin/x", {"mode": 0o4755}),
        ("etc", DIRECTORY | {"mode": 0o500}),
        ("etc/y", {"mode": 0o400}),
        ("bin", link("usr/bin")),
        ("abs", link("/etc/y")),
        ("z", {"type": tarfile.LNKTYPE, "linkname": "./usr/bin/x"}),
        content=b"content",
    )

    assert lay(root, file).dropped == []

    assert (root / "usr/bin/x").read_bytes() == b"content"
    assert stat.S_IMODE((root / "usr/bin/x").stat().st_mode) == 0o4755
    assert stat.S_IMODE((root / "etc").stat().st_mode) == 0o500
    assert (root / "bin").readlink() == Path("usr/bin")
    assert (root / "abs").readlink() == Path("/etc/y")
    assert (root / "z").samefile(root / "usr/bin/x")


@pytest.mark.parametrize(
    "members",
    [
        [("../evil", {})],
        [("a/../../evil", {})],
        [("out", link("..")), ("out/evil", {})],
        [("out", link("/")), ("out/tmp/evil-of-a-test", {})],
        [("evil", {"type": tarfile.LNKTYPE, "linkname": "../secret"})],
        [("out", link("..")), ("evil", {"type": tarfile.LNKTYPE, "linkname": "out/secret"})],
        [("out", link("..")), ("out", DIRECTORY), ("out/evil", {})],
        [("a", DIRECTORY), ("a", link("..")), ("a/evil", {})],
        [("a", {}), ("a/b", {})],
    ],
)
def test_a_tar_member_that_leads_out_of_the_directory_is_refused(
    root: Path, members: list[tuple[str, dict[str, object]]]
) -> None:
    """It may do so by its name or through an earlier link; nothing is written outside."""
    secret = root.parent / "secret"
    secret.write_text("secret")

    with pytest.raises(SpecError, match=r"root\.tar: .* cannot be created"):
        lay(root, tar_of(*members))

    assert {*root.parent.iterdir()} == {root, secret}
    assert not any(path.samefile(secret) for path in root.rglob("*") if path.is_file())


def test_a_tar_member_with_an_absolute_name_is_extracted_inside(root: Path) -> None:
    """Its leading slash is dropped, as every tar program does."""
    lay(root, tar_of(("/etc/x", {}), content=b"1"))

    assert (root / "etc/x").read_bytes() == b"1"


def test_a_tar_member_replaces_an_earlier_link_and_not_the_links_target(root: Path) -> None:
    """The last of two members with one name counts."""
    secret = root.parent / "secret"
    secret.write_text("secret")

    lay(root, tar_of(("x", link("../secret")), ("x", {}), content=b"new"))

    assert secret.read_text() == "secret"
    assert (root / "x").read_bytes() == b"new"


def test_devices_and_fifos_are_left_out(root: Path) -> None:
    """They have no use in a plugin, and only root could make devices."""
    file = tar_of(
        ("dev/null", {"type": tarfile.CHRTYPE}),
        ("dev/sda", {"type": tarfile.BLKTYPE}),
        ("fifo", {"type": tarfile.FIFOTYPE}),
        ("odd", {"type": b"Z"}),
    )

    assert lay(root, file).dropped == ["dev/null", "dev/sda", "fifo", "odd"]
    assert [*root.iterdir()] == []


def test_entries_and_bytes_of_a_tar_are_bounded_before_they_are_written(root: Path) -> None:
    """A tar may claim any size for a file."""
    with pytest.raises(SpecError, match="more than 2 entries"):
        lay(root, tar_of(*((f"f{n}", {}) for n in range(3))), max_entries=2)
    with pytest.raises(SpecError, match="or 10 bytes"):
        lay(root, tar_of(("large", {}), content=b"x" * 11), max_bytes=10)

    assert not (root / "large").exists()


@pytest.mark.parametrize("cut", [100, 700, 1500])
def test_a_tar_that_is_cut_off_is_refused(root: Path, cut: int) -> None:
    """It may be cut off within a member's header or within its content."""
    data = tar_of(("a", {}), content=b"x" * 2000).getvalue()[:cut]

    with pytest.raises(SpecError, match=r"root\.tar"):
        lay(root, io.BytesIO(data))


@pytest.mark.parametrize("data", [b"", b"hello", b"\x1f\x8b\x08\x00garbage", bytes(10)])
def test_a_file_that_is_no_tar_is_refused(root: Path, data: bytes) -> None:
    """The error names the file, whatever is in it."""
    with pytest.raises(SpecError, match=r"root\.tar: it cannot be read as a tar"):
        lay(root, io.BytesIO(data))


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz"])
def test_a_tar_may_be_compressed(root: Path, suffix: str) -> None:
    """The formats are gzip, bzip2 and xz, which tools that make root file systems write."""
    plain = tar_of(("x", {}), content=b"1").getvalue()
    module = {"gz": "gzip", "bz2": "bz2", "xz": "lzma"}[suffix]

    lay(root, io.BytesIO(__import__(module).compress(plain)))

    assert (root / "x").read_bytes() == b"1"


def test_names_in_a_tar_need_not_be_utf_8(root: Path) -> None:
    """The bytes of a name are extracted as they are."""
    name = os.fsdecode(b"caf\xe9")
    file = tar_of((name, {}), content=b"1")

    lay(root, file)

    assert os.listdir(os.fsencode(root)) == [b"caf\xe9"]


def test_a_directory_is_copied_without_following_symbolic_links(
    root: Path, short_path: Path
) -> None:
    """They are copied as links, hard links stay hard links, and FIFOs and sockets are left out."""
    source = short_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "file").write_text("content")
    os.link(source / "deep" / "file", source / "other")
    (source / "loop").symlink_to("loop")
    (source / "up").symlink_to("../..")
    os.mkfifo(source / "fifo")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(source / "socket"))

    writer = EntryWriter(str(root), str(source))
    writer.write_all(entries_of_directory(str(source)))
    writer.finish()

    assert sorted(writer.dropped) == ["fifo", "socket"]
    assert (root / "loop").readlink() == Path("loop")
    assert (root / "up").readlink() == Path("../..")
    assert (root / "other").samefile(root / "deep" / "file")


def test_ensure_makes_directories_unless_a_symbolic_link_is_in_the_way(root: Path) -> None:
    """A plugin's program and mounts need them; none is made outside of the root file system."""
    writer = EntryWriter(str(root), "root.tar")
    writer.write_all(entries_of_tar(tar_of(("var", link(".."))), "root.tar"))
    writer.ensure("/run/docker/plugins")
    writer.ensure("/var/lib/x")
    writer.ensure("../x")
    writer.finish()

    assert (root / "run/docker/plugins").is_dir()
    assert {*root.parent.iterdir()} == {root}


def plugin_in(directory: Path) -> Path:
    """A plugin's directory with some files."""
    root = directory / "rootfs"
    (root / "bin").mkdir(parents=True)
    (directory / "config.json").write_text("{}")
    (root / "bin" / "x").write_bytes(b"x" * 700)
    os.link(root / "bin" / "x", root / "hard")
    (root / "soft").symlink_to("/bin/x")
    (root / ("long" * 40)).write_text("1")
    Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9")).write_text("1")
    os.mkfifo(root / "fifo")
    return directory


def test_the_packed_plugin_has_the_size_that_was_announced(short_path: Path) -> None:
    """It is a tar of config.json and rootfs, with files, directories and links alone."""
    directory = str(plugin_in(short_path / "p"))

    data = b"".join(packed(directory))

    assert len(data) == packed_size(directory)
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as tar:
        members = {member.name: member for member in tar}
        assert tar.extractfile("config.json").read() == b"{}"  # type: ignore[union-attr]
    names = {"bin", "bin/x", "hard", "soft", "long" * 40, os.fsdecode(b"caf\xe9")}
    assert members.keys() == {"config.json", "rootfs"} | {f"rootfs/{name}" for name in names}
    first, second = members["rootfs/bin/x"], members["rootfs/hard"]
    assert {first.linkname, second.linkname} & {"rootfs/hard", "rootfs/bin/x"}
    assert {member.uid for member in members.values()} == {0}


def test_a_file_that_becomes_shorter_while_it_is_packed_is_an_error(short_path: Path) -> None:
    """Its size was announced already."""
    directory = plugin_in(short_path / "p")
    chunks = packed(str(directory))
    seen = b""
    while b"long" not in seen:
        seen = next(chunks)
    (directory / "rootfs" / ("long" * 40)).write_text("")

    with pytest.raises(SpecError, match="shorter"):
        b"".join(chunks)


@pytest.mark.parametrize("missing", ["config.json", "rootfs"])
def test_a_plugin_without_config_json_or_rootfs_is_not_packed(
    short_path: Path, missing: str
) -> None:
    """The error says which one is missing, and which command makes both."""
    directory = plugin_in(short_path / "p")
    (directory / missing).rename(directory / "other")

    told = f"there is no {missing} as `moby-plugins package` makes it: run that first"
    with pytest.raises(SpecError, match=told):
        packed_size(str(directory))
    (directory / missing).symlink_to(directory / "other")
    with pytest.raises(SpecError, match=f"this is not a {missing} as `moby-plugins package`"):
        packed_size(str(directory))
    with pytest.raises(SpecError, match="No such file"):
        packed_size(str(directory / "none"))


def test_open_file_opens_only_regular_files(short_path: Path) -> None:
    """A FIFO or a directory that has taken the file's place is an error, and is not left open."""
    (short_path / "file").write_bytes(b"a")
    os.mkfifo(short_path / "fifo")
    for other in (short_path, short_path / "fifo"):
        with pytest.raises(OSError, match="it is not a regular file"):
            open_file(str(other))

    with open_file(str(short_path / "file")) as file:
        assert file.read() == b"a"


def test_a_fifo_in_the_place_of_a_tar_is_not_waited_for(short_path: Path) -> None:
    """It is refused, and so is a path that does not exist."""
    os.mkfifo(short_path / "fifo")

    with pytest.raises(SpecError, match="neither a directory nor a file"):
        open_tar(str(short_path / "fifo"))
    with pytest.raises(SpecError, match="No such file"):
        open_tar(str(short_path / "none"))


def test_a_plugin_that_is_too_large_is_not_packed(short_path: Path) -> None:
    """A sparse file of a terabyte is found before anything is read."""
    directory = plugin_in(short_path / "p")
    (directory / "rootfs" / "large").touch()
    os.truncate(directory / "rootfs" / "large", 1 << 40)

    with pytest.raises(SpecError, match="leave out what the plugin does not need"):
        packed_size(str(directory))


def test_a_large_file_of_a_directory_is_refused_before_it_is_read(
    root: Path, short_path: Path
) -> None:
    """A copy of a sparse file of a terabyte would fill the disk."""
    (short_path / "source").mkdir()
    (short_path / "source" / "large").touch()
    os.truncate(short_path / "source" / "large", 1 << 40)

    with pytest.raises(SpecError, match="leave out what the plugin does not need"):
        EntryWriter(str(root), "source").write_all(entries_of_directory(str(short_path / "source")))

    assert [*root.iterdir()] == []


def test_a_path_that_is_too_long_is_a_spec_error(root: Path, short_path: Path) -> None:
    """A tree can be deeper than the longest path that the system accepts."""
    at = os.open(short_path, os.O_RDONLY)
    os.mkdir("deep", dir_fd=at)
    for name in ("deep", *(["d" * 200] * 30)):
        below = os.open(name, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
        os.mkdir("d" * 200, dir_fd=at)
    os.close(at)

    with pytest.raises(SpecError, match="File name too long"):
        EntryWriter(str(root), "deep").write_all(entries_of_directory(str(short_path / "deep")))


def test_a_tree_is_removed_even_if_its_directories_are_read_only(short_path: Path) -> None:
    """The targets of its links are left as they are."""
    other = short_path / "other"
    other.mkdir(mode=0o500)
    tree = short_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "link").symlink_to(other)
    (tree / "a" / "b" / "file").touch()
    (tree / "a" / "b").chmod(0o500)
    (tree / "a").chmod(0o500)

    remove_tree(str(tree))

    assert not tree.exists()
    assert stat.S_IMODE(other.stat().st_mode) == 0o500
