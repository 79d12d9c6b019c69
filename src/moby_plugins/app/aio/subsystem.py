"""Definitions of asynchronous subsystems, whose methods are coroutines at both ends.

A method is either derived from a ``Subsystem``'s method, as in ``awaited(VolumeDriver.create)``, or
defined as an ``async def`` under ``@remote()``. A derived method uses the same ``RemoteMethod``, so
messages, time-outs and errors are defined once::

    class AsyncGreeter(AsyncSubsystem):
        @remote(result="Greeting")
        async def greet(self, name: str) -> str:
            raise NotImplementedError

On a proxy, calling the method makes the call that ``RemoteMethod.plan`` returns. In a plugin, a
method that overrides it must be a coroutine, or an asynchronous generator for a stream.
"""

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar

from moby_plugins.app.accounting import Send, Tell
from moby_plugins.app.aio.client import AsyncClient
from moby_plugins.app.streamed import Streamed
from moby_plugins.app.subsystem import (
    REQUIRED,
    Described,
    RemoteMethod,
    Subsystem,
    is_asynchronous,
    remote_of,
)
from moby_plugins.domain.errors import PluginError
from moby_plugins.domain.text import quoted

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
# The class of the method: with ``Any``, type checkers would take a class for a method too.
S = TypeVar("S", bound=Subsystem)


def awaited(
    method: Callable[Concatenate[S, P], R],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]:
    """Return the asynchronous form of a subsystem's method.

    Args:
        method: A method of a ``Subsystem`` that is marked with ``@remote()``, for example
            ``VolumeDriver.create``.

    Returns:
        A coroutine method with the same parameters. Assign it to the same name in the body of an
        ``AsyncSubsystem``.

    Raises:
        TypeError: If ``method`` is not marked with ``@remote()``, or responds with a stream.
    """
    remote = _marked(method)
    if isinstance(remote, Streamed):
        raise TypeError(f"{remote.method} responds with a stream: use streamed()")
    return _coroutine(remote)


def streamed(
    method: Callable[Concatenate[S, P], Iterator[T]],
) -> Callable[Concatenate[Any, P], AsyncIterator[T]]:
    """Return the asynchronous form of a subsystem's method that responds with a stream.

    Args:
        method: A method of a ``Subsystem`` that is marked with ``Streamed`` or a class derived from
            it, for example ``LogDriver.read_logs``.

    Returns:
        A method with the same parameters that returns an asynchronous iterator. Assign it to the
        same name in the body of an ``AsyncSubsystem``. To end the call early, call ``aclose`` of
        the iterator, or use ``contextlib.aclosing``.

    Raises:
        TypeError: If ``method`` does not respond with a stream.
    """
    remote = _marked(method)
    if not isinstance(remote, Streamed):
        raise TypeError(f"{remote.method} does not respond with a stream: use awaited()")
    return _generator(remote)


def awaiting(
    method: Callable[Concatenate[S, P], R],
) -> Callable[[object], Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]]:
    """Return a decorator that replaces a function by ``awaited(method)``.

    Pyright checks overrides of a decorated method, but not those of an assigned one.
    """
    return lambda _: awaited(method)


def streaming(
    method: Callable[Concatenate[S, P], Iterator[T]],
) -> Callable[[object], Callable[Concatenate[Any, P], AsyncIterator[T]]]:
    """Return a decorator that replaces a function by ``streamed(method)``.

    Pyright checks overrides of a decorated method, but not those of an assigned one.
    """
    return lambda _: streamed(method)


def _marked(method: object) -> RemoteMethod:
    remote = remote_of(method)
    if remote is None or is_asynchronous(remote.function):
        raise TypeError(f"{quoted(method)} is not a method of a Subsystem that is marked @remote()")
    return remote


def _coroutine(remote: RemoteMethod) -> Callable[..., Coroutine[Any, Any, Any]]:
    signature = inspect.signature(remote.function)

    @functools.wraps(remote.function)
    async def call(proxy: "AsyncSubsystem", /, *args: Any, **named: Any) -> Any:
        bound = signature.bind(proxy, *args, **named)
        bound.apply_defaults()
        try:
            return await _called(remote, proxy, list(bound.arguments.values())[1:])
        except PluginError as error:
            result = remote.instead(error, proxy.client)
            if result is REQUIRED:
                raise
            return result

    return _of(remote, call)


async def _called(remote: RemoteMethod, proxy: "AsyncSubsystem", arguments: list[Any]) -> Any:
    plan = remote.plan(*arguments)
    client, timeout = proxy.client, proxy.timeout_of(remote)
    if isinstance(plan, Tell):
        async with client.stream(plan.method, timeout=timeout):
            return None
    if isinstance(plan, Send):
        answer = await client.send_file(plan.method, plan.data, object, timeout=timeout)
    else:
        answer = await client.call(plan.method, plan.message, object, timeout=timeout)
    return remote.read_answer(answer)


def _generator(remote: Streamed) -> Callable[..., AsyncIterator[Any]]:
    signature = inspect.signature(remote.function)

    @functools.wraps(remote.function)
    def follow(proxy: "AsyncSubsystem", /, *args: Any, **named: Any) -> AsyncIterator[Any]:
        bound = signature.bind(proxy, *args, **named)
        bound.apply_defaults()
        return _followed(remote, proxy, list(bound.arguments.values())[1:])

    return _of(remote, follow)


