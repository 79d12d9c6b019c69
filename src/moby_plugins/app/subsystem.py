"""Definitions of subsystems: one class for the host's and the plugin's end of the protocol.

A subsystem is a class whose methods are marked ``@remote()``; their signatures define the
messages. The same class is the host's typed proxy and the interface that a plugin's author
implements::

    class Greeter(Subsystem):
        @remote(result="Greeting")
        def greet(self, name: str) -> str:
            raise NotImplementedError

    Greeter(client).greet("Ada")          # POST /Greeter.Greet {"Name":"Ada"}

    class Polite(Greeter):                # the plugin's end: PluginApp(Polite())
        def greet(self, name: str) -> str:
            return f"Good morning, {name}"

Moby's ``pluginrpc-gen`` generates the same code before compiling; this module does it at run
time: names of parameters are title-cased (``id`` becomes ``ID``), and an error is sent as ``Err``
(protocol.md B0).

On a proxy, calling a marked method runs ``RemoteMethod.call`` instead of its body. In a plugin,
``RemoteMethod.answer`` calls the method that overrides it. ``Signature`` converts between arguments
and messages; a single parameter whose type is an attrs class is the whole message. Methods whose
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
from moby_plugins.app.fields import check_names, name_on_wire, resolved, title
from moby_plugins.app.results import encode_result
from moby_plugins.app.structuring import structure
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
# The mark for "no default result": the error of the call is raised.
REQUIRED: Any = object()


class Signature:
    """The parameters and the result type of ``function``, whose name on the wire is ``method``.

    ``pack`` makes a message from arguments, ``unpack`` does the reverse.

    Raises ``TypeError`` unless each parameter is positional and has a type annotation, and the
    result has one too.
    """

    def __init__(self, function: Callable[..., Any], method: str) -> None:
        self._function = function
        self._method = method
        signature = inspect.signature(function)
        self._parameters = dict(list(signature.parameters.items())[1:])
        for name, parameter in self._parameters.items():
            if parameter.kind not in _ORDINARY:
                raise TypeError(f"{method}: {parameter} is not an ordinary parameter")
            if parameter.annotation is inspect.Parameter.empty:
                raise TypeError(f"{method}: parameter {name!r} needs a type")
        check_names(method, {name: title_argument(name) for name in self._parameters})
        if signature.return_annotation is inspect.Signature.empty:
            needed = "annotate it, with None where there is no result"
            raise TypeError(f"{method}: the result needs a type: {needed}")

    @property
    def takes_nothing(self) -> bool:
        """Whether the function has no parameters besides ``self``."""
        return not self._parameters

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters' names, in order."""
        return tuple(self._parameters)

    @property
    def returns(self) -> Any:
        """The type of the result; raises ``TypeError`` if an annotation's name is not defined."""
        return self._hints["return"]

    def pack(self, arguments: tuple[Any, ...]) -> Any:
        """Return the message for the arguments, which are in the order of the parameters."""
        if self._whole is not None:
            return arguments[0]
        return dict(zip(map(title_argument, self._parameters), arguments, strict=True))

    def unpack(self, body: bytes) -> tuple[Any, ...]:
        """Return the arguments in an encoded message; raise ``WireError`` if it is not valid."""
        message = wire.decode(body, self._whole or self._message_type)
        if self._whole is not None:
            return (message,)
        return tuple(getattr(message, name) for name in self._parameters)

    @cached_property
    def _hints(self) -> dict[str, Any]:
        try:
            hints = get_type_hints(self._function)
        except Exception as error:  # an annotation may be any text
            raise TypeError(f"{self._method}: {error}") from error
        return hints | {"return": _with_tuples(hints["return"])}

    @cached_property
    def _whole(self) -> Any:
        kinds = [resolved(self._hints[name]) for name in self._parameters]
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
    # A plugin may return any sequence; the host gets an immutable tuple.
    if (get_origin(kind) or kind) is Sequence:
        (item,) = get_args(kind) or (Any,)
        return tuple[_with_tuples(item), ...]  # type: ignore[misc]  # made at run time
    return kind


