"""Values and decisions, without input or output.

Modules here use attrs and the standard library only. They open no files or connections, and
neither sleep nor log.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Defined here, so that printing the version imports nothing else.
__version__ = "0.1.0"

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Return the module ``observing``, imported when an annotation that names it is read."""
        if name == "observing":
            return import_module(f"{__name__}.observing")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
