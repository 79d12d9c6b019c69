"""The events that observers receive: of calls, retries, plugins and served requests.

An ``Observer`` (``observer.py``) is passed to a registry, a client or a served app, and overrides
the methods for the events that it needs. All events are frozen values, the same in sync and async
programs.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from attrs import field, frozen

from moby_plugins.domain.errors import DriverError, PluginError
from moby_plugins.domain.plugin import Plugin
from moby_plugins.domain.typed import typed


# With slots: reading an attribute takes a third of the time. This event and ``CallEnded`` are made
# from drafts in ``app/observed.py``: the constructor of a frozen class takes three times as long.
@frozen
class CallStarted:
    """An attempt of a call is about to be sent.

    Args:
        plugin: The plugin's name; "" for a client without one.
        address: The plugin's address.
        method: The method, for example ``VolumeDriver.Mount``, without the query.
        attempt: The number of the attempt, from 1.
        headers: The request's headers. An observer may add some, for example ``traceparent``.
        sent_bytes: The size of the request's body in bytes; ``None`` if it is not known yet.
    """

    plugin: str
    address: str
    method: str
    attempt: int
    headers: dict[str, str] = field(factory=dict, eq=False, repr=False)
    sent_bytes: int | None = None


@frozen
class CallEnded:
    """An attempt of a call has ended: its response was read or closed, or it failed.

    Args:
        started: The event of the attempt's beginning.
        seconds: How long the attempt took; for a stream, until it was read to its end or closed, or
            its client was closed.
        status: The response's status; ``None`` without a response.
        error: What the attempt raised; ``None`` on success. Any status but 200 raises an error.
        received_bytes: How many bytes of the response's body were read.
        new_connection: Whether a connection was opened for this attempt; ``None`` if the transport
            does not say.
    """

    started: CallStarted
    seconds: float
    status: int | None = None
    error: BaseException | None = None
    received_bytes: int | None = None
    new_connection: bool | None = None


@frozen(field_transformer=typed)
class DriverFailed:
    """A plugin responded with status 200 and an error of its driver.

    A typed proxy finds the error after the attempt has ended successfully. Errors in the JSON that
    ``Client.call`` returns cause no event: the caller interprets that response.

    Args:
        plugin: The plugin's name; "" for a client without one.
        address: The plugin's address.
        method: The method, for example ``VolumeDriver.Mount``.
        error: The driver's error. The call raises it unless the method has a default result.
    """

    plugin: str
    address: str
    method: str
    error: DriverError


@frozen(field_transformer=typed)
class RetryScheduled:
    """An attempt failed, and another one will follow.

    Args:
        plugin: The plugin's name; "" for a client without one.
        method: The method; ``Plugin.Activate`` if a plugin is being looked up and activated.
        attempt: The number of the failed attempt, from 1.
        error: The exception that the attempt raised.
        delay: Seconds until the next attempt.
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
    """A registry dropped an active plugin, which was invalidated or installed again.

    Args:
        plugin: The plugin.
    """

    plugin: Plugin


@frozen(field_transformer=typed)
class ActivationFailed:
    """A plugin could not be activated.

    Args:
        name: The requested name.
        error: The reason.
        seconds: How long the attempts took.
    """

    name: str
    error: BaseException
    seconds: float


@frozen(field_transformer=typed)
class HandlerFailed:
    """A handler of a registry raised an exception for a plugin.

    Args:
        plugin: The plugin's name.
        handler: The handler.
        error: The exception.
    """

    plugin: str
    handler: Callable[..., Any]
    error: BaseException


# Without slots: a frozen class with slots takes half as long again to create.
@frozen(slots=False)
class RequestStarted:
    """A served plugin has received a request.

    Args:
        method: The method as the host sent it, for example ``VolumeDriver.Mount``; any text.
        route: The method if the plugin has it, else ""; so it takes a limited number of values.
        headers: The request's headers; the case of their names depends on the server.
        received_bytes: The size of the request's body in bytes; ``None`` if it is not known yet.
    """

    method: str
    route: str = ""
    headers: Mapping[str, str] = field(factory=dict, eq=False, repr=False)
    received_bytes: int | None = None


@frozen(slots=False)
class RequestEnded:
    """The response to a request was sent, or its host no longer waits for it.

    Args:
        started: The event of the request's beginning.
        seconds: How long the request took, until the end of the response's body.
        status: The response's status.
        error: The exception that the plugin's code raised, or the reason why the server refuses its
            response; a ``NoAnswerError`` if the server broke the connection off because it stopped;
            ``None`` if there is none.
        sent_bytes: How many bytes of the response's body were passed to the server.
        hung_up: Whether the host closed the connection before the end.
    """

    started: RequestStarted
    seconds: float
    status: int
    error: BaseException | None = None
    sent_bytes: int = 0
    hung_up: bool = False


OnCallEnded: TypeAlias = Callable[[CallEnded], object]
"""A function that is called once, when the attempt has ended."""
OnRequestEnded: TypeAlias = Callable[[RequestEnded], object]
"""A function that is called once, when the request has ended."""
