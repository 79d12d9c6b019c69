"""Values and decisions, without input or output.

Modules here use attrs and the standard library only. They open no files or connections, and
neither sleep nor log.
"""

# Defined here, so that printing the version imports nothing else.
__version__ = "0.1.0"
