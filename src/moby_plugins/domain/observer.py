"""The base class of observers.

Every host imports it, so the events, which only hosts with observers need, are in ``observing.py``.
"""

# The annotations name the events through the package, where ``typing.get_type_hints`` finds them.
from moby_plugins import domain


class Observer:
    """The base class of observers of calls, plugins and requests; its methods do nothing.

    A method is called in the thread or task in which the event happens, which continues when the
    method returns: so it must not block. Several threads may call it at once. An exception that it
    raises is logged, and has no other effect.

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

    def call_started(
        self, event: "domain.observing.CallStarted", /
    ) -> "domain.observing.OnCallEnded | None":
        """Handle the beginning of an attempt of a call.

        Args:
            event: The event.

        Returns:
            A function to call with the event of the attempt's end, or ``None``.
        """

    def driver_failed(self, event: "domain.observing.DriverFailed", /) -> None:
        """Handle the error in a response with status 200, a ``DriverError`` of a proxy."""

    def retry_scheduled(self, event: "domain.observing.RetryScheduled", /) -> None:
        """Handle a failed attempt that will be followed by another."""

    def plugin_activated(self, event: "domain.observing.PluginActivated", /) -> None:
        """Handle a plugin that became active."""

    def plugin_dropped(self, event: "domain.observing.PluginDropped", /) -> None:
        """Handle a plugin that is no longer active."""

    def activation_failed(self, event: "domain.observing.ActivationFailed", /) -> None:
        """Handle a plugin that could not be activated."""

    def handler_failed(self, event: "domain.observing.HandlerFailed", /) -> None:
        """Handle an exception that a handler of a registry raised."""

    def request_started(
        self, event: "domain.observing.RequestStarted", /
    ) -> "domain.observing.OnRequestEnded | None":
        """Handle the beginning of a request to a served plugin.

        Runs in the context of the request: context variables that this method sets are visible to
        the plugin's code.

        Args:
            event: The event.

        Returns:
            A function to call with the event of the request's end, or ``None``.
        """
