"""A served app reports each request to its observers, and its code runs in their context."""

import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import pytest

from moby_plugins import Observer, Request, Response, StatusError
from moby_plugins.adapters.server.answering import StartedResponse, answer
from moby_plugins.domain.errors import WireError
from moby_plugins.domain.http import CHUNK_BYTES, CUT_OFF
from moby_plugins.ports import RequestEnded, RequestStarted, RunningCall
from moby_plugins.serving import PluginApp, observed
from moby_plugins.subsystems import GraphDriver, LogDriver, LogEntry, Volume, VolumeDriver
from moby_plugins.testing import FakeClock
from tests.cases import every
from tests.observers import Failing, Notes
from tests.unit.app.test_serving_bodies import Chunks
from tests.unit.domain.test_outgoing import BAD_HEADS, STREAMED_BAD_HEADS

SPAN: ContextVar[str] = ContextVar("span", default="none")


class Shelf(VolumeDriver):
    """Volumes that take some seconds."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.spans: list[str] = []

    def list(self) -> list[Volume]:
        self.spans.append(SPAN.get())
        self.clock.advance(2)
        return [Volume("books")]

    def remove(self, name: str) -> None:
        raise StatusError(409, "VolumeDriver.Remove", f"{name} is in use")


class Logs(LogDriver):
    """Two entries, then what is asked for."""

    def __init__(self, then: BaseException | None = None) -> None:
        self.then = then
        self.spans: list[str] = []

    def read_logs(self, info: Any, config: Any) -> Iterator[LogEntry]:
        try:
            for line in (b"one", b"two"):
                self.spans.append(SPAN.get())
                yield LogEntry("stdout", 0, line)
            if self.then is not None:
                raise self.then
        finally:
            self.spans.append(SPAN.get())


class Tracing(Observer):
    """Sets a context variable when a request starts."""

    def request_started(self, event: RequestStarted, /) -> None:
        """Set it to what the host sent."""
        SPAN.set(event.headers["traceparent"])


@pytest.fixture
def notes() -> Notes:
    """What was told."""
    return Notes()


def read(app: Callable[[Request], Any], method: str, body: bytes = b"{}") -> bytes:
    """All that the app answers."""
    response = app(Request(method, body, {"traceparent": "t1"}))
    parts = iter(lambda: response.body.read(1 << 16), b"")
    whole = b"".join(parts)
    response.body.close()
    return whole


def test_observers_get_an_event_when_a_request_starts_and_one_when_it_ends(notes: Notes) -> None:
    """The events have method and headers, then seconds, status and the bytes of both bodies."""
    clock = FakeClock()
    answer = read(PluginApp(Shelf(clock), observers=[notes], now=clock.now), "VolumeDriver.List")

    started, ended = notes.events
    assert (started.method, started.headers["traceparent"]) == ("VolumeDriver.List", "t1")
    assert started.received_bytes == 2
    assert ended.started is started
    assert (ended.seconds, ended.status, ended.error, ended.hung_up) == (2.0, 200, None, False)
    assert ended.sent_bytes == len(answer)


@pytest.mark.parametrize(
    ("method", "body", "code", "kind"),
    [
        ("VolumeDriver.Remove", b'{"Name":"a"}', 409, StatusError),
        ("VolumeDriver.Remove", b"not json", 400, StatusError),
        ("VolumeDriver.Nothing", b"{}", 404, type(None)),
        ("Plugin.Activate", b"", 200, type(None)),
    ],
)
def test_every_response_is_reported_with_its_status(
    notes: Notes, method: str, body: bytes, code: int, kind: type
) -> None:
    """The event has the exception of the plugin's code, if there was one."""
    read(PluginApp(Shelf(FakeClock()), observers=[notes]), method, body)

    [ended] = notes.of(RequestEnded)
    assert ended.status == code
    assert isinstance(ended.error, kind)


