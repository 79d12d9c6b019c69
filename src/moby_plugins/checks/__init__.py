"""The protocol suite: named checks of a live plugin, and what more are made of.

``run_checks(all_checks(), new_subject(…))`` gives a ``Finding`` for each; ``moby-plugins
check`` is that as a command. A check is a function of a ``Probe``, marked
``@check(…)``; installed packages add theirs under the entry-point group
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
