"""A client with observers tells them of each attempt, and behaves as one without."""

import logging
import pickle
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import fields_dict
from attrs.exceptions import FrozenInstanceError

from moby_plugins import (
    DriverError,
    Observer,
    Request,
    Response,
    Settings,
    StatusError,
    TransportError,
    TransportTimeoutError,
    WireError,
    aio,
    new_client,
)
from moby_plugins.app.client import Client
from moby_plugins.app.observed_client import ObservedClient
from moby_plugins.ports import CallEnded, CallStarted, DriverFailed, RetryScheduled
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import VolumeDriver
from moby_plugins.testing import (
    FakeClock,
    MemoryRegistry,
    MemoryTransport,
    drips,
    drops_mid_body,
    hangs,
    not_json,
    refused,
    script,
    status,
)
from tests.observers import Failing, Notes

ADDR = "unix:///shelf.sock"


def client(replies: Any, *observers: Observer, **settings: Any) -> Client:
    """A client of a plugin in memory, on a clock of its own."""
    clock = FakeClock()
    plugin = MemoryTransport(replies, clock=clock)
    here = Settings(transports={"unix": plugin.connect}, **settings)
    return new_client(ADDR, settings=here, clock=clock, observers=observers)


@pytest.fixture
def notes() -> Notes:
    """What was told."""
    return Notes()


def test_a_call_is_told_when_it_starts_and_when_it_has_ended(notes: Notes) -> None:
    """Method, attempt and address; then seconds, status and the bytes of both bodies."""
    with client({"M.x": hangs(2, then={"a": 1})}, notes) as calling:
        calling.call("M.x", {"b": 22})

    started, ended = notes.events
    assert (started.method, started.attempt, started.address) == ("M.x", 1, ADDR)
    assert started.sent_bytes == len(b'{"b":22}\n')
    assert ended.started is started
    assert (ended.seconds, ended.status, ended.error) == (2.0, 200, None)
    assert ended.received_bytes == len(b'{"a": 1}\n')
    assert ended.new_connection is None


def test_events_of_a_call_are_the_values_that_their_constructors_make(notes: Notes) -> None:
    """Of the same class, equal, frozen, and the same after a copy."""
    with client({"M.x": {}}, notes) as calling:
        calling.call("M.x", {})

    started, ended = notes.events
    assert started == CallStarted("", ADDR, "M.x", 1, {}, started.sent_bytes)
    assert ended == CallEnded(started, ended.seconds, 200, None, ended.received_bytes, None)
    assert [type(event) for event in notes.events] == [CallStarted, CallEnded]
    for event in notes.events:
        assert pickle.loads(pickle.dumps(event)) == event  # noqa: S301  our own bytes
        assert repr(event).startswith(f"{type(event).__name__}(")
        for name in fields_dict(type(event)):
            with pytest.raises(FrozenInstanceError):
                setattr(event, name, None)
            with pytest.raises(FrozenInstanceError):
                delattr(event, name)


@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [
        (status(500, "no"), StatusError, 500),
        (status(404), StatusError, 404),
        (not_json(), WireError, 200),
        (drops_mid_body(), WireError, 200),
        (hangs(), TransportError, None),
    ],
    ids=str,
)
def test_a_failure_is_the_end_of_its_call(
    notes: Notes, reply: Any, kind: type[Exception], code: int | None
) -> None:
    """The event has the error that the caller gets, and the status where one came."""
    with client({"M.x": reply}, notes, timeout=1) as calling, pytest.raises(kind) as caught:
        calling.call("M.x", retry=None)

    ended = notes.of(CallEnded)[-1]
    assert ended.error is caught.value
    assert ended.status == code


@pytest.mark.parametrize(
    ("reply", "received"),
    [
        (status(500, "no"), len(b'{"Err": "no"}')),
        (drops_mid_body(b"half"), len(b"half")),
        (drips(b"0123456789" * 3), 21),
        (b"0123456789" * 3, 21),
    ],
    ids=["error", "cut off", "too large by chunks", "too large"],
)
def test_a_failure_is_told_with_the_bytes_that_were_read(
    notes: Notes, reply: Any, received: int
) -> None:
    """Of each kind of body; one that is too large is read by a byte more than may be."""
    calling = client({"M.x": reply}, notes, max_response_bytes=20)
    with calling, pytest.raises((StatusError, WireError)):
        calling.call("M.x")

    assert notes.of(CallEnded)[0].received_bytes == received


