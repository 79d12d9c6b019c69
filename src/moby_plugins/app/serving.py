"""The plugin's end: applications that answer requests with implementations of subsystems.

A ``PluginApp`` is a callable from ``Request`` to ``Response``, for ``MemoryTransport`` in a test or
for a server. ``Routes`` finds the method for a request; ``refusal`` makes the response for an
exception.
"""

import inspect
import io
import logging
import time
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from contextvars import Context, copy_context
from copy import copy
from functools import partial
from importlib import import_module
from typing import Self, cast

from attrs import evolve, field, frozen

from moby_plugins.app import wire
from moby_plugins.app.observed import Now, ObservedRequest, StreamCutError, request_started
from moby_plugins.app.observing import Observers
from moby_plugins.app.parts import Part, check_part, implemented
from moby_plugins.app.subsystem import (
    BAD_REQUEST,
    HEADERS,
    Described,
    RemoteMethod,
    Subsystem,
    is_asynchronous,
)
from moby_plugins.domain.async_http import AsyncApp, AsyncRequest
from moby_plugins.domain.errors import (
    NOT_FOUND,
    StatusError,
    WireError,
    status_and_text,
)
from moby_plugins.domain.http import (
    CHUNK_BYTES,
    CUT_OFF,
    MAX_REQUEST_BYTES,
    OK,
    App,
    Body,
    Request,
    Response,
)
from moby_plugins.domain.observer import Observer
from moby_plugins.domain.observing import OnRequestEnded, RequestEnded, RequestStarted
from moby_plugins.domain.outgoing import Outgoing, size_in_memory
from moby_plugins.domain.plugin import Manifest
from moby_plugins.domain.retry import size
from moby_plugins.domain.text import bounded, quoted, shown
from moby_plugins.failures import log_failed_call, log_failure
from moby_plugins.ports import has_hung_up, is_forked_child

access: logging.Logger = logging.getLogger("moby_plugins.access")

ACTIVATE = "Plugin.Activate"


@frozen
class Route:
    """A remote method, and the part of the app (a subsystem's implementation) that answers it.

    ``limit`` is the most bytes that the body of a request may have; ``None`` means no limit.
    """

    remote: RemoteMethod
    part: Part
    limit: int | None

    def check_size(self, request: Request | AsyncRequest) -> None:
        """Raise ``StatusError`` with 413 if the body is known to be larger than ``limit``."""
        limit, body = self.limit, request.body
        size = len(body) if isinstance(body, bytes) else request.length
        if limit is not None and size is not None and size > limit:
            raise request.too_large(limit)

    def admit(self, request: Request) -> Request:
        """Return ``request`` with its body limited to ``limit`` bytes.

        Raise ``StatusError`` with 413 if its Content-Length exceeds the limit. For a body without
        a Content-Length, reading more than ``limit`` bytes raises this error later.
        """
        self.check_size(request)
        if isinstance(request.body, bytes):
            return request
        return evolve(request, body=_checked_chunks(request, request.body), max_bytes=self.limit)


