"""The group of all commands, which imports them on use and handles their errors."""

import os
from importlib import import_module
from typing import Any

import click

from moby_plugins.cli.errors import UNUSABLE, did_you_mean, exit_code, report
from moby_plugins.domain import __version__
from moby_plugins.domain.errors import PluginError, SpecError
from moby_plugins.domain.text import quoted, sentence

# The commands, in the order of use, and their lines in the overview. Modules have the same names.
COMMANDS = {
    "ls": "List the plugins, and what is wrong with them.",
    "inspect": "Show a plugin's spec, address, TLS, manifest and capabilities.",
    "call": "Call a method of a plugin.",
    "wait": "Wait until a plugin is found and active.",
    "doctor": "Report what is wrong with plugins, and what to do about it.",
    "check": "Check whether a plugin follows the protocol.",
    "trace": "Show each call between hosts and a plugin.",
    "serve": "Serve a plugin written in Python.",
    "package": "Make a managed plugin, check one, or send it to an engine.",
    "unit": "Print systemd units that serve a plugin.",
    "demo": "Show how a plugin is found, activated and called.",
}


class CommandsOnDemand(click.Group):
    """A group that imports a command's module when the command is needed."""

    def list_commands(self, _: click.Context) -> list[str]:
        """Return the names of the commands, in the order of the overview."""
        return [*COMMANDS]

    def get_command(self, _: click.Context, name: str) -> click.Command | None:
        """Return the command ``name``, importing its module; ``None`` for an unknown name."""
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"moby_plugins.cli.{name}"), name)
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the requested command; for an unknown name, fail and suggest a similar one."""
        name = args[0]
        if name not in COMMANDS and (near := did_you_mean(name, COMMANDS)):
            context.fail(f"No such command {quoted(name)}{near}")
        return super().resolve_command(context, args)

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the overview without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl([*COMMANDS.items()])

    def invoke(self, context: click.Context) -> Any:
        """Run a command; turn an error of a plugin into a message and an exit status."""
        try:
            return super().invoke(context)
        except click.ClickException as error:
            # The message quotes the arguments, which may hold any text.
            vars(error)["message"] = sentence(error.message)
            raise
        except (PluginError, KeyboardInterrupt) as error:
            report(error)
            context.exit(exit_code(error))
        except FileNotFoundError:
            if _has_current_directory():
                raise
            report(SpecError("the current directory was removed", "."))
            context.exit(UNUSABLE)


def _has_current_directory() -> bool:
    try:
        return bool(os.getcwd())
    except FileNotFoundError:
        return False


@click.group(
    cls=CommandsOnDemand,
    epilog="Run COMMAND --help for its options and an example.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="moby-plugins %(version)s")
def moby_plugins() -> None:
    """Find, call, check and serve Docker plugins."""
