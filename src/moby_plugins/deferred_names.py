"""Lazy public names: importing a door costs little, because a name is imported on first use."""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any


def deferred_names(
    package: str, names: Sequence[str], homes: Sequence[str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and ``__dir__`` of ``package``, whose public names are ``names``.

    ``homes`` are the modules that define them, named relative to this library. They are imported
    in this order until one has the name, so a module stands behind those that it imports. A name
    is looked up once and then kept as an attribute of ``package``. A name that is not in
    ``names`` raises ``AttributeError``.
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
