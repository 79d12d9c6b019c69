"""Cases that are data of one promise: they share a test, whose failure names the case."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any


def every(
    names: str | Sequence[str], cases: Iterable[Any], ids: object = None
) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """Run a test for each of ``cases`` in turn, given as to ``pytest.mark.parametrize``.

    For a test without fixtures. pytest takes about as long for each of its own parameters as such a
    case takes.
    """
    several = not isinstance(names, str) or "," in names
    listed = [*cases]

    def in_turn(test: Callable[..., None]) -> Callable[[], None]:
        def run() -> None:
            for number, case in enumerate(listed):
                try:
                    test(*(case if several else (case,)))
                except BaseException as error:
                    error.add_note(f"case {number}, {names}: {case!r:.500}")
                    raise
            assert listed, "there is no case"

        run.__name__, run.__qualname__, run.__doc__ = test.__name__, test.__qualname__, test.__doc__
        run.__module__ = test.__module__
        return run

    return in_turn
