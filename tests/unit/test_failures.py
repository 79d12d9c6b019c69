"""The log of failures in users' code: lines of bounded length, whatever the exceptions hold."""

import logging
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

import pytest

from moby_plugins.domain.errors import (
    DriverError,
    RecordingError,
    SpecError,
    StatusError,
    TransportError,
    TransportTimeoutError,
    WireError,
    sign,
)
from moby_plugins.failures import call_all, log_failed_call, log_failure

HOSTILE = "\n2026-01-01 CRITICAL sshd: \x1b[2J\u2028\U000e0001" * 1_000
LINE_BYTES = 4096


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    """The same, with a stack."""
    try:
        raise error from cause
    except BaseException as caught:
        return caught


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What a handler with an ordinary formatter writes of the one record."""
    [record] = caplog.records
    assert record.name == "moby_plugins"
    written = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s").format(record)
    return written.split("\n")


@pytest.mark.parametrize(
    ("error", "text", "level"),
    [
        (StatusError(404, "M.x", "gone"), "StatusError: M.x: gone (status 404 Not Found)", 30),
        (ValueError("no size"), "ValueError: no size", 40),
        (KeyError("Name"), "KeyError: 'Name'", 40),
        (IndexError(), "IndexError", 40),
        (OSError(28, "disk full"), "OSError: [Errno 28] disk full", 40),
        (FileNotFoundError("a\nb"), "FileNotFoundError: a\\nb", 40),
        (UnicodeError("x"), "UnicodeError: x", 40),
    ],
)
def test_an_exception_that_refuses_a_call_is_logged_as_one_line(
    error: Exception, text: str, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Such an exception, a ``ValueError`` for example, is logged with its origin and no stack."""
    log_failed_call("M.x failed", raised(error))

    [record] = caplog.records
    assert record.levelno == level
    assert record.exc_info is None
    message = record.getMessage()
    assert message.startswith(f"M.x failed: {text} (test_failures.py, line ")
    assert message.isprintable()


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("a mistake"),
        AttributeError("none"),
        SystemExit(3),
        TransportError("refused", "tcp://h:1"),
        AssertionError(),
    ],
)
def test_any_other_exception_is_logged_with_its_stack(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """It is taken for a bug; the record also has the exception as ``exc_info``."""
    log_failed_call("M.x failed", raised(error))

    first, second, *rest = lines(caplog)
    assert first.endswith("ERROR moby_plugins: M.x failed")
    assert second == "Traceback (most recent call last):"
    assert any("raise error from cause" in line for line in rest)
    assert rest[-1].startswith(type(error).__name__)
    assert caplog.records[0].exc_info == (type(error), error, error.__traceback__)


def test_causes_of_an_exception_are_logged_in_the_order_of_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The first cause comes first, followed by what it led to, as Python prints them."""
    cause = raised(KeyError("first"))
    log_failure("M.x failed", raised(RuntimeError("last"), cause))

    _, *rest = lines(caplog)
    told = [line for line in rest if "Error: " in line or "cause of" in line]
    assert told == [
        "KeyError: 'first'",
        "The above exception was the direct cause of the following exception:",
        "RuntimeError: last",
    ]


def test_the_context_of_an_exception_is_logged_unless_it_was_suppressed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After ``raise … from None`` the log does not show the exception that was being handled."""
    error, suppressed = RuntimeError("last"), RuntimeError("last")
    error.__context__ = suppressed.__context__ = ValueError("first")
    suppressed.__suppress_context__ = True

    log_failure("M.x failed", error)
    log_failure("M.x failed", suppressed)

    told, hidden = (logging.Formatter().format(record) for record in caplog.records)
    assert "ValueError: first" in told
    assert "During handling of the above exception, another exception occurred:" in told
    assert "first" not in hidden


@pytest.mark.parametrize("kind", [RuntimeError, ValueError, OSError, LookupError, SystemExit])
def test_no_logged_line_is_longer_than_four_kibibytes(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """This holds in any encoding; no text of an exception, a note or a group begins a line."""
    error = kind(HOSTILE)
    error.add_note(HOSTILE)
    group = BaseExceptionGroup(HOSTILE, [kind(HOSTILE)] * 100)
    group.add_note(HOSTILE)

    log_failed_call(HOSTILE, raised(error, raised(group, raised(DriverError("M.x", HOSTILE)))))

    written = lines(caplog)
    assert len(written) < 100
    assert not [line for line in written if line.startswith("2026-01-01 CRITICAL")]
    assert all(line.isprintable() for line in written)
    for encoding in ("utf-8", "ascii"):
        sizes = [len(line.encode(encoding, "backslashreplace")) for line in written]
        assert max(sizes) <= LINE_BYTES


def test_long_stacks_and_chains_of_causes_are_logged_in_part(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The last calls and the last causes are shown, and a circle of causes comes to an end."""

    def deep(left: int) -> None:
        if left:
            deeper(left - 1)
        raise RuntimeError("deep")

    def deeper(left: int) -> None:
        deep(left)

    error: BaseException = RuntimeError("first")
    for number in range(100):
        error = raised(RuntimeError(f"number {number}"), error)
    try:
        deep(200)
    except RuntimeError as caught:
        caught.__cause__ = error
        error.__cause__ = raised(ValueError("in between"), caught)
        log_failure("M.x failed", caught)

    written = lines(caplog)
    assert len(written) < 600
    assert written[-1] == "RuntimeError: deep"


def test_an_error_of_another_plugin_is_logged_with_its_name_and_address(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A plugin may call another plugin; the log then shows which one responded with the error."""
    error = DriverError("M.x", "full")
    sign(error, "db", "tcp://h:1")

    log_failed_call("V.Create failed", raised(error))

    assert lines(caplog)[-2:] == [
        "DriverError: M.x: full (plugin 'db' at tcp://h:1, status 200 OK)",
        "plugin 'db' at tcp://h:1, status 200 OK",
    ]


def test_no_log_record_is_made_if_the_logger_is_switched_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A failure makes no record if the logger's level is above ``ERROR``."""
    caplog.set_level(logging.CRITICAL, "moby_plugins")

    log_failure("M.x failed", raised(RuntimeError("x")))

    assert caplog.records == []


class Strict(logging.Handler):
    """A handler that raises at every record, as some do to end a program at its first error."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error

    def emit(self, record: logging.LogRecord) -> None:
        raise self._error


@pytest.fixture
def strict(request: pytest.FixtureRequest) -> Iterator[None]:
    """Such a handler at the log."""
    handler = Strict(request.param)
    logger = logging.getLogger("moby_plugins")
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)


@pytest.mark.parametrize("strict", [SystemExit(3), RuntimeError("no log")], indirect=True)
@pytest.mark.usefixtures("strict")
def test_an_exception_of_a_log_handler_is_ignored() -> None:
    """A failing log handler must not prevent the response to the call that failed."""
    log_failure("M.x failed", raised(RuntimeError("a mistake")))
    log_failed_call("M.x failed", raised(ValueError("a refusal")))


@pytest.mark.parametrize("strict", [KeyboardInterrupt()], indirect=True)
@pytest.mark.usefixtures("strict")
def test_a_keyboard_interrupt_while_a_failure_is_logged_is_raised() -> None:
    """Ctrl-C may come at any time, and must reach the caller."""
    with pytest.raises(KeyboardInterrupt):
        log_failure("M.x failed", raised(RuntimeError("a mistake")))


@pytest.mark.parametrize("char", ["x", "漢", "\U0001f4a5"])
@pytest.mark.parametrize(
    "error",
    [
        lambda text: StatusError(409, text, text),
        lambda text: WireError(text, text, text, text),
        lambda text: SpecError(text, text),
        lambda text: RecordingError(text, text, 5),
        lambda text: TransportTimeoutError(text, text, text),
        lambda text: type(f"x\n{text}", (ValueError,), {})(text),
    ],
)
def test_an_exception_with_several_long_texts_is_logged_as_one_short_line(
    error: Callable[[str], Exception], char: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Each text is shortened, and the line stays below 4 KiB even if all of it is escaped."""
    log_failed_call(f"M.{char * 1000} failed", raised(error(char * 10_000)))

    [line] = lines(caplog)
    assert line.isprintable()
    assert len(line.encode("ascii", "backslashreplace")) <= LINE_BYTES


class OddCauseError(Exception):
    """An exception whose ``__cause__`` raises when it is read."""

    @property
    def __cause__(self) -> BaseException | None:  # type: ignore[override]
        raise SystemExit


def noted(notes: Any) -> Exception:
    """An exception with what Python lets pass for notes."""
    error = RuntimeError("a mistake")
    error.__notes__ = notes
    return error


@pytest.mark.parametrize(
    "error",
    [
        OddCauseError(),
        noted(5),
        noted(repeat("note")),
        TransportError(None, None, 5),  # type: ignore[arg-type]
    ],
)
def test_an_exception_whose_attributes_raise_is_logged_nevertheless(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has at least the message and the class, even if text or causes are unusable."""
    log_failed_call("M.x failed", error)

    written = lines(caplog)
    assert written[0].endswith("M.x failed")
    assert type(error).__name__ in "".join(written[1:])
    assert len(written) < 100


def test_call_all_makes_every_call_and_raises_the_first_exception(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The exceptions of later calls are logged instead."""
    called: list[int] = []

    def call(number: int, error: BaseException | None = None) -> Callable[[], object]:
        def run() -> None:
            called.append(number)
            if error is not None:
                raise error

        return run

    with pytest.raises(OSError, match="first"):
        call_all([call(1), call(2, OSError("first")), call(3, ValueError("second")), call(4)])
    call_all([call(5)])

    assert called == [1, 2, 3, 4, 5]
    [record] = caplog.records
    assert record.getMessage() == "what was left to do failed too"
    assert "ValueError: second" in str(record.exc_text)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), SystemExit(3)], ids=repr)
def test_call_all_raises_an_interrupt_rather_than_an_error(interrupt: BaseException) -> None:
    """``KeyboardInterrupt`` and ``SystemExit`` are meant for the caller, in any order."""

    def fail() -> None:
        raise ValueError

    def interrupted() -> None:
        raise interrupt

    for calls in ([fail, interrupted], [interrupted, fail]):
        with pytest.raises(type(interrupt)) as caught:
            call_all(calls)
        assert caught.value is interrupt


def test_a_file_name_in_a_stack_cannot_forge_a_line_of_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Generated code may have a file name with line breaks, which are escaped."""
    odd = compile("1/0", "t\n2026-01-01 CRITICAL sshd: forged", "exec")
    try:
        exec(odd)  # noqa: S102  our own text
    except ZeroDivisionError as error:
        log_failed_call("M.x failed", error)

    lines = caplog.text.splitlines()
    assert not [line for line in lines if line.startswith("2026-01-01")]
    assert [line for line in lines if "t\\n2026-01-01 CRITICAL sshd: forged" in line]
