"""Fixtures for tests over real sockets."""

import signal
import threading
import time
from collections.abc import Iterator

import pytest
from attrs import evolve

from moby_plugins import RetryPolicy, Settings
from moby_plugins.app.settings import BUILT_IN
from tests.integration.loops import TRANSPORTS, settings_over

# Seconds until a thread that ends by itself has ended: idle workers take one.
ENDED = 5.0


@pytest.fixture(scope="session", autouse=True)
def signals_of_children() -> Iterator[None]:
    """Children react to a terminal's signals although the tests run under ``nohup``, or with ``&``.

    What a process ignores, those that it starts ignore too; what it handles has its default action
    in them. So what is ignored here gets a handler that does nothing.
    """
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
    ignored = [each for each in numbers if signal.getsignal(each) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, lambda *_: None)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture(scope="module", autouse=True)
def no_threads_left() -> Iterator[None]:
    """Fail the module that leaves threads: they would be counted against the next ones."""
    before = set(threading.enumerate())
    yield
    ends = time.monotonic() + ENDED
    while (left := set(threading.enumerate()) - before) and time.monotonic() < ends:
        time.sleep(0.01)
    assert not left, f"{len(left)} threads are left"


@pytest.fixture(params=TRANSPORTS)
def settings(request: pytest.FixtureRequest) -> Iterator[Settings]:
    """All defaults, but each transport in turn for every scheme, the asynchronous one too."""
    with settings_over(request.param) as those:
        yield those


@pytest.fixture(params=sorted(BUILT_IN))
def built_in(request: pytest.FixtureRequest) -> Iterator[Settings]:
    """The same, but for the built-in transports of synchronous hosts alone."""
    with settings_over(request.param) as those:
        yield those


@pytest.fixture
def once(settings: Settings) -> Settings:
    """The same, without a second attempt."""
    return evolve(settings, retry=RetryPolicy.never())
