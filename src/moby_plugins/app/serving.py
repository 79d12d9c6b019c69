"""The plugin's end: a ``Request`` answered by implementations of subsystems.

A ``PluginApp`` is a function ``Request -> Response``: give it to ``MemoryTransport``
in a test, or to a server. ``Routes`` decides who answers, ``refusal`` what an exception says.
"""

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
from moby_plugins.app.observing import Now, ObservedRequest, Observers, request_started
from moby_plugins.app.parts import Part, check_part, implemented
from moby_plugins.app.subsystem import (
    BAD_REQUEST,
    HEADERS,
    Described,
    Remote,
    Subsystem,
    is_asynchronous,
)
from moby_plugins.domain.async_http import AsyncApp, AsyncRequest
from moby_plugins.domain.errors import (
    INTERNAL_ERROR,
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
from moby_plugins.domain.observing import Observer
from moby_plugins.domain.plugin import Manifest
from moby_plugins.domain.retry import size
from moby_plugins.domain.text import bounded, quoted, shown
from moby_plugins.failures import log_failed_call, log_failure
from moby_plugins.ports import Clock, has_hung_up, is_forked_child

access: logging.Logger = logging.getLogger("moby_plugins.access")

ACTIVATE = "Plugin.Activate"


@frozen
class Route:
    """The method that a request is for, and the part that has it; ``limit`` bounds its body."""

    remote: Remote
    part: Part
    limit: int | None

    def check_size(self, request: Request | AsyncRequest) -> None:
        """Raise ``StatusError`` with 413 for a body that is known to be over the bound."""
        limit, body = self.limit, request.body
        size = len(body) if isinstance(body, bytes) else request.length
        if limit is not None and size is not None and size > limit:
            raise request.too_large(limit)

    def admit(self, request: Request) -> Request:
        """Return ``request`` with the bound on its body; ``StatusError`` with 413 over it."""
        self.check_size(request)
        if isinstance(request.body, bytes):
            return request
        return evolve(request, body=_told(request, request.body), max_bytes=self.limit)


class Routes:
    """Which requests the ``parts`` answer, and how: decided without answering any.

    Each is held to ``check``. Raises ``TypeError`` and ``ValueError`` as ``PluginApp`` does.
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
                raise ValueError(f"two parts implement {twice[0]}")
            self._by_method |= routes
        for part in parts:
            for remote in part.remotes.values():
                if remote.has_default:
                    self._by_method.setdefault(remote.method, self._to(remote, part))
        self.manifest: Manifest = Manifest(tuple(dict.fromkeys(part.implements for part in parts)))
        self.methods: frozenset[str] = frozenset({ACTIVATE, *self._by_method})

    def route(self, method: str) -> Route | Response:
        """Where a request for ``method`` goes, or the answer that needs no part."""
        if method == ACTIVATE:
            return Response(OK, wire.encode(self.manifest), HEADERS)
        if method not in self._by_method:
            return failure(NOT_FOUND, f"this plugin has no method {shown(method)}")
        return self._by_method[method]

    def _to(self, remote: Remote, part: Part) -> Route:
        return Route(remote, part, None if remote.takes_stream else self._limit)


class PluginApp:
    """Answers the handshake and the calls of ``parts``: a function ``Request -> Response``.

    Give it to ``serve_unix``, to ``MemoryTransport`` in a test, or to ``wsgi``. Whatever happens in
    a part, the next request is served: a method that no part implements is answered with 404,
    arguments that cannot be read with 400, a body over ``max_request_bytes`` with 413 and unread,
    an exception with 500 (a ``StatusError`` with its own status), all with the message as ``Err``
    (protocol.md B0). An argument that is absent or null is its default, or its type's zero. A
    streamed response is begun before its status is sent, so that what fails at once is an error
    too; one that fails later is cut off. Threads may call it at once, if the parts allow. There is
    nothing to close.

    Args:
        parts: Implementations of subsystems.
        max_request_bytes: How many bytes of a request's body are read; not of one that is a stream.
        observers: What is told of requests.
        now: Gives the time in seconds, from an arbitrary point, for observers.

    Raises:
        TypeError: For a part that cannot be served: a class, a method with other parameters, a
            coroutine, a misspelt name, one that implements nothing.
        ValueError: For two parts that implement the same method.

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
        self._observers = Observers(observers)
        self._now = now
        self.manifest: Manifest = self._routes.manifest

    def __repr__(self) -> str:
        return f"<PluginApp of {', '.join(map(shown, self.manifest.implements)) or 'nothing'}>"

    def __call__(self, request: Request) -> Response:
        """Answer one call; never raises.

        Args:
            request: The call.

        Returns:
            The response, for the caller to close.
        """
        if self._observers:
            return _observed(
                self._answer, request, self._observers, self._routes.methods, self._now
            )
        return self._answer(request)

    def told_to(self, observers: Observers) -> Self:
        """Return this app, which tells ``observers`` too."""
        other = copy(self)
        other._observers = Observers((*self._observers, *observers))  # noqa: SLF001  its own class
        return other

    def _answer(self, request: Request) -> Response:
        method = request.method.partition("?")[0]
        try:
            route = self._routes.route(method)
            if isinstance(route, Response):
                return route
            return _begun(route.remote.answer(route.part, route.admit(request)), method)
        except BaseException as error:  # sys.exit() in a method is no order to the server
            if is_forked_child():
                raise
            log_failed_call(f"{method} failed", error)
            return refusal(error)


class CallLog:
    """What is logged of calls on the logger ``moby_plugins.access``: a line for each."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def begin(self, called: str) -> Callable[[int, int], None]:
        """Return what logs the call of the method that begins: by status and bytes."""
        begun = self._clock.now()

        def log(status: int, size: int) -> None:
            took = (self._clock.now() - begun) * 1e3
            method = shown(called.partition("?")[0])
            access.info("%s %d %d bytes %.1f ms", method, status, size, took)

        return log


@frozen
class Refusal(Response):
    """The answer for an exception, which it keeps for observers."""

    error: BaseException | None = field(default=None, eq=False, repr=False)


def observed(
    app: App,
    observers: Iterable[Observer],
    *,
    methods: Collection[str] = (),
    now: Callable[[], float] = time.monotonic,
) -> App:
    """Return ``app``, whose observers are told of requests.

    Each request has a context of its own, in which the app sees what observers set. A
    ``PluginApp`` keeps the observers that it has.

    Args:
        app: Answers the requests: a ``PluginApp``, or a function.
        observers: What is told of requests.
        methods: Of a function, the methods that it has: others are "" as ``RequestStarted.route``.
        now: Gives the time in seconds, from an arbitrary point.

    Returns:
        An app.

    Raises:
        TypeError: For what is no ``Observer``, and for an app that is none or is asynchronous.

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
        return app.told_to(Observers(observers))
    given: object = app  # of a program that nothing has checked
    made = callable(given) and not isinstance(given, type)
    if not made or is_asynchronous(given) or is_asynchronous(type(given).__call__):
        wanted = "a PluginApp or a function that is no coroutine"
        raise TypeError(f"app must be {wanted}, not {quoted(given)}")
    those, known = Observers(observers), frozenset(methods)
    return lambda request: _observed(app, request, those, known, now)


def _observed(
    app: App, request: Request, observers: Observers, methods: Container[str], now: Now
) -> Response:
    """What ``app`` answers, in a context that observers have set.

    Each step of a streamed answer is made in that context too, and the request ends with it.
    """
    context = copy_context()
    observed = context.run(ObservedRequest, observers, request_started(request, methods), now)
    try:
        response = context.run(app, request)
        given: object = response  # of a program that nothing has checked
        if not isinstance(given, Response):
            raise TypeError(f"an application returns a Response, not {quoted(given)}")
    except BaseException as raised:
        if not is_forked_child():  # in the parent process the request goes on
            context.run(observed.end, INTERNAL_ERROR, raised, hung_up=has_hung_up())
        raise
    error = response.error if isinstance(response, Refusal) else None
    if isinstance(response.body, io.BytesIO):
        observed.sent_bytes = response.body.getbuffer().nbytes
        context.run(observed.end, response.status, error, hung_up=has_hung_up())
        return response
    return evolve(response, body=_ObservedBody(response, context, observed))


class _ObservedBody:
    """The body of a streamed answer, whose end is that of its request."""

    def __init__(self, response: Response, context: Context, observed: ObservedRequest) -> None:
        self._body = response.body
        self._status = response.status
        self._context = context
        self._observed = observed

    def read(self, size: int, /) -> bytes:
        try:
            chunk = self._context.run(self._body.read, size)
        except BaseException as error:
            self._end(error.__cause__ or error, hung_up=has_hung_up())
            raise
        self._observed.sent_bytes += len(chunk)
        if not chunk:
            self._end(None, hung_up=False)
        return chunk

    def close(self) -> None:
        try:
            self._context.run(self._body.close)
        finally:
            # One that was not read to its end.
            self._end(None, hung_up=True)

    def _end(self, error: BaseException | None, *, hung_up: bool) -> None:
        self._context.run(self._observed.end, self._status, error, hung_up=hung_up)


class AccessLog:
    """``app``, with a line in the log of ``moby_plugins.access`` for each call.

    It has the method, the status, the bytes and milliseconds of the response, when that was read
    to its end or given up. Bodies are not in it.
    """

    def __init__(self, app: App, clock: Clock) -> None:
        self._app = app
        self._log = CallLog(clock)

    def __call__(self, request: Request) -> Response:
        """What the app answers."""
        log = self._log.begin(request.method)
        try:
            response = self._app(request)
        except BaseException:
            log(INTERNAL_ERROR, 0)
            raise
        if isinstance(response.body, io.BytesIO):
            log(response.status, response.body.getbuffer().nbytes)
            return response
        return evolve(response, body=_Counted(response.body, partial(log, response.status)))


class _Counted:
    """A body that tells how many bytes were read of it, once it is closed."""

    def __init__(self, body: Body, tell: Callable[[int], None]) -> None:
        self._body = body
        self._tell: Callable[[int], None] | None = tell
        self._size = 0

    def read(self, size: int, /) -> bytes:
        chunk = self._body.read(size)
        self._size += len(chunk)
        return chunk

    def close(self) -> None:
        tell, self._tell = self._tell, None
        try:
            self._body.close()
        finally:
            if tell is not None:
                tell(self._size)


def as_app(found: object) -> App | AsyncApp:
    """``found`` as an app: an implementation of a subsystem, or its class, in a ``PluginApp``.

    An asynchronous one is put in an ``AsyncPluginApp``. An app stays as it is. Raises ``TypeError``
    for what cannot be served.
    """
    part = found() if isinstance(found, type) and issubclass(found, Described) else found
    if isinstance(part, Subsystem):
        return PluginApp(part)
    if isinstance(part, Described):
        # Imported for such a part alone: it loads asyncio.
        made: AsyncApp = import_module("moby_plugins.app.aio.serving").AsyncPluginApp(part)
        return made
    if isinstance(part, type) or not callable(part):
        raise TypeError(
            f"it is {type(part).__name__!r}, and neither a PluginApp, a subsystem nor a"
            " function from Request to Response"
        )
    return cast("App", part)


def is_async_app(app: object) -> bool:
    """Whether ``app`` is a coroutine function, or an object that is called as one."""
    return is_asynchronous(app) or is_asynchronous(type(app).__call__)


def refusal(error: BaseException) -> Response:
    """The answer for what a method raised: with its own status for a ``StatusError``."""
    status, text = status_and_text(error)
    answer = failure(status, text)
    return Refusal(status, answer.body, answer.headers, error=error)


def failure(status: int, message: str) -> Response:
    """An answer that says what went wrong, the way that is safe for every subsystem."""
    return Response(status, wire.encode({"Err": bounded(message)}), HEADERS)


def _told(request: Request, chunks: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from chunks
    except WireError as error:  # the request's own, badly chunked say
        raise StatusError(BAD_REQUEST, request.method, error.reason) from error


def _begun(response: Response, method: str) -> Response:
    # What is there already cannot fail.
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
    """A body of which the beginning was read; where the rest fails, it is cut off."""

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
            log_failure(f"{self._method} failed in the middle of its answer", error)
            # What a host sees of it over any transport: a body without its end.
            raise WireError(CUT_OFF) from error

    def close(self) -> None:
        try:
            self._rest.close()
        except BaseException as error:  # out of a generator's finally, with no host to tell
            log_failure(f"closing the answer of {self._method} failed", error)
