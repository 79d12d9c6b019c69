"""The exchanges of a subsystem's table in protocol.md, checked at both of their ends."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
import pytest

from moby_plugins.app.client import Client
from moby_plugins.domain.address import Address
from moby_plugins.domain.retry import RetryPolicy
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import Subsystem
from moby_plugins.testing import FakeClock, MemoryTransport, Request
from tests.unit.app.in_memory import TCP, Line

NO_MESSAGES = (
    b"",
    b"{",
    b"[]",
    b'{"Name":"\xff"}',
    b"[" * 10_000 + b"]" * 10_000,
    b"\xef\xbb\xbf{}",
)


@attrs.frozen
class Exchange:
    """One call: as Python writes it, and as it stands on the wire (without the newline)."""

    method: str
    arguments: tuple[Any, ...]
    path: str
    request: str
    answer: str
    result: Any = None
    timeout: float | None = None


def client_to(plugin: Any, clock: FakeClock | None = None, **settings: Any) -> tuple[Client, Line]:
    """A client of ``plugin``, a function or a table of replies, and its line."""
    clock = clock or FakeClock()
    line = Line(MemoryTransport(plugin, clock=clock, addr=TCP))
    return Client(line, Address(TCP), clock=clock, **settings), line


def replying(kind: type[Subsystem], method: str, reply: Any) -> Any:
    """A proxy for a plugin that replies so to one method, named as in paths."""
    client, _ = client_to({f"{kind.interface}.{method}": reply}, retry=RetryPolicy.never())
    return kind(client)


def part_of(
    kind: type[Subsystem], results: Mapping[str, Any]
) -> tuple[Subsystem, list[tuple[Any, ...]]]:
    """An implementation that gives (or raises) these results by method, and what it received."""
    received: list[tuple[Any, ...]] = []

    def method(name: str) -> Any:
        def answer(_: Subsystem, *arguments: Any) -> Any:
            received.append((name, *arguments))
            if isinstance(results[name], Exception):
                raise results[name]
            return results[name]

        return answer

    part = type("Part", (kind,), {name: method(name) for name in results})()
    return part, received


def asked(app: PluginApp, path: str, body: Any = b"") -> tuple[int, str]:
    """Status and text of the answer to a call."""
    response = app(Request(path, body.encode() if isinstance(body, str) else body))
    text = b""
    while data := response.body.read(1 << 20):
        text += data
    response.body.close()
    return response.status, text.decode().rstrip("\n")


class Table:
    """A table's calls, each at the host's end, at the plugin's, and over both.

    ``apart`` are the paths of streams, which have tests of their own.
    """

    kind: ClassVar[type[Subsystem]]
    exchanges: ClassVar[tuple[Exchange, ...]]
    apart: ClassVar[frozenset[str]] = frozenset()

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Each test for each exchange."""
        if "exchange" in metafunc.fixturenames:
            exchanges = metafunc.cls.exchanges
            ids = [f"{number}-{each.method}" for number, each in enumerate(exchanges)]
            metafunc.parametrize("exchange", exchanges, ids=ids)

    def test_every_method_of_the_subsystem_has_an_exchange(self) -> None:
        """Methods that stream are an exception: they have tests of their own."""
        paths = {remote.method for remote in self.kind.remotes.values()}

        assert paths == {exchange.path for exchange in self.exchanges} | self.apart

    def test_the_host_sends_the_request_and_reads_the_response(self, exchange: Exchange) -> None:
        """The proxy sends exactly this request, with this time-out, and returns this result."""
        client, line = client_to({exchange.path: exchange.answer.encode()})

        result = getattr(self.kind(client), exchange.method)(*exchange.arguments)

        assert result == exchange.result
        [request] = line.requests
        assert (request.method, request.read().decode().rstrip("\n")) == (
            exchange.path,
            exchange.request,
        )
        assert line.timeouts == [exchange.timeout]

    def test_the_plugin_reads_the_request_and_sends_the_response(self, exchange: Exchange) -> None:
        """The implementation gets these arguments, and its result is encoded exactly so."""
        app, received = self._serving(exchange)

        answer = asked(app, exchange.path, exchange.request)

        assert answer == (200, exchange.answer)
        assert received == [(exchange.method, *exchange.arguments)]

    def test_both_ends_together_give_the_same_values(self, exchange: Exchange) -> None:
        """What the host passes arrives, and what the plugin returns comes back."""
        app, received = self._serving(exchange)
        client, _ = client_to(app)

        result = getattr(self.kind(client), exchange.method)(*exchange.arguments)

        assert result == exchange.result
        assert received == [(exchange.method, *exchange.arguments)]

    def test_an_argument_may_be_absent_or_null_or_its_key_in_another_case(
        self, exchange: Exchange
    ) -> None:
        """Unknown arguments are ignored, and all arguments may be absent at once."""
        app, _ = self._serving(exchange)
        arguments = json.loads(exchange.request or "{}")
        lacking = [{k: v for k, v in arguments.items() if k != key} for key in arguments]
        nulls = [{**arguments, key: None} for key in arguments]
        shouted = {key.upper(): value for key, value in arguments.items()}

        for given in (*lacking, *nulls, shouted, {**arguments, "Unknown": [{}]}, {}, None):
            assert asked(app, exchange.path, json.dumps(given)) == (200, exchange.answer)

    def test_an_argument_of_a_wrong_type_is_refused_with_status_400(
        self, exchange: Exchange
    ) -> None:
        """The error names the argument, and the implementation is not called."""
        app, received = self._serving(exchange)
        arguments = json.loads(exchange.request or "{}")

        for key, value in arguments.items():
            wrong = "x" if type(value) is int else 5
            code, text = asked(app, exchange.path, json.dumps({**arguments, key: wrong}))

            assert (code, received) == (400, [])
            assert text.startswith(f'{{"Err":"{key}: ')

    def test_a_body_that_is_not_a_message_is_refused_with_status_400(
        self, exchange: Exchange
    ) -> None:
        """A method without arguments ignores the body, and succeeds."""
        app, received = self._serving(exchange)
        answers = [asked(app, exchange.path, body) for body in NO_MESSAGES]

        if exchange.arguments:
            assert ([code for code, _ in answers], received) == ([400] * len(NO_MESSAGES), [])
            assert all(text.startswith('{"Err":"') for _, text in answers)
        else:
            assert answers == [(200, exchange.answer)] * len(NO_MESSAGES)

    def _serving(self, exchange: Exchange) -> tuple[PluginApp, list[tuple[Any, ...]]]:
        part, received = part_of(self.kind, {exchange.method: exchange.result})
        return PluginApp(part), received
