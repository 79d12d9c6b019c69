"""Real time, real sockets: threads use one registry at once, while plugins start and stop."""

import logging
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from weakref import WeakKeyDictionary

import pytest
from attrs import evolve

from moby_plugins import (
    Client,
    PluginError,
    Registry,
    RetryPolicy,
    Settings,
    new_local_registry,
)
from moby_plugins.serving import PluginApp, PluginServer, plugin_server_unix
from moby_plugins.testing import Request, Response
from tests.integration.descriptors import nothing_left
from tests.integration.serving.plugins import Echo

# By hand: HARDNESS_SECONDS=300 pytest tests/integration/process/test_minutes.py
SECONDS = float(os.environ.get("HARDNESS_SECONDS", "2"))
THREADS = 8
NAMES = ("one", "two", "three")
# Seconds that threads have to come to an end, and a call to be answered.
PATIENCE = 20.0


class Named(Echo):
    """Says the plugin's name and the text that it was given."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def say(self, text: str) -> str:
        return f"{self._name} {text}"


class Plugins:
    """Plugins below ``directory`` that are started and stopped all the time."""

    def __init__(self, directory: Path) -> None:
        self.wrong: list[str] = []
        self.handshakes = 0
        self.lives = 0
        self._directory = str(directory)
        self._running: dict[str, PluginServer] = {}
        self._shaking: Counter[str] = Counter()

    def disturb(self, chance: random.Random) -> None:
        """Start what does not run, and stop what does."""
        name = chance.choice(NAMES)
        if name in self._running:
            self._running.pop(name).stop()
            return
        app = PluginApp(Named(name))
        self._running[name] = plugin_server_unix(
            lambda request: self._answer(name, app, request),
            name,
            sockets_path=self._directory,
            drain=0.1,
        )
        self._running[name].start()
        self.lives += 1

    def close(self) -> None:
        """Stop them all."""
        for server in self._running.values():
            server.stop()

    def _answer(self, name: str, app: PluginApp, request: Request) -> Response:
        if request.method != "Plugin.Activate":
            return app(request)
        self._shaking[name] += 1
        if self._shaking[name] > 1:
            self.wrong.append(f"{self._shaking[name]} handshakes of {name} at once")
        time.sleep(0.002)
        self._shaking[name] -= 1
        self.handshakes += 1
        return app(request)


class Host:
    """What threads do with one registry, and what they saw go wrong."""

    def __init__(self, registry: Registry) -> None:
        self.wrong: list[str] = []
        self.answered = 0
        # Held weakly: a client that the registry has dropped closes when its last reference goes.
        self.meetings: WeakKeyDictionary[Client, list[int]] = WeakKeyDictionary()
        self.met = 0
        self._lock = threading.Lock()
        self._registry = registry
        self._handlers = 0

    def work(self, seed: int, ends: float) -> None:
        """Do this and that until the end."""
        chance = random.Random(seed)  # noqa: S311  nothing is secret here
        deeds: tuple[Callable[[random.Random], None], ...] = (
            *(self._call,) * 20,
            self._get_all,
            self._handle,
            self._invalidate,
        )
        while time.monotonic() < ends:
            with suppress(PluginError):
                chance.choice(deeds)(chance)

    def _call(self, chance: random.Random) -> None:
        name, text = chance.choice(NAMES), str(chance.randrange(1 << 30))
        said = Echo(self._registry.get(name, "Echo").client).say(text)
        self.answered += 1
        if said != f"{name} {text}":
            self.wrong.append(f"{name}, told {text}, said {said}")

    def _get_all(self, _: random.Random) -> None:
        names = [plugin.name for plugin in self._registry.get_all("Echo")]
        if names != sorted(set(names)):
            self.wrong.append(f"got all: {names}")

    def _handle(self, _: random.Random) -> None:
        self._handlers += 1
        number = self._handlers
        if number > len(NAMES):
            return

        def handler(name: str, client: Client) -> None:
            with self._lock:
                met = self.meetings.setdefault(client, [])
                if number in met:
                    self.wrong.append(f"handler {number} met {name} twice")
                met.append(number)
                self.met += 1

        self._registry.handle("Echo", handler)

    def _invalidate(self, _: random.Random) -> None:
        # One name: of the others there may be no two handshakes at a time.
        self._registry.invalidate(NAMES[0])


def registry_of(directory: Path, settings: Settings) -> Registry:
    """A host's that gives up soon."""
    quick = RetryPolicy(initial=0.01, max_delay=0.05, budget=0.3)
    return new_local_registry(
        evolve(settings, sockets_path=str(directory), specs_paths=(), retry=quick, timeout=PATIENCE)
    )


def test_threads_can_share_a_registry_for_minutes_while_plugins_start_and_stop(
    short_path: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """No response is crossed, handlers run once a plugin, no thread hangs and nothing is left."""
    # Each error that pytest would keep of the log keeps the connection that it came over.
    caplog.set_level(logging.CRITICAL, "moby_plugins")
    chance = random.Random(7)  # noqa: S311  nothing is secret here
    ends = time.monotonic() + SECONDS
    with (
        nothing_left(),
        closing(Plugins(short_path)) as plugins,
        registry_of(short_path, settings) as registry,
    ):
        host = Host(registry)
        threads = [
            threading.Thread(target=host.work, args=(seed, ends), daemon=True)
            for seed in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        while time.monotonic() < ends:
            plugins.disturb(chance)
            time.sleep(chance.random() * 0.1)
        for thread in threads:
            thread.join(PATIENCE)
        assert not any(thread.is_alive() for thread in threads)

    assert host.wrong == []
    assert [wrong for wrong in plugins.wrong if NAMES[0] not in wrong] == []
    assert host.met >= len(NAMES)
    assert plugins.lives > SECONDS
    assert plugins.handshakes > len(NAMES)
    assert host.answered > 5 * SECONDS
