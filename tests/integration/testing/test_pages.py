"""The documents' commands, typed as a reader would; the documents' Python is run by Sybil."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from moby_plugins.cli.command_line import moby_plugins
from tests.integration.cli.machine import EXAMPLES, appear
from tests.integration.testing.pages import ROOT, blocks_of, pages, run_page

# Blocks that are not typed, by how they begin, and the test that does what they say: they need an
# engine, systemd, root, an index of packages, or Ctrl-C.
ELSEWHERE = {
    "README.md": {"make demo ": ".ci/run"},
    "docs/cli.md": {
        'eval "$(_MOBY_PLUGINS_COMPLETE=bash_source': "integration/cli/test_command_line.py",
        "moby-plugins call shelf VolumeDriver.List": "integration/cli/test_call.py",
        "moby-plugins wait shelf VolumeDriver --timeout 120": "integration/cli/test_wait.py",
        "pip install 'moby-plugins[cli]'": "integration/cli/test_serve.py",
        "moby-plugins package shelves:app": "integration/engine/test_packaging.py",
    },
    "docs/managed-plugins.md": {
        "export MOBY_PLUGINS_ENGINE=": "integration/engine/test_managed.py",
    },
    "docs/observing.md": {
        "export MOBY_PLUGINS_OBSERVERS=": "integration/cli/test_serve_logs.py",
        "python examples/observed.py": "integration/serving/test_observed_example.py",
        "moby-plugins trace shelf --record": "integration/cli/test_trace.py",
    },
    "docs/production.md": {
        "cd /opt/shelves": "integration/cli/test_unit.py",
        "systemctl daemon-reload": "integration/cli/test_unit.py",
        "/opt/shelves/.venv/bin/pip install": "integration/serving/test_processes.py",
        "MOBY_PLUGINS_SOCKETS_PATH=$XDG_RUNTIME_DIR": "integration/cli/test_unit.py",
        "export MOBY_PLUGINS_SPECS_PATHS=$HOME": "unit/app/test_config.py",
        "examples/rootfs/debian.sh root": "integration/engine/test_root_filesystems.py",
        "gunicorn --bind": "integration/serving/test_processes.py",
    },
    "docs/writing-a-plugin.md": {
        "python examples/volume_plugin.py": "integration/engine/test_volumes.py",
        "python examples/log_plugin.py": "integration/engine/test_logs.py",
        "python examples/authz_plugin.py": "integration/engine/test_authorization.py",
        "python metrics_plugin.py": "integration/engine/test_metrics.py",
    },
}
# An app by the name that the documents give theirs.
SHELVES = "from volume_plugin import Shelf as Shelves\nfrom volume_plugin import app\n"


def elsewhere(page: str, first_line: str) -> bool:
    """Whether a block of a page is one of those."""
    return first_line.startswith(tuple(ELSEWHERE.get(page, ())))


def typed(page: str) -> bool:
    """Whether a page has a block to be typed."""
    shell = (block for block in blocks_of(page) if block.language == "sh")
    return not all(elsewhere(page, block.first_line) for block in shell)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short path, where a plugin ``shelf`` runs and ``shelves.py`` is."""
    with tempfile.TemporaryDirectory(prefix="mp-") as directory:
        place = Path(directory)
        for name in ("sockets", "specs", "volumes"):
            (place / name).mkdir()
        shutil.copy(EXAMPLES / "volume_plugin.py", place)
        (place / "shelves.py").write_text(SHELVES, "utf-8")
        sock = place / "sockets/shelf.sock"
        command = [sys.executable, "volume_plugin.py", str(sock), str(place / "volumes")]
        with subprocess.Popen(command, cwd=place) as plugin:
            try:
                appear(sock)
                for name in ("shelf.sock", "x.sock"):  # addresses below /tmp in the documents
                    (place / name).symlink_to(sock)
                yield place
            finally:
                plugin.terminate()


@pytest.mark.parametrize("page", [page for page in pages() if typed(page)])
def test_the_commands_of_a_page_work_and_print_what_the_page_shows(place: Path, page: str) -> None:
    """All commands run in one shell, from the page's beginning to its end."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(place),
        "MOBY_PLUGINS_SOCKETS_PATH": str(place / "sockets"),
        "MOBY_PLUGINS_SPECS_PATHS": str(place / "specs"),
    }

    but = [block.first_line for block in blocks_of(page) if elsewhere(page, block.first_line)]

    assert run_page(page, place, environment, but) == []


def test_each_block_of_commands_that_is_not_run_here_exists_and_has_a_test() -> None:
    """The table ``ELSEWHERE`` names blocks of pages and files of tests that exist."""
    for page, blocks in ELSEWHERE.items():
        shell = [block.first_line for block in blocks_of(page) if block.language == "sh"]
        for start, test in blocks.items():
            assert any(line.startswith(start) for line in shell), (page, start)
            assert (ROOT / test).exists() or (ROOT / "tests" / test).exists(), test


@pytest.mark.parametrize("page", pages())
def test_the_commands_of_a_page_use_options_that_exist(page: str) -> None:
    """Each ``moby-plugins`` command line in a page is parsed, whether it is run here or not."""
    commands = [
        command
        for block in blocks_of(page)
        if block.language == "sh"
        for command in block.commands
        if command.startswith("moby-plugins ")
    ]
    for command in commands:
        words = shlex.split(command, comments=True)[1:]
        end = next((at for at, word in enumerate(words) if word in {"|", ">", "&&"}), len(words))
        with click.Context(moby_plugins) as context:
            _, found, arguments = moby_plugins.resolve_command(context, words[:end])
            assert found is not None, command
            found.make_parser(context).parse_args(arguments)  # raises for an unknown option
