"""The observer that logs a line per event, with the event's data as attributes of the record."""

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from moby_plugins.adapters.observing.attributes import MAX_LABEL
from moby_plugins.deferred_names import AtDoor
from moby_plugins.domain.errors import in_full
from moby_plugins.domain.observer import Observer
from moby_plugins.domain.observing import (
    ActivationFailed,
    CallEnded,
    CallStarted,
    DriverFailed,
    HandlerFailed,
    OnCallEnded,
    OnRequestEnded,
    PluginActivated,
    PluginDropped,
    RequestEnded,
    RequestStarted,
    RetryScheduled,
)
from moby_plugins.domain.text import class_name, quoted, sentence, shown

_DOOR = AtDoor("moby_plugins", __name__)
_ERRORS = range(400, 600)

calls: logging.Logger = logging.getLogger("moby_plugins.calls")
plugins: logging.Logger = logging.getLogger("moby_plugins.plugins")
requests: logging.Logger = logging.getLogger("moby_plugins.requests")


class LoggingObserver(Observer):
    """An observer that logs a line for each attempt, retry, change of a plugin and served request.

    The loggers are ``moby_plugins.calls``, ``moby_plugins.plugins`` and ``moby_plugins.requests``.
    Records have attributes for formatters that write JSON: ``event`` and, where they apply,
    ``plugin``, ``address``, ``method``, ``attempt``, ``status``, ``error`` (the name of its class),
    ``seconds``, ``sent_bytes``, ``received_bytes``, ``new_connection``, ``delay``, ``hung_up``,
    ``implements`` and ``handler``. Lines and attributes are printable and bounded. Threads may
    share it; there is nothing to close.

    Args:
        ok: The level of successes; a number, a name such as ``"DEBUG"``, or ``None`` for no
            line.
        failure: The level of failures, and of hosts that hang up.
        retry: The level of retries.

    Raises:
        ValueError: For an invalid level.

    Examples:
        ```python
        import logging

        from moby_plugins import LoggingObserver, Settings, new_client
        from moby_plugins.testing import MemoryTransport

        logging.basicConfig(level=logging.INFO)
        plugin = MemoryTransport({"Shelf.List": []})
        settings = Settings(transports={"unix": plugin.connect}, observers=[LoggingObserver()])
        with new_client("unix:///shelf.sock", settings=settings) as client:
            client.call("Shelf.List")  # INFO:moby_plugins.calls:Shelf.List at unix:///shelf.sock: …
        ```
    """

    __module__ = _DOOR

    def __init__(
        self,
        *,
        ok: int | str | None = logging.INFO,
        failure: int | str | None = logging.WARNING,
        retry: int | str | None = logging.INFO,
    ) -> None:
        self._ok = _level("ok", ok)
        self._failure = _level("failure", failure)
        self._retry = _level("retry", retry)

    def call_started(self, _: CallStarted, /) -> OnCallEnded:
        """Log nothing yet; return the callback that logs the attempt when it ends."""
        return self._call_ended

    def driver_failed(self, event: DriverFailed, /) -> None:
        """Log an error that a plugin reported in a response with status 200."""
        if _is_logged(calls, self._failure):
            text = f"{shown(event.method)}: {_brief(event.error)}"
            of = {"plugin": shown(event.plugin), "address": shown(event.address)}
            of["method"] = shown(event.method)
            _log(calls, self._failure, text, "driver_failed", of, error=event.error)

    def retry_scheduled(self, event: RetryScheduled, /) -> None:
        """Log that another attempt follows, and when."""
        if _is_logged(calls, self._retry):
            subject = _of(event.method, event.plugin)
            text = f"attempt {event.attempt} at {subject} failed; the next is in {event.delay:g} s"
            of = {
                "plugin": shown(event.plugin),
                "method": shown(event.method),
                "attempt": event.attempt,
                "delay": event.delay,
            }
            _log(calls, self._retry, text, "retry_scheduled", of, error=event.error)

    def plugin_activated(self, event: PluginActivated, /) -> None:
        """Log that a plugin became active, and what it implements."""
        if _is_logged(plugins, self._ok):
            plugin = event.plugin
            implements = shown(", ".join(plugin.manifest.implements))
            text = f"plugin {quoted(plugin.name)} is active after {_time(event.seconds)}"
            of = {
                "plugin": shown(plugin.name),
                "address": shown(plugin.address.text),
                "implements": implements,
                "seconds": event.seconds,
            }
            _log(plugins, self._ok, f"{text}: {implements}", "plugin_activated", of)

    def plugin_dropped(self, event: PluginDropped, /) -> None:
        """Log that a plugin is no longer active."""
        if _is_logged(plugins, self._ok):
            of = {"plugin": shown(event.plugin.name), "address": shown(event.plugin.address.text)}
            text = f"plugin {quoted(event.plugin.name)} is no longer active"
            _log(plugins, self._ok, text, "plugin_dropped", of)

    def activation_failed(self, event: ActivationFailed, /) -> None:
        """Log that a plugin could not be activated."""
        if _is_logged(plugins, self._failure):
            name, took = quoted(event.name), _time(event.seconds)
            text = f"plugin {name} was not activated in {took}: {_brief(event.error)}"
            of = {"plugin": shown(event.name), "seconds": event.seconds}
            _log(plugins, self._failure, text, "activation_failed", of, error=event.error)

    def handler_failed(self, event: HandlerFailed, /) -> None:
        """Log the failure of a registry's handler."""
        if _is_logged(plugins, self._failure):
            plugin, handler = quoted(event.plugin), shown(event.handler)
            text = f"the handler {handler} failed for plugin {plugin}: {_brief(event.error)}"
            of = {"plugin": shown(event.plugin), "handler": handler}
            _log(plugins, self._failure, text, "handler_failed", of, error=event.error)

    def request_started(self, _: RequestStarted, /) -> OnRequestEnded:
        """Log nothing yet; return the callback that logs the request when it ends."""
        return self._request_ended

    def _call_ended(self, ended: CallEnded) -> None:
        level = self._ok if ended.error is None else self._failure
        if not _is_logged(calls, level):
            return
        started = ended.started
        subject = _of(started.method, started.plugin or started.address)
        took = _time(ended.seconds)
        if ended.error is None:
            text = f"{subject}: {ended.status}, {ended.received_bytes} bytes in {took}"
        else:
            text = f"attempt {started.attempt} at {subject} failed in {took}: {_brief(ended.error)}"
        of = {
            "plugin": shown(started.plugin),
            "address": shown(started.address),
            "method": shown(started.method),
            "attempt": started.attempt,
            "status": ended.status,
            "seconds": ended.seconds,
            "sent_bytes": started.sent_bytes,
            "received_bytes": ended.received_bytes,
            "new_connection": ended.new_connection,
        }
        _log(calls, level, text, "call", of, error=ended.error)

    def _request_ended(self, ended: RequestEnded) -> None:
        failed = ended.error is not None or ended.hung_up or ended.status in _ERRORS
        level = self._failure if failed else self._ok
        if not _is_logged(requests, level):
            return
        method = shown(ended.started.method)
        text = f"{method}: {ended.status}, {ended.sent_bytes} bytes in {_time(ended.seconds)}"
        if ended.hung_up:
            text += ", and the host hung up"
        if ended.error is not None:
            text += f": {_brief(ended.error)}"
        of = {
            "method": method,
            "status": ended.status,
            "seconds": ended.seconds,
            "received_bytes": ended.started.received_bytes,
            "sent_bytes": ended.sent_bytes,
            "hung_up": ended.hung_up,
        }
        _log(requests, level, text, "request", of, error=ended.error)


