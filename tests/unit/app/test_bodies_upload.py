"""A body that is sent as it is read: its chunks, its length, and whether it can be sent again."""

import contextlib
import gzip
import io
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from moby_plugins.app.bodies import STEP_BYTES, Upload
from tests.cases import every


class Pipe(io.RawIOBase):
    """A file that cannot be rewound, giving what it is asked for or less."""

    def __init__(self, data: bytes) -> None:
        self._rest = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._rest.readinto(memoryview(buffer)[:5])


def chunks(*parts: bytes) -> Iterator[bytes]:
    """A one-shot iterator of these parts."""
    yield from parts


@every(
    ("data", "expected", "length"),
    [
        (lambda: io.BytesIO(b"0123456789"), [b"0123456789"], 10),
        (lambda: io.BytesIO(b""), [], 0),
        (lambda: io.BytesIO(b"x" * (STEP_BYTES + 1)), [b"x" * STEP_BYTES, b"x"], STEP_BYTES + 1),
        (lambda: Pipe(b"01234567"), [b"01234", b"567"], None),
        (lambda: chunks(b"one", b"", b"two"), [b"one", b"", b"two"], None),
        (lambda: [b"one", b"two"], [b"one", b"two"], None),
        (lambda: (bytearray(b"one"), memoryview(b"two")), [b"one", b"two"], None),
    ],
    ids=["file", "empty file", "large file", "pipe", "iterator", "list", "other bytes"],
)
def test_data_is_sent_in_chunks_with_its_length_where_that_is_known(
    data: Callable[[], BinaryIO | Iterable[bytes]], expected: list[bytes], length: int | None
) -> None:
    """Files have a length and are read in steps; items of iterables are sent as they are."""
    upload = Upload(data())

    assert upload.length == length
    assert list(upload) == expected
    assert upload.error is None


def test_a_file_is_sent_from_its_current_position_and_left_open(tmp_path: Path) -> None:
    """Bytes before the position are not part of the body, and the caller closes the file."""
    (tmp_path / "f").write_bytes(b"0123456789")
    with (tmp_path / "f").open("rb") as file:
        file.seek(4)
        upload = Upload(file)

        assert (upload.length, file.tell()) == (6, 4)
        assert b"".join(upload) == b"456789"
        assert not file.closed


def test_a_file_whose_position_is_beyond_its_end_is_an_empty_body(tmp_path: Path) -> None:
    """No byte is left to send, and the position of the file does not change."""
    (tmp_path / "f").write_bytes(b"0123456789")
    with (tmp_path / "f").open("rb") as file:
        file.seek(110)
        upload = Upload(file)

        part = upload.part()
        assert (upload.length, part and part.room) == (0, 0)
        assert list(upload) == []
        assert file.tell() == 110


def test_a_file_that_grows_is_sent_to_its_announced_length() -> None:
    """Bytes that are written after the length was determined are not sent."""
    file = io.BytesIO(b"abc")
    upload = Upload(file)
    file.seek(0, io.SEEK_END)
    file.write(b"def")
    file.seek(0)

    assert b"".join(upload) == b"abc"


def test_a_file_that_shrinks_is_an_error() -> None:
    """If there are fewer bytes than announced, a ValueError is raised."""
    file = io.BytesIO(b"0123456789")
    upload = Upload(file)
    file.truncate(4)

    with pytest.raises(ValueError, match=r"^the file became shorter by 6 bytes while it was sent$"):
        list(upload)
    assert isinstance(upload.error, ValueError)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (["text"].copy, "str"),
        (bytearray(b"x").copy, "int"),
        (partial(io.StringIO, "text"), "str"),
        ([None].copy, "NoneType"),
    ],
)
def test_an_item_of_a_body_that_is_not_bytes_is_an_error(
    data: Callable[[], Any], kind: str
) -> None:
    """Text, numbers and None raise a TypeError that names their type."""
    upload = Upload(data())

    with pytest.raises(TypeError, match=rf"^a body must yield bytes, not {kind}$") as caught:
        list(upload)
    assert upload.error is caught.value


@pytest.mark.parametrize("error", [OSError("disk"), KeyboardInterrupt()])
def test_an_exception_from_reading_the_data_is_raised_and_stored_as_the_uploads_error(
    error: BaseException,
) -> None:
    """An exception of the caller's data can be distinguished from an error of the plugin."""

    def failing() -> Iterator[bytes]:
        yield b"one"
        raise error

    upload = Upload(failing())
    with pytest.raises(type(error)) as caught:
        list(upload)

    assert caught.value is error
    assert upload.error is error


