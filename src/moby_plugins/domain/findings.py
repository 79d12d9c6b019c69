"""What a diagnosis is made of: what was seen of a machine's plugins, and what was found."""

from collections.abc import Mapping

from attrs import field, frozen

from moby_plugins.domain.sightings import Candidate, Stray

# How much it matters: hosts fail or are exposed, may be surprised, or nothing at all.
PROBLEM, WARNING, NOTE = "problem", "warning", "note"

# Permissions.
FOR_OTHERS_TO_WRITE = 0o002
FOR_OTHERS_TO_READ = 0o004
STICKY = 0o1000


@frozen
class Finding:
    """One thing: ``where`` it is, ``what`` it is, ``why`` it matters, and what to do about it.

    ``severity`` is ``"problem"``, ``"warning"`` or ``"note"``.
    """

    severity: str
    where: str
    what: str
    why: str
    remedy: str


@frozen
class Seen:
    """What was seen of a machine's plugins.

    ``modes`` are the permissions of files and directories, ``failures`` what became of
    looking at them, opening them, or connecting to them: an ``errno``. ``unreadable`` says
    why the directories could not be listed. ``left_behind`` are sockets that a
    ``trace`` that was killed stands in for.
    """

    sockets_path: str
    specs_paths: tuple[str, ...]
    plugins: Mapping[str, tuple[Candidate, ...]] = field(factory=dict)
    strays: tuple[Stray, ...] = ()
    modes: Mapping[str, int] = field(factory=dict)
    failures: Mapping[str, int] = field(factory=dict)
    unreadable: tuple[str, ...] = ()
    left_behind: tuple[str, ...] = ()
