"""Transports of one's own, as settings can name them: a callable, and an installed package."""

from pathlib import Path

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
    # A module of a name of its own: imports are remembered beyond the test.
    module = f"{site.name.replace('-', '_')}_{name}"
    (site / f"{module}.py").write_text(source)
    info = site / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[moby_plugins.transports]\n{name} = {module}:connect\n"
    )
