"""Make an ASGI 3 application of an asynchronous app, for other servers.

Requests are read and answered as by this library's server, within the same bounds. The parts of a
request that ASGI passes on are checked again: the framing of a body, the target, the method, and
``Origin`` on TCP. Other rules, such as those for folded lines and versions, are up to the server.

An ASGI server reports that the host hung up only to an application that waits for the next part of
the request's body. So the body is received while the app runs, up to ``MAX_AHEAD`` bytes that the
app has not read.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any, TypeAlias

from moby_plugins.adapters.aio.answering import answer, read_request
from moby_plugins.adapters.aio.incoming import method_in
from moby_plugins.adapters.server.answering import Held, InFlight, refuse_origin
from moby_plugins.domain.async_http import AsyncApp, AsyncRequest
from moby_plugins.domain.errors import WireError
from moby_plugins.domain.http import NoAnswerError
from moby_plugins.domain.http_grammar import check_request_framing
from moby_plugins.ports import RunningCall

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGI: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

# The unread bytes of a body beyond which no more is received until the app reads.
MAX_AHEAD = 64 << 10
# Headers that a request may have only once.
_SINGLE = {"Content-Length", "Host", "Transfer-Encoding"}


def asgi(app: AsyncApp, inflight: InFlight) -> ASGI:
    """Return the ASGI application that answers ``POST /method`` with ``await app(request)``.

    A request with ``Origin``, which browsers send, is refused with 403 unless the scope has no
    ``client``, as on a UNIX socket. If the host hangs up, the task that answers it is cancelled.
    A hang-up is not noticed while ``MAX_AHEAD`` bytes or more of the request are unread and more
    of it is to come. ``inflight`` bounds the memory of all requests together.
    """

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            held = Held(inflight)
            try:
                await _Exchange(app, scope, receive, send, held).run()
            finally:
                held.release()
        else:
            raise ValueError(f"a plugin is served over HTTP, not {scope['type']}")

    return application


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


class _Exchange:
    """A handler of one ASGI request, which sends the app's response to it."""

    def __init__(
        self, app: AsyncApp, scope: Message, receive: Receive, send: Send, held: Held
    ) -> None:
        self._app = app
        self._scope = scope
        self._receive = receive
        self._send = send
        self._held = held
        self._call = RunningCall()
        self._task: Any = asyncio.current_task()
        self._has_left = False
        self._is_done = False
        self._watch: asyncio.Task[None] | None = None
        # The received parts of the body that were not read yet, and their size.
        self._unread: deque[bytes] = deque()
        self._size = 0
        # Whether all of the body was received, or no more of it can be.
        self._is_whole = False
        self._is_cut = False
        self._received = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()

    async def run(self) -> None:
        try:
            with self._call:
                await self._answer()
        except (asyncio.CancelledError, NoAnswerError):
            # Cancelled because the host hung up: for the server, this is a normal end.
            if not self._has_left or self._task.cancelling() > 1:
                raise
        finally:
            try:
                await self._end_watch()
            finally:
                if self._has_left:
                    self._task.uncancel()

    async def _end_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])
            with suppress(asyncio.CancelledError):
                self._watch.result()  # raises what the server raised

    async def _answer(self) -> None:
        verb = self._scope["method"]
        answered = await answer(self._app, verb, self._request)
        try:
            out = answered.head
            headers = [
                (name.encode("latin-1"), value.encode("latin-1"))
                for name, value in out.headers.items()
            ]
            await self._send(
                {"type": "http.response.start", "status": out.status, "headers": headers}
            )
            self._look_out()
            if verb != "HEAD":
                if out.is_over:
                    await self._part(answered.first, more=False)
                    return
                await self._part(answered.first, more=True)
                async for chunk in answered.rest():
                    await self._part(chunk, more=True)
            await self._part(b"", more=False)
        except BaseException:
            self._call.hang_up()
            raise
        finally:
            await answered.aclose()

    async def _part(self, data: bytes, *, more: bool) -> None:
        # Servers also report a disconnect after a complete response.
        self._is_done = not more
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def _request(self) -> AsyncRequest:
        scope = self._scope
        headers: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode("latin-1").title(), raw_value.decode("latin-1")
            if name in headers:
                if name in _SINGLE:
                    raise ValueError(f"a duplicate header {name}")
                value = f"{headers[name]}, {value}"
            headers[name] = value
        check_request_framing(
            *(
                headers[name].encode("latin-1") if name in headers else None
                for name in ("Content-Length", "Transfer-Encoding")
            )
        )
        method = method_in(_target(scope))
        # Without a client, the connection is one on a UNIX socket.
        if scope.get("client"):
            refuse_origin(headers, method)
        length = None if "Transfer-Encoding" in headers else int(headers.get("Content-Length", 0))
        if "Expect" not in headers:  # else receiving asks the host to send a body
            self._look_out()
        return await read_request(method, headers, length, self._chunks, self._held)

    async def _chunks(self) -> AsyncIterator[bytes]:
        self._look_out()
        while True:
            while self._unread:
                data = self._unread.popleft()
                self._size -= len(data)
                if self._size < MAX_AHEAD:
                    self._has_room.set()
                yield data
            if self._is_whole:
                return
            if self._is_cut:
                raise WireError("the request's body cannot be read: it is cut off")
            self._received.clear()
            await self._received.wait()

    def _look_out(self) -> None:
        """Begin to receive the request's body, and to watch for a hang-up of the host."""
        if self._watch is None:
            self._watch = asyncio.ensure_future(self._receive_all())

    async def _receive_all(self) -> None:
        try:
            while (message := await self._receive())["type"] != "http.disconnect":
                if data := message.get("body", b""):
                    self._unread.append(data)
                    self._size += len(data)
                self._is_whole = self._is_whole or not message.get("more_body", False)
                self._received.set()
                if self._size >= MAX_AHEAD and not self._is_whole:
                    self._has_room.clear()
                await self._has_room.wait()
        finally:
            self._is_cut = True
            self._received.set()
        if not self._is_done:
            self._has_left = True
            self._call.hang_up()
            self._task.cancel()


def _target(scope: Message) -> bytes:
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope.get("query_string", b"")
    # hypercorn includes the query in raw_path, uvicorn does not.
    path = raw.partition(b"?")[0]
    return path + b"?" + query if query else path
