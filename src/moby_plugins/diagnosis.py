"""What is wrong with a machine's plugins, and what to do about it."""

from moby_plugins.app.diagnosing import diagnose
from moby_plugins.domain.findings import NOTE, PROBLEM, WARNING, Finding

__all__ = ["NOTE", "PROBLEM", "WARNING", "Finding", "diagnose"]
