"""Cases that are data of one promise: they share a test, whose failure names the case."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any


@contextmanager
def case(name: object) -> Iterator[None]:
    """Add a note to a failure inside the block, which says in which case it happened."""
    try:
        yield
    except BaseException as error:  # what pytest itself raises is no Exception
        error.add_note(f"in the case of {name!r:.500}")
        raise


def every(
    names: str | Sequence[str], cases: Iterable[Any], ids: Iterable[object] | None = None
) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """Run a test for each of ``cases`` in turn, given as to ``pytest.mark.parametrize``.

    A failure names the case by its id, or shows it.

    For a test without fixtures. pytest takes about as long for each of its own parameters as such a
    case takes.
    """
    several = not isinstance(names, str) or "," in names
    listed = [*cases]
    labels = listed if ids is None else [*ids]

    def in_turn(test: Callable[..., None]) -> Callable[[], None]:
        def run() -> None:
            for each, label in zip(listed, labels, strict=True):
                with case(label):
                    test(*(each if several else (each,)))
            assert listed, "there is no case"

        run.__name__, run.__qualname__, run.__doc__ = test.__name__, test.__qualname__, test.__doc__
        run.__module__ = test.__module__
        return run

    return in_turn
