"""The protocol suite: named checks of a running plugin, and the means to write more.

``run_checks(all_checks(), new_subject(…))`` yields a ``Finding`` for each check; ``moby-plugins
check`` is the same as a command. A check is a function with a ``Probe`` as argument, decorated
with ``@check(…)``; installed packages add checks under the entry-point group
``moby_plugins.checks``.
"""

from moby_plugins.checks.answer import Answer
from moby_plugins.checks.handshake import implemented_by
from moby_plugins.checks.process import PluginProcess
from moby_plugins.checks.running import (
    all_checks,
    as_junit,
    built_in_checks,
    chosen,
    run_checks,
)
from moby_plugins.checks.session import Probe, Setup, Subject, new_subject
from moby_plugins.checks.verdict import (
    HOSTS,
    Check,
    Finding,
    NotPassedError,
    StalledError,
    Verdict,
    advise,
    check,
    checks_in,
    fail,
    require,
    skip,
)

__all__ = [
    "HOSTS",
    "Answer",
    "Check",
    "Finding",
    "NotPassedError",
    "PluginProcess",
    "Probe",
    "Setup",
    "StalledError",
    "Subject",
    "Verdict",
    "advise",
    "all_checks",
    "as_junit",
    "built_in_checks",
    "check",
    "checks_in",
    "chosen",
    "fail",
    "implemented_by",
    "new_subject",
    "require",
    "run_checks",
    "skip",
]
