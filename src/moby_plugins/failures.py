"""The log of the library, and in it failures of the code of others: methods, handlers, observers.

``logger`` is the one that all modules log to. It has a handler that does nothing, so that a
program which sets up no logging finds nothing on its standard error.

An engine reads the output of a managed plugin line by line, and stops at a line of more than
64 KiB: the plugin then hangs as soon as it writes again. So each line here is bounded, whatever
an exception says, and holds nothing that would begin another line or move a cursor. Logging a
failure raises nothing: an exception's attributes and the log's handlers are code of others too.
"""

import logging
import os
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from moby_plugins.domain.errors import StatusError, in_full, is_kind
from moby_plugins.domain.text import class_name, shown

logger: logging.Logger = logging.getLogger("moby_plugins")
logger.addHandler(logging.NullHandler())

# A method that raises one of these refuses the call; anything else is a mistake of its author's.
REFUSALS = (StatusError, ValueError, LookupError, OSError)

# Characters: less than 4 KiB for any encoding, where a stream escapes what it cannot encode too.
_MAX_LINE = 400
# The same for a line that may be longer, in bytes: what a formatter puts before it has room.
_MAX_BYTES = 3900
# Of a chain of exceptions, of a stack, and of a group or notes: the last, the last, the first.
_MAX_LINKS, _MAX_FRAMES, _MAX_MEMBERS = 8, 64, 16
_CAUSED = "The above exception was the direct cause of the following exception:"
_DURING = "During handling of the above exception, another exception occurred:"


def log_failed_call(what: str, error: BaseException) -> None:
    """Log that ``what``, a call of a method, failed: a refusal on one line, else with its stack.

    ``StatusError``, ``ValueError``, ``LookupError`` and ``OSError`` are refusals.
    """
    if not issubclass(type(error), REFUSALS):
        log_failure(what, error)
        return
    # A status is what its author chose to answer.
    level = logging.WARNING if is_kind(error, StatusError) else logging.ERROR
    with _passed_over():
        logger.log(level, "%s", _one_line(f"{shown(what)}: {_named(error)}{_place(error)}"))


def log_failure(what: str, error: BaseException) -> None:
    """Log that ``what`` failed, with the stack of ``error`` and of its causes."""
    if not logger.isEnabledFor(logging.ERROR):
        return
    file, line, function, _ = logger.findCaller()
    info = (type(error), error, _own(error, "__traceback__"))
    record = logger.makeRecord(
        logger.name, logging.ERROR, file, line, "%s", (shown(what),), info, function
    )
    # Formatters take this text, where there is one, and do not make their own.
    record.exc_text = "\n".join(shown(each, _MAX_LINE) for each in _trace(error))
    with _passed_over():
        logger.handle(record)


@contextmanager
def _passed_over() -> Iterator[None]:
    # What is logged about is answered all the same, whatever a handler of the log raises. An
    # interrupt may be the caller's own.
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: S110  there is no log to put it in
        pass


def _own(error: BaseException, name: str) -> Any:
    # What Python itself keeps under that name, whatever the exception's class has there.
    return vars(BaseException)[name].__get__(error)


def _one_line(text: str) -> str:
    # Several texts of others may stand in it, each of them within its own bound.
    line = shown(text, _MAX_BYTES)
    size = len(line.encode("ascii", "backslashreplace"))
    return line if size <= _MAX_BYTES else shown(line, _MAX_LINE)


def _trace(error: BaseException) -> Iterator[str]:
    for link, joint in reversed([*islice(_chain(error), _MAX_LINKS)]):
        yield "Traceback (most recent call last):"
        for frame in traceback.extract_tb(_own(link, "__traceback__"), -_MAX_FRAMES).format():
            yield from frame.splitlines()
        yield _named(link)
        yield from _notes(link)
        if is_kind(link, BaseExceptionGroup):
            members = vars(BaseExceptionGroup)["exceptions"].__get__(link)
            yield from (f"  | {_named(each)}" for each in members[:_MAX_MEMBERS])
        if joint:
            yield from ("", joint, "")


def _chain(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    # From the last to the first; each with what leads from it to the one that came later.
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
    except BaseException:  # code of others too
        return ["notes that cannot be shown"]


def _named(error: BaseException) -> str:
    name = class_name(error)
    try:
        text = in_full(error)
    except BaseException:  # what an exception has for its text is code of others too
        return f"{shown(name)}, which cannot be shown"
    return f"{name}: {text}" if text else name


def _place(error: BaseException) -> str:
    # Where a refusal has no stack, its author still wants to know which line it came from.
    frames = [*traceback.walk_tb(_own(error, "__traceback__"))]
    if not frames:
        return ""
    frame, line = frames[-1]
    return f" ({shown(os.path.basename(frame.f_code.co_filename))}, line {line})"
