"""The plugin's end on asyncio: applications that answer requests with asynchronous subsystems.

An ``AsyncPluginApp`` is a coroutine function from ``AsyncRequest`` to ``AsyncResponse``. ``Routes``
finds the method for a request and ``refusal`` makes the response for an exception, as for a
``PluginApp``. Only a request whose task is cancelled gets no response: its host has hung up, or the
server ends.
"""

import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Collection,
    Container,
    Iterable,
)
from copy import copy
from functools import partial
from typing import Any, Self

from attrs import evolve, field, frozen

from moby_plugins.app.aio.subsystem import AsyncSubsystem, flaw_of
from moby_plugins.app.observed import ObservedRequest, StreamCutError, request_started
from moby_plugins.app.observing import Observers
from moby_plugins.app.parts import Part, check_part
from moby_plugins.app.results import mismatch
from moby_plugins.app.serving import Route, Routes, is_async_app, refusal
from moby_plugins.app.streamed import Streamed
from moby_plugins.app.subsystem import BAD_REQUEST
from moby_plugins.async_ports import event_time, is_cancelled
from moby_plugins.domain.async_http import AsyncApp, AsyncBytes, AsyncRequest, AsyncResponse
from moby_plugins.domain.errors import StatusError, WireError
from moby_plugins.domain.http import (
    CHUNK_BYTES,
    CUT_OFF,
    MAX_REQUEST_BYTES,
    OK,
    Request,
    Response,
)
from moby_plugins.domain.observer import Observer
from moby_plugins.domain.outgoing import Outgoing
from moby_plugins.domain.plugin import Manifest
from moby_plugins.domain.text import quoted, shown
from moby_plugins.failures import log_failed_call, log_failure
from moby_plugins.ports import has_hung_up, is_forked_child


class AsyncPluginApp:
    """An application of asynchronous ``parts``: answers the handshake and the calls of a plugin.

    Methods are coroutines, and streams are asynchronous generators. The response has status 404 for
    a method that no part implements, 400 for invalid arguments, 413 for a body of more than
    ``max_request_bytes``, and 500 for an exception; a ``StatusError`` has its own status. Each of
    these responses has the message as ``Err``. The app is a coroutine function from
    ``AsyncRequest`` to ``AsyncResponse``, for ``serve_unix`` of ``moby_plugins.aio`` or for
    ``asgi``. When a host hangs up, the task of its request is cancelled: the method's current
    ``await`` raises ``CancelledError``. Changes that the method made before are not undone, and the
    host may repeat the call. There is nothing to close.

    Args:
        parts: Implementations of asynchronous subsystems.
        max_request_bytes: The most bytes of a request's body. Does not apply to methods that take
            the body as a stream, such as ``GraphDriver.apply_diff``.
        observers: Objects whose methods are called for each request, in the request's task.

    Raises:
        TypeError: If a part cannot be served: it is a class, it is synchronous, it implements
            nothing, or a method is not a coroutine, has other parameters than the subsystem's, or
            has a misspelt name.
        ValueError: If two parts implement the same method.

    Examples:
        ```python
        import asyncio

        from moby_plugins.aio import AsyncPluginApp, AsyncRequest, AsyncVolumeDriver
        from moby_plugins.subsystems import Volume


        class Shelf(AsyncVolumeDriver):
            async def list(self):
                return [Volume("books")]


        app = AsyncPluginApp(Shelf())
        response = asyncio.run(app(AsyncRequest("VolumeDriver.List")))
        assert response.status == 200
        ```
    """

    def __init__(
        self,
        *parts: AsyncSubsystem,
        max_request_bytes: int = MAX_REQUEST_BYTES,
        observers: Iterable[Observer] = (),
    ) -> None:
        self._routes = Routes(parts, max_request_bytes, check_async_part)
        self._observers = Observers()
        self.manifest: Manifest = self._routes.manifest
        self._refuse: Callable[[BaseException], AsyncResponse] = _refusal
        # A copy of this app without observers. Its error responses hold the exception, for the
        # observers of this app. Not a method, which would be a call more for each request.
        unobserved = copy(self)
        unobserved._refuse = _refusal_with_error  # noqa: SLF001  its own class
        self._unobserved = partial(AsyncPluginApp.__call__, unobserved)
        self._observers = Observers(observers)

    def __repr__(self) -> str:
        return f"<AsyncPluginApp of {', '.join(map(shown, self.manifest.implements)) or 'nothing'}>"

    async def __call__(self, request: AsyncRequest) -> AsyncResponse:
        """Answer one call; raises only ``CancelledError``, if its task is cancelled.

        In a child process that a method has forked, exceptions of the method pass.

        Args:
            request: The call.

        Returns:
            The response; the caller closes it.
        """
        if self._observers:
            return await _observed(self._unobserved, request, self._observers, self._routes.methods)
        method = request.method.partition("?")[0]
        try:
            route = self._routes.route(method)
            if isinstance(route, Response):
                return whole(route)
            return await _answered(route, request, method)
        except BaseException as error:  # sys.exit() in a method must not end the server
            if is_forked_child() or is_cancelled(error):
                raise
            log_failed_call(f"{method} failed", error)
            return self._refuse(error)

    def with_observers(self, observers: Iterable[Observer]) -> Self:
        """Return a copy of this app that calls ``observers`` too.

        Args:
            observers: The observers to add.

        Returns:
            The copy.
        """
        other = copy(self)
        other._observers = Observers((*self._observers, *observers))  # noqa: SLF001  its own class
        return other


