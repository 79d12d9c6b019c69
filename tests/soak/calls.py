"""One call of the soak's threads, by its number, and the comparison with the expected outcome."""

from collections import Counter

from attrs import field, frozen

from moby_plugins import Client, PluginError, Registry, StatusError, TransportTimeoutError
from moby_plugins.subsystems import GraphDriver
from tests.soak.faults import (
    BREAKS,
    EVERY,
    RAW,
    SERVED,
    TIME_OUT,
    Fault,
    fault_of,
)
from tests.soak.plugins import PIECES

# Seconds after which a call that should get a response counts as lost.
LOST = 60.0
# Calls after which a plugin is invalidated in a registry.
FORGOTTEN = 1000
NAMES = ("raw", "served")
FAULTS = {"raw": tuple(RAW), "served": SERVED, "awaited": SERVED}


@frozen
class Tally:
    """The outcomes of calls: how many were as expected, by fault, and the others."""

    right: Counter[str] = field(factory=Counter)
    problems: list[str] = field(factory=list)

    def judge(self, number: int, name: str, fault: Fault | None, said: object) -> None:
        """Count the outcome of call ``number`` to the plugin ``name``."""
        problem = _problem(number, fault, said)
        if problem:
            self.problems.append(f"call {number} to {name}: {problem}")
        else:
            self.right[fault.name if fault else "answered"] += 1

    def add(self, other: "Tally") -> None:
        """Add the counts of another tally."""
        self.right.update(other.right)
        self.problems.extend(other.problems)


class Caller:
    """Calls by number, in one thread, through registries that threads share."""

    def __init__(self, registries: tuple[Registry, ...]) -> None:
        self.tally = Tally()
        self._registries = registries

    def call(self, number: int) -> None:
        """Make call ``number`` and judge its outcome."""
        name = NAMES[number // EVERY % 2]
        registry = self._registries[number // (2 * EVERY) % len(self._registries)]
        fault = fault_of(number, FAULTS[name])
        if number % FORGOTTEN == 0:
            registry.invalidate(name)
        try:
            said: object = _ask(registry.get(name, "Echo").client, name, number, fault)
        except PluginError as error:
            said = error
        self.tally.judge(number, name, fault, said)


def _ask(client: Client, name: str, number: int, fault: Fault | None) -> str:
    kind = number % EVERY if name == "served" else -1
    if fault is BREAKS or kind == 1:
        said = b"".join(GraphDriver(client).diff(str(number), "")).decode().split(",")
        return said[0] if said == [str(number)] * PIECES + [""] else repr(said)
    if kind == 2:
        archive = (b"x" * (number % 4096) for _ in range(3))
        return str(GraphDriver(client).apply_diff(str(number), "", archive) - 3 * (number % 4096))
    late = fault is not None and fault.error is TransportTimeoutError
    answer = client.call(
        "Echo.Say", {"Text": str(number)}, dict[str, str], timeout=TIME_OUT if late else LOST
    )
    return str(answer["Said"])


def _problem(number: int, fault: Fault | None, said: object) -> str:
    """Return what is wrong with the outcome of a call, "" if it is as expected."""
    if fault is None or fault.error is None:
        return "" if said == str(number) else f"came to {said!r}"
    if type(said) is not fault.error:
        return f"{fault.name} came to {said!r}"
    if isinstance(said, StatusError) and str(number) not in said.message:
        return f"{fault.name} is another's: {said.message}"
    return ""
