"""A plugin in memory: what may be a reply, and what the transport records of each call."""

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from typing import Any

import pytest

from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import TransportError, TransportTimeoutError, WireError
from moby_plugins.testing import (
    Call,
    FakeClock,
    MemoryTransport,
    Request,
    Response,
    Script,
    UnexpectedCallError,
    refused,
    script,
    status,
)
from tests.cases import every


def answer(plugin: Any, body: bytes = b"", method: str = "M.x") -> tuple[int, bytes]:
    """The status and the whole body that ``plugin`` answers with."""
    transport = plugin if isinstance(plugin, MemoryTransport) else MemoryTransport({"M.x": plugin})
    response = transport.send(Request(method, body), None)
    data = b"".join(iter(lambda: response.body.read(1 << 16), b""))
    response.body.close()
    return response.status, data


@every(
    ("reply", "expected"),
    [
        ({"Volumes": [1, None]}, (200, b'{"Volumes": [1, null]}\n')),
        ([], (200, b"[]\n")),
        (None, (200, b"null\n")),
        ("text", (200, b'"text"\n')),
        (b"", (200, b"")),
        (b"raw\0", (200, b"raw\0")),
        (Response(418, b"teapot"), (418, b"teapot")),
        (lambda request: {"got": request.json()}, (200, b'{"got": {"a": 1}}\n')),
        (lambda request: Response(201, request.read()), (201, b'{"a": 1}')),
        (lambda _: b"bytes", (200, b"bytes")),
        (lambda _: status(500, "full"), (500, b'{"Err": "full"}')),
        (lambda _: lambda request: request.method, (200, b'"M.x"\n')),
    ],
)
def test_a_reply_is_a_value_or_a_function_that_returns_one(
    reply: Any, expected: tuple[int, bytes]
) -> None:
    """Values are JSON, bytes, responses and faults; a function is called with the request."""
    assert answer(reply, b'{"a": 1}') == expected


def test_an_iterator_is_sent_as_it_comes_and_closed_with_the_body() -> None:
    """The body asks the iterator for no more than is read of it."""
    log: list[str] = []

    def chunks() -> Iterator[bytes]:
        try:
            for chunk in (b"one", b"two"):
                log.append(chunk.decode())
                yield chunk
        finally:
            log.append("closed")

    response = MemoryTransport({"M.x": chunks()}).send(Request("M.x"), None)

    assert log == []
    assert response.body.read(2) == b"on"
    assert log == ["one"]
    response.body.close()
    assert log == ["one", "closed"]


@pytest.mark.parametrize("reply", [{"A": 1}, b"bytes", Response(404, b"gone"), status(500, "no")])
def test_a_value_may_be_the_reply_to_two_calls(reply: Any) -> None:
    """What was read of one response is not missing from the next."""
    transport = MemoryTransport({"M.x": reply})

    assert answer(transport) == answer(transport)


@pytest.mark.parametrize(
    "raising",
    [lambda error: error, lambda error: lambda _: error],
    ids=["an exception", "a function that returns one"],
)
def test_an_exception_as_a_reply_is_raised(raising: Callable[[Exception], Any]) -> None:
    """``send`` raises this very exception, and the call is listed."""
    error = TransportError("broken")
    transport = MemoryTransport({"M.x": raising(error)})

    with pytest.raises(TransportError) as caught:
        answer(transport)

    assert caught.value is error
    assert len(transport.calls) == 1


