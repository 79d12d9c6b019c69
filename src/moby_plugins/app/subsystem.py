"""One definition of a subsystem, for both ends of the protocol.

A subsystem is a class whose methods are marked ``@remote()``: their signatures
are the messages. The same class is then the host's typed proxy and the
interface that a plugin's author implements::

    class Greeter(Subsystem):
        @remote(result="Greeting")
        def greet(self, name: str) -> str:
            raise NotImplementedError

    Greeter(client).greet("Ada")          # POST /Greeter.Greet {"Name":"Ada"}

    class Polite(Greeter):                # the plugin's end: PluginApp(Polite())
        def greet(self, name: str) -> str:
            return f"Good morning, {name}"

This is what Moby's ``pluginrpc-gen`` does before compiling, done at run time:
names of parameters are title-cased (``id`` is ``ID``), and an error travels as
``Err`` (protocol.md B0).

A marked method *is* its call: on a proxy ``Remote.call`` runs in its place, in a plugin
``Remote.answer`` calls the method that overrides it. ``Signature`` translates between arguments
and messages. One parameter that is an attrs class is the whole message by itself. Methods whose
bodies are not JSON plan another kind of call: ``Streamed`` (``streamed.py``) is the base of those
that respond with a stream.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Generic, TypeVar, cast, get_args, get_origin, get_type_hints

import attrs

from moby_plugins.app import wire
from moby_plugins.app.accounting import Ask, ClientBase, Plan, Send, Tell
from moby_plugins.app.client import Client
from moby_plugins.app.results import encode_result
from moby_plugins.domain.errors import NOT_FOUND, DriverError, PluginError, StatusError, WireError
from moby_plugins.domain.formats import check_timestamp
from moby_plugins.domain.http import CONTENT_TYPE, OK, Request, Response
from moby_plugins.domain.retry import seconds
from moby_plugins.domain.text import quoted

_ORDINARY = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", bound=ClientBase[Any])
HEADERS = {"Content-Type": CONTENT_TYPE}
BAD_REQUEST = 400
# A default for an answer that need not come: there is none.
REQUIRED: Any = object()


class Signature:
    """The arguments and the result of ``function``, a method called ``method`` on the wire.

    Raises ``TypeError`` for a function that cannot be one: each parameter is an
    ordinary one with a type, and the result has a type.
    """

    def __init__(self, function: Callable[..., Any], method: str) -> None:
        self._function = function
        self._method = method
        signature = inspect.signature(function)
        self._parameters = dict(list(signature.parameters.items())[1:])
        for name, parameter in self._parameters.items():
            if parameter.kind not in _ORDINARY:
                raise TypeError(f"{method}: {parameter} is no ordinary parameter")
            if parameter.annotation is inspect.Parameter.empty:
                raise TypeError(f"{method}: parameter {name!r} needs a type")
        if signature.return_annotation is inspect.Signature.empty:
            raise TypeError(f"{method}: the result needs a type, None where there is no result")

    @property
    def takes_nothing(self) -> bool:
        """Whether there are no parameters."""
        return not self._parameters

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters' names, in order."""
        return tuple(self._parameters)

    @property
    def returns(self) -> Any:
        """The type of the result; ``TypeError`` where its name is not known (yet)."""
        return self._hints["return"]

    def pack(self, arguments: tuple[Any, ...]) -> Any:
        """The arguments, in order, as one message."""
        if self._whole is not None:
            return arguments[0]
        return dict(zip(map(title_argument, self._parameters), arguments, strict=True))

    def unpack(self, body: bytes) -> tuple[Any, ...]:
        """The arguments in a message; ``WireError`` where it is none."""
        message = wire.decode(body, self._whole or self._message_type)
        if self._whole is not None:
            return (message,)
        return tuple(getattr(message, name) for name in self._parameters)

    @cached_property
    def _hints(self) -> dict[str, Any]:
        try:
            hints = get_type_hints(self._function)
        except NameError as error:
            raise TypeError(f"{self._method}: {error}") from error
        return hints | {"return": _with_tuples(hints["return"])}

    @cached_property
    def _whole(self) -> Any:
        kinds = [self._hints[name] for name in self._parameters]
        return kinds[0] if len(kinds) == 1 and attrs.has(kinds[0]) else None

    @cached_property
    def _message_type(self) -> type:
        return message_class(
            self._method,
            {
                name: (title_argument(name), self._hints[name], parameter.default)
                for name, parameter in self._parameters.items()
            },
        )


def _with_tuples(kind: Any) -> Any:
    # An author may return any sequence; a host is given what it cannot change.
    if get_origin(kind) is Sequence:
        return tuple[_with_tuples(get_args(kind)[0]), ...]  # type: ignore[misc]  # made at run time
    return kind


def message_class(method: str, fields: Mapping[str, tuple[str, Any, Any]]) -> type:
    """An attrs class for one message: field to (name on the wire, type, default if any)."""
    return attrs.make_class(
        wire.title(method.replace(".", "_")),
        {
            name: attrs.field(
                type=kind,
                metadata={"wire": key},
                default=attrs.NOTHING if default is inspect.Parameter.empty else default,
            )
            for name, (key, kind, default) in fields.items()
        },
        frozen=True,
        kw_only=True,
    )


