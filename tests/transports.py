"""Transports and discoveries of one's own: a callable, and an installed package."""

from pathlib import Path
from textwrap import dedent

from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.ports import Transport
from moby_plugins.testing import MemoryTransport


class RecordingConnect:
    """A ``Connect`` to a plugin for volumes, in memory, that remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, TLSOptions | None]] = []
        self.transport = MemoryTransport(
            {
                "Plugin.Activate": {"Implements": ["VolumeDriver"]},
                "VolumeDriver.List": {"Volumes": []},
            }
        )

    def __call__(self, address: Address, tls: TLSOptions | None, /) -> Transport:
        self.asked.append((address.text, tls))
        return self.transport


def install_transport(site: Path, name: str, source: str) -> None:
    """Install a package into ``site`` that registers the ``connect`` of ``source`` as ``name``.

    The caller puts ``site`` on the path.
    """
    _install(site, name, source, "moby_plugins.transports", "connect")


def install_async_transport(site: Path, name: str, source: str) -> None:
    """The same for a transport of tasks."""
    _install(site, name, source, "moby_plugins.aio_transports", "connect")


def install_discovery(site: Path, name: str, source: str) -> None:
    """The same for a discovery: it is what ``make`` of ``source`` returns."""
    _install(site, name, dedent(source), "moby_plugins.discoveries", "make")


def _install(site: Path, name: str, source: str, group: str, function: str) -> None:
    # A module of a name of its own: imports are remembered beyond the test.
    module = f"{site.name.replace('-', '_')}_{name}"
    (site / f"{module}.py").write_text(source)
    info = site / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}:{function}\n")


def install_observer(site: Path, name: str, source: str) -> None:
    """The same for an observer: it is what ``make`` of ``source`` returns."""
    _install(site, name, dedent(source), "moby_plugins.observers", "make")