class Routes:
    """A table that maps each method of a plugin to the part that implements the method.

    A part is an object that implements a subsystem. The function ``check`` is called with each part
    and raises ``TypeError`` for one that is not valid, such as a class or an object without
    methods. Raises ``ValueError`` if two parts implement the same method.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        max_request_bytes: int,
        check: Callable[[Part], None] = check_part,
    ) -> None:
        self._limit = size("max_request_bytes", max_request_bytes)
        self._by_method: dict[str, Route] = {}
        for part in parts:
            check(part)
            routes = {remote.method: self._to(remote, part) for remote in implemented(part)}
            twice = sorted(routes.keys() & self._by_method.keys())
            if twice:
                raise ValueError(f"two parts implement the method {twice[0]}")
            self._by_method |= routes
        for part in parts:
            for remote in part.remotes.values():
                if remote.has_default:
                    self._by_method.setdefault(remote.method, self._to(remote, part))
        self.manifest: Manifest = Manifest(tuple(dict.fromkeys(part.implements for part in parts)))
        self.methods: frozenset[str] = frozenset({ACTIVATE, *self._by_method})

    def route(self, method: str) -> Route | Response:
        """Return the route for ``method``, or a response if no part is needed.

        The response is the manifest for the handshake, and status 404 for an unknown method.
        """
        if method == ACTIVATE:
            return Response(OK, wire.encode(self.manifest), HEADERS)
        if method not in self._by_method:
            return failure(NOT_FOUND, f"this plugin has no method {shown(method)}")
        return self._by_method[method]

    def _to(self, remote: RemoteMethod, part: Part) -> Route:
        return Route(remote, part, None if remote.takes_stream else self._limit)


class PluginApp:
    """An application of ``parts``: answers the handshake and the calls of a plugin.

    It is a callable from ``Request`` to ``Response``, for ``serve_unix``, for ``wsgi``, or for
    ``MemoryTransport`` in a test. An error of a part never prevents the next request from being
    served. The response has status 404 for a method that no part implements, 400 for invalid
    arguments, 413 for a body of more than ``max_request_bytes``, and 500 for an exception; a
    ``StatusError`` has its own status. Each of these responses has the message as ``Err``
    (protocol.md B0). An argument that is absent or null gets its default, or else the zero value of
    its type. The first chunk of a streamed response is read before the status is sent, so that an
    early failure is an error response too; a stream that fails later is cut off. Several threads
    may call it at once, if the parts are thread-safe. There is nothing to close.

    Args:
        parts: Implementations of subsystems.
        max_request_bytes: The most bytes of a request's body. Does not apply to methods that take
            the body as a stream, such as ``GraphDriver.apply_diff``.
        observers: Objects whose methods are called for each request.
        now: Returns the time in seconds, from an arbitrary point, for observers.

    Raises:
        TypeError: If a part cannot be served: it is a class, it implements nothing, or a method is
            a coroutine, has other parameters than the subsystem's, or has a misspelt name.
        ValueError: If two parts implement the same method.

    Examples:
        ```python
        from moby_plugins.serving import PluginApp
        from moby_plugins.subsystems import Volume, VolumeDriver
        from moby_plugins.testing import LivePlugin, MemoryTransport


        class Shelf(VolumeDriver):
            def list(self):
                return [Volume("books")]


        app = PluginApp(Shelf())
        assert app.manifest.implements == ("VolumeDriver",)
        ```
    """

    def __init__(
        self,
        *parts: Subsystem,
        max_request_bytes: int = MAX_REQUEST_BYTES,
        observers: Iterable[Observer] = (),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._routes = Routes(parts, max_request_bytes)
        self._observers = Observers()
        self._now = now
        self.manifest: Manifest = self._routes.manifest
        self._refuse: Callable[[BaseException], Response] = refusal
        # A copy without observers, which ``_observed`` calls. Its error responses hold the
        # exception, for the observers of this app. Not a method, which would be a call more for
        # each request.
        unobserved = copy(self)
        unobserved._refuse = _refusal_with_error  # noqa: SLF001  its own class
        self._unobserved = partial(PluginApp.__call__, unobserved)
        self._observers = Observers(observers)

    def __repr__(self) -> str:
        return f"<PluginApp of {', '.join(map(shown, self.manifest.implements)) or 'nothing'}>"

    def __call__(self, request: Request) -> Response:
        """Answer one call; never raises, except in a child that the app itself has forked.

        Args:
            request: The call.

        Returns:
            The response; the caller closes its body.
        """
        if self._observers:
            return _observed(
                self._unobserved, request, self._observers, self._routes.methods, self._now
            )
        method = request.method.partition("?")[0]
        try:
            route = self._routes.route(method)
            if isinstance(route, Response):
                return route
            return _begun(route.remote.answer(route.part, route.admit(request)), method)
        except BaseException as error:  # sys.exit() in a method must not end the server
            if is_forked_child():
                raise
            log_failed_call(f"{method} failed", error)
            return self._refuse(error)

    def with_observers(self, observers: Observers) -> Self:
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
class Refusal(Response):
    """An error response, with the exception for which it was made, for observers."""

    error: BaseException | None = field(default=None, eq=False, repr=False)


def observed(
    app: App,
    observers: Iterable[Observer],
    *,
    methods: Collection[str] = (),
    now: Callable[[], float] = time.monotonic,
) -> App:
    """Return an app that answers as ``app`` does, and reports each request to ``observers``.

    Each request runs in a copy of the context, so that the app sees the context variables that
    observers set. A ``PluginApp`` keeps its own observers too.

    Args:
        app: The app that answers the requests: a ``PluginApp``, or a function.
        observers: Objects whose methods are called for each request.
        methods: The methods that a function answers; for others ``RequestStarted.route`` is "".
            Not used for a ``PluginApp``.
        now: Returns the time in seconds, from an arbitrary point.

    Returns:
        The observed app.

    Raises:
        TypeError: If an observer is not an ``Observer``, or ``app`` is not callable or is
            asynchronous.

    Examples:
        ```python
        from moby_plugins import LoggingObserver, Request, Response
        from moby_plugins.serving import observed


        def app(request: Request) -> Response:
            return Response(200, b'{"Implements": []}')


        served = observed(app, [LoggingObserver()], methods=["Plugin.Activate"])
        assert served(Request("Plugin.Activate")).status == 200
        ```
    """
    if isinstance(app, PluginApp):
        return app.with_observers(Observers(observers))
    unchecked: object = app  # the caller's program may not be type-checked
    is_app = callable(unchecked) and not isinstance(unchecked, type)
    if not is_app or is_asynchronous(unchecked) or is_asynchronous(type(unchecked).__call__):
        wanted = "a PluginApp or a function that is not a coroutine"
        raise TypeError(f"app must be {wanted}, not {quoted(unchecked)}")
    if isinstance(app, _ObservedApp) and app.now is now:
        those = Observers((*app.observers, *observers))
        return evolve(app, observers=those, methods=app.methods | frozenset(methods))
    return _ObservedApp(app, Observers(observers), frozenset(methods), now)


@frozen
class _ObservedApp:
    """An app that answers as ``app`` does, and reports each request to ``observers``."""

    app: App
    observers: Observers
    methods: frozenset[str]
    now: Now

    def __call__(self, request: Request) -> Response:
        return _observed(self.app, request, self.observers, self.methods, self.now)


def _observed(
    app: App, request: Request, observers: Observers, methods: Container[str], now: Now
) -> Response:
    """Return the response of ``app``, and report the request to ``observers``.

    The app runs in a copy of the context, in which observers may set variables. A body that is
    streamed, or larger than one chunk, is read in that copy too; then the end of the request is
    reported at the end of the body.
    """
    context = copy_context()
    observed = context.run(ObservedRequest, observers, request_started(request, methods), now)
    try:
        response = _checked(context.run(app, request))
        size = size_in_memory(response)
        try:
            # The server makes the same check, and sends 500 in place of what it refuses.
            outgoing = Outgoing(response.status, response.headers, size)
        except BaseException:
            context.run(response.body.close)
            raise
    except BaseException as raised:
        if not is_forked_child():  # the parent process still answers the request
            context.run(observed.fail, OK, raised, hung_up=has_hung_up())
        raise
    if size is not None and size <= CHUNK_BYTES:
        observed.sent_bytes = size
        context.run(_end, observed, response)
        response = _let_go(response)
        return response  # noqa: RET504  the frame of this function must not keep the error
    body = _ObservedBody(response.body, outgoing, context, observed)
    return evolve(response, body=body, headers=outgoing.headers)


def _checked(response: object) -> Response:
    # The app's program may not be type-checked.
    if not isinstance(response, Response):
        raise TypeError(f"an application returns a Response, not {quoted(response)}")
    return response


def _end(observed: ObservedRequest, response: Response) -> None:
    error = response.error if isinstance(response, Refusal) else None
    observed.end(response.status, error, hung_up=has_hung_up())


def _let_go(response: Response) -> Response:
    """Return ``response`` without its error, whose traceback refers to the server's frames."""
    if isinstance(response, Refusal):
        return Response(response.status, response.body, response.headers)
    return response


