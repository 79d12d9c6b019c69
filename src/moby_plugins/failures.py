"""The library's log, and the logging of failures in user code: methods, handlers, observers.

``call_all`` calls several functions of which some may fail.

All modules use ``logger``. It has a handler that does nothing, so that a program without a logging
configuration prints nothing to standard error.

An engine reads the output of a managed plugin line by line, and stops at a line of more than
64 KiB: the plugin then hangs as soon as it writes again. Each line that is logged here therefore
has a limited length, and contains no character that starts another line or moves the cursor.
Logging a failure raises nothing, although an exception's attributes and log handlers are user code
too; only a ``KeyboardInterrupt`` passes.
"""

import logging
import os
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from moby_plugins.domain.errors import StatusError, in_full, is_kind
from moby_plugins.domain.text import class_name, quoted, shown

logger: logging.Logger = logging.getLogger("moby_plugins")
logger.addHandler(logging.NullHandler())

# A plugin's method raises one of these to refuse a call; any other exception is a bug.
REFUSALS = (StatusError, ValueError, LookupError, OSError)

# The most characters of a line: less than 4 KiB in any encoding, and if all are escaped.
_MAX_LINE = 400
# The most bytes of a line that may be longer; leaves room for a formatter's prefix.
_MAX_BYTES = 3900
# The most exceptions of a chain (the last), frames of a stack (the last), members of a group or
# notes (the first).
_MAX_LINKS, _MAX_FRAMES, _MAX_MEMBERS = 8, 64, 16
_CAUSED = "The above exception was the direct cause of the following exception:"
_DURING = "During handling of the above exception, another exception occurred:"


def log_line(level: int, message: str, *values: object) -> None:
    """Log ``message % values``, and ignore exceptions of log handlers.

    For the threads of servers. The caller has cut and escaped texts that come from others.
    """
    with _ignoring_failures_of_the_log():
        logger.log(level, message, *values, stacklevel=2)


def log_failed_call(what: str, error: BaseException) -> None:
    """Log that ``what``, a call of a method, failed: a refusal in one line, else with the stack.

    ``StatusError``, ``ValueError``, ``LookupError`` and ``OSError`` are refusals.
    """
    if not issubclass(type(error), REFUSALS):
        log_failure(what, error)
        return
    # The method chose the status of a ``StatusError``, so this is only a warning.
    level = logging.WARNING if is_kind(error, StatusError) else logging.ERROR
    with _ignoring_failures_of_the_log():
        logger.log(level, "%s", _one_line(f"{shown(what)}: {_named(error)}{_raised_at(error)}"))


def call_all(calls: Iterable[Callable[[], object]]) -> None:
    """Call each function, also after one has raised; then raise the first exception.

    For example, to close several things. A ``KeyboardInterrupt``, or another exception that is no
    ``Exception``, is raised before others. The exceptions that are not raised are logged.
    """
    raised: list[BaseException] = []
    for call in calls:
        try:
            call()
        except BaseException as error:
            raised.append(error)
    if not raised:
        return
    raised.sort(key=lambda each: isinstance(each, Exception))  # keeps the order otherwise
    try:
        _log_all("what was left to do failed too", raised[1:])
        raise raised[0]
    finally:
        raised.clear()  # their tracebacks refer to this frame: break the cycle


def _log_all(what: str, errors: Iterable[BaseException]) -> None:
    for error in errors:
        log_failure(what, error)


def log_failure(what: str, error: BaseException) -> None:
    """Log that ``what`` failed, with the stack of ``error`` and of its causes."""
    if not logger.isEnabledFor(logging.ERROR):
        return
    file, line, function, _ = logger.findCaller()
    info = (type(error), error, _own(error, "__traceback__"))
    record = logger.makeRecord(
        logger.name, logging.ERROR, file, line, "%s", (shown(what),), info, function
    )
    # Formatters use ``exc_text`` if it is set, instead of formatting the exception.
    record.exc_text = "\n".join(shown(each, _MAX_LINE) for each in _trace(error))
    with _ignoring_failures_of_the_log():
        logger.handle(record)


@contextmanager
def _ignoring_failures_of_the_log() -> Iterator[None]:
    # A failing log handler must not prevent the response to the failed call. A KeyboardInterrupt
    # passes, because it may be meant for the caller.
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: S110  the log itself failed
        pass


def _own(error: BaseException, name: str) -> Any:
    # Read Python's own attribute, even if the exception's class overrides it.
    return vars(BaseException)[name].__get__(error)


def _one_line(text: str) -> str:
    # The text may contain several foreign texts, each of limited length.
    line = shown(text, _MAX_BYTES)
    size = len(line.encode("ascii", "backslashreplace"))
    return line if size <= _MAX_BYTES else shown(line, _MAX_LINE)


def _trace(error: BaseException) -> Iterator[str]:
    for link, joint in reversed([*islice(_chain(error), _MAX_LINKS)]):
        yield "Traceback (most recent call last):"
        for frame in traceback.extract_tb(_own(link, "__traceback__"), -_MAX_FRAMES):
            yield from _frame_lines(frame)
        yield _named(link)
        yield from _notes(link)
        if is_kind(link, BaseExceptionGroup):
            members = vars(BaseExceptionGroup)["exceptions"].__get__(link)
            yield from (f"  | {_named(each)}" for each in members[:_MAX_MEMBERS])
        if joint:
            yield from ("", joint, "")


def _frame_lines(frame: traceback.FrameSummary) -> list[str]:
    # The name of a file or function of generated code may hold any character.
    if frame.filename.isprintable() and frame.name.isprintable():
        return "".join(traceback.format_list([frame])).splitlines()
    return [f"  File {quoted(frame.filename)}, line {frame.lineno}, in {shown(frame.name)}"]


def _chain(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    # From the last exception to the first, each with the line that joins it to the later one.
    seen: set[int] = set()
    link: BaseException | None = error
    joint = ""
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link, joint
        cause = _own(link, "__cause__")
        joint = _DURING if cause is None else _CAUSED
        if cause is None and not _own(link, "__suppress_context__"):
            cause = _own(link, "__context__")
        link = cause


def _notes(error: BaseException) -> list[str]:
    try:
        notes = getattr(error, "__notes__", ())
        several = issubclass(type(notes), Iterable) and not issubclass(type(notes), (str, bytes))
        return [shown(note) for note in islice(notes if several else (notes,), _MAX_MEMBERS)]
    except BaseException:  # the notes are user code too
        return ["notes that cannot be shown"]


def _named(error: BaseException) -> str:
    name = class_name(error)
    try:
        text = in_full(error)
    except BaseException:  # an exception's ``__str__`` is user code too
        return f"{shown(name)}, which cannot be shown"
    return f"{name}: {text}" if text else name


def _raised_at(error: BaseException) -> str:
    # A refusal is logged without its stack, so name the line that raised it.
    frames = [*traceback.walk_tb(_own(error, "__traceback__"))]
    if not frames:
        return ""
    frame, line = frames[-1]
    return f" ({shown(os.path.basename(frame.f_code.co_filename))}, line {line})"
