"""A client reports each attempt to its observers, and otherwise works as without any."""

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


def test_a_call_is_reported_when_it_starts_and_when_it_has_ended(notes: Notes) -> None:
    """The first event has the method and the address, the second seconds, status and bytes."""
    with client({"M.x": hangs(2, then={"a": 1})}, notes) as calling:
        calling.call("M.x", {"b": 22})

    started, ended = notes.events
    assert (started.method, started.attempt, started.address) == ("M.x", 1, ADDR)
    assert started.sent_bytes == len(b'{"b":22}\n')
    assert ended.started is started
    assert (ended.seconds, ended.status, ended.error) == (2.0, 200, None)
    assert ended.received_bytes == len(b'{"a": 1}\n')
    assert ended.new_connection is None


def test_events_of_a_call_equal_those_that_their_constructors_make(notes: Notes) -> None:
    """Events are of the same class, frozen, and equal after a copy by pickle."""
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
def test_the_end_of_a_failed_call_is_reported_with_its_error(
    notes: Notes, reply: Any, kind: type[Exception], code: int | None
) -> None:
    """The event has the error that the caller gets, and the status if one was received."""
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
def test_a_failed_call_is_reported_with_the_number_of_bytes_that_were_read(
    notes: Notes, reply: Any, received: int
) -> None:
    """A body that is too large is read to one byte beyond the limit."""
    calling = client({"M.x": reply}, notes, max_response_bytes=20)
    with calling, pytest.raises((StatusError, WireError)):
        calling.call("M.x")

    assert notes.of(CallEnded)[0].received_bytes == received


def test_an_observer_is_called_only_for_events_whose_methods_it_overrides(notes: Notes) -> None:
    """A method that is set on the instance counts; one of the base class is never called."""

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


def test_each_attempt_and_each_retry_between_them_is_reported(notes: Notes) -> None:
    """Attempts are counted from 1; the event of a retry has its delay."""
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


def test_the_end_of_a_stream_is_reported_after_it_was_read(notes: Notes) -> None:
    """The event has the number of bytes of the stream, and the seconds until its end."""
    with client({"M.x": drips(b"abc")}, notes) as calling, calling.stream("M.x") as stream:
        assert not notes.of(CallEnded)
        assert b"".join(stream) == b"abc"

    [ended] = notes.of(CallEnded)
    assert (ended.received_bytes, ended.seconds, ended.error) == (3, 3.0, None)


def test_a_stream_that_is_closed_early_or_cut_off_is_reported_once(notes: Notes) -> None:
    """Closing a stream early is not an error, a body that is cut off is one."""
    replies = {"M.x": drips(b"abc"), "M.y": drops_mid_body(b"half")}
    with client(replies, notes) as calling:
        with calling.stream("M.x") as stream:
            stream.read(1)
        with calling.stream("M.y") as broken, pytest.raises(WireError) as caught:
            list(broken)

    left, cut = notes.of(CallEnded)
    assert (left.received_bytes, left.error) == (1, None)
    assert cut.error is caught.value


def test_a_read_of_an_invalid_size_does_not_end_a_stream(notes: Notes) -> None:
    """After the ValueError no end is reported, and the caller may read on."""
    with client({"M.x": b"abc"}, notes) as calling, calling.stream("M.x") as stream:
        with pytest.raises(ValueError, match="1 or more"):
            stream.read(0)
        assert notes.of(CallEnded) == []
        assert stream.read() == b"abc"


def test_a_call_of_send_file_is_reported_with_the_size_of_the_data(notes: Notes) -> None:
    """The size of an iterable is not known before it is read, and is reported as None."""
    with client({"M.x": {}}, notes) as calling:
        calling.send_file("M.x", b"12345")
        calling.send_file("M.x", [b"1", b"2"])

    assert [event.sent_bytes for event in notes.of(CallStarted)] == [5, None]


def test_an_exception_of_the_callers_own_data_is_reported_and_raised(notes: Notes) -> None:
    """The event of the end has the exception that the caller gets."""

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


def test_an_observer_can_add_headers_to_a_request() -> None:
    """The headers of the call itself stay, and invalid ones are left out."""
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


