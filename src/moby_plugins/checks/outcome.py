"""Checks: each is one rule of the protocol, and a function that tests a plugin for it."""

import inspect
from collections.abc import Callable
from enum import StrEnum
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

from attrs import field, frozen, validators

from moby_plugins.deferred_names import AtDoor
from moby_plugins.domain.typed import typed

if TYPE_CHECKING:
    from moby_plugins.checks.session import Session

T = TypeVar("T")


class Function(Protocol):
    """The function of a check: it raises an exception if the plugin breaks the rule."""

    __name__: str

    # A class rather than an alias, so that ``get_type_hints`` of ``Check`` need not resolve it.
    def __call__(self, session: "Session", /) -> object:
        """Test the plugin; raise ``NotPassedError`` or ``PluginError`` if it breaks the rule."""
        ...


DOCKER, PODMAN = "docker", "podman"
HOSTS = (DOCKER, PODMAN)
"""The programs that call plugins, and for which there are checks."""


class CheckOutcome(StrEnum):
    """The outcome of a check; a plugin follows the protocol if no check failed."""

    PASSED = "passed"
    WARNED = "warned"  # allowed by the protocol, but risky
    FAILED = "failed"
    SKIPPED = "skipped"


class NotPassedError(Exception):
    """Raised by a check that did not pass; the message says why.

    Args:
        outcome: The outcome of the check.
        came_back: What the plugin returned instead of what the check expects; or why the check was
            skipped.
    """

    __module__ = AtDoor("moby_plugins.checks", __name__)

    def __init__(self, outcome: CheckOutcome, came_back: object) -> None:
        super().__init__(str(came_back))
        self.outcome = outcome


class StalledError(NotPassedError):
    """Raised by a check for an operation that timed out, and that is not tried again.

    Args:
        what: The name of the operation. A later check that needs it raises this error too;
            ``run_checks`` reports that check as skipped, and names the one that failed first.
        came_back: What the plugin returned instead of what the check expects.
    """

    __module__ = AtDoor("moby_plugins.checks", __name__)

    def __init__(self, what: str, came_back: object) -> None:
        super().__init__(CheckOutcome.FAILED, came_back)
        self.what = what


def fail(came_back: object) -> NoReturn:
    """Fail the check.

    Args:
        came_back: What the plugin returned instead of what the check expects.

    Raises:
        NotPassedError: Always.
    """
    raise NotPassedError(CheckOutcome.FAILED, came_back)


def require(condition: object, came_back: object) -> None:
    """Fail the check unless a condition is true.

    Args:
        condition: The condition.
        came_back: What the plugin returned instead of what the check expects.

    Raises:
        NotPassedError: If the condition is false.
    """
    if not condition:
        fail(came_back)


def warn(condition: object, came_back: object) -> None:
    """End the check with a warning unless a condition is true: for mistakes that engines tolerate.

    Args:
        condition: The condition.
        came_back: What the plugin returned instead of what the check expects.

    Raises:
        NotPassedError: If the condition is false.
    """
    if not condition:
        raise NotPassedError(CheckOutcome.WARNED, came_back)


def skip(why: object) -> NoReturn:
    """Skip the check: it neither passes nor fails.

    Args:
        why: Why the check cannot be made.

    Raises:
        NotPassedError: Always.
    """
    raise NotPassedError(CheckOutcome.SKIPPED, why)


def items(value: object, came_back: object) -> list[Any]:
    """Return ``value``, an array in a response, or ``[]`` if it is ``None``.

    If it is another value, fail the check; ``came_back`` becomes the message.
    """
    if value is not None and not isinstance(value, list):
        fail(came_back)
    return value or []


def exactly_one(matches: list[T], wanted: str, came_back: object) -> T:
    """Return the only item of ``matches``; fail the check if there is none, or several.

    ``wanted`` and ``came_back`` become parts of the message: ``2 times in List: my-volume``.
    """
    if len(matches) != 1:
        fail(f"{len(matches)} times {wanted}: {came_back}")
    return matches[0]


