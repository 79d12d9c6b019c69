"""The output of a managed plugin: lines that are short enough for its engine to read."""

import io

import pytest

from moby_plugins.adapters.server.managed_process import MAX_LINE, BoundedLines
from tests.cases import every


def written(*texts: str) -> bytes:
    """What a stream makes of texts that are written one after the other."""
    buffer = io.BytesIO()
    stream = BoundedLines(buffer)
    for text in texts:
        assert stream.write(text) == len(text)
    stream.detach()
    return buffer.getvalue()


@every("text", ["", "a\n", "a\nb", "\n\n", "é\u2028x\r\n", "x" * MAX_LINE + "\n"])
def test_short_lines_are_written_unchanged(text: str) -> None:
    """Lines of up to ``MAX_LINE`` characters pass as they are, whatever is in them."""
    assert written(text) == text.encode()


@pytest.mark.parametrize("size", [MAX_LINE + 1, 200_000])
def test_a_long_line_is_broken_into_several(size: int) -> None:
    """None has more than ``MAX_LINE`` characters, and no text is lost."""
    data = written("x" * size + "\nend\n")

    assert max(map(len, data.split(b"\n"))) == MAX_LINE
    assert data.count(b"x") == size
    assert data.endswith(b"x\nend\n")


def test_a_line_that_is_written_in_pieces_stays_one_line() -> None:
    """``print`` writes the text and the line's end separately."""
    data = written(*["x" * 1000] * 5, "\n", "y")

    assert data == b"x" * 4000 + b"\n" + b"x" * 1000 + b"\ny"


def test_no_line_has_more_bytes_than_an_engine_reads() -> None:
    """Each has less than 64 KiB, also with characters of four bytes and lone surrogates."""
    data = written("\U0001f433" * 20_000, "\udcff" * 20_000)

    assert max(map(len, data.split(b"\n"))) < 64 << 10
