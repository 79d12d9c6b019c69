"""No name, spec or response leads the library to a path that was not configured."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from moby_plugins import SpecError
from moby_plugins.serving import PluginApp, PluginServer, plugin_server_tcp, plugin_server_unix
from tests.integration.hostile.bounds import ROUNDS

ROOT = Path(__file__).parents[3]


def test_no_path_is_opened_that_the_administrator_did_not_configure(short_path: Path) -> None:
    """Each path that is opened lies in a configured directory, or a spec there names it."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.hostile.path_witness", str(short_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120 * ROUNDS,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    # The one that shows that the witness was awake.
    assert json.loads(done.stdout) == [["open", f"{short_path}/secret/awake"]]


@pytest.mark.parametrize(
    "make",
    [
        lambda path: plugin_server_unix(PluginApp(), "x", sockets_path=path),
        lambda path: plugin_server_tcp(PluginApp(), "x", specs_path=path),
    ],
    ids=["unix", "tcp"],
)
def test_a_plugin_cannot_be_served_at_a_path_with_half_a_surrogate_pair(
    make: Callable[[str], PluginServer],
) -> None:
    """A careless JSON decoder can give such a path; ``start`` raises ``SpecError``."""
    with pytest.raises(SpecError, match="cannot be a path"):
        make("/tmp/\ud800").start()