def wired(name: str) -> dict[str, Any]:
    """Make the metadata of an attrs field that is called otherwise on the wire.

    Args:
        name: Its name there.

    Returns:
        For ``attrs.field(metadata=…)``.
    """
    return {"wire": name}


def omitempty(name: str = "") -> dict[str, Any]:
    """Make the metadata of a field that is left out where its value is empty, zero or false.

    Args:
        name: Its name on the wire; that of the field, title-cased, unless given.

    Returns:
        For ``attrs.field(metadata=…)``.
    """
    return {"omitempty": True} | ({"wire": name} if name else {})


def timed() -> dict[str, Any]:
    """Make the metadata of a field that is a time: sent in RFC 3339, or not at all.

    Returns:
        For ``attrs.field(metadata=…)``.
    """
    return {"rule": check_timestamp}


def title_argument(name: str) -> str:
    """A parameter's name on the wire, where ``id`` is ``ID``: ``network_id`` is ``NetworkID``."""
    return "".join("ID" if part == "id" else wire.title(part) for part in name.split("_"))


class Remote:
    """A method as both ends know it: JSON each way, unless a subclass says otherwise.

    What authors write is ``@remote(…)``, a mark on a method of theirs.

    Args:
        wire: Its name in paths; the method's, title-cased, unless given.
        result: The key under which the response has the result; without it, the annotated class is
            the whole response.
        timeout: Seconds that a host gives one attempt; the client's unless given.
        sends_body: Whether a call without parameters sends ``{}``, and not an empty body.
        absent: What a host takes for the result of a plugin that has no such method (404).
        failed: What a host takes for the result of a call that failed in any way.
    """

    # Whether the request's body is handed on as it comes, without a bound on its size.
    takes_stream: ClassVar[bool] = False
    # Whether a plugin answers it that does not override it, where it implements others.
    has_default: ClassVar[bool] = False

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
        self.wire: str = wire
        self.result = result
        self.timeout = timeout
        self.sends_body = sends_body
        self.absent = absent
        self.failed = failed

    def __call__(self, function: F) -> F:
        """Mark ``function``: called on a proxy, it is then the call."""
        self.name: str = function.__name__
        self.wire = self.wire or wire.title(self.name)
        self.function: Callable[..., Any] = function
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(proxy: "Subsystem", /, *args: Any, **named: Any) -> Any:
            bound = signature.bind(proxy, *args, **named)
            bound.apply_defaults()
            arguments = list(bound.arguments.values())[1:]
            try:
                return self.call(proxy, *arguments)
            except PluginError as error:
                result = self.instead(error, proxy.client)
                # Raised in there, the error would hold on to itself, and so to the client.
                if result is REQUIRED:
                    raise
                return result

        call.remote = self  # type: ignore[attr-defined]  # remote_of looks for it
        return cast("F", call)

    def bind(self, owner: type["Described[Any]"]) -> None:
        """Learn the subsystem that the method is part of; ``TypeError`` for what is no method."""
        self.owner: type[Described[Any]] = owner
        self.method: str = f"{owner.interface}.{self.wire}"
        self.error_keys: tuple[str, ...] = owner.error_keys
        self.signature: Signature = Signature(self.function, self.method)
        self.check_result()

    def check_result(self) -> None:
        """Raise ``TypeError`` for a result that is neither a message nor under a key of one."""
        try:
            kind = self.signature.returns
        except TypeError:
            return  # a name that is defined further down; found out at the first call
        if not (self.result or kind is type(None) or attrs.has(kind) or _is_mapping(kind)):
            raise TypeError(f"{self.method}: {kind} needs a key in the answer: remote(result=…)")

    def plan(self, *arguments: Any) -> Plan:
        """The call that is made with these arguments, for clients of all kinds."""
        return Ask(self.method, self.message(*arguments))

    def call(self, proxy: "Subsystem", *arguments: Any) -> Any:
        """The host's end: make the call, read the answer."""
        plan = self.plan(*arguments)
        client, timeout = proxy.client, proxy.timeout_of(self)
        if isinstance(plan, Tell):
            return client.stream(plan.method, timeout=timeout).close()
        if isinstance(plan, Send):
            answer = client.send_file(plan.method, plan.data, object, timeout=timeout)
        else:
            answer = client.call(plan.method, plan.message, object, timeout=timeout)
        return self.read_answer(answer)

    def instead(self, error: PluginError, client: ClientBase[Any]) -> Any:
        """What a call through ``client`` results in that failed; ``REQUIRED`` if ``error`` counts.

        The error then says whose it is.
        """
        if isinstance(error, DriverError):
            client.sign(error)
        elif isinstance(error, WireError) and not error.address:
            error.method, error.address = self.method, client.address.text
        return self.despite(error)

    def answer(self, part: object, request: Request) -> Response:
        """The plugin's end: read the arguments, call ``part``, send the result.

        Raises ``StatusError`` with 400 for arguments that cannot be read, and what
        ``part`` raises; ``WireError`` for a result that is not of the method's type.
        """
        return self.respond(self.invoke(part, *self.read_message(request)))

    def respond(self, result: Any) -> Response:
        """The response with ``result``, held to the type that the method declares."""
        kind = self.signature.returns
        body = encode_result(result, kind, key=self.result, method=self.method)
        return Response(OK, body, HEADERS)

    @property
    def called(self) -> tuple[str, ...]:
        """The names of the methods of a plugin that ``invoke`` may call."""
        return (self.name,)

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


