"""One method of a subsystem, as both ends of the protocol know it.

A marked method *is* its call: what runs on the host is ``Remote.call``, what runs
in the plugin is ``Remote.answer``. Methods whose bodies are no JSON override both.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, TypeVar, cast, get_origin

import attrs

from moby_plugins.app import wire
from moby_plugins.app.client import Client
from moby_plugins.app.messages import Signature, message_class
from moby_plugins.domain.errors import (
    NOT_FOUND,
    DriverError,
    PluginError,
    StatusError,
    WireError,
)
from moby_plugins.domain.http import CONTENT_TYPE, OK, Request, Response

F = TypeVar("F", bound=Callable[..., Any])

HEADERS = {"Content-Type": CONTENT_TYPE}
BAD_REQUEST = 400

# A default for an answer that need not come: there is none.
REQUIRED: Any = object()


class Owner(Protocol):
    """What a method learns from the subsystem that it is part of."""

    interface: ClassVar[str]
    error_keys: ClassVar[tuple[str, ...]]


class Proxy(Protocol):
    """What a method needs of the host's proxy."""

    @property
    def client(self) -> Client:
        """The client to call through."""
        ...

    def timeout_of(self, remote: "Remote", /) -> float | None:
        """Seconds for one attempt at a call of ``remote``."""
        ...


class Remote:
    """A method as both ends know it: JSON each way, unless a subclass says otherwise.

    ``wire`` is its name in paths, the title-cased one unless given. ``result`` is
    the key under which the answer holds the value; without it the annotated
    class is the whole answer. ``timeout`` (seconds) is the host's, per attempt.
    ``sends_body`` is false for a call without parameters whose body is empty,
    and not ``{}``. ``absent`` is what the host takes for the answer of a plugin
    that has no such method (404), ``failed`` for any failure at all.
    """

    # Whether the request's body is handed on as it comes, without a bound on its size.
    takes_stream: ClassVar[bool] = False

    def __init__(
        self,
        wire: str = "",
        *,
        result: str = "",
        timeout: float | None = None,
        sends_body: bool = True,
        absent: Any = REQUIRED,
        failed: Any = REQUIRED,
    ) -> None:
        self.wire = wire
        self.result = result
        self.timeout = timeout
        self.sends_body = sends_body
        self.absent = absent
        self.failed = failed

    def __call__(self, function: F) -> F:
        """Mark ``function``: called on a proxy, it is then the call."""
        self.name = function.__name__
        self.wire = self.wire or wire.title(self.name)
        self.function: Callable[..., Any] = function
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(proxy: Proxy, /, *args: Any, **named: Any) -> Any:
            bound = signature.bind(proxy, *args, **named)
            bound.apply_defaults()
            arguments = list(bound.arguments.values())[1:]
            try:
                return self.call(proxy, *arguments)
            except PluginError as error:
                result = self.despite(error)
                # Raised in there, the error would hold on to itself, and so to the client.
                if result is REQUIRED:
                    raise
                return result

        call.remote = self  # type: ignore[attr-defined]  # remote_of looks for it
        return cast("F", call)

    def bind(self, owner: type[Owner]) -> None:
        """Learn the subsystem that the method is part of; ``TypeError`` for what is no method."""
        self.method = f"{owner.interface}.{self.wire}"
        self.error_keys = owner.error_keys
        self.signature = Signature(self.function, self.method)
        self.check_result()

    def check_result(self) -> None:
        """Raise ``TypeError`` for a result that is neither a message nor under a key of one."""
        try:
            kind = self.signature.returns
        except TypeError:
            return  # a name that is defined further down; found out at the first call
        if not (self.result or kind is type(None) or attrs.has(kind) or _is_mapping(kind)):
            raise TypeError(f"{self.method}: {kind} needs a key in the answer: remote(result=…)")

    def call(self, proxy: Proxy, *arguments: Any) -> Any:
        """The host's end: send the arguments, read the answer."""
        message = self.message(*arguments)
        answer = proxy.client.call(self.method, message, object, timeout=proxy.timeout_of(self))
        try:
            return self.read_answer(answer)
        except WireError as error:
            error.method, error.address = self.method, proxy.client.address.text
            raise

    def answer(self, part: object, request: Request) -> Response:
        """The plugin's end: read the arguments, call ``part``, send the result.

        Raises ``StatusError`` with 400 for arguments that cannot be read, and what
        ``part`` raises.
        """
        result = self.invoke(part, *self.read_message(request))
        content = {self.result: result} if self.result else result
        return Response(OK, wire.encode({} if content is None else content), HEADERS)

    def invoke(self, part: Any, *arguments: Any) -> Any:
        """What ``part`` makes of the arguments."""
        return getattr(part, self.name)(*arguments)

    def message(self, *arguments: Any) -> Any:
        """The arguments as they are sent: one attrs value is the message, others its fields."""
        if self.signature.takes_nothing:
            return {} if self.sends_body else None
        return self.signature.pack(arguments)

    def read_message(self, request: Request) -> tuple[Any, ...]:
        """What ``message`` makes, read again; a method without parameters reads nothing."""
        if self.signature.takes_nothing:
            return ()
        try:
            return self.signature.unpack(request.read())
        except WireError as error:
            raise StatusError(BAD_REQUEST, self.method, error.reason) from error

    def read_answer(self, answer: Any) -> Any:
        """The result in an answer 200, or its error as a ``DriverError``."""
        for error in attrs.astuple(wire.structure(answer, self._error_type)):
            if error:
                raise DriverError(self.method, error)
        if self.result:
            return wire.structure(answer, self._result_type).value
        kind = self.signature.returns
        return None if kind is type(None) else wire.structure(answer, kind)

    def despite(self, error: PluginError) -> Any:
        """What the host takes for the result when the call failed; ``REQUIRED`` if nothing."""
        absent = isinstance(error, StatusError) and error.status == NOT_FOUND
        return self.absent if absent and self.absent is not REQUIRED else self.failed

    @functools.cached_property
    def _error_type(self) -> type:
        return message_class(self.method, {key.lower(): (key, str, "") for key in self.error_keys})

    @functools.cached_property
    def _result_type(self) -> type:
        value = (self.result, self.signature.returns, inspect.Parameter.empty)
        return message_class(self.method, {"value": value})


def remote_of(value: object) -> Remote | None:
    """The ``Remote`` that ``value`` is marked with, if it is."""
    found = getattr(value, "remote", None)
    return found if isinstance(found, Remote) else None


def _is_mapping(kind: Any) -> bool:
    return (get_origin(kind) or kind) in {dict, Mapping}


# What authors write: a mark on a method of theirs.
remote = Remote
