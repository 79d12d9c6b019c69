"""Find and select checks, run them one after the other, and write JUnit XML."""

import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from importlib.metadata import entry_points
from types import ModuleType
from xml.etree import ElementTree as ET

from moby_plugins.checks import (
    authz,
    graph,
    handshake,
    ipam,
    log,
    log_reading,
    methods,
    metrics,
    network,
    podman,
    resources,
    secret,
    volume,
    volume_mounts,
)
from moby_plugins.checks.outcome import (
    DOCKER,
    Check,
    CheckOutcome,
    CheckResult,
    NotPassedError,
    StalledError,
    checks_in,
)
from moby_plugins.checks.session import Session, Target
from moby_plugins.domain.errors import PluginError, SettingsError
from moby_plugins.domain.text import quoted, shown

ENTRY_POINTS = "moby_plugins.checks"

# Their checks run in this order, grouped by subsystem.
MODULES = (
    handshake,
    methods,
    volume,
    volume_mounts,
    network,
    ipam,
    authz,
    log,
    log_reading,
    metrics,
    graph,
    secret,
    podman,
)

OVERALL = "all checks"
LONGEST = 500
# Characters that XML cannot hold, not even escaped.
_CONTROL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def built_in_checks() -> tuple[Check, ...]:
    """Return the checks of this library, grouped by subsystem.

    Last come the checks of the processor time and the open descriptors of the plugin's process.
    """
    checks = [item for module in MODULES for item in checks_in(module)]
    order = list(dict.fromkeys(item.subsystem for item in checks))
    ordered = sorted(checks, key=lambda item: order.index(item.subsystem))
    return (*ordered, *checks_in(resources))


def all_checks() -> tuple[Check, ...]:
    """Return the built-in checks, and after them those of installed packages.

    A package names a module, a check, or a tuple of checks under the entry-point group
    ``moby_plugins.checks``.

    Returns:
        The checks, in the order in which they run.

    Raises:
        SettingsError: If an entry point cannot be loaded.
    """
    checks = list(built_in_checks())
    for point in entry_points(group=ENTRY_POINTS):
        try:
            checks += _checks_of(point.load())
        except Exception as error:  # importing another package may raise any exception
            named = quoted(point.name)
            raise SettingsError(f"the checks {named} cannot be loaded: {shown(error)}") from error
    return tuple(checks)


def _checks_of(loaded: object) -> tuple[Check, ...]:
    if isinstance(loaded, ModuleType):
        return checks_in(loaded)
    items = loaded if isinstance(loaded, tuple) else (loaded,)
    for item in items:
        if not isinstance(item, Check):
            raise TypeError(f"{item!r} is not a check")
    return items


def select(
    checks: Iterable[Check],
    *,
    subsystems: Iterable[str],
    names: str = "*",
    reads_only: bool = False,
    host: str = DOCKER,
) -> tuple[Check, ...]:
    """Select checks by subsystem, name and host.

    Args:
        checks: The checks to select from.
        subsystems: The subsystems whose checks are selected.
        names: A shell pattern that the ID or the name must match; case does not matter.
        reads_only: Whether to select only checks that change nothing in the plugin.
        host: The one of ``HOSTS`` whose checks are selected.

    Returns:
        The checks, in the same order.
    """
    wanted, pattern = set(subsystems), names.casefold()
    return tuple(
        item
        for item in checks
        if item.subsystem in wanted
        and host in item.hosts
        and any(fnmatchcase(text.casefold(), pattern) for text in (item.id, item.name))
        and (item.reads_only or not reads_only)
    )


