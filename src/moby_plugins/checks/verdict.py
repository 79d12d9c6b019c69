"""A check: one promise of the protocol, and how to see whether a plugin keeps it."""

import inspect
from collections.abc import Callable
from enum import StrEnum
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

from attrs import field, frozen, validators

from moby_plugins.deferred_names import AtDoor
from moby_plugins.domain.typed import typed

if TYPE_CHECKING:
    from moby_plugins.checks.session import Probe

T = TypeVar("T")


class Function(Protocol):
    """What a check calls: it tries the plugin of a probe, and raises where that does not pass."""

    __name__: str

    # A class, whose name ``get_type_hints`` of ``Check`` need not resolve, as that of an alias.
    def __call__(self, probe: "Probe", /) -> object:
        """Try the plugin."""
        ...


DOCKER, PODMAN = "docker", "podman"
HOSTS = (DOCKER, PODMAN)
"""The hosts whose needs the checks know."""


class Verdict(StrEnum):
    """What became of a check; a plugin keeps to the protocol if none failed."""

    PASSED = "passed"
    WARNED = "warned"  # legal, and still a risk
    FAILED = "failed"
    SKIPPED = "skipped"


class NotPassedError(Exception):
    """Raised by a check that did not pass; the message says why.

    Args:
        verdict: What became of it.
        came_back: What came instead of what the check expects.
    """

    __module__ = AtDoor("moby_plugins.checks", __name__)

    def __init__(self, verdict: Verdict, came_back: object) -> None:
        super().__init__(str(came_back))
        self.verdict = verdict


class StalledError(NotPassedError):
    """Raised by a check for what did not go on in time, and is not tried a second time.

    Args:
        what: Names it; a later check that needs it raises the same, and is told to follow from the
            first.
        came_back: What came instead of what the check expects.
    """

    __module__ = AtDoor("moby_plugins.checks", __name__)

    def __init__(self, what: str, came_back: object) -> None:
        super().__init__(Verdict.FAILED, came_back)
        self.what = what


def fail(came_back: object) -> NoReturn:
    """End the check as failed.

    Args:
        came_back: What came instead of what it expects.

    Raises:
        NotPassedError: Always.
    """
    raise NotPassedError(Verdict.FAILED, came_back)


def require(condition: object, came_back: object) -> None:
    """Fail the check unless a condition holds.

    Args:
        condition: What must be true.
        came_back: What came instead.

    Raises:
        NotPassedError: Where it does not hold.
    """
    if not condition:
        fail(came_back)


def advise(condition: object, came_back: object) -> None:
    """Warn unless a condition holds: for what engines put up with.

    Args:
        condition: What should be true.
        came_back: What came instead.

    Raises:
        NotPassedError: Where it does not hold.
    """
    if not condition:
        raise NotPassedError(Verdict.WARNED, came_back)


def skip(why: object) -> NoReturn:
    """End the check without a verdict on the plugin.

    Args:
        why: Why it cannot be made.

    Raises:
        NotPassedError: Always.
    """
    raise NotPassedError(Verdict.SKIPPED, why)


def items(value: object, came_back: object) -> list[Any]:
    """An array within an answer, ``null`` for an empty one; the check fails if it is none."""
    if value is not None and not isinstance(value, list):
        fail(came_back)
    return value or []


def only(found: list[T], wanted: str, came_back: object) -> T:
    """The one item of a list; without exactly one the check fails."""
    if len(found) != 1:
        fail(f"{len(found)} times {wanted}: {came_back}")
    return found[0]


@frozen(field_transformer=typed)
class Check:
    """A promise that plugins of a subsystem make, and how to see whether one keeps it.

    Made by ``@check(…)``. A frozen value.

    Args:
        subsystem: As manifests name it.
        name: What it is called.
        expects: The promise in words.
        source: The section of the protocol that it comes from: "B2", "B11 trap 10".
        reads_only: Whether it leaves no trace in the plugin, not even for the time that it takes.
        worst: The verdict where the promise is not kept: ``WARNED`` for what no engine depends on.
        hosts: Those that need the promise.
        function: Returns where the promise is kept; otherwise raises a ``PluginError``, or through
            ``require``, ``advise`` and their like.
    """

    subsystem: str = field(validator=validators.min_len(1))
    name: str = field(validator=validators.min_len(1))
    expects: str = field(kw_only=True, validator=validators.min_len(1))
    source: str = field(kw_only=True, validator=validators.min_len(1))
    reads_only: bool = field(kw_only=True, default=False)
    worst: Verdict = field(kw_only=True, default=Verdict.FAILED)
    hosts: tuple[str, ...] = field(kw_only=True, default=(DOCKER,))
    function: Function = field(kw_only=True, eq=False, repr=False)

    @property
    def id(self) -> str:
        """What it is chosen and reported by: ``VolumeDriver: create twice``."""
        return f"{self.subsystem}: {self.name}"


def check(
    subsystem: str,
    name: str = "",
    *,
    expects: str = "",
    source: str,
    reads_only: bool = False,
    worst: Verdict = Verdict.FAILED,
    hosts: tuple[str, ...] = (DOCKER,),
) -> Callable[[Function], Check]:
    """Make a ``Check`` of the function below.

    Args:
        subsystem: Whose plugins make the promise, as manifests name it.
        name: What it is called; as the function is, with spaces for underscores, unless given.
        expects: The promise; the first paragraph of the function's docstring unless given, or the
            name where there is none.
        source: The section of the protocol that it comes from.
        reads_only: Whether it leaves no trace in the plugin.
        worst: The verdict where the promise is not kept.
        hosts: Those that need the promise.

    Returns:
        A decorator; the function takes a ``Probe``.

    Examples:
        ```python
        from moby_plugins.checks import Setup, check, new_subject, require, run_checks
        from moby_plugins.subsystems import VolumeDriver
        from moby_plugins.testing import LivePlugin


        @check("VolumeDriver", source="B2", reads_only=True)
        def lists_nothing(probe):
            '''The plugin has no volumes.'''
            answer = probe.call("VolumeDriver.List", {})
            require(not answer.get("volumes"), answer)


        class Shelf(VolumeDriver):
            def list(self):
                return []


        with LivePlugin(Shelf(), "shelf", ".") as plugin:
            with new_subject(plugin.addr, setup=Setup(timeout=5.0)) as subject:
                (finding,) = run_checks([lists_nothing], subject)
        assert finding.verdict == "passed"
        ```
    """

    def made(function: Function) -> Check:
        named = name or function.__name__.replace("_", " ")
        # A paragraph is wrapped and ends with a period; `expects` is the end of a line.
        paragraph = (inspect.getdoc(function) or "").partition("\n\n")[0]
        promise = " ".join(paragraph.split()).removesuffix(".")
        return Check(
            subsystem,
            named,
            expects=expects or promise or named,
            source=source,
            reads_only=reads_only,
            worst=worst,
            hosts=hosts,
            function=function,
        )

    return made


def checks_in(module: ModuleType) -> tuple[Check, ...]:
    """Collect the checks among a module's names, and in tuples among them, in their order.

    Args:
        module: The module.

    Returns:
        The checks.
    """
    found: list[Check] = []
    for value in vars(module).values():
        found += [item for item in _items(value) if isinstance(item, Check)]
    return tuple(dict.fromkeys(found))


def _items(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


@frozen(field_transformer=typed)
class Finding:
    """What one check found. A frozen value.

    Args:
        check: The check.
        verdict: What became of it.
        came_back: What came instead of what it expects; "" where it passed.
        seconds: How long it took.
    """

    check: Check
    verdict: Verdict
    came_back: str = ""
    seconds: float = 0.0
