"""The directories in which a host finds plugins, furnished by a test."""

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from moby_plugins.app.settings import Settings


class PluginDirectory:
    """A directory of sockets and two of specs below ``path``, in order of precedence.

    A context manager: entering makes them, leaving closes the sockets and removes nothing.
    ``path`` is to be short, for a socket's path has room for 107 bytes. What a method makes
    it returns as a path. A plugin's name may be given as ``shelf/shelf``, for a directory of
    its own, which engines look into as well. Files are made with the process's rights, and
    raise ``OSError``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sockets = path / "run"
        self.specs = path / "etc"
        self.more_specs = path / "usr"
        self._listening: dict[Path, socket.socket] = {}

    @property
    def settings(self) -> Settings:
        """Settings by which a registry looks here, and nowhere else."""
        return Settings(sockets_path=str(self.sockets), specs_paths=tuple(map(str, self._specs)))

    @property
    def _specs(self) -> tuple[Path, Path]:
        return (self.specs, self.more_specs)

    def socket(self, name: str) -> Path:
        """A socket that listens: connections are taken, and nobody ever answers."""
        path = self._place(self.sockets, f"{name}.sock")
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.bind(str(path))
            sock.listen()
        except OSError:
            sock.close()
            raise
        self._listening[path] = sock
        return path

    def stale_socket(self, name: str) -> Path:
        """A socket on which nobody listens, as a plugin that was killed leaves behind."""
        path = self._place(self.sockets, f"{name}.sock")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
        return path

    def spec(self, name: str, addr: str) -> Path:
        """A ``.spec``: the address alone."""
        path = self._place(self.specs, f"{name}.spec")
        path.write_text(addr)
        return path

    def json_spec(self, name: str, addr: str, tls_config: Mapping[str, Any] | None = None) -> Path:
        """A ``.json``, with a ``TLSConfig`` whose keys are as specs write them, if one is given."""
        path = self._place(self.specs, f"{name}.json")
        tls = {} if tls_config is None else {"TLSConfig": dict(tls_config)}
        path.write_text(json.dumps({"Name": name, "Addr": addr, **tls}))
        return path

    def symlink(self, name: str, target: Path) -> Path:
        """A link to a socket or a spec, which need not be there, of the same kind as its target."""
        directory = self.sockets if target.suffix == ".sock" else self.specs
        path = self._place(directory, name + target.suffix)
        path.symlink_to(target)
        return path

    def remove(self, path: Path) -> None:
        """Delete what is at ``path``; a socket listens no more."""
        path.unlink()
        if path in self._listening:
            self._listening.pop(path).close()

    def close(self) -> None:
        """Stop listening; what then lies there are stale sockets."""
        while self._listening:
            self._listening.popitem()[1].close()

    def __enter__(self) -> Self:
        for directory in (self.sockets, *self._specs):
            directory.mkdir(parents=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _place(self, directory: Path, name: str) -> Path:
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        return path
