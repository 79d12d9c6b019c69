"""What the core asks of the world: to find plugins, to reach them, and the time.

Read this first. Whoever fills in one of these roles takes its contract suite
(``moby_plugins.testing.contracts``) along. Every method may be called from several threads.
"""

import threading
from contextlib import AbstractContextManager
from typing import Protocol

from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.domain.http import Request, Response
from moby_plugins.domain.plugin import Candidate, Plugin, Stray


class Discovery(Protocol):
    """Finds plugins by name; remembers nothing between two calls."""

    def scan(self) -> list[str]:
        """The names that a look-up would find, sorted, each once.

        Raises ``SpecError`` for a directory that cannot be read.
        """
        ...

    def lookup(self, name: str) -> Plugin:
        """The plugin by that name, as it is found now.

        Raises ``PluginNotFoundError`` where there is none, ``SpecError`` where
        its description cannot be used, and ``InvalidPluginNameError``.
        """
        ...


class Survey(Discovery, Protocol):
    """A discovery that also tells what it passes over: for people, not for hosts."""

    def candidates(self, name: str) -> list[Candidate]:
        """All that ``lookup`` could find by that name; it takes the first, or fails with it.

        Raises ``InvalidPluginNameError`` and nothing else.
        """
        ...

    def strays(self) -> list[Stray]:
        """Files that seem to be meant for ``lookup``, but that it does not find."""
        ...


class Transport(Protocol):
    """Carries requests to one plugin; makes one attempt at a time and never a second."""

    def send(self, request: Request, timeout: float | None) -> Response:
        """The plugin's answer, whatever its status, with its body unread.

        ``timeout`` bounds the exchange in seconds, the reading of the body
        included. The caller closes the body. Raises ``TransportError``, or
        ``TransportTimeoutError``, while nothing was answered; what goes wrong
        later, reading the body raises (``Body.read``). An exception out of the
        iterator that is the request's body passes unchanged.
        """
        ...

    def close(self) -> None:
        """Give up idle connections; may be called more than once."""
        ...


class Connect(Protocol):
    """Makes the transport for an address: what ``Settings.transports`` names by scheme."""

    def __call__(self, address: Address, tls: TLSOptions | None, /) -> Transport:
        """A transport, not connected yet; whoever asked for it closes it.

        Raises ``SpecError`` for an address or TLS file that cannot be used.
        """
        ...


class Clock(Protocol):
    """The time, in seconds from an arbitrary point, and the ways to let it pass."""

    def now(self) -> float:
        """Seconds on this clock; never runs backwards."""
        ...

    def sleep(self, seconds: float) -> None:
        """Return once ``seconds`` have passed; 0 and less return at once."""
        ...

    def wait(self, event: threading.Event, timeout: float | None = None) -> bool:
        """Return true once ``event`` is set, or false once ``timeout`` seconds have passed."""
        ...

    def working(self) -> AbstractContextManager[None]:
        """The time that an operation of this library takes: a fake clock stands still meanwhile.

        May be nested.
        """
        ...
