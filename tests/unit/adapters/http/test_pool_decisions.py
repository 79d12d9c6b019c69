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
    """A connection that is readable or not, as the test says."""

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
def test_an_idle_connection_that_cannot_be_used_is_replaced(
    dialled_by: int, *, readable: bool, replaced: bool
) -> None:
    """It is stale if it is readable, or if another process opened it."""
    assert is_stale((dialled_by, Quiet(readable=readable)), 7) is replaced


def test_dialling_is_bounded_even_without_a_timeout() -> None:
    """A time-out that has passed already is an error at once."""
    assert dial_time(None) == DIAL_TIMEOUT
    with pytest.raises(TimeoutError):
        dial_time(0.0)
