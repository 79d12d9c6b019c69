"""GraphDriver: experimental, gone from engines since v28 (protocol.md B8)."""

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
    Remote,
    Subsystem,
    omitempty,
    remote,
    wired,
)
from moby_plugins.domain.errors import DriverError, PluginError, StatusError, in_full
from moby_plugins.domain.http import Request
from moby_plugins.failures import logger

# Kinds of a change.
MODIFIED, ADDED, DELETED = 0, 1, 2


@frozen
class IDMap:
    """A range of ids: inside, outside, how many."""

    container_id: int = field(default=0, metadata=wired("container_id"))
    host_id: int = field(default=0, metadata=wired("host_id"))
    size: int = field(default=0, metadata=wired("size"))


@frozen
class InitRequest:
    """Where the driver keeps its layers, and how."""

    home: str
    opts: tuple[str, ...] = ()
    uid_maps: tuple[IDMap, ...] = field(default=(), metadata=wired("UIDMaps"))
    gid_maps: tuple[IDMap, ...] = field(default=(), metadata=wired("GIDMaps"))


@frozen
class LayerRequest:
    """A layer, and the one below it."""

    id: str = field(default="", metadata=omitempty("ID"))
    parent: str = field(default="", metadata=omitempty())
    mount_label: str = field(default="", metadata=omitempty())
    storage_opt: Mapping[str, str] = field(factory=dict, metadata=omitempty())


@frozen
class Change:
    """A path that differs from the layer below."""

    path: str
    kind: int = MODIFIED


@frozen
class GraphCapabilities:
    """Whether ``diff`` gives back exactly what ``apply_diff`` took."""

    reproduces_exact_diffs: bool = False


class _OfLayer(Remote):
    """A call about a layer: what is empty is left out, as in ``LayerRequest``."""

    def message(self, *arguments: Any) -> Any:
        """The arguments that are not empty."""
        return {key: value for key, value in super().message(*arguments).items() if value}


class _Diff(_OfLayer, Streamed):
    """One whose answer is a tar archive."""


class _Unchecked(Remote):
    """A call whose answer is taken as it is, with ``Err`` or without."""

    def bind(self, owner: type[Described[Any]]) -> None:
        """Learn the subsystem, but not how it tells errors."""
        super().bind(owner)
        self.error_keys = ()


class _Cleanup(Remote):
    """A call that may fail, unless the driver itself says that it did."""

    def despite(self, error: PluginError) -> Any:
        """Nothing, for a plugin that may be gone already."""
        if isinstance(error, DriverError):
            return REQUIRED
        logger.warning("cleaning up failed: %s", in_full(error))
        return None


class ApplyArchive(Remote):
    """A call whose body is a tar archive, and whose arguments stand in the query, unquoted."""

    takes_stream = True

    def plan(self, *arguments: Any) -> Send:
        """The archive, sent as it is read."""
        layer, parent, archive = arguments
        return Send(f"{self.method}?id={layer}&parent={parent}", archive)

    def read_message(self, request: Request) -> tuple[Any, ...]:
        """What the query holds, and the archive, handed on as it comes."""
        query = request.method.partition("?")[2]
        given = {key: value for key, _, value in (pair.partition("=") for pair in query.split("&"))}
        if not given.get("id"):
            raise StatusError(BAD_REQUEST, self.method, "no id in the query")
        return given["id"], given.get("parent", ""), request.body


class GraphDriver(Subsystem):
    """Keeps the layers of images and containers."""

    @remote()
    def init(self, request: InitRequest) -> None:
        """Asked once, first."""
        raise NotImplementedError

    @_Unchecked(result="Capabilities", absent=GraphCapabilities())
    def capabilities(self) -> GraphCapabilities:
        """What the driver can do; a plugin may lack this."""
        raise NotImplementedError

    @remote()
    def create(self, request: LayerRequest) -> None:
        """Make a layer that is only read."""
        raise NotImplementedError

    @remote()
    def create_read_write(self, request: LayerRequest) -> None:
        """Make a layer for a container."""
        raise NotImplementedError

    @_OfLayer()
    def remove(self, id: str) -> None:
        """Remove a layer."""
        raise NotImplementedError

    @_OfLayer()
    def put(self, id: str) -> None:
        """Undo ``get``."""
        raise NotImplementedError

    @remote(result="Dir")
    def get(self, request: LayerRequest) -> str:
        """Mount a layer and tell where."""
        raise NotImplementedError

    @_OfLayer(result="Exists", failed=False)
    def exists(self, id: str) -> bool:
        """Whether there is such a layer; to a host any failure means no."""
        raise NotImplementedError

    @_Unchecked(result="Status", failed=())
    def status(self) -> Sequence[Sequence[str]]:
        """Pairs for people; to a host any failure means none."""
        raise NotImplementedError

    @_OfLayer(result="Metadata")
    def get_metadata(self, id: str) -> Mapping[str, str]:
        """What the driver tells of a layer."""
        raise NotImplementedError

    @_Cleanup()
    def cleanup(self) -> None:
        """Asked when the engine stops; to a host only the driver's own error counts."""
        raise NotImplementedError

    @_Diff()
    def diff(self, id: str, parent: str) -> Iterator[bytes]:
        """A tar archive of what differs."""
        raise NotImplementedError

    @_OfLayer(result="Changes")
    def changes(self, id: str, parent: str) -> Sequence[Change]:
        """The paths that differ."""
        raise NotImplementedError

    @ApplyArchive(result="Size")
    def apply_diff(self, id: str, parent: str, archive: Data) -> int:
        """Unpack an uncompressed tar archive into a layer; returns the bytes it takes."""
        raise NotImplementedError

    @_OfLayer(result="Size")
    def diff_size(self, id: str, parent: str) -> int:
        """The bytes that differ."""
        raise NotImplementedError
