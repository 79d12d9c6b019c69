"""A managed plugin: installed through the engine, and run by it in a container."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.engine.dockerd import Engine

# What a Python program of this machine needs: its root file system is empty.
NEEDED = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", sys.base_prefix, sys.prefix)
CHECKOUT = str(Path(__file__).parents[3])


@contextmanager
def managed(
    engine: Engine, name: str, capability: str, directory: Path, *command: str
) -> Iterator[None]:
    """The plugin ``name``, enabled: this Python runs ``command``; ``directory`` is its own.

    Its socket, as it sees it, is ``/run/docker/plugins/plugin.sock``.
    """
    readable = [path for path in dict.fromkeys((*NEEDED, CHECKOUT)) if Path(path).exists()]
    config = {
        "description": "A plugin of the tests.",
        "entrypoint": [sys.executable, *command],
        "env": [],
        "workdir": "/",
        "interface": {"types": [f"docker.{capability}/1.0"], "socket": "plugin.sock"},
        "network": {"type": "none"},
        "linux": {"capabilities": []},
        "mounts": [
            *(_bind(path, "ro") for path in readable),
            _bind(str(directory), "rw"),
        ],
    }
    source = directory / "plugin"
    (source / "rootfs").mkdir(parents=True)
    (source / "config.json").write_text(json.dumps(config))
    engine.docker("plugin", "create", name, str(source))
    try:
        engine.docker("plugin", "enable", name)
        yield
    finally:
        engine.try_docker("plugin", "rm", "--force", name)


def _bind(path: str, mode: str) -> dict[str, object]:
    return {"type": "bind", "source": path, "destination": path, "options": ["rbind", mode]}