def _level(argument: str, value: int | str | None) -> int | None:
    level: object = value  # the caller may be untyped
    if isinstance(level, str):
        level = logging.getLevelNamesMapping().get(level.upper())
        if level is None:
            raise ValueError(
                f"{argument} must be a logging level, by number or name, not {quoted(value)}"
            )
    if level is None:
        return None
    if isinstance(level, bool) or not isinstance(level, int) or level <= logging.NOTSET:
        raise ValueError(f"{argument} must be a logging level above NOTSET, not {quoted(value)}")
    return level


def _is_logged(logger: logging.Logger, level: int | None) -> bool:
    return level is not None and logger.isEnabledFor(level)


def _log(
    logger: logging.Logger,
    level: int | None,
    text: str,
    event: str,
    of: Mapping[str, Any],
    *,
    error: BaseException | None = None,
) -> None:
    file, line, function, _ = logger.findCaller()
    number = level or logging.NOTSET
    make = partial(
        logger.makeRecord, logger.name, number, file, line, "%s", (text,), None, function
    )
    try:
        kind = None if error is None else _class(error)
        record = make(extra={"event": event, **of, "error": kind})
    except KeyError:  # the program's record factory sets an attribute of the same name
        record = make()
    logger.handle(record)


def _of(method: str, subject: str) -> str:
    return f"{shown(method)} of {quoted(subject)}" if subject else shown(method)


def _brief(error: BaseException) -> str:
    return sentence(f"{_class(error)}: {in_full(error)}")


def _class(error: BaseException) -> str:
    return shown(class_name(error), MAX_LABEL)


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.3g} s"
