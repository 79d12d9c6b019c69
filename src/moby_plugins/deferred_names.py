"""Public names that are loaded with their first use, so that importing a package costs little."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def deferred_names(
    package: str, homes: Mapping[str, tuple[str, ...]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The ``__getattr__`` and the ``__dir__`` of ``package``, whose names live in ``homes``.

    ``homes`` names the modules, below this library, and what comes from each. A name is looked
    up once; then it is the package's own. One that is not there is an ``AttributeError``.
    """
    home_of = {name: home for home, names in homes.items() for name in names}

    def load(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__package__}.{home_of[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return [*sys.modules[package].__all__]

    return load, names