@frozen
class AsyncRefusal(AsyncResponse):
    """An error response, with the exception for which it was made, for observers."""

    error: BaseException | None = field(default=None, eq=False, repr=False)


def observed(
    app: AsyncApp, observers: Iterable[Observer], *, methods: Collection[str] = ()
) -> AsyncApp:
    """Return an app that answers as ``app`` does, and reports each request to ``observers``.

    Observers are called in the request's task, so that the app sees the context variables that they
    set. An ``AsyncPluginApp`` keeps its own observers too.

    Args:
        app: The app that answers the requests: an ``AsyncPluginApp``, or a coroutine function.
        observers: Objects whose methods are called for each request.
        methods: The methods that a function answers; for others ``RequestStarted.route`` is "". Not
            used for an ``AsyncPluginApp``.

    Returns:
        The observed app.

    Raises:
        TypeError: If an observer is not an ``Observer``, or ``app`` is neither an
            ``AsyncPluginApp`` nor a coroutine function.
    """
    if isinstance(app, AsyncPluginApp):
        return app.with_observers(observers)
    if not is_async_app(app):
        wanted = "an AsyncPluginApp or a coroutine function"
        raise TypeError(f"app must be {wanted}, not {quoted(app)}")
    if isinstance(app, _ObservedApp):
        those = Observers((*app.observers, *observers))
        return evolve(app, observers=those, methods=app.methods | frozenset(methods))
    return _ObservedApp(app, Observers(observers), frozenset(methods))


@frozen
class _ObservedApp:
    """An app that answers as ``app`` does, and reports each request to ``observers``."""

    app: AsyncApp
    observers: Observers
    methods: frozenset[str]

    async def __call__(self, request: AsyncRequest) -> AsyncResponse:
        return await _observed(self.app, request, self.observers, self.methods)


async def _observed(
    app: AsyncApp,
    request: AsyncRequest,
    observers: Observers,
    methods: Container[str],
) -> AsyncResponse:
    # Observers run in the context of the request's task.
    now = event_time()
    observed = ObservedRequest(observers, request_started(request, methods), now)
    try:
        response = _checked(await app(request))
        size = len(response.body.whole) if isinstance(response.body, AsyncBytes) else None
        try:
            # The server makes the same check, and sends 500 in place of what it refuses.
            outgoing = Outgoing(response.status, response.headers, size)
        except BaseException:
            await response.aclose()
            raise
    except BaseException as raised:
        if not is_forked_child():  # the parent process still answers the request
            # A task is cancelled if its host hung up, or the server ends.
            if is_cancelled(raised):
                observed.end(OK, hung_up=True)
            else:
                observed.fail(OK, raised, hung_up=has_hung_up())
        raise
    if size is not None and size <= CHUNK_BYTES:
        observed.sent_bytes = size
        _end(observed, response)
        response = _let_go(response)
        return response  # noqa: RET504  the frame of this function must not keep the error
    return evolve(response, body=_Observed(response, outgoing, observed), headers=outgoing.headers)


def check_async_part(part: Part) -> None:
    """Raise ``TypeError``, with the reason, if ``part`` cannot be served asynchronously."""
    check_part(part, AsyncSubsystem, flaw_of, "is synchronous: use PluginApp")


def whole(response: Response) -> AsyncResponse:
    """Return ``response``, whose body is complete in memory, as an ``AsyncResponse``."""
    return AsyncResponse(response.status, response.body.read(-1), response.headers)


