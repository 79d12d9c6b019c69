"""Empty chunks in a body: as many as one likes, but not for ever.

That each place where a body is read ends is told in ``integration/hostile``: it takes a million
chunks each time.
"""

from itertools import repeat

import pytest

from moby_plugins.domain.http import Response, checked_chunks

ENDLESS = "a body yields no bytes: 1,000,000 empty chunks in a row"


def test_empty_chunks_without_end_are_an_error() -> None:
    """The body's end does not come, so its reader is told."""
    with pytest.raises(ValueError, match=ENDLESS):
        for _ in checked_chunks(repeat(b"")):
            pass


def test_what_is_no_bytes_is_no_chunk() -> None:
    """Text above all."""
    with pytest.raises(TypeError, match="a body is made of bytes, not of str"):
        Response(200, ["text"]).body.read(1)  # type: ignore[list-item]  # the point
