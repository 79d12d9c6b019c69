"""Who could change a file that hosts trust: owners and modes, judged as sshd's StrictModes does.

Every component of a path counts, from ``/`` on, for the owner of a directory can put another in
the place of all that lies below it. What is decided here was observed by
``adapters/disk/survey.py``. Commands that a person may copy into a shell are made here too.
"""

import re
import shlex
from collections.abc import Collection, Iterator, Mapping

from attrs import frozen

from moby_plugins.domain.text import shown

# What lies at a path.
SOCKET, DIRECTORY, FILE, LINK = "socket", "directory", "ordinary file", "link"
FIFO, DEVICE = "FIFO", "device"

FOR_OTHERS_TO_WRITE = 0o002
FOR_OTHERS_TO_READ = 0o004
FOR_OTHERS_TO_SEARCH = 0o001
FOR_GROUP_TO_WRITE = 0o020
STICKY = 0o1000

ROOT = 0

# More than any path has in it; what is longer is not offered as a command.
_MAX_COMMAND = 3000
_PLAIN = re.compile(r"[ -~]*")


@frozen
class Access:
    """Who may change what lies at ``path``: its kind, mode and owner, and who is in its group.

    ``members`` are the users in its group who are not trusted already. A directory that is
    ``searched`` is one in which hosts look for files by their names, or in which what a path
    names is missing: then a new file will do, against which the sticky bit does not help.
    """

    path: str
    kind: str
    mode: int
    owner: int = ROOT
    members: tuple[str, ...] = ()
    searched: bool = False


@frozen
class Weakness:
    """A right of another user: ``what`` it is, and the ``remedy``, which is a command.

    ``who`` has it stands before a verb in the plural; it is "" where no user has it now.
    """

    what: str
    who: str
    remedy: str


def weaknesses(
    access: Access, noun: str, trusted: Collection[int], users: Mapping[int, str]
) -> Iterator[Weakness]:
    """The rights over ``access``, called ``noun``, of others than the users in ``trusted``."""
    path = access.path
    if access.owner not in trusted:
        user = shown(users.get(access.owner, str(access.owner)))
        command = ("chown", "-h", "root") if access.kind == LINK else ("chown", "root")
        told = f"the {noun} belongs to {user}, who is neither root nor the user that runs this"
        yield Weakness(told, f"processes of {user}", shell_command(*command, path))
    protected = access.kind == DIRECTORY and access.mode & STICKY and not access.searched
    if access.kind == LINK or protected:
        return  # a link's mode says nothing
    if access.mode & FOR_OTHERS_TO_WRITE:
        usable = access.kind != DIRECTORY or access.mode & FOR_OTHERS_TO_SEARCH
        told = f"every user can write to the {noun}"
        yield Weakness(told, "any of them" if usable else "", shell_command("chmod", "o-w", path))
    # The group of a socket is how hosts that are not root connect to it.
    elif access.mode & FOR_GROUP_TO_WRITE and access.kind != SOCKET:
        members = shown(", ".join(access.members))
        told = f"its group can write to the {noun}"
        yield Weakness(
            f"{told}: {members}" if members else f"{told}, in which there is no other user now",
            "any of them" if members else "",
            shell_command("chmod", "g-w", path),
        )


def shell_command(*words: str) -> str:
    """Return a command for a shell, on one line, in which each word stays one word.

    The last is an argument, also where it begins with a hyphen. A word with control
    characters, or with bytes that are no UTF-8, is written as ``$'…'``. Where the whole
    could not be shown as it is, it says so, and names no command.
    """
    *first, last = words
    command = " ".join(map(shell_word, [*first, "--", last] if last.startswith("-") else words))
    if shown(command, _MAX_COMMAND) != command:
        return f"by hand: its path cannot be shown as it is ({words[0]})"
    return command


def shell_word(word: str) -> str:
    """Return ``word`` as one word of a shell, printable: quoted where it has to be."""
    if word.isprintable():
        return shlex.quote(word)
    # Three octal digits end by themselves, whatever follows.
    encoded = word.encode("utf-8", "surrogateescape")
    return "$'" + "".join(map(_octal, encoded)) + "'"


def _octal(byte: int) -> str:
    char = chr(byte)
    return char if _PLAIN.fullmatch(char) and char not in "\\'" else f"\\{byte:03o}"
