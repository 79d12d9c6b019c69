"""What is tried again where the system refuses a descriptor, with holders that are none."""

import errno
import gc
import weakref
from collections.abc import Callable

import pytest

from moby_plugins import PluginNotFoundError, SpecError
from moby_plugins.adapters.descriptors import (
    Descriptors,
    SheddingDiscovery,
    check_descriptors,
    is_refusal,
)
from moby_plugins.domain.plugin import Plugin
from tests.cases import every


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
def test_all_holders_make_room_and_it_goes_on(
    made: Callable[[int], Exception], number: int
) -> None:
    """Those of all registries; for an error of the system and for one of ours that it caused."""
    descriptors, pools = Descriptors(), [Pool(1), Pool(0), Pool(2)]
    for pool in pools:
        descriptors.add(pool)

    assert descriptors.tried(Step(made(number))) == 2

    assert [pool.held for pool in pools] == [0, 0, 0]
    assert [pool.asked for pool in pools] == [1, 1, 1]


def test_it_is_tried_once_more_where_others_have_made_room() -> None:
    """Another thread may have had all holders let go since; but no more often than that."""
    assert Descriptors().tried(Step(refused(errno.EMFILE))) == 2

    step = Step(*[refused(errno.EMFILE)] * 9)
    with pytest.raises(OSError, match="Too many open files"):
        Descriptors().tried(step)
    assert step.tried == 2


def test_it_is_not_tried_for_ever() -> None:
    """Where other threads take whatever is let go."""
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
def test_another_error_has_nothing_closed(error: BaseException) -> None:
    """It is raised at once."""
    descriptors, pool, step = Descriptors(), Pool(1), Step(error)
    descriptors.add(pool)

    with pytest.raises(type(error)):
        descriptors.tried(step)

    assert (pool.held, step.tried) == (1, 1)


def test_a_holder_that_is_gone_is_not_asked() -> None:
    """Being listed keeps none alive."""
    descriptors = Descriptors()
    pool = Pool(1)
    gone = weakref.ref(pool)
    descriptors.add(pool)
    del pool
    gc.collect()

    assert gone() is None
    assert descriptors.tried(Step(refused(errno.EMFILE))) == 2


class Directory:
    """A discovery that is refused a descriptor at each first time."""

    def __init__(self) -> None:
        self.scanning = Step(spec_error(errno.EMFILE))
        self.looking = Step(spec_error(errno.EMFILE))

    def scan(self) -> list[str]:
        self.scanning()
        return ["shelf"]

    def lookup(self, name: str) -> Plugin:
        self.looking()
        return Plugin.local(name, "unix:///shelf.sock")

    def __repr__(self) -> str:
        return "a directory"


def test_a_look_up_goes_on() -> None:
    """As a scan does; and a registry is shown by the discovery that it was given."""
    pool, descriptors = Pool(1), Descriptors()
    descriptors.add(pool)
    discovery = SheddingDiscovery(Directory(), descriptors)

    assert discovery.scan() == ["shelf"]
    assert pool.asked == 1
    assert discovery.lookup("shelf").name == "shelf"
    assert pool.asked == 2
    assert repr(discovery) == "a directory"


def test_a_process_that_has_descriptors_is_told_nothing() -> None:
    """The look takes none for good."""
    for _ in range(3):
        check_descriptors()
    assert not is_refusal(None)
