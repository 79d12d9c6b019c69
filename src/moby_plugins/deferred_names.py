"""Doors: the public modules, made cheap to import.

A door imports each of its names on first use (``deferred_names``). Many public classes name their
door as their ``__module__``, although another module defines them (``AtDoor``).
"""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Self


def deferred_names(
    package: str, names: Sequence[str], homes: Sequence[str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and ``__dir__`` of ``package``, whose public names are ``names``.

    ``homes`` are the modules that define the names, relative to this library. They are imported in
    this order until one has the name, so a module must come after those that it imports. A name is
    looked up once, and then kept as an attribute of ``package``. A name that is not in ``names``
    raises ``AttributeError``.
    """

    def load(name: str) -> Any:
        if name in names:
            for home in homes:
                defined = vars(import_module(f"{__package__}.{home}"))
                if name in defined:
                    setattr(sys.modules[package], name, defined[name])
                    return defined[name]
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return load, lambda: [*names]


class AtDoor(str):
    """The name of a public module (a door) as ``__module__`` of a class that ``home`` defines.

    Its text is the door's name, for tracebacks, reprs and pickles. ``inspect.getsource`` and
    ``typing.get_type_hints`` look the name up in ``sys.modules`` to find the class's file and
    globals, which the door does not have. So as a key of a dictionary this string stands for
    ``home``: it has the hash of ``home``, and equals both names.
    """

    __slots__ = ("_home",)

    _home: str

    def __new__(cls, door: str, home: str) -> Self:
        """Return the name ``door``, which has the hash of ``home`` and also equals ``home``."""
        instance = super().__new__(cls, door)
        instance._home = home
        return instance

    def __eq__(self, other: object) -> bool:
        return self._home == other or str.__eq__(self, other) is True

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._home)

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        """Make copies and pickles plain strings, which do not know ``home``."""
        return str, (str(self),)
