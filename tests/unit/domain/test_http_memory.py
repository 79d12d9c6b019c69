"""What reading a request costs in memory, however small the pieces it comes in."""

import tracemalloc

from moby_plugins.domain.http import Request

SIZE = 32 << 10


def test_a_request_in_tiny_chunks_takes_little_more_memory_than_its_size() -> None:
    """Reading a body in chunks of two bytes takes less than three times the size of the body."""
    request = Request("M.x", (left.to_bytes(8, "little")[:2] for left in range(SIZE // 2)))
    tracemalloc.start()
    try:
        body = request.read()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert len(body) == SIZE
    assert peak < 3 * SIZE, f"{peak:,} bytes"
