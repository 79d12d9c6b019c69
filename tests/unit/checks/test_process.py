"""What Linux reports about a plugin's process, and what it does not."""

import os
from pathlib import Path

import pytest

from moby_plugins.checks.process import LinuxProcess, process_at
from moby_plugins.domain.address import Address

NO_PID = 2**22 + 1  # more than Linux gives


def test_a_process_is_observed_by_its_id() -> None:
    """Processor time, open descriptors and whether the process sees a file can be read."""
    own = LinuxProcess(os.getpid())
    before = own.descriptors()
    with Path(__file__).open():
        more = own.descriptors()

    assert (own.cpu_seconds() or 0) > 0
    assert before is not None
    assert more == before + 1
    assert own.sees(Path(__file__)) is True


def test_nothing_is_known_of_a_process_that_has_ended() -> None:
    """Each value is ``None``, and no error is raised."""
    gone = LinuxProcess(NO_PID)

    assert (gone.cpu_seconds(), gone.descriptors(), gone.sees(Path("/"))) == (None, None, None)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "unix:///nowhere/x.sock"])
def test_no_process_is_found_behind_tcp_or_at_a_missing_socket(address: str) -> None:
    """Only a UNIX socket on which a process listens reveals that process."""
    assert process_at(Address(address)) is None
