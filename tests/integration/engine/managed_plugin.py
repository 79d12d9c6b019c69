"""A managed plugin: installed through the engine, and run by it in a container."""

import json
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.integration.engine.dockerd import Engine

# What a Python program of this machine needs: its root file system is empty.
NEEDED = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", sys.base_prefix, sys.prefix)
SOCKET = "plugin.sock"
CHECKOUT = str(Path(__file__).parents[3])


@contextmanager
def managed(
    engine: Engine, name: str, capability: str, directory: Path, *command: str
) -> Iterator[None]:
    """The plugin ``name``, enabled: this Python runs ``command``; ``directory`` is its own.

    Its socket, as it sees it, is ``/run/docker/plugins/plugin.sock``.
    """
    types = [f"docker.{capability}/1.0"]
    create(engine, name, directory / "plugin", *command, types=types, writable=directory)
    try:
        engine.docker("plugin", "enable", name)
        yield
    finally:
        engine.try_docker("plugin", "rm", "--force", name)


def create(
    engine: Engine,
    name: str,
    source: Path,
    *command: str,
    types: Sequence[str],
    writable: Path | None = None,
    **others: object,
) -> None:
    """Create the plugin ``name``, disabled; ``source`` is the directory that it is made from.

    ``others`` are keys of its config.json, "propagatedMount" for example.
    """
    readable = [path for path in dict.fromkeys((*NEEDED, CHECKOUT)) if Path(path).exists()]
    config = {
        "description": "A plugin of the tests.",
        "entrypoint": [sys.executable, *command],
        "env": [],
        "workdir": "/",
        "interface": {"types": types, "socket": SOCKET},
        "linux": {"capabilities": []},
        "mounts": [
            *(_bind(path, "ro") for path in readable),
            *([] if writable is None else [_bind(str(writable), "rw")]),
        ],
        **others,
    }
    (source / "rootfs").mkdir(parents=True, exist_ok=True)
    # An engine refuses two of the same content.
    (source / "rootfs" / "marker").write_text(f"{name} {uuid.uuid4()}")
    (source / "config.json").write_text(json.dumps(config))
    engine.docker("plugin", "create", name, str(source))


def _bind(path: str, mode: str) -> dict[str, object]:
    return {"type": "bind", "source": path, "destination": path, "options": ["rbind", mode]}
