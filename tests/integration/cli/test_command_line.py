"""What all commands of ``moby-plugins`` have in common, run as processes."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from moby_plugins import __version__
from moby_plugins.cli.command_line import COMMANDS
from tests.integration.cli.machine import SECONDS, Machine

SCRIPT = str(Path(sysconfig.get_path("scripts")) / "moby-plugins")
WITHOUT = """
import sys
sys.modules[sys.argv.pop(1)] = None
from moby_plugins.cli import main
main()
"""


@pytest.mark.parametrize("command", [[SCRIPT], [sys.executable, "-m", "moby_plugins"]])
def test_the_script_and_the_module_are_the_same_program(
    machine: Machine, command: list[str]
) -> None:
    """``moby-plugins`` and ``python -m moby_plugins`` print the same version and overview."""
    version, overview = (
        subprocess.run(
            [*command, option], capture_output=True, text=True, check=True, timeout=SECONDS
        ).stdout
        for option in ("--version", "--help")
    )

    assert version == f"moby-plugins {__version__}\n"
    assert "Usage: moby-plugins [OPTIONS] COMMAND [ARGS]..." in overview


def test_the_overview_has_each_command_and_fits_a_screen(machine: Machine) -> None:
    """``--help`` has a line for each command, in the order of use, on 24 lines of 80 characters."""
    lines = machine.run("--help").stdout.splitlines()

    listed = [line.split()[0] for line in lines[lines.index("Commands:") + 1 :] if line]
    assert listed[: len(COMMANDS)] == [*COMMANDS]
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_fits_a_screen_and_ends_with_an_example(
    machine: Machine, name: str
) -> None:
    """The help has at most 24 lines of 80 characters, and the last one can be typed as it is."""
    ran = machine.run(name, "--help")

    lines = ran.stdout.splitlines()
    assert (ran.returncode, ran.stderr) == (0, "")
    assert lines[0].startswith(f"Usage: moby-plugins {name}")
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    # Two spaces where there is no room for a heading, and four below one.
    assert lines[-1].startswith((f"    moby-plugins {name}", f"  moby-plugins {name}"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["ls", "--nonsense"], "No such option"),
        (["inspect"], "Missing argument 'NAME|ADDRESS'"),
    ],
)
def test_a_wrong_command_option_or_argument_has_exit_status_2(
    machine: Machine, arguments: list[str], said: str
) -> None:
    """Standard error says what is wrong, and nothing is done."""
    ran = machine.run(*arguments)

    assert (ran.returncode, ran.stdout) == (2, "")
    assert said in ran.stderr


def test_settings_come_from_a_file_or_the_environment(machine: Machine) -> None:
    """With ``--config`` the variables of the environment are ignored, even invalid ones."""
    (machine.specs / "far.spec").write_text("tcp://127.0.0.1:1")
    file = machine.root / "settings.toml"
    file.write_text(f'sockets_path = "{machine.sockets}"\nspecs_paths = []\n')

    assert "far" in machine.run("ls").stdout
    assert "far" not in machine.run("ls", "--config", str(file)).stdout
    ran = machine.run("ls", "--config", str(file), MOBY_PLUGINS_TIMEOUT="soon")
    assert ran.returncode == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("timeouts = 3", "unknown setting 'timeouts'"),
        ("timeout = -3", "timeout must be a positive number"),
        ("timeout = ", "Invalid value"),
    ],
)
def test_settings_that_cannot_be_used_have_exit_status_9(
    machine: Machine, content: str, said: str
) -> None:
    """The message names the file of the settings and says what is wrong."""
    file = machine.root / "settings.toml"
    file.write_text(content)

    ran = machine.run("ls", "--config", str(file))

    assert (ran.returncode, ran.stdout) == (9, "")
    assert ran.stderr.startswith(f"moby-plugins: {file}: ")
    assert said in ran.stderr


def test_a_variable_that_cannot_be_used_has_exit_status_9(machine: Machine) -> None:
    """The message names the environment variable."""
    ran = machine.run("ls", MOBY_PLUGINS_TIMEOUT="soon")

    assert ran.returncode == 9
    assert ran.stderr.startswith("moby-plugins: MOBY_PLUGINS_TIMEOUT: ")


def test_characters_that_the_locale_lacks_are_escaped(machine: Machine) -> None:
    """In an ASCII locale the command prints names and messages with escapes, and does not fail."""
    (machine.specs / "bücher.spec").write_text("nowhere")

    ran = machine.run("ls", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")

    assert (ran.returncode, ran.stderr) == (0, "")
    line = ran.stdout.splitlines()[1]
    assert line.startswith("b\\udcc3\\udcbccher  error: ")
    assert "scheme://\\u2026" in line


@pytest.mark.parametrize(("module", "name"), [("click", "ls"), ("rich", "--version")])
def test_without_the_extra_the_message_says_what_to_install(
    machine: Machine, module: str, name: str
) -> None:
    """If click is missing, the message names the extra; ``--version`` works without rich."""
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT, module, name],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )

    if name == "--version":
        assert (ran.returncode, ran.stdout) == (0, f"moby-plugins {__version__}\n")
    else:
        assert ran.returncode == 1
        assert ran.stderr == "moby-plugins needs click: pip install 'moby-plugins[cli]'\n"


def completions(machine: Machine, *words: str, **environment: str) -> list[str]:
    """What bash offers for the last of ``words``."""
    ran = machine.run(
        _MOBY_PLUGINS_COMPLETE="bash_complete",
        COMP_WORDS=" ".join(["moby-plugins", *words]),
        COMP_CWORD=str(len(words)),
        **environment,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return [line.partition(",")[2] for line in ran.stdout.splitlines() if line]


def test_the_shell_completes_plugin_names_methods_and_subsystems(machine: Machine) -> None:
    """The names are those that a look-up finds, also with the settings of ``--config``."""
    for name in ("shelf", "shed", "net", "sh\x1b[2J"):
        (machine.specs / f"{name}.spec").write_text("tcp://127.0.0.1:1")
    file = machine.root / "settings.toml"
    file.write_text(f'sockets_path = "{machine.sockets}"\nspecs_paths = []\n')

    assert completions(machine, "in") == ["inspect"]
    assert completions(machine, "inspect", "sh") == ["shed", "shelf"]
    assert completions(machine, "inspect", "--config", str(file), "sh") == []
    assert completions(machine, "call", "net", "VolumeDriver.M") == ["VolumeDriver.Mount"]
    assert completions(machine, "call", "net", "Plugin.") == ["Plugin.Activate"]
    assert completions(machine, "wait", "net", "Vol") == ["VolumeDriver"]


def test_with_settings_that_cannot_be_used_the_shell_completes_nothing(machine: Machine) -> None:
    """Pressing Tab then prints no message."""
    assert completions(machine, "inspect", "sh", MOBY_PLUGINS_TIMEOUT="soon") == []
    assert completions(machine, "inspect", "--config", "/none", "sh") == []


@pytest.mark.parametrize(
    "words",
    [
        ["serve", "mine:app", "--"],
        ["serve", "--reload", "nosuch:app", "--"],
        ["call", "net", "VolumeDriver.Create", "@fifo", "--"],
        ["call", "net", "GraphDriver.ApplyDiff", "--send", "fifo", "--"],
        ["check", "net", "--junit", "report", "--"],
    ],
    ids=" ".join,
)
def test_completion_of_a_line_has_no_effect(machine: Machine, words: list[str]) -> None:
    """No module is imported, nothing is waited for, and no file is opened."""
    (machine.root / "mine.py").write_text("open('imported', 'w').close()")
    (machine.root / "report").write_text("earlier")
    os.mkfifo(machine.root / "fifo")

    assert "--config" in completions(machine, *words)
    assert not (machine.root / "imported").exists()
    assert (machine.root / "report").read_text() == "earlier"


@pytest.mark.parametrize(
    "words", [["serve", "a:b"], ["unit", "a:b"], ["call", "./x", "A.B"]], ids=lambda words: words[0]
)
def test_in_a_directory_that_was_removed_a_command_says_so(
    machine: Machine, words: list[str]
) -> None:
    """The exit status is 9, and there is no traceback."""
    gone = machine.root / "gone"
    gone.mkdir()
    script = 'rmdir "$PWD"; exec "$@"'
    with machine.running(
        ["sh", "-c", f"cd {gone}; {script}", "sh", *machine.command(*words)]
    ) as process:
        _, said = process.communicate(timeout=SECONDS)

    assert (process.returncode, said) == (9, "moby-plugins: .: the current directory was removed\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_completion_script(machine: Machine, shell: str) -> None:
    """The command prints the script for the shell to read when a variable asks for it."""
    ran = machine.run(_MOBY_PLUGINS_COMPLETE=f"{shell}_source")

    assert ran.returncode == 0
    assert f"{shell}_complete" in ran.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["x" * 9000],
        ["ls", "--" + "x" * 9000],
        ["ls", "--timeout", "x" * 9000],
        ["inspect", "a", "x" * 9000],
        ["serve", "m:a", "n", "--drain", "x" * 9000],
    ],
)
def test_long_arguments_are_cut_in_error_messages(machine: Machine, arguments: list[str]) -> None:
    """A message that repeats an argument of 9,000 characters stays readable."""
    ran = machine.run(*arguments)

    assert ran.returncode == 2
    assert "… of " in ran.stderr
    assert max(map(len, ran.stderr.splitlines())) < 600
