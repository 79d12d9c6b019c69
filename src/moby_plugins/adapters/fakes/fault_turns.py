"""The attempts at calls of one ``FaultServer``: announced by its host, carried out by itself."""

import threading
from itertools import count

from attrs import define, evolve

from moby_plugins.adapters.fakes.calls import Call, Calls
from moby_plugins.adapters.fakes.faults import Fault, status
from moby_plugins.adapters.fakes.replies import (
    Replies,
    Reply,
    UnexpectedCallError,
    assert_replies_used,
    reply_to,
)
from moby_plugins.domain.http import Request
from moby_plugins.ports import Clock

# Tells the server which announced attempt a request is; taken off before anyone sees it.
HEADER = "X-Moby-Plugins-Turn"


@define(eq=False)
class Turn:
    """One attempt: the reply to it, and what came of it that no answer can tell."""

    reply: Reply
    address: str
    attempt: int = 1
    announced: bool = True
    arrived: bool = False
    # The number of an OSError where the plugin is not to be reached.
    errno: int = 0
    error: BaseException | None = None


class Turns:
    """Which reply is whose. Threads may share it.

    A reply is taken by the thread that calls, so that it is told at once what no reply was
    given for; and a request that the host sends twice over gets the same reply twice.
    """

    def __init__(self, plugin: Replies, clock: Clock) -> None:
        self.calls = Calls()
        self._plugin = plugin
        self._clock = clock
        self._numbers = count(1)
        self._lock = threading.Lock()
        self._announced: dict[str, Turn] = {}

    def announce(self, request: Request, address: str) -> tuple[str, Turn]:
        """A number and a turn for a request that is about to be sent, until ``over``.

        Raises ``UnexpectedCallError``.
        """
        turn = Turn(reply_to(request, self._plugin), address, request.attempt)
        if isinstance(turn.reply, Fault) and turn.reply.errno:
            turn.errno = turn.reply.errno
            # A body that is made as it is read stays whole for the next attempt.
            unread = request if isinstance(request.body, bytes) else evolve(request, body=b"")
            self._record(turn, unread)
        with self._lock:
            number = str(next(self._numbers))
            self._announced[number] = turn
        return number, turn

    def over(self, number: str) -> None:
        """The host has its answer, or its error."""
        with self._lock:
            del self._announced[number]

    def arrived(self, request: Request, address: str) -> tuple[Request, Turn]:
        """The turn of a request that came, and the request as its host meant it."""
        headers = dict(request.headers)
        with self._lock:
            turn = self._announced.get(headers.pop(HEADER, ""))
        if turn is None:
            turn = Turn(self._unannounced(request), address, announced=False)
        request = evolve(request, headers=headers, attempt=turn.attempt)
        if not turn.arrived:
            turn.arrived = True
            self._record(turn, request)
        return request, turn

    def assert_used_up(self) -> None:
        """Raise ``AssertionError`` for replies that nobody asked for."""
        __tracebackhide__ = True
        assert_replies_used(self._plugin, self.calls.methods)

    def _unannounced(self, request: Request) -> Reply:
        try:
            return reply_to(request, self._plugin)
        except UnexpectedCallError as error:
            return status(500, str(error))

    def _record(self, turn: Turn, request: Request) -> None:
        self.calls.record(
            Call(request.method, request.read(), turn.attempt, self._clock.now(), turn.address)
        )