def message_class(method: str, fields: Mapping[str, tuple[str, Any, Any]]) -> type:
    """Return an attrs class for one message of ``method``.

    ``fields`` maps each field to its name on the wire, its type, and its default if it has one.
    """
    return attrs.make_class(
        title(method.replace(".", "_")),
        {
            name: attrs.field(
                type=kind,
                alias=name,
                metadata={"wire": key},
                default=attrs.NOTHING if default is inspect.Parameter.empty else default,
            )
            for name, (key, kind, default) in fields.items()
        },
        frozen=True,
    )


def wire_name(name: str) -> dict[str, Any]:
    """Return the metadata of an attrs field that has another name on the wire.

    Args:
        name: The field's name on the wire.

    Returns:
        The metadata, for ``attrs.field(metadata=…)``.
    """
    return {"wire": name}


def omitempty(name: str = "") -> dict[str, Any]:
    """Return the metadata of a field that is not sent if its value is empty, zero or false.

    If the field's default is ``None``, it is not sent if its value is ``None``, as an absent key
    is read as that.

    Args:
        name: The field's name on the wire; by default its Python name, title-cased.

    Returns:
        The metadata, for ``attrs.field(metadata=…)``.
    """
    return {"omitempty": True} | ({"wire": name} if name else {})


def timed() -> dict[str, Any]:
    """Return the metadata of a field that holds a time, as a text in the format of RFC 3339.

    An empty text is refused, unless the field is ``omitempty()`` too: then it is not sent.

    Returns:
        The metadata, for ``attrs.field(metadata=…)``.
    """
    return {"rule": check_timestamp}


def title_argument(name: str) -> str:
    """Return a parameter's name on the wire: ``network_id`` becomes ``NetworkID``."""
    return "".join("ID" if part == "id" else title(part) for part in name.split("_"))


