"""VolumeDriver (protocol.md B2)."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from moby_plugins.app.subsystem import Subsystem, omitempty, remote, timed
from moby_plugins.domain.errors import DriverError, StatusError, WireError
from moby_plugins.domain.formats import timestamp
from moby_plugins.domain.text import quoted

logger: logging.Logger = logging.getLogger("moby_plugins")

# Seconds that the engine gives one attempt, the answer's body included.
LONG, SHORT = 120.0, 60.0


@frozen
class Volume:
    """A volume as a driver describes it.

    ``created_at`` is a ``datetime``, local time if it has no zone, or text in RFC 3339; it is kept
    as text. Where it is "" it is left out, because an engine refuses the whole answer for an
    empty one (B11, trap 11), and so does one that is no RFC 3339: that is an error when it is
    sent. ``status`` is for people.
    """

    name: str
    mountpoint: str = ""
    created_at: str = field(default="", converter=timestamp, metadata=omitempty() | timed())
    status: Mapping[str, Any] = field(factory=dict, metadata=omitempty())


def _scope(given: str) -> str:
    scope = given.lower() or "local"
    if scope not in {"local", "global"}:
        logger.warning("a volume driver's scope is %s: taken for local", quoted(given))
        return "local"
    return scope


@frozen
class VolumeCapabilities:
    """``scope`` is "local", or "global" for volumes that every node sees; else it means "local"."""

    scope: str = field(default="local", converter=_scope)


class VolumeDriver(Subsystem):
    """Volumes by name, mounted for the containers that use them."""

    @remote(timeout=LONG)
    def create(self, name: str, opts: Mapping[str, str] | None = None) -> None:
        """Make a volume; the engine has asked ``get`` before."""
        raise NotImplementedError

    @remote(timeout=SHORT)
    def remove(self, name: str) -> None:
        """Remove a volume and what is in it."""
        raise NotImplementedError

    @remote(timeout=SHORT, result="Mountpoint")
    def path(self, name: str) -> str:
        """Where the volume is mounted."""
        raise NotImplementedError

    @remote(timeout=LONG, result="Mountpoint")
    def mount(self, name: str, id: str) -> str:
        """Mount for the user ``id`` and tell where.

        The same ``name`` and ``id`` may come several times: count them (trap 12).
        """
        raise NotImplementedError

    @remote(timeout=SHORT)
    def unmount(self, name: str, id: str) -> None:
        """Undo one ``mount``."""
        raise NotImplementedError

    @remote(timeout=SHORT, result="Volumes")
    def list(self) -> Sequence[Volume]:
        """All volumes."""
        raise NotImplementedError

    @remote(timeout=SHORT, result="Volume")
    def get(self, name: str) -> Volume | None:
        """The volume, or ``None`` where there is none by that name."""
        raise NotImplementedError

    def find(self, name: str) -> Volume | None:
        """Return the volume, or ``None`` where an engine takes it for absent.

        That is an answer without a volume, and any answer that says or is an error (B2; B11,
        trap 9): status 404 or 500, ``Err``, what is no JSON. So a plugin whose database is away
        has no volumes, to an engine as here; ``get`` tells the two apart. Raises what says
        that no answer came: ``TransportError``.
        """
        try:
            return self.get(name)
        except (StatusError, DriverError, WireError):
            return None

    @remote(timeout=SHORT, result="Capabilities", failed=VolumeCapabilities())
    def capabilities(self) -> VolumeCapabilities:
        """What the driver can do; to a host any failure means "local"."""
        raise NotImplementedError