def test_the_request_of_a_stream_ends_when_the_stream_was_read(notes: Notes) -> None:
    """One event has all bytes of the stream; closing it afterwards reports nothing."""
    answer = read(PluginApp(Logs(), observers=[notes]), "LogDriver.ReadLogs")

    [ended] = notes.of(RequestEnded)
    assert (ended.sent_bytes, ended.error, ended.hung_up) == (len(answer), None, False)


def test_a_stream_that_fails_or_is_left_early_is_reported_as_such(notes: Notes) -> None:
    """The event has the exception of the plugin's code, or says that the host hung up."""
    error = ZeroDivisionError()
    with pytest.raises(WireError):
        read(PluginApp(Logs(error), observers=[notes]), "LogDriver.ReadLogs")
    response = PluginApp(Logs(), observers=[notes])(Request("LogDriver.ReadLogs", b"{}"))
    response.body.read(1)
    response.body.close()

    failed, left = notes.of(RequestEnded)
    assert (failed.error, failed.hung_up) == (error, False)
    assert (left.error, left.hung_up, left.sent_bytes) == (None, True, 1)


def test_a_host_that_hangs_up_during_a_method_is_reported(notes: Notes) -> None:
    """The method runs to its end, and then the event says that the host hung up."""
    call = RunningCall()

    class Left(VolumeDriver):
        def list(self) -> list[Volume]:
            call.hang_up()
            return []

    app = PluginApp(Left(), observers=[notes])
    with call:
        app(Request("VolumeDriver.List", b"{}"))

    assert notes.of(RequestEnded)[0].hung_up


