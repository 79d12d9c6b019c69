"""What a pool decides about its connections, without any socket."""

import pytest

from moby_plugins.adapters.http.exchanges import Release
from moby_plugins.adapters.http.pool import (
    DIAL_TIMEOUT,
    dial_time,
    is_stale,
)
from moby_plugins.domain.http import Request, Response


class Quiet:
    """A connection on which something came, or nothing."""

    def __init__(self, *, readable: bool) -> None:
        self._readable = readable

    def send(self, request: Request, ends: float | None) -> bool:
        """Nothing is sent here."""
        raise NotImplementedError

    def receive(self, release: Release, *, whole: bool) -> Response:
        """And nothing received."""
        raise NotImplementedError

    def is_readable(self) -> bool:
        """As it was told."""
        return self._readable

    def close(self) -> None:
        """Hang up."""


@pytest.mark.parametrize(
    ("dialled_by", "readable", "replaced"),
    [(7, False, False), (7, True, True), (6, False, True)],
    ids=["idle", "an end, or a stray byte", "of a parent process"],
)
def test_what_cannot_be_used_is_replaced(
    dialled_by: int, *, readable: bool, replaced: bool
) -> None:
    """One that is quiet and of this process serves; any other gives way to a new one."""
    assert is_stale((dialled_by, Quiet(readable=readable)), 7) is replaced


def test_a_dial_has_a_bound_of_its_own() -> None:
    """Without a time-out too; one that has passed is an error at once."""
    assert dial_time(None) == DIAL_TIMEOUT
    with pytest.raises(TimeoutError):
        dial_time(0.0)
