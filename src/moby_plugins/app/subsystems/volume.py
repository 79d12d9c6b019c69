"""The VolumeDriver subsystem (protocol.md B2)."""

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from moby_plugins.app.subsystem import Subsystem, omitempty, remote, timed
from moby_plugins.domain.errors import DriverError, StatusError, WireError
from moby_plugins.domain.formats import timestamp
from moby_plugins.domain.text import quoted
from moby_plugins.failures import logger

# The engine's time-outs: seconds for one attempt, the response's body included.
LONG, SHORT = 120.0, 60.0


@frozen
class Volume:
    """A volume as a driver describes it. A frozen value.

    Args:
        name: The volume's name.
        mountpoint: The path at which it is mounted; "" if it is not mounted.
        created_at: A ``datetime`` (local time if it has no zone) or an RFC 3339 text; kept as text.
            "" is not sent, because an engine refuses a whole response with an empty time (trap 11
            in docs/protocol.md). An engine also refuses a text that is not RFC 3339: sending such a
            text raises ``WireError``.
        status: Information for users, which ``docker volume inspect`` shows.
    """

    name: str
    mountpoint: str = ""
    created_at: str = field(default="", converter=timestamp, metadata=omitempty() | timed())
    status: Mapping[str, Any] = field(factory=dict, metadata=omitempty())


def _scope(value: str) -> str:
    scope = value.lower() or "local"
    if scope not in {"local", "global"}:
        logger.warning("a volume driver's scope is %s: taken for local", quoted(value))
        return "local"
    return scope


@frozen
class VolumeCapabilities:
    """What a volume driver can do. A frozen value.

    Args:
        scope: "local", or "global" for volumes that all nodes share; other values mean "local".
    """

    scope: str = field(default="local", converter=_scope)


class VolumeDriver(Subsystem):
    """A driver of volumes, which have names and are mounted for containers (protocol.md B2).

    ``VolumeDriver(client)`` is a host's proxy, as for every ``Subsystem``; a class that derives
    from it is a plugin's implementation. An exception of an implementation's method is sent to the
    host as ``Err``. A host's time-out is 120 s for each attempt of ``create`` and ``mount``, and 60
    s for the other methods. Below ``def list`` in a class body, write ``Sequence[…]`` instead of
    ``list[…]``, because the name ``list`` is the method there.

    Args:
        client: The client that a proxy calls; ``None`` for an implementation.
        timeouts: Seconds for each attempt, by the method's Python name, instead of 120 or 60 s.

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
        """Create a volume; the engine calls ``get`` before.

        Args:
            name: The volume's name.
            opts: The options that the user gave with ``-o``.
        """
        raise NotImplementedError

    @remote(timeout=SHORT)
    def remove(self, name: str) -> None:
        """Remove a volume and its contents.

        Args:
            name: The volume's name.
        """
        raise NotImplementedError

    @remote(timeout=SHORT, result="Mountpoint")
    def path(self, name: str) -> str:
        """Return the path at which the volume is mounted.

        Args:
            name: The volume's name.

        Returns:
            A path on the host; "" if the volume is not mounted.
        """
        raise NotImplementedError

    @remote(timeout=LONG, result="Mountpoint")
    def mount(self, name: str, id: str) -> str:
        """Mount the volume for one user, and return the path at which it is mounted.

        An engine may send the same ``name`` and ``id`` several times: count the mounts (trap 12 in
        docs/protocol.md).

        Args:
            name: The volume's name.
            id: The id of what uses the volume, such as one mount of a container.

        Returns:
            A path on the host.
        """
        raise NotImplementedError

    @remote(timeout=SHORT)
    def unmount(self, name: str, id: str) -> None:
        """Undo one ``mount`` of the volume for one user.

        Args:
            name: The volume's name.
            id: The ``id`` of that ``mount``.
        """
        raise NotImplementedError

    @remote(timeout=SHORT, result="Volumes")
    def list(self) -> Sequence[Volume]:
        """Return all volumes. A plugin may return any sequence; a host gets a tuple."""
        raise NotImplementedError

    @remote(timeout=SHORT, result="Volume")
    def get(self, name: str) -> Volume | None:
        """Return the volume, or ``None`` if there is no volume of that name.

        Args:
            name: The volume's name.

        Returns:
            The volume, or ``None``.
        """
        raise NotImplementedError

    def find(self, name: str) -> Volume | None:
        """Return the volume, or ``None`` if an engine would treat it as absent; for hosts.

        An engine treats a volume as absent if the response contains no volume, has another status
        than 200 or an ``Err``, or is invalid JSON (B2 and trap 9 in docs/protocol.md). A
        plugin whose database cannot be reached thus appears to have no volumes; ``get`` raises in
        that case.

        Args:
            name: The volume's name.

        Returns:
            The volume, or ``None``.

        Raises:
            TransportError: If no response is received.
        """
        try:
            return self.get(name)
        except (StatusError, DriverError, WireError):
            return None

    @remote(timeout=SHORT, result="Capabilities", default_on_error=VolumeCapabilities())
    def capabilities(self) -> VolumeCapabilities:
        """Return what the driver can do.

        On a host, no ``PluginError`` is raised: after a failed call the scope is "local".
        """
        raise NotImplementedError
