"""What observers are told: events of calls, of retries, of plugins and of served requests.

An ``Observer`` is given to a registry, a client or a served app, and overrides the methods that
it wants. All events are frozen values. Sync and async programs have the same.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from attrs import field, frozen

from moby_plugins.domain.errors import DriverError, PluginError
from moby_plugins.domain.plugin import Plugin
from moby_plugins.domain.typed import typed


@frozen
class CallStarted:
    """One attempt of a call is about to be sent.

    Args:
        plugin: The plugin's name; "" for a client that was given none.
        address: The plugin's address.
        method: ``VolumeDriver.Mount``, for example; without a query that is sent behind it.
        attempt: Which attempt this is, from 1.
        headers: The request's headers. An observer may add some, ``traceparent`` say.
        sent_bytes: The size of the request's body, ``None`` where it is not known before.
    """

    plugin: str
    address: str
    method: str
    attempt: int
    headers: dict[str, str] = field(factory=dict, eq=False, repr=False)
    sent_bytes: int | None = None


@frozen
class CallEnded:
    """The attempt has ended: its response was read, was given up, or failed.

    Args:
        started: The event of its beginning.
        seconds: How long it took; of a stream, until it was read or closed.
        status: The response's status; ``None`` where there was none.
        error: What it raised; ``None`` where it succeeded. A status other than 200 is an error.
        received_bytes: How many bytes of the response's body were read.
        new_connection: Whether it was dialled for this attempt; ``None`` where the transport
            cannot say.
    """

    started: CallStarted
    seconds: float
    status: int | None = None
    error: BaseException | None = None
    received_bytes: int | None = None
    new_connection: bool | None = None


@frozen(field_transformer=typed)
class DriverFailed:
    """A plugin responded 200 with an error of its own, which a typed proxy found there.

    The attempt has ended before, and well: what the response says is read afterwards. Of a
    response that ``Client.call`` returns as JSON, the caller is the one that reads it.

    Args:
        plugin: The plugin's name; "" for a client that was given none.
        address: The plugin's address.
        method: ``VolumeDriver.Mount``, for example.
        error: The plugin's error, which the caller gets unless the method has a default for it.
    """

    plugin: str
    address: str
    method: str
    error: DriverError


@frozen(field_transformer=typed)
class RetryScheduled:
    """An attempt failed, and there will be another.

    Args:
        plugin: The plugin's name; "" for a client that was given none.
        method: What is tried again; ``Plugin.Activate`` where a plugin is looked up and activated.
        attempt: Which attempt failed, from 1.
        error: What it raised.
        delay: Seconds until the next.
    """

    plugin: str
    method: str
    attempt: int
    error: PluginError
    delay: float


@frozen(field_transformer=typed)
class PluginActivated:
    """A plugin became active in a registry.

    Args:
        plugin: The plugin, with its manifest.
        seconds: How long the look-ups and handshakes took.
    """

    plugin: Plugin
    seconds: float


@frozen(field_transformer=typed)
class PluginDropped:
    """A registry forgot an active plugin: it was invalidated, or installed again.

    Args:
        plugin: The plugin.
    """

    plugin: Plugin


@frozen(field_transformer=typed)
class ActivationFailed:
    """A plugin could not be activated.

    Args:
        name: The name that was asked for.
        error: Why.
        seconds: How long it was tried.
    """

    name: str
    error: BaseException
    seconds: float


@frozen(field_transformer=typed)
class HandlerFailed:
    """A handler of a registry raised for a plugin.

    Args:
        plugin: The plugin's name.
        handler: The handler.
        error: What it raised.
    """

    plugin: str
    handler: Callable[..., Any]
    error: BaseException


@frozen
class RequestStarted:
    """A served plugin has a request to answer.

    Args:
        method: ``VolumeDriver.Mount``, for example: whatever text the host sent.
        route: The same where the plugin has that method, else "": there are only so many.
        headers: The request's headers, in whichever case the server has them.
        received_bytes: The size of the request's body, ``None`` where it is not known before.
    """

    method: str
    route: str = ""
    headers: Mapping[str, str] = field(factory=dict, eq=False, repr=False)
    received_bytes: int | None = None


@frozen
class RequestEnded:
    """The request was answered, or its host no longer waits for the answer.

    Args:
        started: The event of its beginning.
        seconds: How long it took, until the end of the response's body.
        status: The response's status.
        error: What the plugin's code raised, where it did.
        sent_bytes: How many bytes of the response's body were taken by the server.
        hung_up: Whether the host hung up before the end.
    """

    started: RequestStarted
    seconds: float
    status: int
    error: BaseException | None = None
    sent_bytes: int = 0
    hung_up: bool = False


OnCallEnded: TypeAlias = Callable[[CallEnded], object]
"""Called once, when the attempt has ended."""
OnRequestEnded: TypeAlias = Callable[[RequestEnded], object]
"""Called once, when the request has ended."""


class Observer:
    """Is told what happens; does nothing unless a subclass overrides a method.

    A method is called in the thread, or the task, in which the event happens, perhaps by several
    at once, and the event goes on when it returns: so it must not wait. What it raises is logged,
    and changes nothing else.

    Examples:
        ```python
        from moby_plugins import Observer, Settings, new_client
        from moby_plugins.testing import MemoryTransport


        class Slow(Observer):
            def call_started(self, event):
                return lambda ended: print(event.method) if ended.seconds > 1 else None


        plugin = MemoryTransport({"Shelf.List": []})
        settings = Settings(transports={"unix": plugin.connect})
        with new_client("unix:///shelf.sock", settings=settings, observers=[Slow()]) as client:
            client.call("Shelf.List")
        ```
    """

    def call_started(self, event: CallStarted, /) -> OnCallEnded | None:
        """Take the beginning of an attempt.

        Args:
            event: The event.

        Returns:
            What is called with its end; ``None`` where that is of no interest.
        """

    def driver_failed(self, event: DriverFailed, /) -> None:
        """Take an error of the plugin's own, out of a response with status 200."""

    def retry_scheduled(self, event: RetryScheduled, /) -> None:
        """Take a failure after which there is another attempt."""

    def plugin_activated(self, event: PluginActivated, /) -> None:
        """Take a plugin that became active."""

    def plugin_dropped(self, event: PluginDropped, /) -> None:
        """Take a plugin that is active no longer."""

    def activation_failed(self, event: ActivationFailed, /) -> None:
        """Take a plugin that could not be activated."""

    def handler_failed(self, event: HandlerFailed, /) -> None:
        """Take the failure of a registry's handler."""

    def request_started(self, event: RequestStarted, /) -> OnRequestEnded | None:
        """Take the beginning of a request that a served plugin answers.

        It runs in the context of the request: the plugin's code sees the context variables that
        it sets.

        Args:
            event: The event.

        Returns:
            What is called with its end; ``None`` where that is of no interest.
        """
