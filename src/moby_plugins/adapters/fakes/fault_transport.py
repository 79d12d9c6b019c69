"""The host's end of a ``FaultServer``: a real transport that announces what it is about to send."""

import errno
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from attrs import evolve

from moby_plugins.adapters.fakes.dead_ends import as_nobody
from moby_plugins.adapters.fakes.fault_turns import HEADER, Turns
from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import TransportError
from moby_plugins.domain.http import Request, Response
from moby_plugins.ports import Transport


class AnnouncingTransport:
    """Sends over ``transport`` what it has announced to ``turns``; its errors name ``address``.

    Where nobody is to be reached, it dials what ``dead_end`` gives for the number
    of that ``OSError``. Threads may share it. It closes ``transport``.
    """

    def __init__(
        self,
        transport: Transport,
        address: Address,
        turns: Turns,
        dead_end: Callable[[int], Transport],
    ) -> None:
        self._transport = transport
        self._address = address
        self._turns = turns
        self._dead_end = dead_end

    def send(self, request: Request, timeout: float | None) -> Response:
        """The server's answer; raises what the transport does, or what the reply says."""
        number, turn = self._turns.announce(request, self._address.text)
        try:
            if turn.errno:
                return self._dial(turn.errno, request, timeout)
            announced = evolve(request, headers={**request.headers, HEADER: number})
            return self._transport.send(announced, timeout)
        except TransportError as error:
            error.address = self._address.text
            if turn.error is not None:
                raise turn.error from None
            if turn.errno and turn.arrived:
                return self._dial(turn.errno, evolve(request, body=b"", length=None), timeout)
            raise
        finally:
            self._turns.over(number)

    def close(self) -> None:
        """Give up idle connections."""
        self._transport.close()

    def _dial(self, number: int, request: Request, timeout: float | None) -> Response:
        transport = self._dead_end(number)
        somebody: AbstractContextManager[None] = nullcontext()
        if number == errno.EACCES:
            somebody = as_nobody()
        try:
            with somebody:
                return transport.send(request, timeout)
        except TransportError as error:
            error.address = self._address.text
            raise
        finally:
            transport.close()