def is_asynchronous(function: Any) -> bool:
    """Whether calling ``function`` makes a coroutine or an asynchronous generator."""
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _is_mapping(kind: Any) -> bool:
    return (get_origin(kind) or kind) in {dict, Mapping}


# What authors write: a mark on a method of theirs.
remote = Remote
"""Marks a method of a ``Subsystem`` as a call: ``@remote(result="Volumes")``. See ``Remote``."""


class Described(Generic[C]):
    """What both kinds of subsystems are: names, methods, and a client where it is a proxy."""

    # How the manifest names it, how paths do, and the keys of an error in an answer 200.
    implements: ClassVar[str] = ""
    interface: ClassVar[str] = ""
    error_keys: ClassVar[tuple[str, ...]] = ("Err",)
    remotes: ClassVar[Mapping[str, Remote]] = {}

    # What its clients are called.
    _takes: ClassVar[str] = "a Client"

    def __init__(
        self, client: C | None = None, *, timeouts: Mapping[str, float] | None = None
    ) -> None:
        if client is not None and not callable(getattr(client, "call", None)):
            raise TypeError(f"client must be {self._takes}, not {quoted(client)}")
        self._client = client
        self._timeouts = dict(timeouts or {})
        names = {remote.name for remote in self.remotes.values()}
        unknown = sorted(self._timeouts.keys() - names)
        if unknown:
            raise ValueError(f"{type(self).__name__} has no method {quoted(unknown[0])}")
        for timeout in self._timeouts.values():
            seconds(timeout)

    def __repr__(self) -> str:
        client = getattr(self, "_client", None)  # an author's ``__init__`` need not call this one
        of = f"of {client!r}" if client is not None else f"for {self.implements or 'a subsystem'}"
        return f"<{type(self).__name__} {of}>"

    @property
    def client(self) -> C:
        """The client that the proxy calls through; ``TypeError`` for what is no proxy."""
        client: C | None = getattr(self, "_client", None)
        if client is None:
            raise TypeError(f"{type(self).__name__} is no proxy: it was made without a client")
        return client

    def timeout_of(self, remote: Remote) -> float | None:
        """Return how long a call may take.

        Args:
            remote: The method's definition.

        Returns:
            Seconds for one attempt; ``None`` for the client's.
        """
        return self._timeouts.get(remote.name, remote.timeout)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        interfaces = {getattr(base, "interface", "") for base in cls.__bases__} - {""}
        if len(interfaces) > 1:
            raise TypeError(f"{cls.__name__}: one class for each of {sorted(interfaces)}")

    @classmethod
    def _define(cls, marked: Sequence[Remote]) -> None:
        """Make the methods that are ``marked`` in this class the subsystem's."""
        if marked:
            cls.interface = cls.interface or cls.__name__
            cls.implements = cls.implements or cls.interface
            cls.remotes = {**cls.remotes, **{remote.wire: remote for remote in marked}}
            for remote in marked:
                remote.bind(cls)


class Subsystem(Described[Client]):
    """Base of all subsystems: one class for both ends of the protocol.

    ``VolumeDriver(client)`` is a host's typed proxy for a plugin; a class derived from
    ``VolumeDriver`` is a plugin's implementation. Threads may share a proxy. It closes nothing: the
    client is its owner's. Each method of a proxy raises ``DriverError`` for the plugin's own error
    in a response 200, and whatever ``Client.call`` raises.

    Args:
        client: What a proxy calls through; none for an implementation.
        timeouts: Seconds by the method's name in Python, in place of the definition's.

    Raises:
        ValueError: For a method that there is not, or what is no number of seconds.

    Examples:
        ```python
        from moby_plugins import Settings, new_client
        from moby_plugins.serving import PluginApp
        from moby_plugins.subsystems import Subsystem, remote
        from moby_plugins.testing import MemoryTransport


        class Greeter(Subsystem):
            @remote(result="Greeting", timeout=5.0)
            def greet(self, name: str) -> str:
                raise NotImplementedError


        class Polite(Greeter):  # the plugin's end
            def greet(self, name: str) -> str:
                return f"Good morning, {name}"


        plugin = MemoryTransport(PluginApp(Polite()))
        settings = Settings(transports={"unix": plugin.connect})
        with new_client("unix:///polite.sock", settings=settings) as client:
            assert Greeter(client).greet("Ada") == "Good morning, Ada"
        ```
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        marked = list(filter(None, map(remote_of, vars(cls).values())))
        for remote in marked:
            if is_asynchronous(remote.function):
                raise TypeError(
                    f"{cls.__name__}.{remote.name} is asynchronous: derive from AsyncSubsystem"
                )
        cls._define(marked)
