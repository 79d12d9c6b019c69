"""VolumeDriver (protocol.md B2)."""

import logging
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from moby_plugins.app.subsystem import Subsystem, omitempty, remote
from moby_plugins.domain.text import quoted

logger = logging.getLogger("moby_plugins")

# Seconds that the engine gives one attempt, the answer's body included.
LONG, SHORT = 120.0, 60.0


@frozen
class Volume:
    """A volume as a driver describes it.

    ``created_at`` is RFC 3339; where it is "" it is left out, because an engine
    refuses the whole answer for an empty one (B11, trap 11). ``status`` is for
    people.
    """

    name: str
    mountpoint: str = ""
    created_at: str = field(default="", metadata=omitempty())
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
    def list(self) -> tuple[Volume, ...]:
        """All volumes."""
        raise NotImplementedError

    @remote(timeout=SHORT, result="Volume")
    def get(self, name: str) -> Volume | None:
        """The volume, or ``None`` where there is none by that name."""
        raise NotImplementedError

    @remote(timeout=SHORT, result="Capabilities", failed=VolumeCapabilities())
    def capabilities(self) -> VolumeCapabilities:
        """What the driver can do; to a host any failure means "local"."""
        raise NotImplementedError