def test_send_raises_the_exception_of_a_plugin_function() -> None:
    """So the test that wrote the function sees its mistake."""
    transport = MemoryTransport(lambda _: Response(200, str(1 // 0).encode()))

    with pytest.raises(ZeroDivisionError):
        answer(transport)


def test_a_function_in_place_of_a_table_responds_to_all_methods() -> None:
    """A served plugin is a function from request to response, and so is one in memory."""
    transport = MemoryTransport(lambda request: Response(200, request.method.encode()))

    assert [answer(transport, method=name)[1] for name in ("A.b", "C.d")] == [b"A.b", b"C.d"]


def test_the_query_of_a_method_does_not_choose_its_reply() -> None:
    """It is in the list of calls, however."""
    transport = MemoryTransport({"M.x": 1})

    assert answer(transport, method="M.x?page=2") == (200, b"1\n")
    assert transport.calls[0].method == "M.x?page=2"


@pytest.mark.parametrize(
    ("table", "known"), [({"B.y": 1, "A.x": 2}, "A.x, B.y"), ({}, "none")], ids=["some", "none"]
)
def test_an_unexpected_method_is_an_error_that_names_the_known_ones(
    table: Mapping[str, Any], known: str
) -> None:
    """A typing mistake in a test is not taken for a failing plugin, and is not listed as a call."""
    transport = MemoryTransport(table)

    with pytest.raises(UnexpectedCallError) as caught:
        answer(transport, method="M.x")

    assert str(caught.value) == f"unexpected call of M.x; known methods: {known}"
    assert isinstance(caught.value, AssertionError)
    assert transport.calls == []


def test_a_script_gives_one_reply_after_the_other_and_ends() -> None:
    """Each call takes the next step, whatever kind it is; a call after the last is an error."""
    transport = MemoryTransport({"M.x": script(refused(), b"two", lambda _: 3, script(4))})

    with pytest.raises(TransportError):
        answer(transport)
    assert [answer(transport) for _ in range(3)] == [(200, b"two"), (200, b"3\n"), (200, b"4\n")]
    with pytest.raises(
        UnexpectedCallError, match=r"^a script of 4 replies has none left for another call$"
    ):
        answer(transport)


@pytest.mark.parametrize(
    "nest",
    [MemoryTransport, lambda steps: MemoryTransport(lambda _: steps)],
    ids=["for all methods", "from a function"],
)
def test_a_script_may_stand_wherever_a_reply_may(nest: Callable[[Script], MemoryTransport]) -> None:
    """One script can be the reply to all methods, or be returned by a function."""
    transport = nest(script(1, 2))

    assert [answer(transport)[1], answer(transport)[1]] == [b"1\n", b"2\n"]


def test_threads_that_share_a_script_get_no_reply_twice() -> None:
    """With as many calls as replies, each call gets another one."""
    transport = MemoryTransport({"M.x": script(*range(200))})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: int(answer(transport)[1]), range(200)))

    assert sorted(answers) == list(range(200))
    assert len(transport.calls) == 200


def test_every_call_is_listed_as_the_plugin_saw_it() -> None:
    """It has method, body, attempt, the clock's time and the address; arguments are JSON."""
    clock = FakeClock(100)
    transport = MemoryTransport({"M.x": 1, "M.y": 2}, clock=clock, addr="memory://mine")

    transport.send(Request("/M.x", b'{"a": [1]}\n'), None)
    clock.advance(5)
    transport.send(Request("M.y", iter([b"{", b"}"]), attempt=3), None)
    transport.send(Request("M.y"), None)

    assert transport.calls == [
        Call("M.x", b'{"a": [1]}\n', 1, 100.0, "memory://mine"),
        Call("M.y", b"{}", 3, 105.0, "memory://mine"),
        Call("M.y", b"", 1, 105.0, "memory://mine"),
    ]
    assert transport.calls.arguments == [{"a": [1]}, {}, None]


def test_arguments_that_are_no_json_are_an_error() -> None:
    """The body of a call that is not JSON can be had as bytes only."""
    transport = MemoryTransport({"M.x": 1})
    answer(transport, b"no json")
    with pytest.raises(ValueError, match=r"^not JSON: Expecting value"):
        _ = transport.calls[0].arguments


def test_one_plugin_may_be_reached_at_many_addresses() -> None:
    """``connect`` gives the same plugin under another address, with one list of calls."""
    transport = MemoryTransport({"M.x": script(refused(), 2)})
    other = transport.connect(Address("tcp://host:1"))

    with pytest.raises(TransportError, match=r"^tcp://host:1: "):
        other.send(Request("M.x"), None)

    assert answer(transport) == (200, b"2\n")
    assert [call.address for call in transport.calls] == ["tcp://host:1", "memory://plugin"]


def test_a_plugin_that_takes_too_long_is_a_timeout() -> None:
    """A function that takes more time than the call has gives no response."""
    clock = FakeClock()

    def slow(_: Request) -> None:
        clock.advance(2)

    transport = MemoryTransport({"M.x": slow}, clock=clock)

    with pytest.raises(TransportTimeoutError, match=r"^memory://plugin: timed out \(tried once\)$"):
        transport.send(Request("M.x"), 2.0)
    assert transport.send(Request("M.x"), 2.1).status == 200


def test_reading_the_body_counts_towards_the_timeout_too() -> None:
    """Reading it too late raises, and the call counts as answered."""
    clock = FakeClock()
    response = MemoryTransport({"M.x": b"abc"}, clock=clock).send(Request("M.x"), 3.0)

    assert response.body.read(1) == b"a"
    clock.advance(3)
    with pytest.raises(TransportTimeoutError) as caught:
        response.body.read(1)

    assert caught.value.answered


def test_without_a_fake_clock_time_is_real() -> None:
    """A function that waits for real runs into a real time-out."""
    transport = MemoryTransport({"M.x": lambda _: threading.Event().wait(0.002)})

    with pytest.raises(TransportTimeoutError):
        transport.send(Request("M.x"), 0.001)
    assert transport.send(Request("M.x"), None).status == 200


class TestUploads:
    """A function reads the request from the host's iterable, within the time-out."""

    def test_a_function_may_respond_before_the_end_of_its_request(self) -> None:
        """The host then sends no more than its buffers hold, and what was sent is recorded."""
        sent: list[int] = []

        def endless() -> Iterator[bytes]:
            for number in count():
                sent.append(number)
                yield bytes(1 << 16)

        def app(request: Request) -> Response:
            return Response(413, request.read(5))

        transport = MemoryTransport(app)
        response = transport.send(Request("M.x", endless()), 5)

        assert (response.status, response.body.read(99)) == (413, bytes(5))
        assert len(sent) == 5
        assert len(transport.calls[0].body) == 5 << 16

    def test_a_response_may_be_generated_from_its_request(self) -> None:
        """A generator that reads the request later still finds all of it."""

        def app(request: Request) -> Response:
            return Response(200, (part for part in iter(partial(request.read, 3), b"")))

        transport = MemoryTransport(app)
        response = transport.send(Request("M.x", iter([b"one ", b"two"])), 5)

        assert b"".join(iter(partial(response.body.read, 99), b"")) == b"one two"
        assert transport.calls[0].body == b"one two"

    @pytest.mark.parametrize("reply", [{"Err": ""}, lambda request: request.read().decode()])
    def test_an_upload_that_is_too_slow_ends_at_the_timeout_of_its_call(self, reply: Any) -> None:
        """An iterable that keeps yielding does not prolong it."""
        clock = FakeClock()

        def slow() -> Iterator[bytes]:
            while True:
                clock.sleep(1)
                yield b"x"

        transport = MemoryTransport({"M.x": reply}, clock=clock)
        with pytest.raises(TransportTimeoutError) as caught:
            transport.send(Request("M.x", slow()), 5)

        assert (clock.now(), caught.value.answered, len(transport.calls)) == (5.0, False, 0)

    def test_an_exception_of_an_uploads_iterator_is_raised_by_the_call(self) -> None:
        """The app sees a request that is cut off, and its response is dropped."""
        seen: list[BaseException] = []

        def failing() -> Iterator[bytes]:
            yield b"one"
            raise LookupError("mine")

        def app(request: Request) -> Response:
            try:
                request.read()
            except ValueError as error:
                seen.append(error)
            return Response(400, b"")

        with pytest.raises(LookupError, match="mine"):
            MemoryTransport(app).send(Request("M.x", failing()), 5)
        assert [type(error) for error in seen] == [WireError]