class _ObservedBody:
    """The body of a streamed response; its end is reported as the end of the request."""

    def __init__(
        self, body: Body, outgoing: Outgoing, context: Context, observed: ObservedRequest
    ) -> None:
        self._body = body
        self._outgoing = outgoing
        self._context = context
        self._observed = observed

    def read(self, size: int, /) -> bytes:
        try:
            chunk = self._outgoing.count(self._context.run(self._body.read, size))
        except BaseException as error:
            fail = self._observed.fail
            self._context.run(fail, self._outgoing.status, error, hung_up=has_hung_up())
            raise
        self._observed.sent_bytes += len(chunk)
        if not chunk:
            self._context.run(self._observed.end, self._outgoing.status, hung_up=False)
        return chunk

    def close(self) -> None:
        # A copy, since another thread may be reading in the context.
        context = self._context.copy()
        try:
            context.run(self._body.close)
        finally:
            context.run(self._observed.closed, self._outgoing.status)


class AccessLog(Observer):
    """An observer that logs each served request on the logger ``moby_plugins.access``.

    The line has the method, the status, the size of the response in bytes and the time in
    milliseconds. It never contains a body.
    """

    def request_started(self, _: RequestStarted, /) -> OnRequestEnded:
        """Return the function that logs the request when it has ended."""
        return self._log

    def _log(self, event: RequestEnded) -> None:
        method, ms = shown(event.started.method), event.seconds * 1e3
        access.info("%s %d %d bytes %.1f ms", method, event.status, event.sent_bytes, ms)


