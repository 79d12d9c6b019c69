"""Permissions of paths that hosts trust, and commands that are quoted for a shell."""

import pytest

from moby_plugins.domain.permissions import (
    DIRECTORY,
    FIFO,
    FILE,
    LINK,
    SOCKET,
    Access,
    shell_command,
    shell_word,
    weaknesses,
)
from tests.cases import every

PATH = "/run/p/x"
ALL, NONE = "any of them", ""


def found(access: Access) -> list[tuple[str, str, str]]:
    """What is wrong, for those who trust root and user 7."""
    return [
        (each.what, each.who, each.remedy)
        for each in weaknesses(access, "thing", {0, 7}, {5: "eve"})
    ]


@every(
    "access",
    [
        Access(PATH, DIRECTORY, 0o755),
        Access(PATH, DIRECTORY, 0o755, 7),
        Access(PATH, DIRECTORY, 0o1777),
        Access(PATH, DIRECTORY, 0o1775, members=("eve",)),
        Access(PATH, FILE, 0o644),
        Access(PATH, SOCKET, 0o660, members=("eve",)),
        Access(PATH, LINK, 0o777),
    ],
)
def test_a_path_that_only_trusted_users_can_change_has_no_weakness(access: Access) -> None:
    """Sticky directories, sockets that a group can write to, and modes of links are safe."""
    assert found(access) == []


@every(
    ("access", "what", "who", "remedy"),
    [
        (Access(PATH, DIRECTORY, 0o777), "every user can write to the thing", ALL, "chmod o-w"),
        (Access(PATH, DIRECTORY, 0o702), "every user can write to the thing", NONE, "chmod o-w"),
        (
            Access(PATH, DIRECTORY, 0o1777, searched=True),
            "every user can write to the thing",
            ALL,
            "chmod o-w",
        ),
        (Access(PATH, SOCKET, 0o666), "every user can write to the thing", ALL, "chmod o-w"),
        (Access(PATH, FILE, 0o602), "every user can write to the thing", ALL, "chmod o-w"),
        (Access(PATH, FIFO, 0o622), "every user can write to the thing", ALL, "chmod o-w"),
        (
            Access(PATH, FILE, 0o664, members=("eve", "mal")),
            "its group can write to the thing: eve, mal",
            ALL,
            "chmod g-w",
        ),
        (
            Access(PATH, DIRECTORY, 0o775),
            "its group can write to the thing, in which there is no other user now",
            NONE,
            "chmod g-w",
        ),
        (
            Access(PATH, DIRECTORY, 0o755, 5),
            "the thing belongs to eve, who is neither root nor the user that runs this",
            "processes of eve",
            "chown root",
        ),
        (
            Access(PATH, LINK, 0o777, 6),
            "the thing belongs to 6, who is neither root nor the user that runs this",
            "processes of 6",
            "chown -h root",
        ),
    ],
)
def test_a_path_that_other_users_can_change_is_reported(
    access: Access, what: str, who: str, remedy: str
) -> None:
    """The report names the users who can use it, and the command that prevents it."""
    assert found(access) == [(what, who, f"{remedy} {PATH}")]


def test_a_wrong_owner_and_a_wrong_mode_are_reported_separately() -> None:
    """The remedy for the owner is chown, and the one for the mode chmod."""
    assert [remedy for _, _, remedy in found(Access(PATH, DIRECTORY, 0o777, 5))] == [
        f"chown root {PATH}",
        f"chmod o-w {PATH}",
    ]


@every(
    ("word", "quoted"),
    [
        ("/run/x.sock", "/run/x.sock"),
        ("a b", "'a b'"),
        ("c; touch X #", "'c; touch X #'"),
        ("it's", "'it'\"'\"'s'"),
        ("", "''"),
        ("a\nb", r"$'a\012b'"),
        ("\x1b[2J'\\", r"$'\033[2J\047\134'"),
        ("\udcff1", r"$'\3771'"),
        ("\u202e", r"$'\342\200\256'"),
    ],
)
def test_a_quoted_word_is_one_word_for_a_shell(word: str, quoted: str) -> None:
    """The quoted word is printable and on one line, whatever characters it stands for."""
    assert shell_word(word) == quoted
    assert quoted.isprintable()


def test_the_last_word_of_a_command_is_never_an_option() -> None:
    """A path that begins with a hyphen is written after ``--``."""
    assert shell_command("rm", "-rf") == "rm -- -rf"
    assert shell_command("chown", "-h", "root", "/x") == "chown -h root /x"


@pytest.mark.parametrize("path", ["/" + "x" * 5000, "/x://me:secret@h"])
def test_a_path_that_cannot_be_shown_unchanged_gives_no_command(path: str) -> None:
    """A command with a cut or masked path could do harm, so a text takes its place."""
    told = shell_command("rm", path)

    assert told.startswith("by hand: ")
    assert "secret" not in told
