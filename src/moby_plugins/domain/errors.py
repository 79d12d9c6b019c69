"""The exceptions of this library.

::

    PluginError
    ├─ PluginNotFoundError (LookupError)     no plugin has that name
    ├─ InvalidPluginNameError (ValueError)   no discovery of the registry accepts that name
    ├─ PluginDisabledError                   a managed plugin that its engine has disabled
    ├─ NotImplementedByPluginError           active, but does not implement the subsystem
    ├─ SpecError (ValueError)                a spec or an address that cannot be used
    ├─ SettingsError (ValueError)            settings that cannot be used
    ├─ RecordingError (ValueError)           a file of recorded calls that cannot be used
    ├─ TransportError                        no complete response was received
    │  └─ TransportTimeoutError (TimeoutError)
    ├─ StatusError                           a response with another status than 200
    ├─ DriverError                           a response with status 200 and the driver's error
    ├─ WaitCancelledError                    cancelled, or the registry or client was closed
    └─ WireError (ValueError)                a response with status 200 and an invalid body

A call is retried only after a ``TransportError`` whose ``answered`` and ``body_spent`` are false;
``get`` also retries after the ``PluginNotFoundError`` of its look-up (see ``domain/retry.py``).
All errors can be copied and pickled.

The text of an error is one printable line of bounded length, even if it quotes a plugin, a file
or a caller (see ``domain/text.py``); its attributes hold the complete values.
"""

import errno
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from typing import TypeGuard, TypeVar

from moby_plugins.deferred_names import AtDoor
from moby_plugins.domain.text import class_name, listed, plain_text, quoted, sentence, shown

_DOOR = AtDoor("moby_plugins", __name__)

NOT_FOUND = 404
INTERNAL_ERROR = 500
_ERRORS = range(400, 600)

E = TypeVar("E", bound=BaseException)


class PluginError(Exception):
    """The base class of this library's exceptions.

    ``attempts`` and ``elapsed`` say how many attempts were made before this error was raised, and
    how many seconds they took by the clock in use.
    """

    __module__ = _DOOR

    attempts: int = 1
    elapsed: float = 0.0

    def __str__(self) -> str:
        return sentence(super().__str__())

    def __repr__(self) -> str:
        # Programs, and asyncio, log it too: so it is as bounded as the text.
        return f"{class_name(self)}({', '.join(map(quoted, self.args))})"

    def _tried(self) -> str:
        if self.attempts == 1:
            return "tried once"
        return f"tried {self.attempts} times in {self.elapsed:.3g} s"


class PluginNotFoundError(PluginError, LookupError):
    """No plugin with that name was found.

    ``name`` is the plugin's name, ``searched`` the places that were searched, in order.
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
    """A name that no plugin can have; ``rule`` says why.

    The name of a plugin on disk is not empty, ``.`` or ``..``, and has no separators or NUL.
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
    """The managed plugin ``name`` is disabled in its engine. Never retried.

    ``name`` is the plugin's name in the engine, with the tag.
    """

    __module__ = _DOOR

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)

    def __str__(self) -> str:
        return f"plugin {quoted(self.name)} is disabled: docker plugin enable {shown(self.name)}"


class NotImplementedByPluginError(PluginError):
    """The plugin is active, but does not implement the requested subsystem.

    ``name`` is the plugin's name, ``wanted`` the subsystem, ``implements`` the subsystems that the
    plugin implements.
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

    ``reason`` says what is wrong, ``file`` is the path of the spec or TLS file ("" for an address
    given in code).
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
    """Settings that cannot be used, or that name something missing.

    A key is unknown, or a value has the wrong type or is out of range; or a library, a group or a
    feature of the platform is missing.
    """

    __module__ = _DOOR


class RecordingError(PluginError, ValueError):
    """A file of recorded calls that cannot be read or written.

    ``reason`` says what is wrong. ``file`` is the path of the file, and ``line`` the number of the
    line, from 1; 0 if the error is of no line.
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
    """The exchange failed before a complete response was received.

    ``reason`` says how it failed. ``plugin`` (the plugin's name; "" for a client without one),
    ``address`` and ``method`` identify the call. ``answered`` is true if the exchange failed after
    a status line was received (malformed headers do not count as a response); ``body_spent`` if the
    request's body was partly read and cannot be rewound. If either is true, the call is not
    retried.
    """

    __module__ = _DOOR

    answered: bool = False
    body_spent: bool = False
    method: str = ""

    def __init__(self, reason: str, address: str = "", plugin: str = "") -> None:
        self.reason = reason
        self.address = address
        self.plugin = plugin
        # One argument only: OSError, a base of the subclass, interprets two or three arguments.
        super().__init__(reason)

    def __str__(self) -> str:
        spent = "; not tried again: the request's body was partly read and cannot be rewound"
        return (
            f"{_subject(self.plugin, self.address)}{sentence(self.reason)} "
            f"({self._tried()}{spent if self.body_spent else ''})"
        )