def test_an_observer_is_called_for_what_it_overrides_alone(notes: Notes) -> None:
    """A method of the base class is not, also if it would raise; one of the instance is."""

    class Dropped(Observer):
        def retry_scheduled(self, event: RetryScheduled, /) -> None:
            notes.events.append(event)

    patched = Observer()
    vars(patched)["driver_failed"] = notes.events.append
    replies = {"M.x": script(refused(), {}), "VolumeDriver.Path": {"Err": "no"}}
    with client(replies, Dropped(), patched) as calling:
        calling.call("M.x")
        with pytest.raises(DriverError):
            VolumeDriver(calling).path("books")

    assert [type(event) for event in notes.events] == [RetryScheduled, DriverFailed]


def test_each_attempt_is_told_and_what_is_between_them(notes: Notes) -> None:
    """Attempts are counted from 1; a retry has its error and its delay."""
    with client({"M.x": script(refused(), refused(), {})}, notes) as calling:
        calling.call("M.x")

    told = [type(event).__name__ for event in notes.events]
    assert told == [
        *("CallStarted", "CallEnded", "RetryScheduled"),
        *("CallStarted", "CallEnded", "RetryScheduled"),
        *("CallStarted", "CallEnded"),
    ]
    assert [event.attempt for event in notes.of(CallStarted)] == [1, 2, 3]
    assert [(r.method, r.attempt, r.delay) for r in notes.of(RetryScheduled)] == [
        ("M.x", 1, 1.0),
        ("M.x", 2, 2.0),
    ]


def test_a_stream_ends_when_it_was_read(notes: Notes) -> None:
    """Its event has all its bytes, and the time until then."""
    with client({"M.x": drips(b"abc")}, notes) as calling, calling.stream("M.x") as stream:
        assert not notes.of(CallEnded)
        assert b"".join(stream) == b"abc"

    [ended] = notes.of(CallEnded)
    assert (ended.received_bytes, ended.seconds, ended.error) == (3, 3.0, None)


def test_a_stream_that_is_left_or_breaks_ends_once(notes: Notes) -> None:
    """Closing it early is no error; a body that is cut off is one."""
    replies = {"M.x": drips(b"abc"), "M.y": drops_mid_body(b"half")}
    with client(replies, notes) as calling:
        with calling.stream("M.x") as stream:
            stream.read(1)
        with calling.stream("M.y") as broken, pytest.raises(WireError) as caught:
            list(broken)

    left, cut = notes.of(CallEnded)
    assert (left.received_bytes, left.error) == (1, None)
    assert cut.error is caught.value


def test_a_size_that_cannot_be_read_ends_no_stream(notes: Notes) -> None:
    """The caller may read on."""
    with client({"M.x": b"abc"}, notes) as calling, calling.stream("M.x") as stream:
        with pytest.raises(ValueError, match="1 or more"):
            stream.read(0)
        assert notes.of(CallEnded) == []
        assert stream.read() == b"abc"


def test_a_file_that_is_sent_is_told_with_its_size(notes: Notes) -> None:
    """An iterable has none before it was read."""
    with client({"M.x": {}}, notes) as calling:
        calling.send_file("M.x", b"12345")
        calling.send_file("M.x", [b"1", b"2"])

    assert [event.sent_bytes for event in notes.of(CallStarted)] == [5, None]


def test_an_error_of_the_callers_own_data_is_told_and_passes(notes: Notes) -> None:
    """It is the caller's exception, and the attempt has ended with it."""

    def failing() -> Iterator[bytes]:
        yield b"1"
        raise ZeroDivisionError

    with client({"M.x": {}}, notes) as calling, pytest.raises(ZeroDivisionError):
        calling.send_file("M.x", failing())

    assert isinstance(notes.of(CallEnded)[0].error, ZeroDivisionError)


class Tagging(Observer):
    """Adds headers to each request."""

    def __init__(self, headers: dict[Any, Any]) -> None:
        self._headers = headers

    def call_started(self, event: CallStarted, /) -> None:
        """Add them."""
        event.headers.update(self._headers)


def test_an_observer_adds_headers_to_what_is_sent() -> None:
    """Trace headers are added; those of the call stay, and invalid ones are left out."""
    seen: list[Mapping[str, str]] = []

    def app(request: Request) -> Response:
        seen.append(request.headers)
        return Response(200, b"{}")

    settings = Settings(transports={"unix": MemoryTransport(app).connect})
    mine = {"traceparent": "00-1-2-01", "host": "evil", "bad name": "x", "n": "a\r\nb", 5: "x"}
    mine |= {"Content-Length": "7", "Transfer-encoding": "chunked", "connection": "close"}
    with new_client(ADDR, settings=settings, observers=[Tagging(mine)]) as calling:
        calling.call("M.x")
        calling.call("M.x")

    assert len(seen) == 2
    for headers in seen:
        assert headers["traceparent"] == "00-1-2-01"
        assert headers["Host"] != "evil"
        lower = [name.lower() for name in headers]
        assert {"bad name", "n", "content-length", "connection"}.isdisjoint(lower)
        assert lower.count("host") == 1
        assert "transfer-encoding" not in lower


