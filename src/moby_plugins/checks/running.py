"""Running checks one after the other, and what they found."""

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from moby_plugins.checks.answer import shown
from moby_plugins.checks.check import Check, Finding, NotPassedError, Verdict
from moby_plugins.checks.probe import Probe
from moby_plugins.checks.subject import Subject
from moby_plugins.domain.errors import PluginError
from moby_plugins.domain.json import first_value, fold_keys

ACTIVATE = "Plugin.Activate"
LONGEST = 500


def chosen(
    checks: Iterable[Check],
    *,
    subsystems: Iterable[str],
    names: str = "*",
    reads_only: bool = False,
) -> tuple[Check, ...]:
    """Those of ``subsystems`` whose id fits the shell pattern ``names``.

    Capitals do not count. With ``reads_only`` only those that leave no trace.
    """
    wanted, pattern = set(subsystems), names.casefold()
    return tuple(
        item
        for item in checks
        if item.subsystem in wanted
        and fnmatchcase(item.id.casefold(), pattern)
        and (item.reads_only or not reads_only)
    )


def run_checks(checks: Iterable[Check], subject: Subject) -> Iterator[Finding]:
    """What each check finds, as it is found; every check cleans up, whatever happens in it.

    Nothing that a check raises passes; an interruption does, after the clean-up.
    Once ``setup.limit`` seconds have passed, what is left fails without being run.
    """
    clock = subject.clock
    ends = clock.now() + subject.setup.limit
    for item in checks:
        began = clock.now()
        if began >= ends:
            why = f"not run: all checks together may take {subject.setup.limit:g} s"
            yield Finding(item, Verdict.FAILED, why)
            continue
        verdict, came_back = _outcome(item, subject)
        yield Finding(item, verdict, shown(came_back, LONGEST), clock.now() - began)


def _outcome(item: Check, subject: Subject) -> tuple[Verdict, str]:
    probe = Probe(subject)
    verdict, came_back = Verdict.PASSED, ""
    try:
        verdict, came_back = _judged(item, probe)
    finally:
        try:
            probe.close()
        except NotPassedError as error:
            verdict = error.verdict if verdict is Verdict.PASSED else verdict
            came_back = f"{came_back}; {error}" if came_back else str(error)
    return verdict, came_back


def _judged(item: Check, probe: Probe) -> tuple[Verdict, str]:
    try:
        item.function(probe)
    except NotPassedError as error:
        return error.verdict, str(error)
    except PluginError as error:
        return Verdict.FAILED, str(error)
    except Exception as error:  # a check may come from another package
        return Verdict.FAILED, f"the check broke: {type(error).__name__}: {error}"
    return Verdict.PASSED, ""


def implemented_by(subject: Subject) -> tuple[str, ...]:
    """What the plugin says that it implements: nothing if its answer says nothing.

    Raises ``TransportError`` where none comes, and ``WireError`` for half of one.
    """
    answer = subject.send(ACTIVATE)
    try:
        value = first_value(answer.body)
    except ValueError:
        return ()
    told = fold_keys(value).get("implements") if isinstance(value, dict) else None
    return tuple(entry for entry in told or () if isinstance(entry, str))
