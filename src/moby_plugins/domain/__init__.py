"""Values and decisions: attrs and the standard library; opens, dials, sleeps and logs nothing."""

# Here, so that any module can name it, and printing it imports nothing else.
__version__ = "0.1.0"
