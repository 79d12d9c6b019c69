"""Make an ASGI 3 application of an asynchronous app, for other servers.

Requests are read and answered as by this library's server, within the same bounds. The parts of a
request that ASGI passes on are checked again: the framing of a body, the target, the method, and
``Origin`` on TCP. Other rules, such as those for folded lines and versions, are up to the server.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any, TypeAlias

from moby_plugins.adapters.aio.answering import answer, read_request
from moby_plugins.adapters.aio.incoming import method_in
from moby_plugins.adapters.server.answering import Held, InFlight, refuse_origin
from moby_plugins.async_ports import is_cancelled
from moby_plugins.domain.async_http import AsyncApp, AsyncRequest
from moby_plugins.domain.errors import WireError
from moby_plugins.domain.http import NoAnswerError
from moby_plugins.domain.http_grammar import check_request_framing
from moby_plugins.ports import RunningCall

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGI: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

# Headers that a request may have only once.
_SINGLE = {"Content-Length", "Host", "Transfer-Encoding"}


def asgi(app: AsyncApp, inflight: InFlight) -> ASGI:
    """Return the ASGI application that answers ``POST /method`` with ``await app(request)``.

    A request with ``Origin``, which browsers send, is refused with 403 unless the scope has no
    ``client``, as on a UNIX socket. If the host hangs up, the task that answers it is cancelled.
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
        self._is_read = False
        self._has_left = False
        self._is_done = False
        self._watch: asyncio.Task[None] | None = None

    async def run(self) -> None:
        task = asyncio.current_task()
        try:
            with self._call:
                await self._answer()
        except asyncio.CancelledError as error:
            # Cancelled because the host hung up: for the server, this is a normal end.
            if not self._has_left or task is None or not is_cancelled(error):
                raise
            task.uncancel()
        except NoAnswerError:
            if not self._has_left:
                raise
        finally:
            if self._watch is not None:
                self._watch.cancel()
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([self._watch])

    async def _answer(self) -> None:
        verb = self._scope["method"]
        answered = await answer(self._app, verb, self._request)
        try:
            self._look_out()
            out = answered.head
            headers = [
                (name.encode("latin-1"), value.encode("latin-1"))
                for name, value in out.headers.items()
            ]
            await self._send(
                {"type": "http.response.start", "status": out.status, "headers": headers}
            )
            if verb != "HEAD":
                if out.whole:
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
        self._is_read = length == 0
        request = await read_request(method, headers, length, self._chunks, self._held)
        if isinstance(request.body, bytes):
            self._look_out()
        return request

    async def _chunks(self) -> AsyncIterator[bytes]:
        while not self._is_read:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._has_left = True
                raise WireError("the request's body cannot be read: it is cut off")
            self._is_read = not message.get("more_body", False)
            if data := message.get("body", b""):
                yield data
        self._look_out()

    def _look_out(self) -> None:
        """Watch for a hang-up of the host, once the request has been read."""
        if self._watch is None and self._is_read:
            task = asyncio.current_task()
            self._watch = asyncio.ensure_future(self._until_it_leaves(task))

    async def _until_it_leaves(self, task: "asyncio.Task[Any] | None") -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._is_done:
            return
        self._has_left = True
        self._call.hang_up()
        if task is not None:
            task.cancel()


def _target(scope: Message) -> bytes:
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope.get("query_string", b"")
    # hypercorn includes the query in raw_path, uvicorn does not.
    path = raw.partition(b"?")[0]
    return path + b"?" + query if query else path