async def _answered(route: Route, request: AsyncRequest, method: str) -> AsyncResponse:
    remote = route.remote
    route.check_size(request)
    if not isinstance(request.body, bytes):
        request = evolve(
            request, body=_checked_chunks(request, request.body), max_bytes=route.limit
        )
    argument: Any = request
    if not (remote.takes_stream or remote.signature.takes_nothing):
        argument = Request(request.method, await request.read())
    result = remote.invoke(route.part, *remote.read_message(argument))
    if inspect.isawaitable(result):
        result = await result
    if not isinstance(remote, Streamed):
        return whole(remote.respond(result))
    if not isinstance(result, AsyncIterable):
        raise WireError(mismatch("an asynchronous stream", result), remote.method)
    begun = _Begun(AsyncResponse(OK, _pieces(remote, result)), method)
    try:
        await begun.begin()
    except BaseException:
        await begun.aclose()
        raise
    return AsyncResponse(OK, begun)


async def _checked_chunks(
    request: AsyncRequest, chunks: AsyncIterable[bytes]
) -> AsyncIterator[bytes]:
    try:
        async for chunk in chunks:
            yield chunk
    except WireError as error:  # the request is malformed, for example badly chunked
        raise StatusError(BAD_REQUEST, request.method, error.reason) from error


async def _pieces(remote: Streamed, items: AsyncIterable[Any]) -> AsyncIterator[bytes]:
    index = 0
    try:
        async for item in items:
            yield remote.piece(index, item)
            index += 1
    finally:
        if isinstance(items, AsyncGenerator):
            await items.aclose()


def _checked(response: object) -> AsyncResponse:
    # The app's program may not be type-checked.
    if not isinstance(response, AsyncResponse):
        raise TypeError(f"an application returns an AsyncResponse, not {quoted(response)}")
    return response


def _refusal(error: BaseException) -> AsyncResponse:
    return whole(refusal(error))


def _refusal_with_error(error: BaseException) -> AsyncResponse:
    response = _refusal(error)
    return AsyncRefusal(response.status, response.body, response.headers, error=error)


def _end(observed: ObservedRequest, response: AsyncResponse) -> None:
    error = response.error if isinstance(response, AsyncRefusal) else None
    # A method may suppress its cancellation, and then return or raise.
    observed.end(response.status, error, hung_up=has_hung_up())


def _let_go(response: AsyncResponse) -> AsyncResponse:
    """Return ``response`` without its error, whose traceback refers to the server's frames."""
    if isinstance(response, AsyncRefusal):
        return AsyncResponse(response.status, response.body, response.headers)
    return response


class _Observed:
    """The body of a streamed response; its end is reported as the end of the request."""

    def __init__(
        self, response: AsyncResponse, outgoing: Outgoing, observed: ObservedRequest
    ) -> None:
        self._response = response
        self._outgoing = outgoing
        self._observed = observed

    async def read(self, size: int, /) -> bytes:
        try:
            chunk = self._outgoing.count(await self._response.body.read(size))
        except BaseException as error:
            if is_cancelled(error):
                self._observed.end(self._outgoing.status, hung_up=True)
            else:
                self._observed.fail(self._outgoing.status, error, hung_up=has_hung_up())
            raise
        self._observed.sent_bytes += len(chunk)
        if not chunk:
            self._observed.end(self._outgoing.status, hung_up=False)
        return chunk

    def close(self) -> None:
        try:
            self._response.body.close()
        finally:
            self._observed.closed(self._outgoing.status)

    async def aclose(self) -> None:
        try:
            await self._response.aclose()
        finally:
            self._observed.closed(self._outgoing.status)


class _Begun:
    """A body whose first chunk was read; if reading the rest fails, the body is cut off."""

    def __init__(self, response: AsyncResponse, method: str) -> None:
        self._first = b""
        self._response = response
        self._method = method

    async def begin(self) -> None:
        self._first = await self._response.body.read(CHUNK_BYTES)

    async def read(self, size: int, /) -> bytes:
        if self._first:
            data, self._first = self._first[:size], self._first[size:]
            return data
        try:
            return await self._response.body.read(size)
        except BaseException as error:
            if is_cancelled(error):
                raise
            log_failure(f"{self._method} failed in the middle of its response", error)
            # The server then cuts the response off, so that the host sees it as incomplete.
            raise StreamCutError(CUT_OFF) from error

    def close(self) -> None:
        self._response.body.close()

    async def aclose(self) -> None:
        try:
            await self._response.aclose()
        except BaseException as error:  # raised by a generator's finally: the host is gone
            if is_cancelled(error):
                raise
            log_failure(f"closing the response of {self._method} failed", error)
