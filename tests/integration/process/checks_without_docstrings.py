"""All checks of a good plugin in memory: ``python -OO -m …`` runs them without docstrings.

Prints a line for each: its id, its verdict, and what it expects.
"""

from moby_plugins.checks import Target, built_in_checks, run_checks
from moby_plugins.domain.address import Address
from moby_plugins.testing import FakeClock, MemoryTransport
from tests.unit.checks.broken import OPTIONS
from tests.unit.checks.good_plugin import good_plugin

if __name__ == "__main__":
    clock = FakeClock()
    plugin = MemoryTransport(good_plugin(), clock=clock)
    target = Target(plugin, Address("unix:///x.sock"), clock=clock, options=OPTIONS)
    for found in run_checks(built_in_checks(), target):
        print(found.check.id, found.outcome, found.check.expects, sep="\t")
