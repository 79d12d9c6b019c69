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
def test_characters_that_would_move_the_cursor_are_escaped(text: str, shown: str) -> None:
    """Control characters, text direction overrides and surrogates are escaped; line feeds stay."""
    assert printable(text) == shown


def test_plain_columns_are_as_wide_as_their_longest_cell() -> None:
    """No cell is cut, no line ends with spaces, and a line feed in a cell becomes a space."""
    table = Table(("name", "address"))
    table.add("a", Cell("tcp://" + "h" * 100, BAD))
    table.add("longer", "x\ny")

    assert [*plain_columns(table)] == [
        "NAME    ADDRESS",
        "a       tcp://" + "h" * 100,
        "longer  x y",
    ]


def test_an_empty_table_in_a_pipe_is_a_plain_heading(capsys: pytest.CaptureFixture[str]) -> None:
    """Output to a pipe has no styles; a table without rows prints its heading alone."""
    show_table(Table(("name", "found")))

    assert capsys.readouterr().out == "NAME  FOUND\n"


def test_a_field_of_several_lines_is_indented_below_its_first_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The label is printed once, and the lines of the value are aligned."""
    show_fields([("name", "a"), ("hides", Cell("one\ntwo", BAD))])

    assert capsys.readouterr().out == "name   a\nhides  one\n       two\n"


def test_a_drawn_table_has_the_same_headings_and_cells() -> None:
    """``drawn`` makes a table of the library Rich, which can be drawn elsewhere."""
    table = Table(("name", "state"))
    table.add("a", Cell("dead", BAD))

    shape = drawn(table)

    assert [column.header for column in shape.columns] == ["name", "state"]
    assert [str(cell) for column in shape.columns for cell in column.cells] == ["a", "dead"]


def test_printed_json_is_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    """Other characters are escaped, so that a program can read the JSON in any locale."""
    show_json({"name": "ü\x1b\udcff"})

    said = capsys.readouterr().out
    assert said.isascii()
    assert json.loads(said) == {"name": "ü\x1b\udcff"}


def test_an_error_is_one_message_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters in the message are escaped; an interrupt by Ctrl-C prints nothing."""
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
def test_a_terminal_gets_styled_output_unless_term_or_no_color_forbids_it(
    environment: dict[str, str], *, drawn_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``TERM=dumb`` and a ``NO_COLOR`` that is not empty mean plain text, and so does a pipe."""
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert is_terminal(Terminal()) is drawn_on
    assert not is_terminal(io.StringIO())


def test_a_status_in_a_pipe_is_a_line_for_each_change() -> None:
    """A change of the time left alone prints no line."""
    stream = io.StringIO()
    line = StatusLine(stream)

    line.say("missing", " (3 s left)")
    line.say("missing", " (2 s left)")
    line.say("stale\nsocket\x1b")
    line.clear()

    assert stream.getvalue() == "missing\nstale socket\\x1b\n"


def test_the_progress_of_a_file_counts_reads_and_no_seeks() -> None:
    """Seeking to the end and back, to measure the file's length, is not reported as progress."""
    told: list[int] = []
    file = cast("BinaryIO", FileWithProgress(io.BytesIO(b"content"), told.append))

    upload = Upload(file)
    assert (upload.length, told) == (7, [])

    assert b"".join(upload) == b"content"
    assert upload.rewind()
    assert file.read(3) == b"con"
    assert (told, file.tell()) == ([7, 3], 3)


def test_without_a_terminal_a_file_has_no_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    """``watched`` then gives the file itself, and prints nothing."""
    file = io.BytesIO(b"content")

    with watched(file) as same:
        assert same is file

    assert capsys.readouterr().err == ""
