"""A fake engine for tests, with the part of the API that reads managed plugins."""

import hashlib
import json
import os
import threading
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from attrs import evolve, frozen

from moby_plugins.adapters.clock import SystemClock
from moby_plugins.adapters.engine import TIMEOUT, EngineDiscovery
from moby_plugins.adapters.memory.fault_server import FaultServer
from moby_plugins.adapters.memory.replies import Reply
from moby_plugins.adapters.memory.transport import MemoryTransport
from moby_plugins.domain.http import OK, Request, Response
from moby_plugins.domain.managed import familiar
from moby_plugins.ports import Clock

ADDRESS = "memory://engine"
_VOLUMES = ("docker.volumedriver/1.0",)


@frozen
class _Installed:
    """What the engine knows of an installed plugin, apart from the plugin's name."""

    id: str
    enabled: bool
    config: Mapping[str, Any]
    settings: Mapping[str, Any]

    def inspected(self, name: str) -> dict[str, Any]:
        return {
            "Config": self.config,
            "Enabled": self.enabled,
            "Id": self.id,
            "Name": name,
            "PluginReference": name,
            "Settings": self.settings,
        }


class FakeEngine:
    """A fake engine with the managed plugins that a test installs, in memory or on a socket.

    ``discovery()`` reads it in memory; a registry with that discovery finds the plugins at their
    addresses, ``unix:///run/docker/plugins/ID/SOCKET``. ``serve(path)`` is a server on a UNIX
    socket, for ``Settings(engine=…)`` and the command line. Plugins are looked up as in engines: by
    name, with ``:latest`` added if there is no tag, else by the beginning of an id. ``requests``
    lists the requested paths. No plugins are run. Threads may share it.

    Args:
        version: The version of the engine's API.
        root: The engine's data directory, as the API reports it.

    Examples:
        ```python
        from moby_plugins.testing import FakeEngine, hangs

        engine = FakeEngine()
        engine.install("mp/shelf", ["docker.volumedriver/1.0"])
        assert engine.discovery().scan() == ["mp/shelf:latest"]
        engine.disable("mp/shelf")  # look-ups raise PluginDisabledError
        engine.answer_with(hangs())  # and now they run into their time-out
        ```
    """

    def __init__(self, *, version: str = "1.41", root: str = "/var/lib/docker") -> None:
        self.requests: list[str] = []
        self._version = version
        self._root = root
        self._lock = threading.Lock()
        self._plugins: dict[str, _Installed] = {}
        self._made = 0
        self._instead: list[Reply] = []

    def install(
        self,
        name: str,
        types: Iterable[str] | None = _VOLUMES,
        *,
        enabled: bool = True,
        socket: str = "plugin.sock",
        propagated_mount: str | None = "",
        environment: Iterable[str] | None = (),
        mounts: Iterable[Mapping[str, Any]] | None = (),
        protocol: str = "",
    ) -> str:
        """Install a plugin, replacing one of the same name, and return its new id.

        Nothing is checked, as in engines. An argument ``None`` becomes ``null`` in the API.
        """
        interface = {"Socket": socket, "Types": None if types is None else [*types]}
        if protocol:
            interface["ProtocolScheme"] = protocol
        with self._lock:
            self._made += 1
            identity = hashlib.sha256(f"{name} {self._made}".encode()).hexdigest()
            self._plugins[familiar(name)] = _Installed(
                identity,
                enabled,
                {"Interface": interface, "PropagatedMount": propagated_mount},
                {
                    "Env": None if environment is None else [*environment],
                    "Mounts": None if mounts is None else [*mounts],
                },
            )
        return identity

    def enable(self, name: str) -> None:
        """Enable a plugin; raise ``KeyError`` if it is not installed."""
        self._set(name, enabled=True)

    def disable(self, name: str) -> None:
        """Disable a plugin; raise ``KeyError`` if it is not installed."""
        self._set(name, enabled=False)

    def remove(self, name: str) -> None:
        """Remove a plugin; raise ``KeyError`` if it is not installed."""
        with self._lock:
            del self._plugins[familiar(name)]

    def answer_with(self, *reply: Reply) -> None:
        """Answer every request with ``reply``; without one, answer normally again.

        A reply is the same as in ``MemoryTransport``: ``refused()``, ``hangs()``, ``drips(…)``,
        ``not_json()``, ``script(…)`` for several in turn, bytes, or a JSON value. Raises
        ``TypeError`` if several are given.
        """
        if len(reply) > 1:
            raise TypeError(f"answer_with takes one reply, not {len(reply)}: join them by script()")
        self._instead = [*reply]

    def discovery(
        self, *, timeout: float | None = TIMEOUT, clock: Clock | None = None
    ) -> EngineDiscovery:
        """Return a discovery that reads this engine in memory; ``clock`` is real time by default.

        ``timeout`` is the most seconds of a look-up or scan; a longer one raises
        ``TransportTimeoutError``.
        """
        clock = clock or SystemClock()
        transport = MemoryTransport(self._reply, clock=clock, addr=ADDRESS)
        return EngineDiscovery(ADDRESS, timeout=timeout, connect=transport.connect, clock=clock)

    def serve(self, path: str | os.PathLike[str]) -> FaultServer:
        """Return a context manager that serves this engine on a UNIX socket at ``path``."""
        return FaultServer.unix(self._reply, path)

    def __repr__(self) -> str:
        with self._lock:
            return f"<FakeEngine of {', '.join(sorted(self._plugins)) or 'no plugins'}>"

    def _set(self, name: str, *, enabled: bool) -> None:
        with self._lock:
            known = self._plugins[familiar(name)]
            self._plugins[familiar(name)] = evolve(known, enabled=enabled)

    def _reply(self, request: Request) -> Reply:
        with self._lock:
            self.requests.append(f"/{request.method}")
            if self._instead:
                return self._instead[0]
            return self._answer(unquote(request.method.partition("?")[0]))

    def _answer(self, path: str) -> Response:
        if path == "_ping":
            return Response(OK, b"OK", {"Api-Version": self._version})
        path = path.removeprefix(f"v{self._version}/")
        if path == "info":
            return _json(OK, {"DockerRootDir": self._root})
        if path == "plugins":
            return _json(OK, [each.inspected(name) for name, each in self._plugins.items()])
        if path.startswith("plugins/") and path.endswith("/json"):
            return self._inspect(path.removeprefix("plugins/").removesuffix("/json"))
        return _json(404, {"message": "page not found"})

    def _inspect(self, name: str) -> Response:
        plugin = self._find(name)
        if len(plugin) == 1:
            return _json(OK, self._plugins[plugin[0]].inspected(plugin[0]))
        if plugin:
            return _json(400, {"message": f'multiple plugins found for "{name}"'})
        return _json(404, {"message": f'plugin "{name}" not found'})

    def _find(self, name: str) -> list[str]:
        if familiar(name) in self._plugins:
            return [familiar(name)]
        return [each for each, plugin in self._plugins.items() if plugin.id.startswith(name)]


def _json(status: int, value: object) -> Response:
    return Response(status, json.dumps(value).encode(), {"Content-Type": "application/json"})