def test_the_plugins_code_sees_the_context_variables_that_observers_set() -> None:
    """Methods and each step of a stream see the variables, which are not set afterwards."""
    shelf, logs = Shelf(FakeClock()), Logs()
    app = PluginApp(shelf, logs, observers=[Tracing()])
    read(app, "VolumeDriver.List")
    read(app, "LogDriver.ReadLogs")

    assert shelf.spans == ["t1"]
    assert logs.spans == ["t1", "t1", "t1"]
    assert SPAN.get() == "none"


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_an_observer_that_fails_changes_nothing(
    notes: Notes, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """Other observers get their events, and the exception is logged."""
    app = PluginApp(Shelf(FakeClock()), observers=[Failing(error), notes])

    assert b"books" in read(app, "VolumeDriver.List")
    assert len(notes.events) == 2
    assert "the observer" in caplog.text


def test_a_request_for_an_unknown_method_has_an_empty_route(notes: Notes) -> None:
    """Hosts may send any text, but the routes are only the plugin's own methods."""
    app = PluginApp(Shelf(FakeClock()), observers=[notes])
    for method in ("VolumeDriver.List?x=1", "Plugin.Activate", "VolumeDriver.Evil", "x" * 900):
        read(app, method)

    assert [(event.method, event.route) for event in notes.of(RequestStarted)] == [
        ("VolumeDriver.List", "VolumeDriver.List"),
        ("Plugin.Activate", "Plugin.Activate"),
        ("VolumeDriver.Evil", ""),
        ("x" * 900, ""),
    ]


def test_any_app_can_be_observed(notes: Notes) -> None:
    """A function's responses and errors are reported, and it sees what observers set."""

    def app(request: Request) -> Response:
        if request.method == "M.bad":
            raise ZeroDivisionError
        return Response(200, SPAN.get().encode())

    served = observed(app, [Tracing(), notes], methods=["M.x"])

    assert read(served, "M.x") == b"t1"
    with pytest.raises(ZeroDivisionError) as caught:
        read(served, "M.bad")
    well, badly = notes.of(RequestEnded)
    assert (well.started.route, well.status, well.sent_bytes) == ("M.x", 200, 2)
    assert (badly.started.route, badly.status, badly.error) == ("", 500, caught.value)


def test_an_observed_app_that_returns_no_response_raises_a_type_error(notes: Notes) -> None:
    """The request is reported with that error."""
    served = observed(lambda _: 5, [notes])  # type: ignore[arg-type,return-value]

    with pytest.raises(TypeError, match="an application returns a Response, not 5"):
        read(served, "M.x")
    assert isinstance(notes.of(RequestEnded)[0].error, TypeError)


def test_an_observed_app_keeps_the_observers_that_it_has(notes: Notes) -> None:
    """The app that was given is not changed."""
    app, more = PluginApp(Shelf(FakeClock()), observers=[notes]), Notes()
    read(observed(app, [more]), "VolumeDriver.List")
    assert (len(notes.of(RequestEnded)), len(more.of(RequestEnded))) == (1, 1)
    read(app, "VolumeDriver.List")
    assert (len(notes.of(RequestEnded)), len(more.of(RequestEnded))) == (2, 1)
    read(observed(observed(lambda _: Response(200, b""), [notes]), [more]), "M.x")
    assert (len(notes.of(RequestEnded)), len(more.of(RequestEnded))) == (3, 2)


def test_a_refusal_is_the_same_whether_or_not_it_is_observed(notes: Notes) -> None:
    """An observed app refuses a call with the same status, headers and body."""
    app = PluginApp(Shelf(FakeClock()))
    for path, status in (("VolumeDriver.No", 404), ("VolumeDriver.Remove", 400)):
        answers = [each(Request(path, b"{")) for each in (app, observed(app, [notes]))]

        plain, seen = [(each.status, dict(each.headers), each.body.read(-1)) for each in answers]
        assert plain == seen
        assert plain[:2] == (status, {"Content-Type": "application/vnd.docker.plugins.v1.2+json"})


class Layers(GraphDriver):
    """Reads an archive."""

    def apply_diff(self, id: str, parent: str, archive: Any) -> int:
        return sum(map(len, archive))


@every(
    ("method", "body"),
    [
        ("VolumeDriver.Remove", b"{"),
        ("VolumeDriver.Remove", Chunks(b"{", WireError("badly chunked"))),
        ("GraphDriver.ApplyDiff", Chunks(b"{", WireError("badly chunked"))),
    ],
)
def test_the_error_of_a_bad_request_names_its_method(method: str, body: Any) -> None:
    """The error is the same whether the app or the part reads the request body."""
    notes = Notes()
    read(PluginApp(Shelf(FakeClock()), Layers(), observers=[notes]), method, body)

    [ended] = notes.of(RequestEnded)
    assert isinstance(ended.error, StatusError)
    assert (ended.error.status, ended.error.method) == (400, method)


def test_an_observer_given_twice_gets_each_event_once(notes: Notes) -> None:
    """No request of a plugin or of a function is counted twice."""
    apps = [
        observed(PluginApp(Shelf(FakeClock()), observers=[notes]), [notes]),
        observed(lambda _: Response(200, b"{}"), [notes, notes], methods=["VolumeDriver.List"]),
        observed(observed(lambda _: Response(200, b"{}"), [notes]), [notes], methods=["M.x"]),
    ]
    for number, app in enumerate(apps, 1):
        read(app, "VolumeDriver.List")
        assert len(notes.of(RequestEnded)) == number

    read(apps[2], "M.x")
    assert notes.of(RequestEnded)[-1].started.route == "M.x"


async def coroutine(_: Request) -> Response:
    """What no thread can call."""
    return Response(200, b"")


class Awaited:
    """What no thread can call, either."""

    async def __call__(self, _: Request) -> Response:
        """Answer nothing."""
        return Response(200, b"")

    def __repr__(self) -> str:
        return "<awaited>"


@pytest.mark.parametrize(
    ("wrong", "shown"),
    [(5, "5"), (PluginApp, "<class "), (coroutine, "<function "), (Awaited(), "<awaited>")],
    ids=["number", "class", "coroutine", "object"],
)
def test_observed_refuses_what_is_not_a_synchronous_app(wrong: Any, shown: str) -> None:
    """A class or a coroutine function is refused at once, not at the first request."""
    needed = "^app must be a PluginApp or a function that is not a coroutine, not "
    with pytest.raises(TypeError, match=needed + re.escape(shown)):
        observed(wrong, [Observer()])


class Pieces:
    """A body of an app of a program, whose ``read`` returns or raises what it is given."""

    def __init__(self, *pieces: Any) -> None:
        self.left = list(pieces)

    def read(self, _: int, /) -> bytes:
        """The next one, then the end."""
        piece = self.left.pop(0) if self.left else b""
        if isinstance(piece, BaseException):
            raise piece
        whole: bytes = piece
        return whole

    def close(self) -> None:
        """Nothing is open."""


def raising(error: BaseException) -> Any:
    """An app that raises ``error``."""

    def app(_: Request) -> Response:
        raise error

    return app


@pytest.mark.parametrize(
    ("app", "code", "failure"),
    [
        (lambda _: Response(404, Pieces(b"no")), 404, type(None)),
        (lambda _: Response(404, Pieces(b"no", KeyError("late"))), 404, KeyError),
        (lambda _: Response(200, Pieces(KeyError("early"))), 500, KeyError),
        (lambda _: Response(200, Pieces(StatusError(418, "M.x", "tea"))), 418, StatusError),
        (lambda _: Response(200, Pieces(WireError("cut"))), 400, WireError),
        (lambda _: Response(200, Pieces("text")), 500, TypeError),
        (lambda _: Response(999, b""), 500, ValueError),
        (raising(StatusError(418, "M.x", "tea")), 418, StatusError),
        (raising(StatusError(999, "M.x", "tea")), 500, StatusError),
        (raising(WireError("malformed")), 400, WireError),
        (raising(SystemExit(3)), 500, SystemExit),
    ],
)
def test_the_reported_status_is_the_one_that_the_host_gets(
    notes: Notes, app: Any, code: int, failure: type
) -> None:
    """A status that the server sends instead of the app's response is reported, too."""
    with suppress(BaseException):
        read(observed(app, [notes]), "M.x")

    [ended] = notes.of(RequestEnded)
    assert (ended.status, type(ended.error), ended.hung_up) == (code, failure, False)


class Closing(Pieces):
    """A body that tells whether it was closed."""

    closed = False

    def close(self) -> None:
        """Now it is."""
        self.closed = True


def sent(app: Any, call: RunningCall) -> StartedResponse:
    """The response that a server sends."""
    return answer(app, "POST", lambda: Request("M.x"), call)


@pytest.mark.parametrize("kind", BAD_HEADS)
def test_a_response_that_the_server_cannot_send_is_reported_as_status_500(
    notes: Notes, kind: str
) -> None:
    """The event has the server's error, and does not say that the host hung up."""
    status, headers, body, message = BAD_HEADS[kind]
    app = observed(lambda _: Response(status, body, headers), [notes])

    assert sent(app, RunningCall()).status == 500
    [ended] = notes.of(RequestEnded)
    assert (ended.status, ended.hung_up, ended.sent_bytes) == (500, False, 0)
    assert message in str(ended.error)


@pytest.mark.parametrize("kind", STREAMED_BAD_HEADS)
def test_a_stream_that_the_server_cannot_send_is_closed_and_reported_as_status_500(
    notes: Notes, kind: str
) -> None:
    """The event has the server's error, and does not say that the host hung up."""
    status, headers, chunk, message = BAD_HEADS[kind]
    body = Closing(chunk)
    app = observed(lambda _: Response(status, body, headers), [notes])

    assert sent(app, RunningCall()).status == 500
    [ended] = notes.of(RequestEnded)
    assert (ended.status, ended.hung_up, ended.sent_bytes) == (500, False, 0)
    assert message in str(ended.error)
    assert body.closed


@pytest.mark.parametrize(
    ("status", "headers", "chunk"),
    [(204, {}, b"x"), (200, {"Content-Length": "1"}, b"xy"), (200, {"Content-Length": "1"}, b"")],
)
def test_a_stream_with_an_invalid_first_chunk_is_closed_and_reported_as_status_500(
    notes: Notes, status: int, headers: dict[str, str], chunk: bytes
) -> None:
    """The chunk does not fit the status, or the ``Content-Length`` of the response."""
    body = Closing(chunk)
    app = observed(lambda _: Response(status, body, headers), [notes])

    assert sent(app, RunningCall()).status == 500
    [ended] = notes.of(RequestEnded)
    assert (ended.status, type(ended.error), ended.hung_up) == (500, ValueError, False)
    assert body.closed


def test_a_stream_that_another_app_closes_is_not_reported_as_a_hang_up(notes: Notes) -> None:
    """An app around the observed one closes the stream, and returns another response."""
    inner = observed(lambda _: Response(200, Pieces(b"one", b"two")), [notes])

    def app(request: Request) -> Response:
        response = inner(request)
        response.body.read(3)
        response.body.close()
        return Response(503, b"")

    assert sent(app, RunningCall()).status == 503
    [ended] = notes.of(RequestEnded)
    assert (ended.status, ended.error, ended.hung_up, ended.sent_bytes) == (200, None, False, 3)


def test_the_request_of_a_large_response_ends_when_all_of_it_was_sent(notes: Notes) -> None:
    """A host that leaves in the middle of the body is reported to have hung up."""
    whole = bytes(3 * CHUNK_BYTES)
    app = observed(lambda _: Response(200, whole, {"content-length": str(len(whole))}), [notes])

    started = sent(app, RunningCall())
    assert started.headers == {"Content-Length": str(len(whole))}
    chunks = iter(started)
    assert len(next(chunks)) == CHUNK_BYTES
    assert notes.of(RequestEnded) == []
    assert sum(map(len, chunks)) == 2 * CHUNK_BYTES
    started.close()
    left = sent(app, RunningCall())
    next(iter(left))
    left.close()

    read_, abandoned = notes.of(RequestEnded)
    assert (read_.status, read_.sent_bytes, read_.hung_up) == (200, len(whole), False)
    assert (abandoned.status, abandoned.sent_bytes, abandoned.hung_up) == (200, CHUNK_BYTES, True)


def test_a_stream_can_be_closed_while_another_thread_reads_it(notes: Notes) -> None:
    """The end is reported once, and the reading thread gets what the body then returns."""
    reading, closed = threading.Event(), threading.Event()

    class Waiting:
        def read(self, _: int, /) -> bytes:
            reading.set()
            closed.wait(20)
            return b""

        def close(self) -> None:
            closed.set()

    body = observed(lambda _: Response(200, Waiting()), [notes])(Request("M.x")).body
    got: list[bytes] = []
    thread = threading.Thread(target=lambda: got.append(body.read(1)))
    thread.start()
    assert reading.wait(20)
    body.close()
    thread.join(20)

    assert got == [b""]
    assert len(notes.of(RequestEnded)) == 1


def caused(error: Exception, cause: Exception) -> Exception:
    """``error`` as it is raised from ``cause``."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("error", [KeyError("late"), WireError("malformed"), WireError(CUT_OFF)])
def test_the_reported_error_is_the_exception_that_the_app_raised(
    notes: Notes, error: Exception
) -> None:
    """The cause of the exception is not reported instead, for methods, streams and functions."""
    raised = caused(error, OSError("below"))

    class Fails(VolumeDriver):
        def list(self) -> list[Volume]:
            raise raised

    read(PluginApp(Fails(), observers=[notes]), "VolumeDriver.List")
    for app in (
        PluginApp(Logs(raised), observers=[notes]),
        observed(raising(raised), [notes]),
        observed(lambda _: Response(200, Pieces(b"one", raised)), [notes]),
        observed(lambda _: Response(200, Pieces(raised)), [notes]),
    ):
        with suppress(Exception):
            read(app, "LogDriver.ReadLogs")

    assert [ended.error for ended in notes.of(RequestEnded)] == [raised] * 5


def test_without_observers_a_request_calls_no_function_for_them() -> None:
    """A profiler sees only functions that route and check the request, or make the response."""
    app, called = PluginApp(Shelf(FakeClock())), []

    def count(frame: Any, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.endswith("app/serving.py"):
            called.append(frame.f_code.co_name)

    sys.setprofile(count)
    try:
        app(Request("VolumeDriver.List", b"{}"))
    finally:
        sys.setprofile(None)

    assert called == ["__call__", "route", "admit", "check_size", "_begun"]
