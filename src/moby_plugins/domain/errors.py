"""Every exception that this library raises on its own account.

::

    PluginError
    ├─ PluginNotFoundError (LookupError)     nothing by that name
    ├─ InvalidPluginNameError (ValueError)   no discovery of the registry could take that name
    ├─ PluginDisabledError                   a managed plugin that its engine has disabled
    ├─ NotImplementedByPluginError           alive, but not that subsystem
    ├─ SpecError (ValueError)                a spec or an address that cannot be used
    ├─ SettingsError (ValueError)            settings that cannot be used
    ├─ RecordingError (ValueError)           a file of recorded calls that cannot be read
    ├─ TransportError                        the exchange broke
    │  └─ TransportTimeoutError (TimeoutError)
    ├─ StatusError                           answered, but not with 200
    ├─ DriverError                           answered 200 with the subsystem's own error
    ├─ WaitCancelledError                    cancelled, or the registry or client was closed
    └─ WireError (ValueError)                answered 200, but not what was asked for

A call tries again after a ``TransportError`` that was not answered, and after
nothing else; ``get`` also after the ``PluginNotFoundError`` of its look-up
(see ``domain/retry.py``). All of them can be copied and pickled.

An error's text is one line, printable and bounded, whatever a plugin, a file or a
caller wrote (see ``domain/text.py``); its attributes hold all of it.
"""

import errno
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from http import HTTPStatus
from typing import TypeGuard, TypeVar

from moby_plugins.deferred_names import AtDoor
from moby_plugins.domain.text import class_name, listed, plain_text, quoted, sentence, shown

_DOOR = AtDoor("moby_plugins", __name__)

NOT_FOUND = 404
INTERNAL_ERROR = 500
_ERRORS = range(400, 600)

E = TypeVar("E", bound=BaseException)


class PluginError(Exception):
    """Base of all: catch this to catch whatever goes wrong with a plugin.

    ``attempts`` and ``elapsed`` (seconds, on the clock in use) say how often
    and for how long the thing was tried before this error was raised.
    """

    __module__ = _DOOR

    attempts: int = 1
    elapsed: float = 0.0

    def __str__(self) -> str:
        return sentence(super().__str__())

    def _tried(self) -> str:
        if self.attempts == 1:
            return "tried once"
        return f"tried {self.attempts} times in {self.elapsed:.3g} s"


class PluginNotFoundError(PluginError, LookupError):
    """No socket and no spec goes by that name.

    ``name`` is the plugin, ``searched`` the paths that were looked at, in order.
    """

    __module__ = _DOOR

    def __init__(self, name: str, searched: Iterable[str] = ()) -> None:
        self.name = name
        self.searched: tuple[str, ...] = tuple(searched)
        super().__init__(name, self.searched)

    def __str__(self) -> str:
        tried = self._tried()
        return f"plugin {quoted(self.name)} not found ({tried}; searched {listed(self.searched)})"


class InvalidPluginNameError(PluginError, ValueError):
    """The name cannot be a plugin's, wherever it is looked for; ``rule`` says why.

    On disk a name is not empty, no dot name, and without separators and NUL.
    """

    __module__ = _DOOR

    def __init__(
        self, name: object, rule: str = "no separators, no NUL, not empty, '.' or '..'"
    ) -> None:
        self.name = name
        self.rule = rule
        super().__init__(name)

    def __str__(self) -> str:
        return f"{quoted(self.name)} is not a plugin name: {sentence(self.rule)}"


class PluginDisabledError(PluginError):
    """The engine has the managed plugin ``name``, disabled. Never retried.

    ``name`` is the engine's, with its tag.
    """

    __module__ = _DOOR

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)

    def __str__(self) -> str:
        return f"plugin {quoted(self.name)} is disabled: docker plugin enable {shown(self.name)}"


class NotImplementedByPluginError(PluginError):
    """The plugin is alive, but does not implement the subsystem that was asked for.

    ``name`` is the plugin, ``wanted`` the subsystem, ``implements`` what it does implement.
    """

    __module__ = _DOOR

    def __init__(self, name: str, wanted: str, implements: Iterable[str] = ()) -> None:
        self.name = name
        self.wanted = wanted
        self.implements: tuple[str, ...] = tuple(implements)
        super().__init__(name, wanted, self.implements)

    def __str__(self) -> str:
        named, wanted = quoted(self.name), quoted(self.wanted)
        return (
            f"plugin {named} does not implement {wanted}; it implements {listed(self.implements)}"
        )