@frozen(field_transformer=typed)
class Check:
    """A rule for plugins of a subsystem, and a function that tests a plugin for it.

    Made by ``@check(…)``. A frozen value.

    Args:
        subsystem: The subsystem, as handshakes name it: ``VolumeDriver``, ``authz``.
        name: The name of the check.
        expects: The rule in words.
        source: The section of docs/protocol.md that has the rule: "B2", "B11 trap 10".
        reads_only: Whether the check changes nothing in the plugin, not even temporarily.
        worst: The outcome if the plugin breaks the rule: ``WARNED`` if no engine depends on it.
        hosts: Those of ``HOSTS`` that depend on the rule.
        function: A function that returns if the plugin follows the rule; otherwise it raises a
            ``PluginError``, or calls ``require``, ``warn`` or similar.
    """

    subsystem: str = field(validator=validators.min_len(1))
    name: str = field(validator=validators.min_len(1))
    expects: str = field(kw_only=True, validator=validators.min_len(1))
    source: str = field(kw_only=True, validator=validators.min_len(1))
    reads_only: bool = field(kw_only=True, default=False)
    worst: CheckOutcome = field(kw_only=True, default=CheckOutcome.FAILED)
    hosts: tuple[str, ...] = field(kw_only=True, default=(DOCKER,))
    function: Function = field(kw_only=True, eq=False, repr=False)

    @property
    def id(self) -> str:
        """The ID by which the check is selected and reported: ``VolumeDriver: create twice``."""
        return f"{self.subsystem}: {self.name}"


def check(
    subsystem: str,
    name: str = "",
    *,
    expects: str = "",
    source: str,
    reads_only: bool = False,
    worst: CheckOutcome = CheckOutcome.FAILED,
    hosts: tuple[str, ...] = (DOCKER,),
) -> Callable[[Function], Check]:
    """Return a decorator that makes a function a ``Check``.

    Args:
        subsystem: The subsystem whose plugins are checked, as handshakes name it.
        name: The name of the check; by default that of the function, with spaces for underscores.
        expects: The rule in words; by default the first paragraph of the function's docstring, or
            the name if there is none.
        source: The section of docs/protocol.md that has the rule.
        reads_only: Whether the check changes nothing in the plugin.
        worst: The outcome if the plugin breaks the rule.
        hosts: Those of ``HOSTS`` that depend on the rule.

    Returns:
        A decorator, for a function that takes a ``Session``.

    Examples:
        ```python
        from moby_plugins.checks import Options, check, new_target, require, run_checks
        from moby_plugins.subsystems import VolumeDriver
        from moby_plugins.testing import LivePlugin


        @check("VolumeDriver", source="B2", reads_only=True)
        def lists_nothing(session):
            '''The plugin has no volumes.'''
            answer = session.call("VolumeDriver.List", {})
            require(not answer.get("volumes"), answer)


        class Shelf(VolumeDriver):
            def list(self):
                return []


        with LivePlugin(Shelf(), "shelf", ".") as plugin:
            with new_target(plugin.addr, options=Options(timeout=5.0)) as target:
                (result,) = run_checks([lists_nothing], target)
        assert result.outcome == "passed"
        ```
    """

    def decorate(function: Function) -> Check:
        named = name or function.__name__.replace("_", " ")
        # ``expects`` is printed at the end of a line, so join the paragraph and drop its period.
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

    return decorate


def checks_in(module: ModuleType) -> tuple[Check, ...]:
    """Return the checks that a module's variables hold, alone or in tuples, in order.

    Args:
        module: The module.

    Returns:
        The checks.
    """
    checks: list[Check] = []
    for value in vars(module).values():
        checks += [item for item in _items(value) if isinstance(item, Check)]
    return tuple(dict.fromkeys(checks))


def _items(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


@frozen(field_transformer=typed)
class CheckResult:
    """The result of one check. A frozen value.

    Args:
        check: The check.
        outcome: The outcome.
        came_back: What the plugin returned instead of what the check expects, or why the check was
            skipped; "" if it passed.
        seconds: How long the check took.
    """

    check: Check
    outcome: CheckOutcome
    came_back: str = ""
    seconds: float = 0.0
