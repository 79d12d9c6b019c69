"""Exceptions whose own code fails, or that are very large, become a response and are logged."""

import logging
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeAlias

import pytest

from moby_plugins.adapters.server.answering import StartedResponse, answer
from moby_plugins.domain.errors import StatusError, WireError
from moby_plugins.domain.http import App, Request, Response
from moby_plugins.ports import RunningCall
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import GraphDriver


class Spoiled(BaseException):
    """What the methods of an odd exception raise."""


def spoil(*_: object) -> NoReturn:
    """Stand for any method."""
    raise Spoiled


class OddNameType(type):
    """A class of classes that have no name."""

    @property
    def __name__(cls) -> NoReturn:  # type: ignore[override]
        raise Spoiled

    @property
    def __module__(cls) -> NoReturn:  # type: ignore[override]
        raise Spoiled


class OddNameError(Exception, metaclass=OddNameType):
    """An exception whose class cannot give its name."""


def odd(base: type[BaseException], **members: Any) -> BaseException:
    """An exception with such members."""
    made: BaseException = type(f"Odd{base.__name__}", (base,), members)()
    return made


def noted(notes: object) -> BaseException:
    """One with such notes."""
    error = RuntimeError("noted")
    error.__notes__ = notes  # type: ignore[assignment]
    return error


def linked(**links: BaseException) -> BaseException:
    """One with such a cause or context."""
    error = RuntimeError("linked")
    for name, link in links.items():
        setattr(error, name, link)
    return error


class Text(str):
    """A string that cannot be used as one."""

    __slots__ = ()
    __str__ = __len__ = __getitem__ = __format__ = isprintable = encode = spoil  # type: ignore[assignment]


def a_text() -> BaseException:
    """An exception whose ``__str__`` returns no plain string."""
    return odd(ValueError, __str__=lambda _: Text("text"))


def with_status(**members: Any) -> BaseException:
    """A ``StatusError`` of an author's own."""
    members = {"__init__": lambda _: None, "method": "M.x", "status": 503, "message": ""} | members
    return odd(StatusError, **members)


Make: TypeAlias = Callable[[BaseException], App]

HUGE = 10 << 20
ODD: dict[str, Callable[[], BaseException]] = {
    "str": lambda: odd(RuntimeError, __str__=spoil),
    "str of a refusal": lambda: odd(ValueError, __str__=spoil),
    "str that is not a string": lambda: odd(RuntimeError, __str__=lambda _: 1),
    "str of another class": a_text,
    "repr": lambda: odd(RuntimeError, __repr__=spoil),
    "repr of an argument": lambda: RuntimeError(1, odd(Exception, __repr__=spoil)),
    "getattribute": lambda: odd(RuntimeError, __getattribute__=spoil),
    "getattribute of a refusal": lambda: odd(OSError, __getattribute__=spoil),
    "getattribute of a base": lambda: odd(BaseException, __getattribute__=spoil),
    "getattr": lambda: odd(RuntimeError, __getattr__=spoil),
    "class": lambda: odd(RuntimeError, __class__=property(spoil)),
    "class of a refusal": lambda: odd(ValueError, __class__=property(spoil)),
    "class that lies": lambda: odd(RuntimeError, __class__=StatusError),
    "hash and eq": lambda: odd(RuntimeError, __hash__=spoil, __eq__=spoil, __bool__=spoil),
    "traceback": lambda: odd(RuntimeError, __traceback__=property(spoil)),
    "traceback of a refusal": lambda: odd(ValueError, __traceback__=property(spoil)),
    "cause": lambda: odd(RuntimeError, __cause__=property(spoil)),
    "context": lambda: odd(RuntimeError, __context__=property(spoil)),
    "cause that is none": lambda: odd(RuntimeError, __cause__=3),
    "args": lambda: odd(RuntimeError, args=property(spoil)),
    "args that are none": lambda: odd(RuntimeError, args=3),
    "add_note": lambda: odd(RuntimeError, add_note=spoil),
    "with_traceback": lambda: odd(RuntimeError, with_traceback=spoil),
    "notes that are none": lambda: noted(3),
    "notes that are a text": lambda: noted("note"),
    "notes that raise": lambda: odd(RuntimeError, __notes__=property(spoil)),
    "notes without end": lambda: noted(iter(int, 1)),
    "a note that raises": lambda: noted([odd(Exception, __repr__=spoil)]),
    "name of its class": OddNameError,
    "an odd cause": lambda: linked(__cause__=odd(ValueError, __str__=spoil)),
    "an odd context": lambda: linked(__context__=odd(ValueError, __getattribute__=spoil)),
    "a status that is none": lambda: with_status(status="x"),
    "a status that raises": lambda: with_status(status=property(spoil)),
    "a message that raises": lambda: with_status(message=property(spoil)),
    "a reason that raises": lambda: type(
        "Own", (WireError,), {"reason": property(spoil, lambda *_: None)}
    )("x"),
    "a group of 5,000": lambda: BaseExceptionGroup("many", [ValueError(n) for n in range(5_000)]),
    "a group in groups": lambda: nested(500),
    "a chain of 5,000": lambda: chained(5_000),
    "a text of 10 MB": lambda: RuntimeError("x" * HUGE),
    "bytes of 1 MB": lambda: ValueError(b"x" * (1 << 20), 1),
}