def test_an_upload_that_a_transport_stops_reading_has_no_error() -> None:
    """Stopping half-way is not an error of the caller's data."""
    upload = Upload([b"one", b"two"])
    sending = iter(upload)
    assert next(sending) == b"one"

    del sending

    assert upload.error is None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A regular file of ten bytes."""
    (tmp_path / "f").write_bytes(b"0123456789")
    return tmp_path / "f"


@pytest.mark.parametrize(("mode", "buffering"), [("rb", -1), ("rb", 0), ("r+b", -1), ("r+b", 0)])
def test_an_upload_of_a_regular_file_gives_its_descriptor_and_range(
    mode: str, buffering: int, path: Path
) -> None:
    """A transport can then let the operating system send the file without reading it."""
    with path.open(mode, buffering) as opened:
        file = cast("BinaryIO", opened)
        assert file.read(3) == b"012"
        part = Upload(file).part()

        assert part is not None
        assert (part.fileno(), part.offset, part.room) == (file.fileno(), 3, 7)


class Upper(io.FileIO):
    """A file whose ``read`` returns other bytes than its descriptor has."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size).upper()


def zipped(path: Path) -> Any:
    """A compressed file, whose descriptor has other bytes than it gives."""
    path.write_bytes(gzip.compress(b"0123456789"))
    return gzip.GzipFile(path)


NOT_REGULAR: dict[str, Callable[[Path], Any]] = {
    "in memory": lambda path: io.BytesIO(path.read_bytes()),
    "an iterator": lambda _: chunks(b"one"),
    "compressed": zipped,
    "derived": Upper,
    "around a derived one": lambda path: io.BufferedReader(Upper(path)),
    "around another": lambda path: tempfile.NamedTemporaryFile(dir=path.parent),  # noqa: SIM115
    "written alone": lambda path: path.open("ab", 0),
    "a device": lambda _: Path("/dev/zero").open("rb"),  # noqa: SIM115
    "a pipe": lambda _: Pipe(b"one"),
}


@pytest.mark.parametrize("kind", NOT_REGULAR)
def test_an_upload_of_other_data_gives_no_descriptor(kind: str, path: Path) -> None:
    """Reading such data may return other bytes than its descriptor has, if it has one."""
    data = NOT_REGULAR[kind](path)
    with data if isinstance(data, io.IOBase) else contextlib.nullcontext():
        assert Upload(data).part() is None


@pytest.mark.parametrize("taken", [0, 4, 7])
def test_the_rest_of_a_file_that_was_partly_sent_by_its_descriptor_is_read(
    taken: int, path: Path
) -> None:
    """Reading goes on after the bytes that were sent, up to the end of the file."""
    with path.open("rb") as file:
        file.seek(3)
        upload = Upload(file)
        part = upload.part()
        assert part is not None
        part.take(taken)

        assert b"".join(upload) == b"0123456789"[3 + taken :]
        assert file.tell() == 10


def test_the_error_for_a_file_that_became_shorter_counts_the_missing_bytes(path: Path) -> None:
    """Bytes that were sent by the file's descriptor do not count as missing."""
    with path.open("rb") as file:
        upload = Upload(file)
        part = upload.part()
        assert part is not None
        part.take(3)
        os.truncate(path, 5)

        with pytest.raises(ValueError, match=r"^the file became shorter by 5 bytes while it"):
            list(upload)


def test_a_file_is_sent_whole_again_after_a_part_was_sent_by_its_descriptor(path: Path) -> None:
    """Each attempt begins at the position that the file had at first."""
    with path.open("rb") as file:
        file.seek(2)
        upload = Upload(file)
        for _ in range(2):
            part = upload.part()
            assert part is not None
            assert (part.offset, part.room) == (2, 8)
            part.take(5)
            assert upload.rewind()

        assert file.tell() == 2
        assert b"".join(upload) == b"23456789"


def test_after_an_upload_the_position_of_a_file_is_the_end_of_the_bytes_sent(path: Path) -> None:
    """Bytes that were sent by its descriptor count, too; a file that is closed is left alone."""
    with path.open("rb") as file:
        for take in (0, 4):
            upload = Upload(file)
            part = upload.part()
            assert part is not None
            part.take(take)
            upload.end()

            assert file.tell() == take
    upload.end()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (lambda: io.BytesIO(b"0123456789"), (True, True)),
        (lambda: [b"01234", b"56789"], (True, True)),
        (lambda: Pipe(b"0123456789"), (True, False)),
        (lambda: chunks(b"01234", b"56789"), (True, False)),
    ],
    ids=["file", "list", "pipe", "iterator"],
)
def test_a_body_can_be_sent_again_if_it_is_unread_or_can_be_read_again(
    data: Callable[[], BinaryIO | Iterable[bytes]], expected: tuple[bool, bool]
) -> None:
    """After a part was read, files can be rewound and lists start again; pipes cannot."""
    upload = Upload(data())

    untouched = upload.rewind()
    next(iter(upload))
    touched = upload.rewind()

    assert (untouched, touched) == expected
    if touched:
        assert b"".join(upload) == b"0123456789"


def test_a_file_is_rewound_to_the_position_that_it_had_at_first() -> None:
    """Bytes before that position are not part of the body."""
    file = io.BytesIO(b"0123456789")
    file.seek(7)
    upload = Upload(file)
    list(upload)

    assert upload.rewind()
    assert file.tell() == 7
