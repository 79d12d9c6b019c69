"""What reading an answer costs in memory, however small the pieces it comes in."""

import tracemalloc

from moby_plugins.app.bodies import read_limited

SIZE = 32 << 10


class Crumbs:
    """A body that comes in pieces of two bytes."""

    def __init__(self, size: int) -> None:
        self._left = size

    def read(self, _: int, /) -> bytes:
        if not self._left:
            return b""
        self._left -= 2
        return self._left.to_bytes(8, "little")[:2]

    def close(self) -> None:
        """Nothing to give back."""


def test_crumbs_take_no_more_memory_than_a_loaf() -> None:
    """A plugin that sends its answer in tiny chunks does not multiply what the answer takes."""
    tracemalloc.start()
    try:
        whole = read_limited(Crumbs(SIZE), SIZE)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert len(whole) == SIZE
    assert peak < 3 * SIZE, f"{peak:,} bytes"
