"""The command ``moby-plugins unit``, which prints units of systemd that serve a plugin."""

import os
import sys
from importlib.util import find_spec

import click

from moby_plugins import Settings
from moby_plugins.app.packaging import check_app
from moby_plugins.app.plugin_server import DRAIN
from moby_plugins.cli.options import example, with_config
from moby_plugins.cli.serve import with_drain
from moby_plugins.domain.text import quoted
from moby_plugins.domain.units import Unit


@click.command(
    epilog=example(
        "moby-plugins unit shelves:app --name shelf",
        "moby-plugins unit shelves:app --name shelf | csplit -z - '/^# .*socket$/'",
    )
)
@click.argument("app", metavar="MODULE:APP")
@click.option("--name", help="The plugin's name.  [default: the module's name]")
@with_drain
@with_config
def unit(app: str, name: str | None, drain: float, settings: Settings) -> None:
    """Print systemd units that serve a plugin: a .service, then its .socket.

    Each follows a comment line with the path of its file. The service runs this
    Python, in the current directory if the module is there.
    """
    module = check_app(app).partition(":")[0]
    name = name or module.rpartition(".")[2]
    command = [sys.executable, "-m", "moby_plugins", "serve", app, "--name", name]
    if drain != DRAIN:
        command += ["--drain", f"{drain:g}"]
    unit_file = Unit(
        name=name,
        command=tuple(command),
        sockets_path=os.path.abspath(settings.sockets_path),
        drain=drain,
        directory=_directory_of(module),
    )
    print(unit_file.service())
    print(unit_file.socket(), end="")


def _directory_of(module: str) -> str:
    """Return the current directory if ``module`` is in it; "" for an installed module."""
    working_directory = os.getcwd()
    top = module.partition(".")[0]
    if any(os.path.exists(os.path.join(working_directory, name)) for name in (top, f"{top}.py")):
        return working_directory
    if not _is_installed(top):
        print(
            f"moby-plugins: there is no module {quoted(top)} here or installed, so the service"
            " would not find it either; run this where it is",
            file=sys.stderr,
        )
    return ""


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # for ``__main__``, for example
        return False