class TransportTimeoutError(TransportError, TimeoutError):
    """The time-out of one attempt expired; ``answered`` is true if a status line was received."""

    __module__ = _DOOR


class StatusError(PluginError):
    """The plugin responded with another status than 200. Never retried.

    ``status`` is the HTTP status, ``method`` the method that was called, ``message`` the plugin's
    ``Err``, or else the text of the body, up to 1 MiB (protocol.md A4). ``plugin`` and ``address``
    identify the plugin; a note shows them in tracebacks.
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
    """The plugin responded with status 200 and an error of its driver.

    ``method`` is the method that was called, ``message`` the driver's complete message, ``status``
    200. ``plugin`` and ``address`` identify the plugin; a note shows them in tracebacks.
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
    """The plugin responded with status 200, but the body cannot be used. Never retried.

    The body is not JSON, has a wrong type, is cut off, badly chunked or too large: ``reason`` says
    which. ``method``, ``address`` and ``plugin`` identify the call. In a served plugin, this is
    raised for a request's body that is cut off, and for a method's result of the wrong type.
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

    ``reason`` says which; ``plugin`` and ``address`` identify the plugin, if known. ``attempts``
    counts the attempts that were begun: 0 if the caller waited for another thread's attempts.
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
    """Return whether the type of ``error`` is ``kind`` or a subclass.

    Unlike ``isinstance``, this does not read ``error.__class__``, which a class may override.
    """
    return issubclass(type(error), kind)


def error_text(error: BaseException) -> str:
    """Return the text of ``error``, or its type's name if the text is empty or ``str()`` fails."""
    try:
        return plain_text(error) or class_name(error)
    except BaseException:
        return class_name(error)


def status_and_text(error: BaseException) -> tuple[int, str]:
    """Return the status and message with which a server responds if an app raises ``error``.

    The status is 500, or that of a ``StatusError`` if it is an error status. ``error`` may be of
    any class, with attributes of any type: nothing is raised.
    """
    status, message = INTERNAL_ERROR, ""
    if is_kind(error, StatusError):
        with suppress(BaseException):
            message = plain_text(error.message or "")
            status = int(error.status) if error.status in _ERRORS else INTERNAL_ERROR
    return status, message or error_text(error)


def is_not_found(error: BaseException | None) -> bool:
    """Return whether ``error`` means that a plugin responded with status 404 (protocol.md A4).

    Args:
        error: Any exception, or ``None``. Its chain of ``__cause__`` is searched too, so an error
            that wraps the ``StatusError`` counts.

    Returns:
        Whether ``error`` or one of its causes is a ``StatusError`` with 404.
    """
    return any(isinstance(e, StatusError) and e.status == NOT_FOUND for e in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__


def is_missing_socket(error: BaseException) -> bool:
    """Return whether connecting failed because no socket exists at the address."""
    return any(isinstance(e, OSError) and e.errno == errno.ENOENT for e in _causes(error))


def sign(error: StatusError | DriverError, plugin: str, address: str) -> None:
    """Record in the attributes of ``error``, and in a note, which plugin responded with it."""
    error.plugin, error.address = plugin, address
    error.add_note(_origin(error))


def in_full(error: BaseException) -> str:
    """Return the text of ``error`` for logs and screens, with the plugin that responded with it."""
    if is_kind(error, StatusError) or is_kind(error, DriverError):
        subject = _subject(error.plugin, error.address).removesuffix(": ")
        if not error.message:
            return response_in_brief(error) + (f" ({subject})" if subject else "")
        return f"{error} ({_origin(error)})"
    return str(error) if is_kind(error, PluginError) else shown(error)


def response_in_brief(error: StatusError | DriverError) -> str:
    """Return the text of ``error``, with the status in place of an empty message."""
    return str(error) if error.message else f"{shown(error.method)}: {_status(error)}"


def _origin(error: StatusError | DriverError) -> str:
    subject = _subject(error.plugin, error.address).removesuffix(": ")
    return ", ".join(filter(None, (subject, _status(error))))


def _status(error: StatusError | DriverError) -> str:
    return f"status {status_line(error.status)}"


@lru_cache(maxsize=64)
def status_line(status: int) -> str:
    """Return a status with its name, such as ``503 Service Unavailable``."""
    from http import HTTPStatus  # an enumeration of 60 members, for messages alone

    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status} Unknown"


def _subject(plugin: str, address: str) -> str:
    # The limit of length applies to both together.
    named = f"plugin {plugin!r}" if plugin else ""
    where = f" at {address}" if named and address else address
    return f"{shown(named + where)}: " if named or where else ""