def run_checks(checks: Iterable[Check], target: Target) -> Iterator[CheckResult]:
    """Run checks one after the other; each cleans up, even after an error.

    Exceptions of a check become results. ``KeyboardInterrupt`` is raised after the clean-up, with a
    note of anything that could not be removed; another one ends the clean-up. A method that times
    out fails one check; later checks that need it are skipped, with the name of that check. Once
    ``options.limit`` seconds have passed, one check fails without being run, and the rest are
    skipped.

    Args:
        checks: The checks.
        target: The plugin.

    Yields:
        The result of each check, as soon as it has ended.
    """
    clock = target.clock
    ends = clock.now() + target.options.limit
    failed: dict[str, str] = {}  # for each stalled method the check that failed because of it
    for item in checks:
        began = clock.now()
        outcome, came_back = (
            _outcome(item, target, failed) if began < ends else _out_of_time(target, failed)
        )
        if outcome is CheckOutcome.FAILED:
            stalled = {OVERALL} if began >= ends else target.stalled
            failed = dict.fromkeys(stalled, item.id) | failed
        yield CheckResult(item, outcome, shown(came_back, LONGEST), clock.now() - began)


def _out_of_time(target: Target, failed: Mapping[str, str]) -> tuple[CheckOutcome, str]:
    why = f"not run: all checks together may take {target.options.limit:g} s"
    return _following(StalledError(OVERALL, why), failed)


def _following(error: StalledError, failed: Mapping[str, str]) -> tuple[CheckOutcome, str]:
    if error.what not in failed:
        return CheckOutcome.FAILED, str(error)
    return CheckOutcome.SKIPPED, f"{error} (follows from {failed[error.what]!r})"


def _outcome(item: Check, target: Target, failed: Mapping[str, str]) -> tuple[CheckOutcome, str]:
    session = Session(target)
    outcome, came_back = CheckOutcome.PASSED, ""
    try:
        outcome, came_back = _judged(item, session, failed)
    except BaseException as interruption:
        try:
            session.close()
        except NotPassedError as error:
            interruption.add_note(f"{item.id}: {error}")
        raise
    try:
        session.close()
    except NotPassedError as error:
        outcome = error.outcome if outcome is CheckOutcome.PASSED else outcome
        came_back = f"{came_back}; {error}" if came_back else str(error)
    return (item.worst if outcome is CheckOutcome.FAILED else outcome), came_back


def _judged(item: Check, session: Session, failed: Mapping[str, str]) -> tuple[CheckOutcome, str]:
    try:
        item.function(session)
    except StalledError as error:
        return _following(error, failed)
    except NotPassedError as error:
        return error.outcome, str(error)
    except PluginError as error:
        return CheckOutcome.FAILED, str(error)
    except Exception as error:  # a check may come from another package
        return (
            CheckOutcome.FAILED,
            f"the check itself failed: {type(error).__name__}: {shown(error)}",
        )
    return CheckOutcome.PASSED, ""


def as_junit(results: Iterable[CheckResult], plugin: str) -> str:
    """Return results as JUnit XML: a suite for the plugin, with a case for each result.

    JUnit has no warnings: a check that warned counts as passed, with the warning as its output.

    Args:
        results: The results.
        plugin: The plugin's name.

    Returns:
        The document.
    """
    cases = list(results)
    count = {outcome: sum(each.outcome is outcome for each in cases) for outcome in CheckOutcome}
    suite = ET.Element(
        "testsuite",
        name=_text(f"moby-plugins check {plugin}"),
        tests=str(len(cases)),
        failures=str(count[CheckOutcome.FAILED]),
        errors="0",
        skipped=str(count[CheckOutcome.SKIPPED]),
        time=f"{sum(each.seconds for each in cases):.3f}",
    )
    for each in cases:
        suite.append(_case(each))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(result: CheckResult) -> ET.Element:
    item = result.check
    case = ET.Element(
        "testcase", classname=item.subsystem, name=item.name, time=f"{result.seconds:.3f}"
    )
    text = _text(result.came_back)
    if result.outcome is CheckOutcome.FAILED:
        failure = ET.SubElement(case, "failure", message=text)
        failure.text = _text(f"expected: {item.expects} ({item.source})\ncame back: {text}")
    elif result.outcome is CheckOutcome.SKIPPED:
        ET.SubElement(case, "skipped", message=text)
    elif result.outcome is CheckOutcome.WARNED:
        ET.SubElement(case, "system-out").text = f"warning: {text}"
    return case


def _text(value: str) -> str:
    return _CONTROL.sub("\ufffd", value)