def as_app(implementation: object) -> App | AsyncApp:
    """Return ``implementation`` as an app.

    An implementation of a subsystem, or its class, is put into a ``PluginApp``, or into an
    ``AsyncPluginApp`` if it is asynchronous. An app is returned as it is. Raise ``TypeError`` if
    ``implementation`` cannot be served.
    """
    part = (
        implementation()
        if isinstance(implementation, type) and issubclass(implementation, Described)
        else implementation
    )
    if isinstance(part, Subsystem):
        return PluginApp(part)
    if isinstance(part, Described):
        # Imported only here, because that module loads asyncio.
        app: AsyncApp = import_module("moby_plugins.app.aio.serving").AsyncPluginApp(part)
        return app
    if isinstance(part, type) or not callable(part):
        raise TypeError(
            f"the app is {type(part).__name__!r}, and neither a PluginApp, a subsystem nor a"
            " function from Request to Response"
        )
    try:
        inspect.signature(part).bind(None)
    except ValueError:  # written in C, without a signature
        pass
    except TypeError as error:
        needed = "the app cannot be called with a request alone; if it makes an app, serve that"
        raise TypeError(f"{needed}: app = make_app() in the module") from error
    return cast("App", part)


def is_async_app(app: object) -> bool:
    """Return whether ``app`` is a coroutine function, or an object whose ``__call__`` is one."""
    return is_asynchronous(app) or is_asynchronous(type(app).__call__)


def refusal(error: BaseException) -> Response:
    """Return the response for an exception of a method; a ``StatusError`` has its own status."""
    return failure(*status_and_text(error))


def _refusal_with_error(error: BaseException) -> Response:
    response = refusal(error)
    return Refusal(response.status, response.body, response.headers, error=error)


def failure(status: int, message: str) -> Response:
    """Return an error response: ``message`` is under ``Err``, where all hosts look for it."""
    return Response(status, wire.encode({"Err": bounded(message)}), HEADERS)


def _checked_chunks(request: Request, chunks: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from chunks
    except WireError as error:  # the request is malformed, for example badly chunked
        raise StatusError(BAD_REQUEST, request.method, error.reason) from error


def _begun(response: Response, method: str) -> Response:
    # A body that is complete in memory cannot fail.
    if isinstance(response.body, io.BytesIO):
        return response
    begun = _Begun(response.body, method)
    try:
        begun.begin()
    except BaseException:
        begun.close()
        raise
    return evolve(response, body=begun)


class _Begun:
    """A body whose first chunk was read; if reading the rest fails, the body is cut off."""

    def __init__(self, body: Body, method: str) -> None:
        self._first = b""
        self._rest = body
        self._method = method

    def begin(self) -> None:
        self._first = self._rest.read(CHUNK_BYTES)

    def read(self, size: int, /) -> bytes:
        if self._first:
            data, self._first = self._first[:size], self._first[size:]
            return data
        try:
            return self._rest.read(size)
        except BaseException as error:
            log_failure(f"{self._method} failed in the middle of its response", error)
            # The server then cuts the response off, so that the host sees it as incomplete.
            raise StreamCutError(CUT_OFF) from error

    def close(self) -> None:
        try:
            self._rest.close()
        except BaseException as error:  # raised by a generator's finally: the host is gone
            log_failure(f"closing the response of {self._method} failed", error)
