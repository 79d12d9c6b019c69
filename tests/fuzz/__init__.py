"""Readers of what strangers write, and bytes thrown at them: ``python -m tests.fuzz.run``."""