def nested(depth: int) -> BaseException:
    """A group within a group, and so on."""
    error: BaseException = SystemExit("inmost")
    for _ in range(depth):
        error = BaseExceptionGroup("group", [error])
    return error


def chained(length: int) -> BaseException:
    """One caused by another, and so on."""
    error: BaseException = RuntimeError("first")
    for _ in range(length):
        later = RuntimeError("later")
        later.__cause__ = error
        error = later
    return error


class Layers(GraphDriver):
    """``diff`` raises ``error`` at once, or in the middle; ``exists`` does at once."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error

    def exists(self, id: str) -> bool:
        if id == "well":
            return True
        raise self._error

    def diff(self, id: str, parent: str = "") -> Iterator[bytes]:
        try:
            if id == "middle":
                yield b"first"
            if id != "end":
                raise self._error
            yield b"first"
        finally:
            if id == "end":
                raise self._error


def raw(error: BaseException) -> App:
    """The same as a function."""
    layers = Layers(error)

    def app(request: Request) -> Response:
        place = request.read().decode().partition('"ID":"')[2].partition('"')[0]
        if request.method == "GraphDriver.Exists":
            return Response(200, b'{"Exists":%d}' % layers.exists(place))
        return Response(200, layers.diff(place))

    return app


@pytest.fixture(params=[raw, lambda error: PluginApp(Layers(error))], ids=["raw", "PluginApp"])
def make(request: pytest.FixtureRequest) -> Make:
    """How the app is made of an exception."""
    made: Make = request.param
    return made


def served(app: App, method: str, place: str) -> StartedResponse:
    """What a server sends; a failure here is not the odd exception, which pytest cannot show."""
    asked = Request(f"GraphDriver.{method}", b'{"ID":"%b"}' % place.encode())
    try:
        return answer(app, "POST", lambda: asked, RunningCall())
    except BaseException:  # noqa: S110  failed below, where it is not a context
        pass
    raise AssertionError("it was not answered")


def assert_logged(caplog: pytest.LogCaptureFixture, kind: str) -> None:
    """One record, whose lines are bounded."""
    assert len(caplog.records) == 1, kind
    written = logging.Formatter("%(levelname)s %(message)s").format(caplog.records[0])
    assert len(written) > 10, kind
    assert all(len(line.encode()) < 4096 for line in written.split("\n")), kind
    assert written.count("\n") < 2000, kind
    caplog.clear()


def test_an_exception_whose_own_code_fails_becomes_a_response_and_is_logged(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """A method or the first step of a stream raises the exception; later calls are served."""
    for kind, of_kind in ODD.items():
        error = of_kind()
        app = make(error)
        for method in ("Exists", "Diff"):
            answered = served(app, method, "x")
            body = b"".join(answered)
            answered.close()
            assert answered.status in {500, 503} or isinstance(error, WireError), kind
            assert body.startswith(b'{"Err":'), kind
            assert len(body) < 1 << 18, kind
            if answered.status != 400:
                assert_logged(caplog, kind)
        assert b"".join(served(app, "Exists", "well")).startswith(b'{"Exists":'), kind


def test_an_exception_whose_own_code_fails_cuts_a_stream_off(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """The server sees an ordinary exception instead, and the log has one record."""
    for kind, of_kind in ODD.items():
        assert_cut_off(served(make(of_kind()), "Diff", "middle"), kind)
        if "reason" not in kind:
            assert_logged(caplog, kind)
        caplog.clear()


def assert_cut_off(answered: StartedResponse, kind: str) -> None:
    """One chunk, an exception of Python's usual ones, and no more."""
    received = []
    cut: type[BaseException] | None = None
    try:
        for chunk in answered:
            received.append(chunk)  # noqa: PERF402  what came before the cut
    except BaseException as error:
        cut = type(error)
    assert cut is not None, kind
    assert issubclass(cut, Exception), kind
    try:
        answered.close()
    except BaseException:
        received = []
    assert received == [b"first"], kind


def test_an_exception_whose_own_code_fails_is_logged_when_a_stream_is_closed(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """The response was sent already, so the log is the only place for the exception."""
    for kind, of_kind in ODD.items():
        answered = served(make(of_kind()), "Diff", "end")
        assert next(iter(answered)) == b"first", kind
        try:
            answered.close()
        except BaseException:
            caplog.clear()
        assert_logged(caplog, kind)
