"""A discovery that closes idle connections if its look-ups find no file descriptor left."""

from functools import partial

from attrs import frozen

from moby_plugins.descriptors import Descriptors
from moby_plugins.domain.plugin import Plugin
from moby_plugins.ports import Cancellation, Discovery, LocalDiscovery, ended_by


@frozen
class SheddingDiscovery:
    """A discovery that repeats what ``discovery`` could not do for lack of file descriptors.

    ``descriptors`` closes idle connections before the next attempt.
    """

    discovery: Discovery
    descriptors: Descriptors

    @property
    def is_local(self) -> bool:
        """Whether the look-ups of ``discovery`` only read local files."""
        return isinstance(self.discovery, LocalDiscovery) and self.discovery.is_local

    def ended_by(self, cancel: Cancellation) -> "SheddingDiscovery":
        """Return a copy whose look-ups end once ``cancel`` is set, if ``discovery`` supports it."""
        return SheddingDiscovery(ended_by(self.discovery, cancel), self.descriptors)

    def scan(self) -> list[str]:
        """Return the names that ``discovery`` finds."""
        return self.descriptors.tried(self.discovery.scan)

    def lookup(self, name: str) -> Plugin:
        """Return the plugin ``name`` that ``discovery`` finds."""
        return self.descriptors.tried(partial(self.discovery.lookup, name))

    def __repr__(self) -> str:
        return repr(self.discovery)
