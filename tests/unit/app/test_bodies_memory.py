"""The memory that reading a response takes, also if it arrives in small pieces."""

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


def test_a_response_in_tiny_chunks_takes_less_than_three_times_its_size_in_memory() -> None:
    """A plugin cannot multiply the memory that a response takes by sending it in tiny chunks."""
    tracemalloc.start()
    try:
        whole = read_limited(Crumbs(SIZE), SIZE)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert len(whole) == SIZE
    assert peak < 3 * SIZE, f"{peak:,} bytes"
