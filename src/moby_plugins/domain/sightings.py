"""What discovery comes upon: files that describe a plugin, and files that seem to."""

from attrs import frozen

from moby_plugins.domain.errors import SpecError
from moby_plugins.domain.plugin import Plugin


@frozen
class Candidate:
    """A socket or spec where a look-up of a plugin's name goes.

    The first of a name's candidates decides, and hides the others.
    ``plugin`` is what it describes; without one, ``error`` says why it cannot be used.
    """

    path: str
    plugin: Plugin | None = None
    error: SpecError | None = None


@frozen
class Stray:
    """A file that was meant to describe a plugin, it seems, but that no look-up finds."""

    path: str
    reason: str
