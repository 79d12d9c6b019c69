"""The command line ``moby-plugins``, outermost: one module a command, imported when it is called.

It needs the extra ``cli``, and uses nothing of this library that a program of
the user's could not use.
"""

import os
import sys

from moby_plugins.domain import __version__


def main() -> None:
    """Run the command that the process's arguments name, and exit with its status."""
    if sys.argv[1:] == ["--version"]:  # told without loading what the other commands need
        print(f"moby-plugins {__version__}")
        return
    import io
    import logging

    _reserve_descriptors()
    try:
        from moby_plugins.cli.command_line import moby_plugins
    except ModuleNotFoundError as error:
        if str(error.name).startswith("moby_plugins"):
            raise
        sys.exit(f"moby-plugins needs {error.name}: pip install 'moby-plugins[cli]'")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # whatever the locale, a name can be printed
            stream.reconfigure(errors="backslashreplace")
    # Commands say themselves what goes wrong; ``serve`` adds where to log to.
    logging.getLogger("moby_plugins").addHandler(logging.NullHandler())
    moby_plugins.main(prog_name="moby-plugins")


def _reserve_descriptors() -> None:
    # Where a standard stream is closed, the next file or socket would take its number, and be
    # written to in its place. What stands there now cannot be written to.
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)
