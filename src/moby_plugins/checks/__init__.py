"""The protocol suite: named checks of a running plugin, and the means to write more.

``run_checks(all_checks(), new_target(…))`` yields a ``CheckResult`` for each check; ``moby-plugins
check`` is the same as a command. A check is a function with a ``Session`` as argument, decorated
with ``@check(…)``; installed packages add checks under the entry-point group
``moby_plugins.checks``.
"""

from moby_plugins.checks.answer import Answer
from moby_plugins.checks.handshake import implemented_by
from moby_plugins.checks.outcome import (
    HOSTS,
    Check,
    CheckOutcome,
    CheckResult,
    NotPassedError,
    StalledError,
    check,
    checks_in,
    fail,
    require,
    skip,
    warn,
)
from moby_plugins.checks.process import PluginProcess
from moby_plugins.checks.running import (
    all_checks,
    as_junit,
    built_in_checks,
    run_checks,
    select,
)
from moby_plugins.checks.session import Options, Session, Target, new_target

__all__ = [
    "HOSTS",
    "Answer",
    "Check",
    "CheckOutcome",
    "CheckResult",
    "NotPassedError",
    "Options",
    "PluginProcess",
    "Session",
    "StalledError",
    "Target",
    "all_checks",
    "as_junit",
    "built_in_checks",
    "check",
    "checks_in",
    "fail",
    "implemented_by",
    "new_target",
    "require",
    "run_checks",
    "select",
    "skip",
    "warn",
]
