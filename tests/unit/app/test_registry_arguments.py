"""Wrong arguments are refused alike by synchronous and asynchronous registries and clients."""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

import pytest

from moby_plugins import Client, Registry, RetryPolicy, new_client, new_local_registry
from moby_plugins import aio as tasks
from moby_plugins.domain.address import Address
from moby_plugins.testing import AsyncMemoryTransport, FakeClock, MemoryDiscovery, MemoryTransport
from tests.unit.app.hosts import AsyncMemoryHost, NotingLoop, ThreadsHost, client_of
from tests.unit.app.in_memory import TCP

ACTIVE = {"Implements": ["A"]}
ONCE = RetryPolicy(budget=0)


async def coroutine(*_: object) -> None:
    """What a plain function is given in place of."""


class Awaited:
    """An object that is called as a coroutine function."""

    __call__ = coroutine


# Most are wrong for most arguments; what each of them comes to has to be the same.
VALUES: list[Any] = [
    *(None, 5, -1, 1.5, True, float("nan"), float("inf"), "", "a/b", "x\n", "x" * 300, b"x"),
    *([], {}, object(), int, coroutine, Awaited(), len),
]
REGISTRY: dict[str, Callable[[Any, Any], Any]] = {
    "lookup": lambda registry, value: registry.lookup(value),
    "get": lambda registry, value: registry.get(value, retry=ONCE),
    "get: implements": lambda registry, value: registry.get("p", value),
    "get: retry": lambda registry, value: registry.get("p", retry=value),
    "get: on_retry": lambda registry, value: registry.get("p", on_retry=value),
    "get_all: implements": lambda registry, value: registry.get_all(value),
    "get_all: on_failure": lambda registry, value: registry.get_all(on_failure=value),
    "handle: interface": lambda registry, value: registry.handle(value, len),
    "invalidate": lambda registry, value: registry.invalidate(value),
}


def with_option(method: str, option: str, client: Any, value: Any) -> None:
    """Call a method of a client with one option."""
    data = [b""] if method == "send_file" else []
    result = getattr(client, method)("M.x", *data, **{option: value})
    if method == "stream":
        result.close()


CLIENT: dict[str, Callable[[Any, Any], Any]] = {
    "call": lambda client, value: client.call(value),
    "call: args": lambda client, value: client.call("M.x", value),
    "call: into": lambda client, value: client.call("M.x", None, value),
    "stream": lambda client, value: client.stream(value).close(),
    "stream: args": lambda client, value: client.stream("M.x", value).close(),
    "send_file": lambda client, value: client.send_file(value, b""),
    "send_file: data": lambda client, value: client.send_file("M.x", value),
    "send_file: into": lambda client, value: client.send_file("M.x", b"", value),
    **{
        f"{method}: {option}": partial(with_option, method, option)
        for method in ("call", "stream", "send_file")
        for option in ("timeout", "retry", "on_retry")
    },
}
COMMON = ("retry", "timeout", "max_response_bytes", "on_retry")
MADE: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[str, ...]]] = {
    "registry": (
        lambda **given: Registry(
            **{"discovery": MemoryDiscovery(), "connect": len, "clock": FakeClock(), **given}
        ),
        lambda **given: tasks.AsyncRegistry(
            **{"discovery": MemoryDiscovery(), "connect": len, **given}
        ),
        ("discovery", "connect", "activation_timeout", "observers", *COMMON),
    ),
    "client": (
        lambda **given: Client(
            **{
                "transport": MemoryTransport({}),
                "address": Address(TCP),
                "clock": FakeClock(),
                **given,
            }
        ),
        lambda **given: tasks.AsyncClient(
            **{"transport": AsyncMemoryTransport({}), "address": Address(TCP), **given}
        ),
        ("transport", *COMMON),
    ),
    "new_client": (
        lambda **given: new_client(**{"addr": TCP, **given}),
        lambda **given: tasks.new_client(**{"addr": TCP, **given}),
        ("addr", "tls_config", "timeout", "settings", "observers"),
    ),
    "new_local_registry": (
        new_local_registry,
        tasks.new_local_registry,
        ("settings", "discovery", "observers"),
    ),
}


def outcome(question: Callable[[], Any]) -> tuple[str, str]:
    """The error that it raises, or that it raises none."""
    try:
        question()
    except Exception as error:
        return type(error).__name__, str(error).replace("Async", "")
    return "accepted", ""


@pytest.mark.parametrize("asked", REGISTRY)
def test_both_registries_refuse_the_same_arguments(asked: str) -> None:
    """``Registry`` and ``AsyncRegistry`` accept the same values, and raise equal errors."""
    for value in VALUES:
        threads, loop = ThreadsHost({"p": ACTIVE}), AsyncMemoryHost({"p": ACTIVE})
        with closing(loop.clock):
            found = [outcome(lambda: REGISTRY[asked](h.registry, value)) for h in (threads, loop)]  # noqa: B023
            assert found[0] == found[1], value


@pytest.mark.parametrize("asked", CLIENT)
def test_both_clients_refuse_the_same_arguments(asked: str) -> None:
    """``Client`` and ``AsyncClient`` accept the same values, and raise equal errors."""
    for value in VALUES:
        with closing(NotingLoop()) as loop:
            clients = [client_of(ACTIVE, clock)[0] for clock in (FakeClock(), loop)]
            found = [outcome(lambda: CLIENT[asked](client, value)) for client in clients]  # noqa: B023
            assert found[0] == found[1], value


@pytest.mark.parametrize(
    ("kind", "argument"), [(kind, name) for kind, made in MADE.items() for name in made[2]]
)
def test_synchronous_and_asynchronous_constructors_refuse_the_same_arguments(
    kind: str, argument: str
) -> None:
    """Both constructors accept the same values, and raise equal errors."""
    for value in VALUES:
        found = [outcome(lambda: make(**{argument: value})) for make in MADE[kind][:2]]  # noqa: B023
        assert found[0] == found[1], value


@pytest.mark.parametrize("wrong", [None, 5, "", [], b"x"])
def test_invalidate_refuses_a_value_that_is_no_plugin_name(wrong: Any) -> None:
    """Both registries raise ``InvalidPluginNameError``, as their ``get`` does."""
    threads, loop = ThreadsHost({"p": ACTIVE}), AsyncMemoryHost({"p": ACTIVE})
    with closing(loop.clock):
        for host in (threads, loop):
            kind, _ = outcome(lambda: host.registry.invalidate(wrong))  # noqa: B023
            assert kind == "InvalidPluginNameError"
