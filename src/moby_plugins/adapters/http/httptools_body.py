"""An answer's body, of which more is to come than its head brought along."""

from collections.abc import Callable
from http.client import HTTPException

from moby_plugins.adapters.http.dials import Socket
from moby_plugins.adapters.http.httptools_answer import Answer
from moby_plugins.adapters.http.httptools_errors import ERRORS, translate
from moby_plugins.domain.address import Address
from moby_plugins.domain.http import CHUNK_BYTES


class UnreadBody:
    """The rest of ``answer``, from ``sock``, which goes back by ``give_back`` at its end."""

    def __init__(
        self, answer: Answer, sock: Socket, address: Address, give_back: Callable[..., None]
    ) -> None:
        self._answer = answer
        self._sock = sock
        self._address = address
        self._give_back = give_back
        self._came = answer.take()
        self._more: Callable[[int], bytes] = self._parsed
        if answer.length is not None:
            self._left = answer.length - len(self._came)
            self._more = self._counted
        self._over = False

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes: see ``Body``."""
        while not (self._came or self._over):
            self._came = self._more(size)
        data, self._came = self._came[:size], self._came[size:]
        return data

    def close(self) -> None:
        """Give the connection up, where there is more to come."""
        if not self._over:
            self._end(reusable=False)

    def _counted(self, size: int) -> bytes:
        # There is nothing to parse in what is counted: it is not copied once more.
        data = self._receive(min(size, self._left))
        self._left -= len(data)
        if not self._left:
            self._end(reusable=self._answer.reusable)
        return data

    def _parsed(self, size: int) -> bytes:
        data = self._receive(min(size, CHUNK_BYTES))
        if data:
            self._answer.feed(data)
            if self._answer.complete:
                self._end(reusable=self._answer.reusable)
        else:
            self._end(reusable=False)
        return self._answer.take()

    def _receive(self, size: int) -> bytes:
        try:
            if self._answer.failure is not None:
                raise self._answer.failure
            data = self._sock.recv(size)
            if not data and self._answer.ends_itself:
                raise HTTPException("the connection ended before the body")
        except ERRORS as error:
            raise translate(error, self._address, answered=True) from error
        return data

    def _end(self, *, reusable: bool) -> None:
        self._over = True
        self._answer.finish()
        self._give_back(reusable=reusable)
