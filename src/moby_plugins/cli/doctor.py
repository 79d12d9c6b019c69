"""The command ``moby-plugins doctor``, which finds problems with this machine's plugins."""

import shutil
import sys

import click
from attrs import asdict

from moby_plugins import Settings
from moby_plugins.cli.errors import FINDINGS
from moby_plugins.cli.options import example, with_json, with_settings, with_timeout
from moby_plugins.cli.output import (
    BAD,
    DOUBTFUL,
    FAINT,
    GOOD,
    MAX_LINE,
    Cell,
    is_terminal,
    show_json,
    show_line,
    wrapped,
)
from moby_plugins.diagnosis import NOTE, PROBLEM, WARNING, Finding, diagnose
from moby_plugins.domain.text import sentence, shown

_STYLES = {PROBLEM: BAD, WARNING: DOUBTFUL, NOTE: FAINT}


@click.command(epilog=example("moby-plugins doctor"))
@click.option("--no-ask", "silent", is_flag=True, help="Do not call plugins.")
@with_timeout(2.0, "Seconds to wait for each plugin.")
@with_settings
@with_json
@click.pass_context
def doctor(
    context: click.Context, silent: bool, timeout: float, settings: Settings, as_json: bool
) -> None:
    """Report what is wrong with this machine's plugins, and what to do about it.

    It examines directories, sockets and specs with the permissions of the user
    that runs it, and asks each plugin what it implements, all at the same time; it
    changes nothing. The exit status is 1 if there is a problem.
    """
    findings = diagnose(settings, timeout=None if silent else timeout)
    if as_json:
        show_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            show_finding(finding)
        show_line(summary_of(findings))
    if any(finding.severity == PROBLEM for finding in findings):
        context.exit(FINDINGS)


def show_finding(finding: Finding) -> None:
    """Print a finding: its severity and place, what is wrong and why it matters, and the remedy."""
    show_line(Cell(finding.severity, _STYLES[finding.severity]), Cell(f"  {shown(finding.where)}"))
    for text in (f"{sentence(finding.what)};", f"{sentence(finding.why)}."):
        # In a pipe each text is one line; at a terminal it is wrapped between words.
        width = shutil.get_terminal_size().columns - 2
        for line in wrapped(text, width) if is_terminal(sys.stdout) else [text]:
            show_line(Cell(f"  {line}"))
    show_line(Cell("  → ", FAINT), Cell(shown(finding.remedy, MAX_LINE)))


def summary_of(findings: tuple[Finding, ...]) -> Cell:
    """Return a text with the number of findings of each severity, or "nothing is wrong"."""
    counts = {
        kind: sum(finding.severity == kind for finding in findings)
        for kind in (PROBLEM, WARNING, NOTE)
    }
    parts = [f"{n} {kind}{'' if n == 1 else 's'}" for kind, n in counts.items() if n]
    return Cell(", ".join(parts) or "nothing is wrong", BAD if counts[PROBLEM] else GOOD)
