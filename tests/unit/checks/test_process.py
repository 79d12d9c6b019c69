"""What the machine tells of a process, and what it does not."""

import os
from pathlib import Path

import pytest

from moby_plugins.checks.process import LinuxProcess, process_at
from moby_plugins.domain.address import Address

NO_PID = 2**22 + 1  # more than Linux gives


def test_a_process_is_known_by_its_id() -> None:
    """Its time, its descriptors, and that it sees what this process sees."""
    own = LinuxProcess(os.getpid())
    before = own.descriptors()
    with Path(__file__).open():
        more = own.descriptors()

    assert (own.cpu_seconds() or 0) > 0
    assert before is not None
    assert more == before + 1
    assert own.sees(Path(__file__)) is True


def test_what_is_gone_tells_nothing() -> None:
    """A process that has ended is no error."""
    gone = LinuxProcess(NO_PID)

    assert (gone.cpu_seconds(), gone.descriptors(), gone.sees(Path("/"))) == (None, None, None)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "unix:///nowhere/x.sock"])
def test_no_process_is_found_where_none_can_be(address: str) -> None:
    """Behind TCP, or where nothing listens."""
    assert process_at(Address(address)) is None
