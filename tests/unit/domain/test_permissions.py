"""Who could change what hosts trust, and commands that a shell reads as they are meant."""

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
def test_what_only_the_trusted_may_change_is_safe(access: Access) -> None:
    """Root's and one's own; a sticky directory; a socket's group; a link's mode."""
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
def test_what_others_may_change_is_told(access: Access, what: str, who: str, remedy: str) -> None:
    """With those who could use it, and the command that mends it."""
    assert found(access) == [(what, who, f"{remedy} {PATH}")]


def test_an_owner_and_a_mode_are_two_things() -> None:
    """Each has its own remedy."""
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
def test_a_word_stays_one_word(word: str, quoted: str) -> None:
    """Printable, and on one line."""
    assert shell_word(word) == quoted
    assert quoted.isprintable()


def test_an_argument_is_no_option() -> None:
    """Also where it begins with a hyphen."""
    assert shell_command("rm", "-rf") == "rm -- -rf"
    assert shell_command("chown", "-h", "root", "/x") == "chown -h root /x"


@pytest.mark.parametrize("path", ["/" + "x" * 5000, "/x://me:secret@h"])
def test_what_cannot_be_shown_as_it_is_is_no_command(path: str) -> None:
    """Half a command could do harm."""
    told = shell_command("rm", path)

    assert told.startswith("by hand: ")
    assert "secret" not in told
