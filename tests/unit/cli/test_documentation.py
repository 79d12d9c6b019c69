"""``docs/cli.md`` agrees with the commands and their options."""

import re
from pathlib import Path

import click

from moby_plugins.cli.command_line import COMMANDS, moby_plugins
from tests.cases import every

PAGE = (Path(__file__).parents[3] / "docs" / "cli.md").read_text("utf-8")
COMMON = PAGE.partition("## What all commands have in common")[2].partition("\n## ")[0]


def command_named(name: str) -> click.Command:
    """The command itself."""
    command = moby_plugins.get_command(click.Context(moby_plugins), name)
    assert command is not None
    return command


@every("name", COMMANDS)
def test_each_option_is_documented_in_its_commands_section(name: str) -> None:
    """Each long option is in the command's section of docs/cli.md, or in the one common to all."""
    section = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert section is not None, f"docs/cli.md has no section {name}"
    options = {option for param in command_named(name).params for option in param.opts}
    long = {option for option in options if option.startswith("--")}

    documented = {*re.findall(r"--[a-z][a-z-]*", section[1] + COMMON)}
    assert long - documented == set()


def test_the_table_of_docs_cli_has_each_command_with_its_line_of_help() -> None:
    """Order and words are those of ``--help``, except for upper and lower case."""
    rows = re.findall(r"^\| \[`(\w+)`\]\(#\w+\) \| (.*) \|$", PAGE, re.MULTILINE)

    assert [name for name, _ in rows] == [*COMMANDS]
    for name, line in rows:
        assert line.lower() == COMMANDS[name].rstrip(".").lower()


def test_an_unknown_name_is_no_command() -> None:
    """A module of the package ``cli`` that the table of commands lacks is no command."""
    assert moby_plugins.get_command(click.Context(moby_plugins), "options") is None