class RemoteMethod:
    """The definition of a method, for both ends; requests and responses are JSON.

    Subclasses define methods with other bodies. Authors of subsystems write ``@remote(…)`` above a
    method.

    Args:
        wire: The method's name in paths; by default its Python name, title-cased.
        result: The key of the result in the response; without it, the result is an attrs class that
            is the whole response.
        timeout: Seconds for each attempt of a host's call; by default the client's time-out.
        sends_body: Whether a call without parameters sends ``{}`` instead of an empty body.
        default_if_missing: The result on the host if the plugin has no such method (404).
        default_on_error: The result on the host if the call failed with any ``PluginError``.
    """

    # Whether the plugin reads the request's body as a stream, without a limit on its size.
    takes_stream: ClassVar[bool] = False
    # Whether a plugin that does not override this method still responds to it.
    has_default: ClassVar[bool] = False

    def __init__(
        self,
        wire: str = "",
        *,
        result: str = "",
        timeout: float | None = None,
        sends_body: bool = True,
        default_if_missing: Any = REQUIRED,
        default_on_error: Any = REQUIRED,
    ) -> None:
        self.wire: str = wire
        self.result = result
        self.timeout = timeout
        self.sends_body = sends_body
        self.default_if_missing = default_if_missing
        self.default_on_error = default_on_error

    def __call__(self, function: F) -> F:
        """Return ``function``, marked: calling it on a proxy calls the plugin's method."""
        self.name: str = function.__name__
        self.wire = self.wire or title(self.name)
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
                # Raise here, not in ``instead``: there the traceback would form a reference cycle
                # that keeps the client alive.
                if result is REQUIRED:
                    raise
                return result

        call.remote = self  # type: ignore[attr-defined]  # remote_of looks for it
        return cast("F", call)

    def bind(self, owner: type["Described[Any]"]) -> None:
        """Make this a method of the subsystem ``owner``; raise ``TypeError`` if it is not valid."""
        self.owner: type[Described[Any]] = owner
        self.method: str = f"{owner.interface}.{self.wire}"
        self.error_keys: tuple[str, ...] = owner.error_keys
        self._check_key(self.result)
        self.signature: Signature = Signature(self.function, self.method)
        self.check_result()

    def _check_key(self, key: str) -> None:
        # Keys match without regard to case.
        if key.casefold() in map(str.casefold, self.error_keys):
            raise TypeError(f"{self.method}: {key!r} is the key of an error in a response")

    def check_result(self) -> None:
        """Raise ``TypeError`` if the result needs a key in the response, and none was declared."""
        try:
            kind = self.signature.returns
        except TypeError as error:
            if isinstance(error.__cause__, (NameError, AttributeError)):
                return  # an annotation names a later class; it is checked at the first call
            raise
        if not (self.result or kind is type(None) or attrs.has(kind) or _is_mapping(kind)):
            raise TypeError(
                f"{self.method}: a result of type {kind} needs a key in the response: name it with"
                ' @remote(result="KEY")'
            )
        if not self.result and attrs.has(kind):
            for attribute in attrs.fields(kind):
                self._check_key(name_on_wire(attribute))

    def plan(self, *arguments: Any) -> Plan:
        """Return the call to make with these arguments, for a ``Client`` or an ``AsyncClient``."""
        return Ask(self.method, self.message(*arguments))

    def call(self, proxy: "Subsystem", *arguments: Any) -> Any:
        """Call the plugin's method on behalf of a host, and return its result.

        Raises ``PluginError`` if the call fails. ``instead`` then returns the method's default
        result for that error, if it has one.
        """
        plan = self.plan(*arguments)
        client, timeout = proxy.client, proxy.timeout_of(self)
        if isinstance(plan, Tell):
            return client.stream(plan.method, timeout=timeout).close()
        if isinstance(plan, Send):
            value = client.send_file(plan.method, plan.data, object, timeout=timeout)
        else:
            value = client.call(plan.method, plan.message, object, timeout=timeout)
        return self.read_answer(value)

    def instead(self, error: PluginError, client: ClientBase[Any]) -> Any:
        """Return the default result of a call that failed; ``REQUIRED`` if it must raise ``error``.

        The method and the address of ``client`` are set in the error.
        """
        if isinstance(error, DriverError):
            client.sign(error)
        elif isinstance(error, WireError) and not error.address:
            error.method, error.address = self.method, client.address.text
        return self.fallback(error)

    def answer(self, part: object, request: Request) -> Response:
        """Return the response of ``part``, the plugin's implementation, to ``request``.

        Raise ``StatusError`` with 400 if the arguments are not valid, and ``WireError`` if the
        result is not of the method's type. An exception of ``part`` passes unchanged.
        """
        return self.respond(self.invoke(part, *self.read_message(request)))

    def respond(self, result: Any) -> Response:
        """Return a response with ``result``, which must be of the method's declared type."""
        kind = self.signature.returns
        body = encode_result(result, kind, key=self.result, method=self.method)
        return Response(OK, body, HEADERS)

    @property
    def called(self) -> tuple[str, ...]:
        """The names of the plugin's methods that ``invoke`` may call."""
        return (self.name,)

    def invoke(self, part: Any, *arguments: Any) -> Any:
        """Call the method of ``part``, the plugin's implementation, and return its result."""
        return getattr(part, self.name)(*arguments)

    def message(self, *arguments: Any) -> Any:
        """Return the message: a single attrs value unchanged, other arguments as its fields."""
        if self.signature.takes_nothing:
            return {} if self.sends_body else None
        return self.signature.pack(arguments)

    def read_message(self, request: Request) -> tuple[Any, ...]:
        """Return the arguments in ``request``; the body is not read for a method without any.

        Raises ``StatusError`` with 400 if the arguments are not valid.
        """
        if self.signature.takes_nothing:
            return ()
        try:
            return self.signature.unpack(request.read())
        except WireError as error:
            raise StatusError(BAD_REQUEST, self.method, error.reason) from error

    def read_answer(self, answer: Any) -> Any:
        """Return the result in a decoded response 200; raise an error in it as ``DriverError``."""
        for error in attrs.astuple(structure(answer, self._error_type)):
            if error:
                raise DriverError(self.method, error)
        if self.result:
            return structure(answer, self._result_type).value
        kind = self.signature.returns
        return None if kind is type(None) else structure(answer, kind)

    def fallback(self, error: PluginError) -> Any:
        """Return the default result for ``error``; ``REQUIRED`` if the method declares none."""
        is_missing = isinstance(error, StatusError) and error.status == NOT_FOUND
        return (
            self.default_if_missing
            if is_missing and self.default_if_missing is not REQUIRED
            else self.default_on_error
        )

    @functools.cached_property
    def _error_type(self) -> type:
        keys = enumerate(self.error_keys)
        return message_class(self.method, {f"error_{i}": (key, str, "") for i, key in keys})

    @functools.cached_property
    def _result_type(self) -> type:
        value = (self.result, self.signature.returns, inspect.Parameter.empty)
        return message_class(self.method, {"value": value})


