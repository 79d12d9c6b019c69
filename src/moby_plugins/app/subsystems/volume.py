"""VolumeDriver (protocol.md B2)."""

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from moby_plugins.app.subsystem import Subsystem, omitempty, remote, timed
from moby_plugins.domain.errors import DriverError, StatusError, WireError
from moby_plugins.domain.formats import timestamp
from moby_plugins.domain.text import quoted
from moby_plugins.failures import logger

# Seconds that the engine gives one attempt, the answer's body included.
LONG, SHORT = 120.0, 60.0


@frozen
class Volume:
    """A volume as a driver describes it. A frozen value.

    Args:
        name: Its name.
        mountpoint: Where it is mounted; "" where it is not.
        created_at: A ``datetime``, local time if it has no zone, or text in RFC 3339; kept as text.
            "" is left out, because an engine refuses the whole response for an empty one (B11, trap
            11), and for one that is no RFC 3339: that is an error when it is sent.
        status: For people: what ``docker volume inspect`` shows.
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
    """What a volume driver can do. A frozen value.

    Args:
        scope: "local", or "global" for volumes that every node sees; anything else means "local".
    """

    scope: str = field(default="local", converter=_scope)


class VolumeDriver(Subsystem):
    """Volumes by name, mounted for the containers that use them (protocol.md B2).

    ``VolumeDriver(client)`` is a host's proxy, as for every ``Subsystem``; a class that derives
    from it is a plugin's implementation. What a method of yours raises is the host's ``Err``. A
    host gives ``create`` and ``mount`` 120 s, the others 60 s, an attempt. In a class body below
    ``def list``, write ``Sequence[…]`` for ``list[…]``: there the name is the method's.

    Args:
        client: What a proxy calls through; none for an implementation.
        timeouts: Seconds by the method's name, in place of those above.

    Examples:
        ```python
        from moby_plugins.subsystems import Volume, VolumeDriver
        from moby_plugins.testing import MemoryRegistry


        class Shelf(VolumeDriver):
            def __init__(self):
                self.names = set()

            def create(self, name, opts=None):
                self.names.add(name)

            def list(self):
                return [Volume(name) for name in sorted(self.names)]


        with MemoryRegistry() as registry:
            registry.add("shelf", Shelf())
            driver = registry.get("shelf", VolumeDriver)
            driver.create("books")
            assert driver.list() == (Volume("books"),)
        ```
    """

    @remote(timeout=LONG)
    def create(self, name: str, opts: Mapping[str, str] | None = None) -> None:
        """Make a volume; the engine has asked ``get`` before.

        Args:
            name: The volume's.
            opts: What the user gave with ``-o``.
        """
        raise NotImplementedError

    @remote(timeout=SHORT)
    def remove(self, name: str) -> None:
        """Remove a volume and what is in it.

        Args:
            name: The volume's.
        """
        raise NotImplementedError

    @remote(timeout=SHORT, result="Mountpoint")
    def path(self, name: str) -> str:
        """Return where the volume is mounted.

        Args:
            name: The volume's.

        Returns:
            A path of the host; "" where it is not mounted.
        """
        raise NotImplementedError

    @remote(timeout=LONG, result="Mountpoint")
    def mount(self, name: str, id: str) -> str:
        """Mount for one user of the volume, and return where.

        The same ``name`` and ``id`` may come several times: count them (trap 12).

        Args:
            name: The volume's.
            id: The user's.

        Returns:
            A path of the host.
        """
        raise NotImplementedError

    @remote(timeout=SHORT)
    def unmount(self, name: str, id: str) -> None:
        """Undo one ``mount``.

        Args:
            name: The volume's.
            id: The user's.
        """
        raise NotImplementedError

    @remote(timeout=SHORT, result="Volumes")
    def list(self) -> Sequence[Volume]:
        """Return all volumes: any sequence; a host is given a tuple."""
        raise NotImplementedError

    @remote(timeout=SHORT, result="Volume")
    def get(self, name: str) -> Volume | None:
        """Return the volume, or ``None`` where there is none by that name.

        Args:
            name: The volume's.

        Returns:
            The volume, if there is one.
        """
        raise NotImplementedError

    def find(self, name: str) -> Volume | None:
        """Return the volume, or ``None`` where an engine takes it for absent: for hosts.

        That is a response without a volume, and any that says or is an error (B2; B11, trap 9):
        status 404 or 500, ``Err``, what is no JSON. So a plugin whose database is away has no
        volumes, to an engine as here; ``get`` tells the two apart.

        Args:
            name: The volume's.

        Returns:
            The volume, if there is one.

        Raises:
            TransportError: When no response came.
        """
        try:
            return self.get(name)
        except (StatusError, DriverError, WireError):
            return None

    @remote(timeout=SHORT, result="Capabilities", failed=VolumeCapabilities())
    def capabilities(self) -> VolumeCapabilities:
        """Return what the driver can do; to a host any failure means "local"."""
        raise NotImplementedError
