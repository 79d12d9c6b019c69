"""One target under atheris, in a process of its own, which ``tests.fuzz.run`` starts."""

import logging
import sys

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]  # make fuzz brings it

with atheris.instrument_imports(include=["moby_plugins", "json", "tests.fuzz"]):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    logging.disable()
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