def remote_of(value: object) -> RemoteMethod | None:
    """Return the ``RemoteMethod`` that ``value`` is marked with, or ``None``."""
    remote = getattr(value, "remote", None)
    return remote if isinstance(remote, RemoteMethod) else None


def is_asynchronous(function: Any) -> bool:
    """Return whether ``function`` is a coroutine function or an async generator function."""
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _is_mapping(kind: Any) -> bool:
    return (get_origin(kind) or kind) in {dict, Mapping}


# The name that authors of subsystems use.
remote = RemoteMethod
"""The decorator of a subsystem's methods: ``@remote(result="Volumes")``. See ``RemoteMethod``."""


class Described(Generic[C]):
    """The base of synchronous and asynchronous subsystems: names, methods, a proxy's client."""

    # The subsystem's name in manifests and in paths, and the keys of an error in a response 200.
    implements: ClassVar[str] = ""
    interface: ClassVar[str] = ""
    error_keys: ClassVar[tuple[str, ...]] = ("Err",)
    remotes: ClassVar[Mapping[str, RemoteMethod]] = {}

    # The class of its clients, for error messages.
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
            raise ValueError(f"timeouts: {type(self).__name__} has no method {quoted(unknown[0])}")
        for timeout in self._timeouts.values():
            seconds(timeout)

    def __repr__(self) -> str:
        client = getattr(self, "_client", None)  # a subclass's ``__init__`` need not call super
        of = f"of {client!r}" if client is not None else f"for {self.implements or 'a subsystem'}"
        return f"<{type(self).__name__} {of}>"

    @property
    def client(self) -> C:
        """The client of a proxy; raises ``TypeError`` for an instance without a client."""
        client: C | None = getattr(self, "_client", None)
        if client is None:
            raise TypeError(f"{type(self).__name__} is not a proxy: it was made without a client")
        return client

    def timeout_of(self, remote: RemoteMethod) -> float | None:
        """Return the time-out of a method's call.

        Args:
            remote: The method's definition.

        Returns:
            Seconds for one attempt; ``None`` for the client's time-out.
        """
        return self._timeouts.get(remote.name, remote.timeout)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        interfaces = {getattr(base, "interface", "") for base in cls.__bases__} - {""}
        if len(interfaces) > 1:
            raise TypeError(
                f"{cls.__name__} derives from several subsystems: write one class for each of"
                f" {sorted(interfaces)}"
            )

    @classmethod
    def _take(cls, inherited: Sequence[RemoteMethod], definition: "type[Subsystem]") -> None:
        """Add the methods ``inherited`` from ``definition``, and its names, to this class."""
        if inherited:
            cls.interface = definition.interface
            cls.implements = definition.implements
            cls.error_keys = definition.error_keys
            cls.remotes = {**cls.remotes, **{remote.wire: remote for remote in inherited}}

    @classmethod
    def _define(cls, marked: Sequence[RemoteMethod]) -> None:
        """Add the methods ``marked`` in this class to the subsystem."""
        for remote in marked:
            if hasattr(Described, remote.name):
                raise TypeError(
                    f"{cls.__name__}.{remote.name}: every subsystem has {remote.name!r}:"
                    " rename the method"
                )
        if marked:
            cls.interface = cls.interface or cls.__name__
            cls.implements = cls.implements or cls.interface
            names = {remote.name: remote.wire for remote in (*cls.remotes.values(), *marked)}
            check_names(cls.__name__, names)
            cls.remotes = {**cls.remotes, **{remote.wire: remote for remote in marked}}
            for remote in marked:
                remote.bind(cls)


class Subsystem(Described[Client]):
    """The base class of subsystems: one class for both ends of the protocol.

    ``VolumeDriver(client)`` is a host's typed proxy for a plugin; a class derived from
    ``VolumeDriver`` is a plugin's implementation. Threads may share a proxy. A proxy does not close
    its client. Each method of a proxy raises ``DriverError`` if a response with status 200 has the
    plugin's own error, ``StatusError`` for another status, ``WireError`` for an invalid response,
    and ``TransportError`` if there is no response.

    Args:
        client: The client that a proxy calls; ``None`` for an implementation.
        timeouts: Seconds for each attempt, by the method's Python name. They replace the time-outs
            that the methods were declared with (``@remote(timeout=…)``).

    Raises:
        ValueError: If ``timeouts`` has an unknown method, or a value that is not a valid time-out.

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