class SpecError(PluginError, ValueError):
    """A spec, an address or a TLS file that cannot be used. Never retried.

    ``reason`` says what is wrong, ``file`` where it stands ("" for an address given in code).
    """

    __module__ = _DOOR

    def __init__(self, reason: str, file: str = "") -> None:
        self.reason = reason
        self.file = file
        super().__init__(reason, file)

    def __str__(self) -> str:
        reason = sentence(self.reason)
        return f"{shown(self.file)}: {reason}" if self.file else reason


class SettingsError(PluginError, ValueError):
    """Settings that cannot be used: an unknown key, a wrong type, a value out of range."""

    __module__ = _DOOR


class RecordingError(PluginError, ValueError):
    """A file of recorded calls that cannot be read or written.

    ``reason`` says what is wrong, ``file`` and ``line`` (from 1, 0 for none) where.
    """

    __module__ = _DOOR

    def __init__(self, reason: str, file: str, line: int = 0) -> None:
        self.reason = reason
        self.file = file
        self.line = line
        super().__init__(reason, file, line)

    def __str__(self) -> str:
        line = f", line {self.line}" if self.line else ""
        return f"{shown(self.file)}{line}: {sentence(self.reason)}"


class TransportError(PluginError):
    """The exchange broke before a whole answer was there.

    ``reason`` says how; ``plugin`` (a name, "" for a client of its own) and
    ``address`` say with whom, ``method`` in which call; ``answered`` is true when a status
    line had come and the exchange broke after it (headers that are no HTTP are no answer);
    ``body_spent`` when the request's body was partly read and cannot be rewound.
    Either of the two rules a retry out.
    """

    __module__ = _DOOR

    answered: bool = False
    body_spent: bool = False
    method: str = ""

    def __init__(self, reason: str, address: str = "", plugin: str = "") -> None:
        self.reason = reason
        self.address = address
        self.plugin = plugin
        # One argument only: OSError, a base of the time-out, gives two and three its own meaning.
        super().__init__(reason)

    def __str__(self) -> str:
        spent = "; not tried again: its body was partly read and cannot be rewound"
        return (
            f"{_subject(self.plugin, self.address)}{sentence(self.reason)} "
            f"({self._tried()}{spent if self.body_spent else ''})"
        )


class TransportTimeoutError(TransportError, TimeoutError):
    """The time-out of one attempt ran out; ``answered`` says whether while the body came."""

    __module__ = _DOOR


class StatusError(PluginError):
    """The plugin answered, but not with status 200. Never retried.

    ``status`` is the HTTP status, ``method`` what was called, ``message`` the
    plugin's ``Err`` or the text of its body, whole (protocol.md A4); ``plugin`` and
    ``address`` say whose answer it is, as a note does in tracebacks.
    """

    __module__ = _DOOR

    plugin: str = ""
    address: str = ""

    def __init__(self, status: int, method: str, message: str) -> None:
        self.status = status
        self.method = method
        self.message = message
        super().__init__(status, method, message)

    def __str__(self) -> str:
        return f"{shown(self.method)}: {shown(self.message)}"


class DriverError(PluginError):
    """The plugin answered 200, and the answer carries the subsystem's own error.

    ``method`` is what was called, ``message`` what the driver said, whole;
    ``plugin``, ``address`` and ``status`` are as in ``StatusError``.
    """

    __module__ = _DOOR

    plugin: str = ""
    address: str = ""
    status: int = 200

    def __init__(self, method: str, message: str) -> None:
        self.method = method
        self.message = message
        super().__init__(method, message)

    def __str__(self) -> str:
        return f"{shown(self.method)}: {shown(self.message)}"


class WireError(PluginError, ValueError):
    """The plugin answered 200, but not what was asked for.

    Wrong JSON or type, cut off, badly chunked, or too large: ``reason`` says
    which; ``method``, ``address`` and ``plugin`` say of what. Never retried.
    """

    __module__ = _DOOR

    def __init__(self, reason: str, method: str = "", address: str = "", plugin: str = "") -> None:
        self.reason = reason
        self.method = method
        self.address = address
        self.plugin = plugin
        super().__init__(reason, method, address, plugin)

    def __str__(self) -> str:
        method = f"{shown(self.method)}: " if self.method else ""
        reason = sentence(self.reason)
        return f"{_subject(self.plugin, self.address)}{method}{reason}"


