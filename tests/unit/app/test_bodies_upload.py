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
    """Files have a length and are read piece by piece; what is iterable comes as it is."""
    upload = Upload(data())

    assert upload.length == length
    assert list(upload) == expected
    assert upload.error is None


def test_a_file_is_sent_from_where_it_stands_and_left_open(tmp_path: Path) -> None:
    """What was read before is not part of the body, and the file stays the caller's."""
    (tmp_path / "f").write_bytes(b"0123456789")
    with (tmp_path / "f").open("rb") as file:
        file.seek(4)
        upload = Upload(file)

        assert (upload.length, file.tell()) == (6, 4)
        assert b"".join(upload) == b"456789"
        assert not file.closed


def test_a_file_that_stands_beyond_its_end_is_empty(tmp_path: Path) -> None:
    """No byte of it is left to send, and it stays where it stood."""
    (tmp_path / "f").write_bytes(b"0123456789")
    with (tmp_path / "f").open("rb") as file:
        file.seek(110)
        upload = Upload(file)

        part = upload.part()
        assert (upload.length, part and part.room) == (0, 0)
        assert list(upload) == []
        assert file.tell() == 110


def test_a_file_that_grows_is_sent_to_its_announced_length() -> None:
    """The length was told before; what is written later is not sent."""
    file = io.BytesIO(b"abc")
    upload = Upload(file)
    file.seek(0, io.SEEK_END)
    file.write(b"def")
    file.seek(0)

    assert b"".join(upload) == b"abc"


def test_a_file_that_shrinks_is_an_error() -> None:
    """Fewer bytes than announced cannot be a whole body."""
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
def test_what_is_not_bytes_is_an_error(data: Callable[[], Any], kind: str) -> None:
    """Text has no form on the wire."""
    upload = Upload(data())

    with pytest.raises(TypeError, match=rf"^a body must yield bytes, not {kind}$") as caught:
        list(upload)
    assert upload.error is caught.value


@pytest.mark.parametrize("error", [OSError("disk"), KeyboardInterrupt()])
def test_what_reading_raises_passes_and_is_remembered(error: BaseException) -> None:
    """The caller's own exception can be told from the plugin's."""

    def failing() -> Iterator[bytes]:
        yield b"one"
        raise error

    upload = Upload(failing())
    with pytest.raises(type(error)) as caught:
        list(upload)

    assert caught.value is error
    assert upload.error is error


def test_giving_up_half_way_is_no_error_of_the_data() -> None:
    """A transport that stops reading leaves no error behind."""
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
def test_a_regular_file_need_not_be_read(mode: str, buffering: int, path: Path) -> None:
    """It tells its descriptor, and where what is to be sent of it begins and ends."""
    with path.open(mode, buffering) as opened:
        file = cast("BinaryIO", opened)
        assert file.read(3) == b"012"
        part = Upload(file).part()

        assert part is not None
        assert (part.fileno(), part.offset, part.room) == (file.fileno(), 3, 7)


class Upper(io.FileIO):
    """A file that is read as something else than what it has."""

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
def test_other_data_has_to_be_read(kind: str, path: Path) -> None:
    """What the descriptor has may not be what reading gives, or there is none."""
    data = NOT_REGULAR[kind](path)
    with data if isinstance(data, io.IOBase) else contextlib.nullcontext():
        assert Upload(data).part() is None


@pytest.mark.parametrize("taken", [0, 4, 7])
def test_what_was_not_taken_of_a_file_is_read(taken: int, path: Path) -> None:
    """To the end, where the file then stands."""
    with path.open("rb") as file:
        file.seek(3)
        upload = Upload(file)
        part = upload.part()
        assert part is not None
        part.take(taken)

        assert b"".join(upload) == b"0123456789"[3 + taken :]
        assert file.tell() == 10


def test_a_file_that_became_shorter_is_told_by_what_is_missing(path: Path) -> None:
    """As where all of it is read."""
    with path.open("rb") as file:
        upload = Upload(file)
        part = upload.part()
        assert part is not None
        part.take(3)
        os.truncate(path, 5)

        with pytest.raises(ValueError, match=r"^the file became shorter by 5 bytes while it"):
            list(upload)


def test_a_file_is_sent_whole_again_after_a_part_was_taken(path: Path) -> None:
    """Each attempt begins where the file stood at first."""
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


def test_a_file_stands_where_what_was_sent_of_it_ends(path: Path) -> None:
    """As far as it was taken, also where it is not read any further; one that is closed is left."""
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
def test_a_body_can_be_sent_again_unless_a_part_of_it_is_gone(
    data: Callable[[], BinaryIO | Iterable[bytes]], expected: tuple[bool, bool]
) -> None:
    """Whole before it is touched; afterwards only what can be rewound or starts again."""
    upload = Upload(data())

    untouched = upload.rewind()
    next(iter(upload))
    touched = upload.rewind()

    assert (untouched, touched) == expected
    if touched:
        assert b"".join(upload) == b"0123456789"


def test_a_file_is_rewound_to_where_it_stood_at_first() -> None:
    """Not to its beginning, which is not part of the body."""
    file = io.BytesIO(b"0123456789")
    file.seek(7)
    upload = Upload(file)
    list(upload)

    assert upload.rewind()
    assert file.tell() == 7
