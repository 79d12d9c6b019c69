"""A discovery that is tried again if the system refuses a descriptor."""

import errno

from moby_plugins import SpecError
from moby_plugins.adapters.shedding import SheddingDiscovery
from moby_plugins.descriptors import Descriptors
from moby_plugins.domain.plugin import Plugin


class Pool:
    """A holder that counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def shed(self) -> bool:
        """Count."""
        self.asked += 1
        return True


class Directory:
    """A discovery that is refused a descriptor at each first time."""

    def __init__(self) -> None:
        self.refusing = {"scan", "lookup"}

    def _refuse(self, what: str) -> None:
        if what in self.refusing:
            self.refusing.discard(what)
            raise SpecError("cannot be read") from OSError(errno.EMFILE, "Too many open files")

    def scan(self) -> list[str]:
        self._refuse("scan")
        return ["shelf"]

    def lookup(self, name: str) -> Plugin:
        self._refuse("lookup")
        return Plugin.local(name, "unix:///shelf.sock")

    def __repr__(self) -> str:
        return "a directory"


def test_scans_and_look_ups_are_retried_when_descriptors_have_run_out() -> None:
    """Holders close their descriptors first; the ``repr`` is that of the discovery inside."""
    pool, descriptors = Pool(), Descriptors()
    descriptors.add(pool)
    discovery = SheddingDiscovery(Directory(), descriptors)

    assert discovery.scan() == ["shelf"]
    assert pool.asked == 1
    assert discovery.lookup("shelf").name == "shelf"
    assert pool.asked == 2
    assert repr(discovery) == "a directory"