class WaitCancelledError(PluginError):
    """A wait or a call was cancelled, or its registry or client was closed. Never retried.

    ``reason`` says which; ``plugin`` and ``address`` say of what, where that is known.
    ``attempts`` counts those that were begun: 0 for a wait for the attempts of another thread.
    """

    __module__ = _DOOR
    attempts: int = 0

    def __init__(self, reason: str, plugin: str = "", address: str = "") -> None:
        self.reason = reason
        self.plugin = plugin
        self.address = address
        super().__init__(reason, plugin, address)

    def __str__(self) -> str:
        subject = _subject(self.plugin, self.address).removesuffix(": ")
        known = "; ".join(filter(None, (subject, self._tried() if self.attempts else "")))
        return sentence(self.reason) + (f" ({known})" if known else "")


def is_kind(error: BaseException, kind: type[E]) -> TypeGuard[E]:
    """Whether ``error`` is of that class, which ``isinstance`` would ask its own code too."""
    return issubclass(type(error), kind)


def error_text(error: BaseException) -> str:
    """Return an exception's text, or its type's name where it has none or fails to give it."""
    try:
        return plain_text(error) or class_name(error)
    except BaseException:
        return class_name(error)


def status_and_text(error: BaseException) -> tuple[int, str]:
    """Return what a call is answered with whose code raised ``error``.

    That is 500, but for a ``StatusError`` its status. Its class may be an author's own, and its
    attributes whatever was given.
    """
    status, message = INTERNAL_ERROR, ""
    if is_kind(error, StatusError):
        with suppress(BaseException):
            message = plain_text(error.message or "")
            status = int(error.status) if error.status in _ERRORS else INTERNAL_ERROR
    return status, message or error_text(error)


def is_not_found(error: BaseException | None) -> bool:
    """Return whether a plugin answered "not found": status 404, and that only (protocol.md A4).

    Args:
        error: Any exception, or ``None``. It is looked through by ``__cause__``, so an error that
            wraps the answer counts.

    Returns:
        Whether one of them is a ``StatusError`` with 404.
    """
    return any(isinstance(e, StatusError) and e.status == NOT_FOUND for e in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__


def is_missing_socket(error: BaseException) -> bool:
    """Whether a dial failed because there is no socket at the address, or no longer."""
    return any(isinstance(e, OSError) and e.errno == errno.ENOENT for e in _causes(error))


def sign(error: StatusError | DriverError, plugin: str, address: str) -> None:
    """Say in ``error`` whose answer it is: in its attributes, and in a note."""
    error.plugin, error.address = plugin, address
    error.add_note(_origin(error))


def in_full(error: BaseException) -> str:
    """Return the text of ``error`` for logs and screens: for an answer, also whose it is."""
    if is_kind(error, StatusError) or is_kind(error, DriverError):
        subject = _subject(error.plugin, error.address).removesuffix(": ")
        if not error.message:
            return answer_in_brief(error) + (f" ({subject})" if subject else "")
        return f"{error} ({_origin(error)})"
    return str(error) if is_kind(error, PluginError) else shown(error)


def answer_in_brief(error: StatusError | DriverError) -> str:
    """Return the text of ``error``, in which the status stands for a message that is missing."""
    return str(error) if error.message else f"{shown(error.method)}: {_status(error)}"


def _origin(error: StatusError | DriverError) -> str:
    subject = _subject(error.plugin, error.address).removesuffix(": ")
    return ", ".join(filter(None, (subject, _status(error))))


def _status(error: StatusError | DriverError) -> str:
    return f"status {status_line(error.status)}"


@lru_cache(maxsize=64)
def status_line(status: int) -> str:
    """A status with its name: ``503 Service Unavailable``."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status} Unknown"


def _subject(plugin: str, address: str) -> str:
    # Both together count as one text.
    named = f"plugin {plugin!r}" if plugin else ""
    where = f" at {address}" if named and address else address
    return f"{shown(named + where)}: " if named or where else ""
