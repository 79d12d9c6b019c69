"""The GraphDriver subsystem: experimental, and removed from engines in v28 (protocol.md B8)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from moby_plugins.app.accounting import Send
from moby_plugins.app.bodies import Data
from moby_plugins.app.streamed import Streamed
from moby_plugins.app.subsystem import (
    BAD_REQUEST,
    REQUIRED,
    Described,
    RemoteMethod,
    Subsystem,
    omitempty,
    remote,
    wire_name,
)
from moby_plugins.domain.errors import DriverError, PluginError, StatusError, in_full
from moby_plugins.domain.http import Request
from moby_plugins.failures import logger

# The kinds of a change.
MODIFIED, ADDED, DELETED = 0, 1, 2


@frozen
class IDMap:
    """A range of ids: the first in the container, the first on the host, and their number."""

    container_id: int = field(default=0, metadata=wire_name("container_id"))
    host_id: int = field(default=0, metadata=wire_name("host_id"))
    size: int = field(default=0, metadata=wire_name("size"))


@frozen
class InitRequest:
    """The directory and the options with which the driver is initialized."""

    home: str
    opts: tuple[str, ...] = ()
    uid_maps: tuple[IDMap, ...] = field(default=(), metadata=wire_name("UIDMaps"))
    gid_maps: tuple[IDMap, ...] = field(default=(), metadata=wire_name("GIDMaps"))


@frozen
class LayerRequest:
    """A request about the layer ``id``; ``parent`` is the id of the layer below it."""

    id: str = field(default="", metadata=omitempty("ID"))
    parent: str = field(default="", metadata=omitempty())
    mount_label: str = field(default="", metadata=omitempty())
    storage_opt: Mapping[str, str] = field(factory=dict, metadata=omitempty())


@frozen
class Change:
    """A path that differs from the layer below: it is ``MODIFIED``, ``ADDED`` or ``DELETED``."""

    path: str
    kind: int = MODIFIED


@frozen
class GraphCapabilities:
    """What a driver can do.

    ``reproduces_exact_diffs`` says whether ``diff`` returns the bytes that ``apply_diff`` received.
    """

    reproduces_exact_diffs: bool = False


class _OfLayer(RemoteMethod):
    """A method about a layer; an argument that is empty is not sent, as in ``LayerRequest``."""

    def message(self, *arguments: Any) -> Any:
        """Return the message, which has only the arguments that are not empty."""
        return {key: value for key, value in super().message(*arguments).items() if value}


class _Diff(_OfLayer, Streamed):
    """A method about a layer, whose response is a tar archive."""


class _Unchecked(RemoteMethod):
    """A method whose response is used even if it contains ``Err``."""

    def bind(self, owner: type[Described[Any]]) -> None:
        """Make this a method of the subsystem ``owner``, with no keys of an error in a response."""
        super().bind(owner)
        self.error_keys = ()


class _Cleanup(RemoteMethod):
    """A method that raises only the driver's own error on a host; any other error is logged."""

    def fallback(self, error: PluginError) -> Any:
        """Return ``REQUIRED`` for the driver's own error; log another, and return ``None``."""
        if isinstance(error, DriverError):
            return REQUIRED
        logger.warning("cleaning up failed: %s", in_full(error))
        return None


class ApplyArchive(RemoteMethod):
    """A method whose request body is a tar archive; other arguments are in the query, unescaped."""

    takes_stream = True

    def plan(self, *arguments: Any) -> Send:
        """Return a call that sends the archive."""
        layer, parent, archive = arguments
        return Send(f"{self.method}?id={layer}&parent={parent}", archive)

    def read_message(self, request: Request) -> tuple[Any, ...]:
        """Return the arguments in the query, and the archive as a stream.

        Raises ``StatusError`` with 400 if the query has no id.
        """
        query = request.method.partition("?")[2]
        parameters = {
            key: value for key, _, value in (pair.partition("=") for pair in query.split("&"))
        }
        if not parameters.get("id"):
            raise StatusError(BAD_REQUEST, self.method, "the query has no id")
        return parameters["id"], parameters.get("parent", ""), request.body


class GraphDriver(Subsystem):
    """A driver that stores the layers of images and containers."""

    @remote()
    def init(self, request: InitRequest) -> None:
        """Initialize the driver; called once, before all other methods."""
        raise NotImplementedError

    @_Unchecked(result="Capabilities", default_if_missing=GraphCapabilities())
    def capabilities(self) -> GraphCapabilities:
        """Return what the driver can do; a plugin need not implement this method.

        On a host, the result is ``GraphCapabilities()`` if the plugin responds with status 404.
        """
        raise NotImplementedError

    @remote()
    def create(self, request: LayerRequest) -> None:
        """Create a layer of an image, which containers only read."""
        raise NotImplementedError

    @remote()
    def create_read_write(self, request: LayerRequest) -> None:
        """Create a writable layer for a container."""
        raise NotImplementedError

    @_OfLayer()
    def remove(self, id: str) -> None:
        """Remove a layer."""
        raise NotImplementedError

    @_OfLayer()
    def put(self, id: str) -> None:
        """Undo one ``get`` of a layer; once every ``get`` is undone, the layer is unmounted."""
        raise NotImplementedError

    @remote(result="Dir")
    def get(self, request: LayerRequest) -> str:
        """Mount a layer, and return the path at which it is mounted."""
        raise NotImplementedError

    @_OfLayer(result="Exists", default_on_error=False)
    def exists(self, id: str) -> bool:
        """Return whether the layer exists; on a host, false after a failed call."""
        raise NotImplementedError

    @_Unchecked(result="Status", default_on_error=())
    def status(self) -> Sequence[Sequence[str]]:
        """Return pairs of strings for users; on a host, an empty tuple after a failed call."""
        raise NotImplementedError

    @_OfLayer(result="Metadata")
    def get_metadata(self, id: str) -> Mapping[str, str]:
        """Return the driver's metadata of a layer."""
        raise NotImplementedError

    @_Cleanup()
    def cleanup(self) -> None:
        """Clean up when the engine stops.

        On a host, only ``DriverError``, the driver's own error, is raised; any other is logged.
        """
        raise NotImplementedError

    @_Diff()
    def diff(self, id: str, parent: str) -> Iterator[bytes]:
        """Return the differences between a layer and its parent: a tar archive, in chunks."""
        raise NotImplementedError

    @_OfLayer(result="Changes")
    def changes(self, id: str, parent: str) -> Sequence[Change]:
        """Return the paths that differ between a layer and its parent."""
        raise NotImplementedError

    @ApplyArchive(result="Size")
    def apply_diff(self, id: str, parent: str, archive: Data) -> int:
        """Unpack an uncompressed tar archive into a layer; return the layer's size in bytes."""
        raise NotImplementedError

    @_OfLayer(result="Size")
    def diff_size(self, id: str, parent: str) -> int:
        """Return the size in bytes of the differences between a layer and its parent."""
        raise NotImplementedError
