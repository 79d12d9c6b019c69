"""A million calls with faults among them: ``python -m tests.soak.run``, by hand for minutes."""
