"""A million calls with faults among them, run by hand: ``python -m tests.soak.run``."""
