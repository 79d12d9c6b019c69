"""What the unit tests take, said at the end of each run."""

import gc
import sys

import pytest

# What the reports of thousands of tests hold is looked at in each full collection: there is one for
# each million objects, instead of each 70,000. Tests that count what is left collect by themselves.
FULL_COLLECTION = (10_000, 10, 10)
# Seconds that all of them may take together, pytest's own time aside.
BUDGET = 2.0


def pytest_collection_finish() -> None:
    """Collect garbage less often while the tests run."""
    gc.set_threshold(*FULL_COLLECTION)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Add up the tests' own time; a loaded machine may go over the budget, so nothing fails."""
    if sys.gettrace() is not None:
        return  # coverage is counting, and takes longer than the tests
    own = sum(
        report.duration
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport)
        and report.when == "call"
        and report.nodeid.startswith("tests/unit/")
    )
    terminalreporter.write_line(f"unit tests: {own:.2f} s of their own, of {BUDGET:g} s")
