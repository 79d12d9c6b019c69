"""What a managed plugin prints: lines that its engine reads to their end."""

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
def test_lines_that_are_short_stay_as_they_are(text: str) -> None:
    """Whatever is in them."""
    assert written(text) == text.encode()


@pytest.mark.parametrize("size", [MAX_LINE + 1, 200_000])
def test_a_long_line_becomes_several(size: int) -> None:
    """Nothing of it is lost."""
    data = written("x" * size + "\nend\n")

    assert max(map(len, data.split(b"\n"))) == MAX_LINE
    assert data.count(b"x") == size
    assert data.endswith(b"x\nend\n")


def test_a_line_in_pieces_is_one_line() -> None:
    """As ``print`` writes it, the end by itself."""
    data = written(*["x" * 1000] * 5, "\n", "y")

    assert data == b"x" * 4000 + b"\n" + b"x" * 1000 + b"\ny"


def test_no_line_has_more_bytes_than_an_engine_reads() -> None:
    """Of characters of four bytes too, and of what is not a character."""
    data = written("\U0001f433" * 20_000, "\udcff" * 20_000)

    assert max(map(len, data.split(b"\n"))) < 64 << 10