async def _followed(
    remote: Streamed, proxy: "AsyncSubsystem", arguments: list[Any]
) -> AsyncIterator[Any]:
    plan = remote.plan(*arguments)
    reader = remote.reader()
    async with proxy.client.stream(
        plan.method, plan.message, timeout=proxy.timeout_of(remote)
    ) as stream:
        while data := await stream.read(reader.room):
            for item in reader.feed(data):
                yield item
        reader.end()


def _of(remote: RemoteMethod, call: Callable[..., T]) -> Callable[..., T]:
    # ``remote_of`` reads ``remote``. ``AsyncSubsystem`` reads ``is_awaited``, which tells this
    # method from one that the class marks with ``@remote()``.
    call.remote = remote  # type: ignore[attr-defined]
    call.is_awaited = True  # type: ignore[attr-defined]
    return call


def flaw_of(method: Any, remote: RemoteMethod) -> str:
    """Return why a method of an implementation cannot be served; "" if it can be.

    The method must be a coroutine function, or an asynchronous generator for a stream.
    """
    # A method may be an object with a ``__call__``, or a plain function that a decorator made
    # around a coroutine function, which is then its ``__wrapped__``.
    kinds = (method, type(method).__call__, inspect.unwrap(method))
    coroutine = any(map(inspect.iscoroutinefunction, kinds))
    generator = any(map(inspect.isasyncgenfunction, kinds))
    if isinstance(remote, Streamed):
        if coroutine:
            return "is a coroutine, not an asynchronous generator: 'async def' with 'yield'"
        if any(map(inspect.isgeneratorfunction, kinds)):
            return "is a plain generator, not an asynchronous one: 'async def'"
        return ""
    if generator:
        return "is an asynchronous generator, not a coroutine: 'async def' without yield"
    return "" if coroutine else "is a plain method, not a coroutine: 'async def'"


class AsyncSubsystem(Described[AsyncClient]):
    """The base class of asynchronous subsystems: one class for both ends of the protocol.

    ``AsyncVolumeDriver(client)`` is a host's typed proxy for a plugin, with an ``AsyncClient``; a
    class derived from ``AsyncVolumeDriver`` is a plugin's implementation, for ``AsyncPluginApp``.
    Methods are coroutines; methods that respond with a stream are asynchronous generators.
    Messages, time-outs and errors are those of ``Subsystem``.

    To define a subsystem, write a class with ``@remote()`` over each ``async def``. If a
    synchronous ``Subsystem`` exists, set it as ``definition`` and write one line for each of its
    methods: ``greet = awaited(Greeter.greet)``.

    Args:
        client: The client that a proxy calls; ``None`` for an implementation.
        timeouts: Seconds for each attempt, by the method's Python name. They replace the time-outs
            that the methods were declared with (``@remote(timeout=…)``).

    Raises:
        TypeError: When a subclass is defined, if a method has the wrong kind, for example a plain
            function instead of a coroutine function.
        ValueError: If ``timeouts`` has an unknown method, or a value that is not a valid time-out.

    Examples:
        ```python
        from moby_plugins.aio import AsyncPluginApp, AsyncSubsystem
        from moby_plugins.subsystems import remote


        class AsyncGreeter(AsyncSubsystem):
            @remote(result="Greeting", timeout=5.0)
            async def greet(self, name: str) -> str:
                raise NotImplementedError


        class Polite(AsyncGreeter):  # the plugin's end
            async def greet(self, name: str) -> str:
                return f"Good morning, {name}"


        app = AsyncPluginApp(Polite())
        assert app.manifest.implements == ("AsyncGreeter",)
        ```
    """

    # The synchronous subsystem whose methods this class has in asynchronous form, or None.
    definition: ClassVar[type[Subsystem] | None] = None
    _takes = "an AsyncClient"

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        marked = {name: remote_of(value) for name, value in vars(cls).items()}
        inherited, own = [], []
        for name, remote in marked.items():
            if remote is None:
                continue
            value = vars(cls)[name]
            if getattr(value, "is_awaited", False):
                cls._check_taken(name, remote)
                inherited.append(remote)
            else:
                cls._check_kind(name, remote.function, remote)
                own.append(remote)
        if cls.definition is not None:
            cls._take(inherited, cls.definition)
        for remote in own:
            method = _generator(remote) if isinstance(remote, Streamed) else _coroutine(remote)
            setattr(cls, remote.name, method)
        cls._define(own)
        for name, value in vars(cls).items():
            if inspect.isfunction(value) and remote_of(value) is None:
                for remote in cls.remotes.values():
                    if name in remote.called:
                        cls._check_kind(name, value, remote)

    @classmethod
    def _check_taken(cls, name: str, remote: RemoteMethod) -> None:
        if name != remote.name:
            raise TypeError(
                f"{cls.__name__}.{name} is derived from {remote.method}: name it {remote.name}"
            )
        if cls.definition is None and issubclass(remote.owner, Subsystem):
            cls.definition = remote.owner
        if not (isinstance(cls.definition, type) and issubclass(cls.definition, Subsystem)):
            raise TypeError(
                f"{cls.__name__}.definition is not a Subsystem: {quoted(cls.definition)}"
            )
        if remote not in cls.definition.remotes.values():
            raise TypeError(
                f"{cls.__name__}.{name} is derived from {remote.method}, which is not a method of"
                f" the class's definition, {cls.definition.__name__}: derive it from one of"
                f" {cls.definition.__name__}'s methods"
            )

    @classmethod
    def _check_kind(cls, name: str, function: Any, remote: RemoteMethod) -> None:
        if wrong := flaw_of(function, remote):
            raise TypeError(f"{cls.__name__}.{name} {wrong}")
