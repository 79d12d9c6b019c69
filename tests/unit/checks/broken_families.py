"""Broken plugins for the checks that all subsystems have in common."""

from collections.abc import Iterator
from typing import Any

from moby_plugins import Request, Response
from moby_plugins.checks.methods import FAMILIES, PADDING, Family
from moby_plugins.domain.http import App
from tests.unit.checks.broken import HEADERS, Broken, at_once, does, edits, refuses, warned


def kind(request: Request, good: App) -> Any:
    """A success for whatever cannot be read."""
    answer = good(request)
    return {"Allow": True} if answer.status == 400 else answer


def kind_to_nothing(request: Request, good: App) -> Any:
    """A success where the arguments are missing."""
    return good(request) if request.read() else {"Allow": True}


def strict(request: Request, good: App) -> Any:
    """An error for a key that is not known."""
    padded = PADDING.keys() & (request.json() or {}).keys()
    return Response(400, b'{"Err": "unknown key"}', HEADERS) if padded else good(request)


def small(told: dict[str, Any]) -> dict[str, Any]:
    """The same keys in small letters."""
    return {key.lower(): value for key, value in told.items()}


def broken_for(family: Family) -> Iterator[tuple[str, Broken]]:
    """A check of the family, and a plugin that does not pass it."""
    of = f"{family.interface}."
    nonsense = f"{of}MobyPluginsCheck"
    yield "unknown method", Broken(does(lambda _, __: {}, nonsense))
    if family.asks:
        yield "broken body", Broken(does(kind, of + family.asks))
        reads = [of + family.reads] if family.read_args is not None else []
        yield "unknown keys", Broken(does(strict, of + family.asks, *reads))
    if family.acts:
        yield "empty body", Broken(does(kind_to_nothing, *(of + name for name in family.acts)))
    if family.reads:
        yield "calls side by side", Broken(at_once(of + family.reads))
        yield "exact spelling", warned(edits(of + family.reads, small))


BROKEN = {
    f"{family.subsystem}: {name}": broken
    for family in FAMILIES
    for name, broken in broken_for(family)
}
MORE = tuple(
    (f"{family.subsystem}: unknown method", warned(refuses(f"{family.interface}.MobyPluginsCheck")))
    for family in FAMILIES
)
