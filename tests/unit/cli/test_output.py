"""What commands print, to a pipe; a terminal's look is in tests/integration/cli."""

import io
import json
from typing import BinaryIO, cast

import pytest

from moby_plugins.app.bodies import Upload
from moby_plugins.cli.errors import report
from moby_plugins.cli.output import (
    BAD,
    Cell,
    Table,
    drawn,
    is_terminal,
    plain_columns,
    printable,
    show_fields,
    show_json,
    show_table,
)
from moby_plugins.cli.progress import FileWithProgress, StatusLine, watched
from moby_plugins.domain.errors import SpecError
from tests.cases import every


@every(
    ("text", "shown"),
    [
        ("plain, ü and 漢", "plain, ü and 漢"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("a\rb\tc", "a\\rb\\tc"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202egnp", "\\u202egnp"),
        ("\udcff", "\\udcff"),
        ("a\nb", "a\nb"),
    ],
)
def test_what_would_move_the_cursor_is_written_out(text: str, shown: str) -> None:
    """Control characters, overrides of direction and halves of characters; lines may end."""
    assert printable(text) == shown


def test_columns_are_as_wide_as_they_need_to_be() -> None:
    """Nothing is cut, nothing trails, and a cell is one line."""
    table = Table(("name", "address"))
    table.add("a", Cell("tcp://" + "h" * 100, BAD))
    table.add("longer", "x\ny")

    assert [*plain_columns(table)] == [
        "NAME    ADDRESS",
        "a       tcp://" + "h" * 100,
        "longer  x y",
    ]


def test_a_table_in_a_pipe_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    """A heading and no line where there are no rows."""
    show_table(Table(("name", "found")))

    assert capsys.readouterr().out == "NAME  FOUND\n"


def test_fields_go_on_under_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    """A value of several lines has its label once."""
    show_fields([("name", "a"), ("hides", Cell("one\ntwo", BAD))])

    assert capsys.readouterr().out == "name   a\nhides  one\n       two\n"


def test_a_drawn_table_has_the_cells_and_their_styles() -> None:
    """Rich's own table, which can be drawn elsewhere."""
    table = Table(("name", "state"))
    table.add("a", Cell("dead", BAD))

    shape = drawn(table)

    assert [column.header for column in shape.columns] == ["name", "state"]
    assert [str(cell) for column in shape.columns for cell in column.cells] == ["a", "dead"]


def test_json_is_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the terminal makes of other characters, a program reads them."""
    show_json({"name": "ü\x1b\udcff"})

    said = capsys.readouterr().out
    assert said.isascii()
    assert json.loads(said) == {"name": "ü\x1b\udcff"}


def test_an_error_is_one_message_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Who interrupted a command knows why it ended."""
    report(SpecError("bad\x1b", "/a.spec"))
    report(KeyboardInterrupt())

    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "moby-plugins: /a.spec: bad\\x1b\n")


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "drawn_on"),
    [
        ({}, True),
        ({"TERM": "xterm"}, True),
        ({"TERM": "dumb"}, False),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, True),
    ],
)
def test_a_terminal_is_drawn_on_unless_its_user_objects(
    environment: dict[str, str], *, drawn_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dumb one cannot, and NO_COLOR asks for plain text; a pipe never is one."""
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert is_terminal(Terminal()) is drawn_on
    assert not is_terminal(io.StringIO())


def test_a_status_is_a_line_for_each_change() -> None:
    """What only passes, such as a time, is not a change."""
    stream = io.StringIO()
    line = StatusLine(stream)

    line.say("missing", " (3 s left)")
    line.say("missing", " (2 s left)")
    line.say("stale\nsocket\x1b")
    line.clear()

    assert stream.getvalue() == "missing\nstale socket\\x1b\n"


def test_a_file_is_followed_where_it_is_read_alone() -> None:
    """To go to its end and back, as one does to know its length, is not progress."""
    told: list[int] = []
    file = cast("BinaryIO", FileWithProgress(io.BytesIO(b"content"), told.append))

    upload = Upload(file)
    assert (upload.length, told) == (7, [])

    assert b"".join(upload) == b"content"
    assert upload.rewind()
    assert file.read(3) == b"con"
    assert (told, file.tell()) == ([7, 3], 3)


def test_a_file_in_a_pipe_is_read_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """No bar, and the file itself."""
    file = io.BytesIO(b"content")

    with watched(file) as same:
        assert same is file

    assert capsys.readouterr().err == ""
