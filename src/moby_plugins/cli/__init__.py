"""The command line ``moby-plugins``, with one module for each command, imported on use.

It needs the extra ``cli``.
"""

import atexit
import gc
import sys

from moby_plugins.domain import __version__

INTERRUPTED = 130  # the exit status after Ctrl-C


def main() -> None:
    """Run the command that the process's arguments name, and exit with its status."""
    # Imports create tens of thousands of objects and hardly any garbage, so collect less often.
    gc.set_threshold(50_000)
    # Objects that are still there when the process ends need no collection: its end frees them.
    atexit.register(gc.freeze)
    from moby_plugins.cli.streams import standard_streams

    with standard_streams():
        try:
            if sys.argv[1:] == ["--version"]:  # without the imports that other commands need
                print(f"moby-plugins {__version__}")
            else:
                _run()
        except KeyboardInterrupt:  # while modules are still imported
            sys.exit(INTERRUPTED)


def _run() -> None:
    try:
        from moby_plugins.cli.command_line import moby_plugins
    except ModuleNotFoundError as error:
        if str(error.name).startswith("moby_plugins"):
            raise
        sys.exit(f"moby-plugins needs {error.name}: pip install 'moby-plugins[cli]'")
    moby_plugins.main(prog_name="moby-plugins")
