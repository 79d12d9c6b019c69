"""Plugins that start, die and come back, as a host sees them on a clock of its own."""

import json
import random
from collections import Counter
from io import BytesIO

from moby_plugins import Plugin, PluginNotFoundError, TransportError
from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.ports import Clock, Transport
from moby_plugins.testing import Request, Response

KIND = "A"
# Of these the host never forgets one, so that their handshakes can be counted.
KEPT = ("kept1", "kept2", "kept3")
FORGOTTEN = ("lost1", "lost2", "lost3")


class Wilderness:
    """A discovery and a connect; ``alive`` are the plugins that run, ``known`` those with a socket.

    ``wrong`` lists what a host must not do: two handshakes of a plugin at a time. The host
    keeps in ``handlers`` how many it has; each line knows how many there were when it was made.
    """

    def __init__(self, clock: Clock, chance: random.Random) -> None:
        self.wrong: list[str] = []
        self.lines: list[Line] = []
        self.handlers = 0
        self.handshakes: Counter[str] = Counter()
        self.known = set(KEPT + FORGOTTEN)
        # A plugin that was restarted is another one.
        self.alive = dict.fromkeys(sorted(self.known), 0)
        self.clock = clock
        self.chance = chance
        self._shaking: Counter[str] = Counter()

    def disturb(self) -> None:
        """Something starts, dies, comes, goes."""
        name = self.chance.choice(KEPT + FORGOTTEN)
        what = self.chance.random()
        if what < 0.5:
            self.known.add(name)
            self.alive[name] = self.alive.get(name, 0) + 1
        elif what < 0.8:
            self.alive.pop(name, None)
        elif what < 0.9:
            self.known.discard(name)
        else:
            self.known.add(name)

    def scan(self) -> list[str]:
        """The names with a socket."""
        return sorted(self.known)

    def lookup(self, name: str) -> Plugin:
        """One of them."""
        if name not in self.known:
            raise PluginNotFoundError(name, (f"/wild/{name}.sock",))
        return Plugin.local(name, f"unix:///wild/{name}.sock")

    def connect(self, address: Address, _: TLSOptions | None, /) -> Transport:
        """A line to one."""
        line = Line(self, address.path.removeprefix("/wild/").removesuffix(".sock"))
        self.lines.append(line)
        return line

    def shake_hands(self, name: str) -> None:
        """A handshake takes its time, and there is one at a time."""
        self._shaking[name] += 1
        if name in KEPT and self._shaking[name] > 1:
            self.wrong.append(f"{self._shaking[name]} handshakes of {name} at once")
        try:
            self.clock.sleep(self.chance.choice((0, 0.1, 3)))
        finally:
            self._shaking[name] -= 1
        self.handshakes[name] += 1


class Line:
    """A transport to one plugin."""

    def __init__(self, wilderness: Wilderness, name: str) -> None:
        self.name = name
        self.closed = False
        self.handlers = wilderness.handlers
        self._in = wilderness

    def send(self, request: Request, timeout: float | None) -> Response:
        life = self._alive()
        answer: object = {"Implements": [KIND]}
        if request.method == "Plugin.Activate":
            self._in.shake_hands(self.name)
        else:
            self._in.clock.sleep(self._in.chance.choice((0, 0.01, 1)))
            answer = {"Plugin": self.name, "Handlers": self.handlers} | json.loads(request.read())
        if self._alive() != life:
            raise TransportError("the connection failed", f"unix:///wild/{self.name}.sock")
        return Response(200, BytesIO(json.dumps(answer).encode()), {})

    def close(self) -> None:
        self.closed = True

    def _alive(self) -> int:
        if self.name not in self._in.alive:
            raise TransportError("no process listens", f"unix:///wild/{self.name}.sock")
        return self._in.alive[self.name]