def test_a_header_is_added_once_whatever_its_case() -> None:
    """By the first observer; and a value that fails is logged, and ends no call."""
    seen: list[Mapping[str, str]] = []

    def app(request: Request) -> Response:
        seen.append(request.headers)
        return Response(200, b"{}")

    class Odd(str):
        __slots__ = ()

        def isascii(self) -> bool:
            raise ValueError("odd")

    settings = Settings(transports={"unix": MemoryTransport(app).connect})
    twice = [Tagging({"Traceparent": "a"}), Tagging({"traceparent": "b"})]
    for observers in (twice, [Tagging({"traceparent": Odd("c")})]):
        with new_client(ADDR, settings=settings, observers=observers) as calling:
            assert calling.call("M.x") == {}

    added = [{k: v for k, v in each.items() if k.lower() == "traceparent"} for each in seen]
    assert added == [{"Traceparent": "a"}, {}]


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), GeneratorExit()], ids=repr)
def test_an_observer_that_fails_is_logged_and_changes_nothing(
    notes: Notes, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """The call goes on, and other observers are told."""
    with client({"M.x": script(refused(), {"a": 1})}, Failing(error), notes) as calling:
        assert calling.call("M.x") == {"a": 1}

    assert len(notes.events) == 5
    failures = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert [r.getMessage().split(" at 0x")[0].split(" of ")[0] for r in failures]
    assert len(failures) == 3


def test_an_interrupt_in_an_observer_is_the_callers_own(notes: Notes) -> None:
    """``KeyboardInterrupt`` passes, once the other observers were told."""
    calling = client({"M.x": {}}, Failing(KeyboardInterrupt()), notes)
    with calling, pytest.raises(KeyboardInterrupt):
        calling.call("M.x")

    assert notes.of(CallEnded)[0].status == 200


def test_an_interrupt_at_the_start_leaves_no_attempt_without_an_end(notes: Notes) -> None:
    """What an observer has begun for it, a span say, is ended; nothing is sent."""

    class Interrupted(Observer):
        def call_started(self, event: CallStarted, /) -> None:
            raise KeyboardInterrupt

    calling = client({"M.x": {}}, Interrupted(), notes)
    with calling, pytest.raises(KeyboardInterrupt) as caught:
        calling.call("M.x")

    started, ended = notes.events
    assert ended.started is started
    assert ended.error is caught.value


def test_a_query_is_no_part_of_a_method(notes: Notes) -> None:
    """There are only so many methods, and any number of ids."""
    with client({"GraphDriver.ApplyDiff": script(refused(), {})}, notes) as calling:
        calling.send_file("GraphDriver.ApplyDiff?id=1", b"x")

    assert {event.method for event in notes.of(CallStarted)} == {"GraphDriver.ApplyDiff"}
    assert notes.of(RetryScheduled)[0].method == "GraphDriver.ApplyDiff"


def test_an_error_in_a_response_with_status_200_is_told(notes: Notes) -> None:
    """Typed proxies find it there; the attempt itself went well."""
    replies = {"VolumeDriver.Get": {"Err": "no such shelf"}, "VolumeDriver.Path": {"Err": "no"}}
    with client(replies, notes) as calling:
        with pytest.raises(DriverError) as caught:
            VolumeDriver(calling).get("books")
        with pytest.raises(DriverError):
            VolumeDriver(calling).path("books")

    failed = notes.of(DriverFailed)
    assert [event.method for event in failed] == ["VolumeDriver.Get", "VolumeDriver.Path"]
    assert failed[0].error is caught.value
    assert failed[0].address == ADDR
    assert [event.error for event in notes.of(CallEnded)] == [None, None]


def test_what_is_no_observer_is_refused_when_it_is_given() -> None:
    """A class in place of its instance too."""
    for wrong in (5, Notes, print):
        with pytest.raises(TypeError, match="an observer must be an Observer, not"):
            client({}, wrong)  # type: ignore[arg-type]


class Awaited(Observer):
    """An observer whose method nothing would await."""

    async def call_started(self, event: object, /) -> None:  # type: ignore[override]
        """Never run."""


@pytest.mark.parametrize(
    "made",
    [
        lambda: client({}, Awaited()),
        lambda: new_client(ADDR, observers=[Awaited()]),
        lambda: aio.new_client(ADDR, observers=[Awaited()]),
        lambda: MemoryRegistry(observers=[Awaited()]),
        lambda: aio.new_local_registry(observers=[Awaited()]),
        lambda: PluginApp(observers=[Awaited()]),
        lambda: aio.AsyncPluginApp(observers=[Awaited()]),
    ],
)
def test_an_observer_that_would_have_to_be_awaited_is_refused(made: Callable[[], object]) -> None:
    """When it is given, and not at the first event."""
    with pytest.raises(TypeError, match=r"^Awaited\.call_started must not be a coroutine function"):
        made()


def test_without_observers_a_client_is_a_plain_one() -> None:
    """So it calls nothing more."""
    assert type(client({})) is Client
    assert type(client({}, Notes())) is ObservedClient
    assert repr(client({}, Notes())).startswith("<ObservedClient of")


def test_a_caller_is_told_of_retries_too() -> None:
    """``on_retry`` of the call, or of the settings where the call has none."""
    told: list[tuple[str, float]] = []
    replies = {"M.x": script(refused(), {}, refused(), {})}

    with client(replies, on_retry=lambda _, delay: told.append(("settings", delay))) as calling:
        calling.call("M.x")
        calling.call("M.x", on_retry=lambda _, delay: told.append(("call", delay)))

    assert told == [("settings", 1.0), ("call", 1.0)]


def test_what_on_retry_raises_ends_the_call() -> None:
    """It is the caller's own function."""
    replies = {"M.x": refused()}

    def stop(error: Exception, _: float) -> None:
        raise error

    with client(replies) as calling, pytest.raises(TransportError, match="tried once"):
        calling.call("M.x", on_retry=stop)
    with client(replies) as calling, pytest.raises(TypeError, match="on_retry"):
        calling.call("M.x", on_retry=5)  # type: ignore[call-overload]


def test_a_response_need_not_be_of_our_class() -> None:
    """A transport of another may answer with a status, a body and headers, and no more."""
    answer = SimpleNamespace(status=200, body=BytesIO(b"{}"), headers={})
    transport = SimpleNamespace(send=lambda *_: answer, close=lambda: None)
    notes = Notes()

    here = Settings(transports={"unix": lambda *_: transport})
    with new_client(ADDR, settings=here, observers=[notes]) as calling:
        assert calling.call("M.x") == {}

    [ended] = notes.of(CallEnded)
    assert (ended.status, ended.received_bytes, ended.new_connection) == (200, 2, None)
    assert answer.body.closed


class Stalled:
    """A body whose bytes do not arrive in time."""

    def read(self, size: int, /) -> bytes:
        """Nothing arrives."""
        error = TransportTimeoutError("timed out")
        error.answered = True
        raise error

    def close(self) -> None:
        """Nothing is open."""


class Sticks:
    """A body that cannot be closed."""

    def __init__(self) -> None:
        self._left = [b"{}"]

    def read(self, size: int, /) -> bytes:
        """All of it, and then nothing."""
        return self._left.pop() if self._left else b""

    def close(self) -> None:
        """Fail."""
        raise OSError("close fails")


def answering(body: Callable[[], Any], notes: Notes) -> Client:
    """A client of a plugin whose responses have such bodies."""
    send = lambda *_: SimpleNamespace(status=200, body=body(), headers={})  # noqa: E731
    transport = SimpleNamespace(send=send, close=lambda: None)
    here = Settings(transports={"unix": lambda *_: transport})
    return new_client(ADDR, settings=here, observers=[notes])


def test_the_status_that_was_received_is_told_although_the_body_is_not(notes: Notes) -> None:
    """Of a call and of a stream."""
    with answering(Stalled, notes) as calling:
        with pytest.raises(TransportTimeoutError):
            calling.call("M.x")
        with pytest.raises(TransportTimeoutError), calling.stream("M.x") as stream:
            stream.read()

    assert [ended.status for ended in notes.of(CallEnded)] == [200] * 2


def test_a_stream_that_was_read_to_its_end_has_ended_before_it_is_closed(notes: Notes) -> None:
    """Once; and one whose body fails to close has ended, too."""
    with answering(Sticks, notes) as calling:
        stream = calling.stream("M.x")
        assert b"".join(stream) == b"{}"
        assert len(notes.of(CallEnded)) == 1
        with pytest.raises(OSError, match="close fails"):
            stream.close()
        with pytest.raises(OSError, match="close fails"):
            calling.stream("M.x").close()

    assert [type(ended.error) for ended in notes.of(CallEnded)] == [type(None), OSError]
