"""The descriptors, threads and memory of a process, from /proc."""

import os
from pathlib import Path

from attrs import frozen

PAGE = os.sysconf("SC_PAGE_SIZE")


@frozen
class Footprint:
    """Open descriptors, threads, and bytes in memory."""

    descriptors: int
    threads: int
    memory: int


def footprint(process: int) -> Footprint:
    """Return the present footprint of a process."""
    directory = Path(f"/proc/{process}")
    return Footprint(
        len(list((directory / "fd").iterdir())),
        len(list((directory / "task").iterdir())),
        int((directory / "statm").read_text().split()[1]) * PAGE,
    )
