"""Loops in fake time, on each of which the rules of tasks hold."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from moby_plugins.testing import FakeTimeLoop
from tests.unit.app.aio.in_tasks import LOOPS


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> Iterator[FakeTimeLoop]:
    """A loop on which nothing is reported to its exception handler."""
    reported: list[dict[str, object]] = []
    with closing(LOOPS[request.param]()) as made:
        made.set_exception_handler(lambda _, context: reported.append(context))
        yield made
    assert reported == []
