"""What is tried again when the system refuses a descriptor; the holders of others are fakes."""

import errno
import gc
import os
import weakref
from collections.abc import Callable

import pytest

from moby_plugins import PluginNotFoundError, Settings, SpecError, TLSOptions, new_client
from moby_plugins.descriptors import (
    Descriptors,
    check_descriptors,
    is_refusal,
    with_descriptors,
)
from moby_plugins.domain.address import Address
from moby_plugins.domain.observing import CallEnded
from moby_plugins.ports import Transport
from moby_plugins.testing import MemoryTransport
from tests.cases import every
from tests.observers import Notes


class Pool:
    """Holds so many descriptors, and lets all go."""

    def __init__(self, held: int) -> None:
        self.held = held
        self.asked = 0

    def shed(self) -> bool:
        """Let them go."""
        held, self.held = self.held, 0
        self.asked += 1
        return held > 0


def refused(number: int) -> OSError:
    """The system's refusal."""
    return OSError(number, "Too many open files")


def spec_error(number: int) -> SpecError:
    """An adapter's error for it."""
    try:
        raise SpecError("cannot be read") from refused(number)
    except SpecError as error:
        return error


class Step:
    """Raises what it is given, one after the other, then returns how often it was tried."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.tried = 0

    def __call__(self) -> int:
        self.tried += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.tried


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
@pytest.mark.parametrize("made", [refused, spec_error])
def test_when_descriptors_run_out_all_holders_close_theirs_and_the_step_is_retried(
    made: Callable[[int], Exception], number: int
) -> None:
    """``EMFILE`` and ``ENFILE`` count, also as the cause of an error of this library."""
    descriptors, pools = Descriptors(), [Pool(1), Pool(0), Pool(2)]
    for pool in pools:
        descriptors.add(pool)

    assert descriptors.tried(Step(made(number))) == 2

    assert [pool.held for pool in pools] == [0, 0, 0]
    assert [pool.asked for pool in pools] == [1, 1, 1]


def test_a_step_is_retried_once_if_no_holder_has_anything_to_close() -> None:
    """Another thread may have had the holders close theirs; a second refusal is raised."""
    assert Descriptors().tried(Step(refused(errno.EMFILE))) == 2

    step = Step(*[refused(errno.EMFILE)] * 9)
    with pytest.raises(OSError, match="Too many open files"):
        Descriptors().tried(step)
    assert step.tried == 2


def test_a_step_is_tried_at_most_eight_times() -> None:
    """Other threads might take each descriptor that is freed."""
    descriptors, step = Descriptors(), Step(*[refused(errno.EMFILE)] * 99)

    class Endless(Pool):
        def shed(self) -> bool:
            return True

    endless = Endless(1)
    descriptors.add(endless)
    with pytest.raises(OSError, match="Too many open files"):
        descriptors.tried(step)

    assert step.tried == 8


@every(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "none"),
        PluginNotFoundError("shelf"),
        SpecError("no address"),
        KeyError("x"),
        KeyboardInterrupt(),
    ],
)
def test_an_error_that_is_no_lack_of_descriptors_closes_nothing(error: BaseException) -> None:
    """It is raised at once, without another attempt."""
    descriptors, pool, step = Descriptors(), Pool(1), Step(error)
    descriptors.add(pool)

    with pytest.raises(type(error)):
        descriptors.tried(step)

    assert (pool.held, step.tried) == (1, 1)


def test_a_holder_that_was_collected_is_not_asked_to_close_anything() -> None:
    """Holders are kept by weak references, so that being listed keeps none of them alive."""
    descriptors = Descriptors()
    pool = Pool(1)
    gone = weakref.ref(pool)
    descriptors.add(pool)
    del pool
    gc.collect()

    assert gone() is None
    assert descriptors.tried(Step(refused(errno.EMFILE))) == 2


class Connection:
    """One that a call uses, until it is closed."""

    def __init__(self) -> None:
        self.is_open = True

    def fileno(self) -> int:
        """Its descriptor, -1 once it is closed."""
        return 3 if self.is_open else -1


def test_a_step_is_retried_after_a_pause_while_a_call_uses_a_connection() -> None:
    """The call's end will free a descriptor, so the step goes on until it succeeds."""
    descriptors, connection = Descriptors(), Connection()
    descriptors.add_used(connection)
    pauses: list[int] = []

    def pause() -> bool:
        pauses.append(1)
        return True

    step = Step(*[refused(errno.EMFILE)] * 9)
    assert descriptors.tried_while(pause, step) == 10
    assert len(pauses) == 4  # two attempts, and a pause


def test_a_step_does_not_wait_for_closed_or_collected_connections() -> None:
    """Then no call of this process will free a descriptor, so the refusal is raised at once."""
    descriptors, closed, collected = Descriptors(), Connection(), Connection()
    for connection in (closed, collected):
        descriptors.add_used(connection)
    closed.is_open = False
    del connection, collected
    gc.collect()

    def pause() -> bool:
        raise AssertionError("it waits")

    step = Step(*[refused(errno.EMFILE)] * 99)
    with pytest.raises(OSError, match="Too many open files"):
        descriptors.tried_while(pause, step)
    assert step.tried == 2


def test_a_step_stops_waiting_for_a_descriptor_when_no_time_is_left() -> None:
    """The refusal is raised once ``pause`` returns false."""
    descriptors, connection = Descriptors(), Connection()
    descriptors.add_used(connection)
    left = [True, True, False]

    step = Step(*[refused(errno.EMFILE)] * 99)
    with pytest.raises(OSError, match="Too many open files"):
        descriptors.tried_while(lambda: left.pop(0), step)
    assert (step.tried, left) == (6, [])


@every("number", [errno.EMFILE, errno.ENFILE])
def test_loading_a_c_extension_is_retried_when_descriptors_have_run_out(number: int) -> None:
    """Only the text of the ``ImportError`` shows that; any other one is raised at once."""
    no_file = ImportError(f"_ssl.so: cannot open shared object file: {os.strerror(number)}")
    assert Descriptors().tried(Step(no_file)) == 2

    step = Step(ImportError("_ssl.so: undefined symbol"))
    with pytest.raises(ImportError, match="undefined symbol"):
        Descriptors().tried(step)
    assert step.tried == 1


def test_a_decorated_function_is_retried_when_descriptors_have_run_out() -> None:
    """``with_descriptors`` passes the same arguments again, and keeps the function's name."""
    step = Step(refused(errno.EMFILE))

    @with_descriptors
    def load(what: str, *, of: str) -> str:
        """Load it."""
        return f"{what} of {of} {step()}"

    assert load("the clock", of="brass") == "the clock of brass 2"
    assert (load.__name__, load.__doc__) == ("load", "Load it.")


def test_checking_for_free_descriptors_raises_nothing_if_there_are_some() -> None:
    """``check_descriptors`` raises only if the process can open no more."""
    for _ in range(3):
        check_descriptors()
    assert not is_refusal(None)


def test_a_client_made_again_after_a_lack_of_descriptors_keeps_its_observers() -> None:
    """An iterator of observers can be read only once, and the failed attempt must not use it up."""
    refusals = [refused(errno.EMFILE)]

    def connect(address: Address, tls: TLSOptions | None, /) -> Transport:
        if refusals:
            raise refusals.pop()
        return MemoryTransport({"M.x": 1}).connect(address, tls)

    notes = Notes()
    settings = Settings(transports={"unix": connect})
    with new_client("unix:///x.sock", settings=settings, observers=iter([notes])) as client:
        client.call("M.x")
    assert notes.of(CallEnded)
