"""Judge owners and modes of paths that hosts trust, as sshd's StrictModes does.

Every component of a path is judged, from ``/`` on, since the owner of a directory can replace
everything below it. ``adapters/disk/survey.py`` makes the observations. This module also builds
the commands for remedies, quoted for a shell.
"""

import re
import shlex
from collections.abc import Collection, Iterator, Mapping

from attrs import frozen

from moby_plugins.domain.text import shown

# The kinds of files at a path.
SOCKET, DIRECTORY, FILE, LINK = "socket", "directory", "ordinary file", "link"
FIFO, DEVICE = "FIFO", "device"

FOR_OTHERS_TO_WRITE = 0o002
FOR_OTHERS_TO_READ = 0o004
FOR_OTHERS_TO_SEARCH = 0o001
FOR_GROUP_TO_WRITE = 0o020
STICKY = 0o1000

ROOT = 0

# Longer commands are not offered.
_MAX_COMMAND = 3000
_PLAIN = re.compile(r"[ -~]*")


@frozen
class Access:
    """Kind, mode and owner of ``path``, which decide who may change it.

    ``members`` are the untrusted users in its group. ``searched`` is true for a directory in which
    hosts look for files by name, or in which a file is missing: there a new file is enough for an
    attack, which the sticky bit does not prevent.
    """

    path: str
    kind: str
    mode: int
    owner: int = ROOT
    members: tuple[str, ...] = ()
    searched: bool = False


@frozen
class Weakness:
    """A right of an untrusted user: ``what`` it is, and a command as ``remedy``.

    ``who`` are the users who have the right, as the subject of a verb in the plural; "" if no user
    has it at present.
    """

    what: str
    who: str
    remedy: str


def weaknesses(
    access: Access, noun: str, trusted: Collection[int], users: Mapping[int, str]
) -> Iterator[Weakness]:
    """Yield the rights that users outside ``trusted`` have over a path.

    ``noun`` is the word for the path in messages; ``users`` has names by user ID.
    """
    path = access.path
    if access.owner not in trusted:
        user = shown(users.get(access.owner, str(access.owner)))
        command = ("chown", "-h", "root") if access.kind == LINK else ("chown", "root")
        reason = f"the {noun} belongs to {user}, who is neither root nor the user that runs this"
        yield Weakness(reason, f"processes of {user}", shell_command(*command, path))
    protected = access.kind == DIRECTORY and access.mode & STICKY and not access.searched
    if access.kind == LINK or protected:
        return  # the mode of a link has no meaning
    if access.mode & FOR_OTHERS_TO_WRITE:
        usable = access.kind != DIRECTORY or access.mode & FOR_OTHERS_TO_SEARCH
        reason = f"every user can write to the {noun}"
        yield Weakness(reason, "any of them" if usable else "", shell_command("chmod", "o-w", path))
    # Group write access to a socket is legitimate: hosts that are not root connect through it.
    elif access.mode & FOR_GROUP_TO_WRITE and access.kind != SOCKET:
        members = shown(", ".join(access.members))
        reason = f"its group can write to the {noun}"
        yield Weakness(
            f"{reason}: {members}" if members else f"{reason}, in which there is no other user now",
            "any of them" if members else "",
            shell_command("chmod", "g-w", path),
        )


def shell_command(*words: str) -> str:
    """Return a command line in which each word is quoted for a shell.

    The last word is an argument, even if it begins with a hyphen. Words with control characters
    or bytes that are not UTF-8 are written as ``$'…'``. If the command cannot be displayed
    unchanged, return a text that says so instead.
    """
    *first, last = words
    command = " ".join(map(shell_word, [*first, "--", last] if last.startswith("-") else words))
    if shown(command, _MAX_COMMAND) != command:
        return f"by hand: its path cannot be shown as it is ({words[0]})"
    return command


def shell_word(word: str) -> str:
    """Return ``word``, printable and quoted for a shell if necessary."""
    if word.isprintable():
        return shlex.quote(word)
    # Always three octal digits, so that a digit after them is not taken as a part.
    encoded = word.encode("utf-8", "surrogateescape")
    return "$'" + "".join(map(_octal, encoded)) + "'"


def _octal(byte: int) -> str:
    char = chr(byte)
    return char if _PLAIN.fullmatch(char) and char not in "\\'" else f"\\{byte:03o}"