def test_a_header_that_two_observers_add_is_sent_once() -> None:
    """The first observer's header counts, in any case; one whose value raises is left out."""
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
def test_an_exception_of_an_observer_is_logged_and_changes_nothing(
    notes: Notes, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """The call goes on, and the other observers get all events."""
    with client({"M.x": script(refused(), {"a": 1})}, Failing(error), notes) as calling:
        assert calling.call("M.x") == {"a": 1}

    assert len(notes.events) == 5
    failures = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert [r.getMessage().split(" at 0x")[0].split(" of ")[0] for r in failures]
    assert len(failures) == 3


def test_a_keyboard_interrupt_in_an_observer_is_raised_to_the_caller(notes: Notes) -> None:
    """The other observers get all events before it is raised."""
    calling = client({"M.x": {}}, Failing(KeyboardInterrupt()), notes)
    with calling, pytest.raises(KeyboardInterrupt):
        calling.call("M.x")

    assert notes.of(CallEnded)[0].status == 200


def test_an_attempt_that_an_observer_interrupts_at_its_start_is_reported_as_ended(
    notes: Notes,
) -> None:
    """Other observers can end what they have begun for the attempt, such as a span."""

    class Interrupted(Observer):
        def call_started(self, event: CallStarted, /) -> None:
            raise KeyboardInterrupt

    calling = client({"M.x": {}}, Interrupted(), notes)
    with calling, pytest.raises(KeyboardInterrupt) as caught:
        calling.call("M.x")

    started, ended = notes.events
    assert ended.started is started
    assert ended.error is caught.value


def test_the_method_of_an_event_has_no_query(notes: Notes) -> None:
    """The number of methods is limited, while queries may have any number of ids."""
    with client({"GraphDriver.ApplyDiff": script(refused(), {})}, notes) as calling:
        calling.send_file("GraphDriver.ApplyDiff?id=1", b"x")

    assert {event.method for event in notes.of(CallStarted)} == {"GraphDriver.ApplyDiff"}
    assert notes.of(RetryScheduled)[0].method == "GraphDriver.ApplyDiff"


def test_an_error_in_a_response_with_status_200_is_reported(notes: Notes) -> None:
    """A proxy raises it as a DriverError; the attempt itself is reported as successful."""
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


def test_an_object_that_is_not_an_observer_is_refused() -> None:
    """The class of an observer in place of an instance is refused, too."""
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
def test_an_observer_with_a_coroutine_method_is_refused(made: Callable[[], object]) -> None:
    """The TypeError is raised where the observer is passed, and not at the first event."""
    with pytest.raises(TypeError, match=r"^Awaited\.call_started must not be a coroutine function"):
        made()


def test_a_client_without_observers_is_a_plain_client() -> None:
    """Only a client with observers is an ObservedClient, which does more for each call."""
    assert type(client({})) is Client
    assert type(client({}, Notes())) is ObservedClient
    assert repr(client({}, Notes())).startswith("<ObservedClient of")


def test_on_retry_is_called_before_each_retry() -> None:
    """A function that the call has replaces that of the settings."""
    told: list[tuple[str, float]] = []
    replies = {"M.x": script(refused(), {}, refused(), {})}

    with client(replies, on_retry=lambda _, delay: told.append(("settings", delay))) as calling:
        calling.call("M.x")
        calling.call("M.x", on_retry=lambda _, delay: told.append(("call", delay)))

    assert told == [("settings", 1.0), ("call", 1.0)]


def test_an_exception_of_on_retry_ends_the_call() -> None:
    """The caller's function may stop the retries; what cannot be called is refused."""
    replies = {"M.x": refused()}

    def stop(error: Exception, _: float) -> None:
        raise error

    with client(replies) as calling, pytest.raises(TransportError, match="tried once"):
        calling.call("M.x", on_retry=stop)
    with client(replies) as calling, pytest.raises(TypeError, match="on_retry"):
        calling.call("M.x", on_retry=5)  # type: ignore[call-overload]


def test_a_transport_may_return_a_response_of_another_class() -> None:
    """An object with a status, a body and headers is enough."""
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


def test_the_status_is_reported_even_if_the_body_times_out(notes: Notes) -> None:
    """The event of a call or a stream that times out has the status that was received."""
    with answering(Stalled, notes) as calling:
        with pytest.raises(TransportTimeoutError):
            calling.call("M.x")
        with pytest.raises(TransportTimeoutError), calling.stream("M.x") as stream:
            stream.read()

    assert [ended.status for ended in notes.of(CallEnded)] == [200] * 2


def test_the_end_of_a_stream_is_reported_once_and_before_it_is_closed(notes: Notes) -> None:
    """If closing an unread stream fails, its end is reported with that error."""
    with answering(Sticks, notes) as calling:
        stream = calling.stream("M.x")
        assert b"".join(stream) == b"{}"
        assert len(notes.of(CallEnded)) == 1
        with pytest.raises(OSError, match="close fails"):
            stream.close()
        with pytest.raises(OSError, match="close fails"):
            calling.stream("M.x").close()

    assert [type(ended.error) for ended in notes.of(CallEnded)] == [type(None), OSError]
