"""Programs that are not ours: tests skip by name without them, except where they are required."""

import os
import shutil

import pytest


def requires(component: str, *programs: str, root: bool = False) -> pytest.MarkDecorator:
    """Skip where one of ``programs`` is not installed, or only root can run them.

    Where ``REQUIRED_COMPONENTS`` in the environment names the component, nothing
    is skipped: what is missing fails.
    """
    lacking = [f"{program} is not installed" for program in programs if not shutil.which(program)]
    if root and os.geteuid() != 0:
        lacking.append("it needs root")
    required = component in os.environ.get("REQUIRED_COMPONENTS", "").split(",")
    return pytest.mark.skipif(
        bool(lacking) and not required, reason=f"{component}: {', '.join(lacking)}"
    )
