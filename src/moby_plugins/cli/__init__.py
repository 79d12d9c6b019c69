"""The command line ``moby-plugins``, outermost: one module a command, imported when it is called.

It needs the extra ``cli``, and uses nothing of this library that a program of
the user's could not use.
"""

import gc
import sys

from moby_plugins.domain import __version__


def main() -> None:
    """Run the command that the process's arguments name, and exit with its status."""
    # Importing makes tens of thousands of objects and hardly any garbage.
    gc.set_threshold(50_000)
    from moby_plugins.cli.streams import standard_streams

    with standard_streams():
        if sys.argv[1:] == ["--version"]:  # told without loading what the other commands need
            print(f"moby-plugins {__version__}")
        else:
            _run()


def _run() -> None:
    try:
        from moby_plugins.cli.command_line import moby_plugins
    except ModuleNotFoundError as error:
        if str(error.name).startswith("moby_plugins"):
            raise
        sys.exit(f"moby-plugins needs {error.name}: pip install 'moby-plugins[cli]'")
    moby_plugins.main(prog_name="moby-plugins")
