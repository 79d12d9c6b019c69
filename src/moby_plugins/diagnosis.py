"""A diagnosis of this machine's plugins: what is wrong with them, and how to repair it."""

from moby_plugins.app.diagnosing import diagnose
from moby_plugins.domain.findings import NOTE, PROBLEM, WARNING, Finding

__all__ = ["NOTE", "PROBLEM", "WARNING", "Finding", "diagnose"]
