"""Activation of plugins: one caller leads each activation, and the other callers wait for it.

``activation.py`` explains the states of an activation. ``handshake.py`` makes one attempt.
``retrying.py`` explains how ``get_all`` makes many of them in one thread.
"""

import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing, nullcontext
from functools import partial

from moby_plugins.app.activation import (
    CLOSED,
    Activation,
    Activations,
    ActivePlugin,
    PendingHandlerCall,
)
from moby_plugins.app.client import Client
from moby_plugins.app.handshake import Handshake, WatchedTransport
from moby_plugins.app.observing import (
    Observers,
    notify_failed_handler,
    notifying_retries,
)
from moby_plugins.app.retrying import Ending, OnRetry, Outcome, retry_side_by_side
from moby_plugins.app.retrying import retry as try_again
from moby_plugins.domain.errors import PluginError
from moby_plugins.domain.plugin import Plugin
from moby_plugins.domain.retry import RetryPolicy, is_retryable, is_worth_waiting_for
from moby_plugins.domain.text import quoted
from moby_plugins.failures import call_all, log_failure
from moby_plugins.ports import (
    Cancellation,
    Clock,
    Connect,
    Discovery,
    LocalDiscovery,
    PendingResponse,
    Selector,
    ended_by,
)

CANCELLED = "the wait was cancelled"
LEFT = "get_all has already ended"


class Leaders:
    """The activator of one registry's plugins; records active ones in ``activations``.

    Setting ``closing`` ends all waits. The other arguments are those of ``Registry``. Threads may
    share the object.
    """

    def __init__(
        self,
        *,
        activations: Activations[ActivePlugin],
        discovery: Discovery,
        connect: Connect,
        clock: Clock,
        closing: Cancellation,
        retry: RetryPolicy,
        timeout: float | None,
        activation_timeout: float | None,
        max_response_bytes: int,
        selector: Callable[[], Selector] | None,
        prompt_schemes: frozenset[str],
        observers: Observers,
        on_retry: OnRetry | None,
    ) -> None:
        self._activations = activations
        self._discovery = discovery
        self._connect = connect
        self._clock = clock
        self._closing = closing
        self._retry = retry
        self._timeout = timeout
        self._activation_timeout = activation_timeout
        self._max_response_bytes = max_response_bytes
        self._selector = selector
        self._prompt_schemes = prompt_schemes
        self._observers = observers
        self._on_retry = on_retry
        self._make_client = client_of(observers)
        # A discovery that only reads files does not block: its look-ups need no cancellation.
        self._is_local = isinstance(discovery, LocalDiscovery) and discovery.is_local

    def scan(self, ending: Ending) -> list[str]:
        """Return the names that can be found now.

        Raises ``PluginError`` if the discovery fails, ``WaitCancelledError`` if ``ending`` ends it.
        """
        try:
            return self._until(ending).scan()
        except PluginError as error:
            if ending.reason:
                raise ending.error() from error
            raise

    def activate(
        self,
        name: str,
        policy: RetryPolicy,
        on_retry: OnRetry | None,
        cancel: Cancellation | None,
    ) -> ActivePlugin:
        """Return the active plugin: make its activation, or wait for the caller that makes it.

        Raises ``PluginError`` if the look-up or the handshake fails and the policy gives up,
        ``WaitCancelledError`` if ``cancel`` is set or the registry is closed during the call, and
        ``RuntimeError`` if the registry was closed before the call.
        """
        ending = Ending(name)
        by_caller = (
            nullcontext() if cancel is None else cancel.calling(partial(ending.end, CANCELLED))
        )
        by_registry = self._closing.calling(partial(ending.end, CLOSED))
        with self._clock.working(), by_registry, by_caller:
            started = self._clock.now()
            activation, leading = self._activations.claim(name, threading.get_ident())
            while not leading:
                plugin = activation.outcome(self._clock, ending)
                if plugin is not None:
                    self._check_open(ending, started)
                    return plugin
                # The same cancellation may have ended the leader, and not reached this call yet.
                if cancel is not None and cancel.is_set():
                    ending.end(CANCELLED)
                activation, leading = self._take_over(name, ending)
            return self._lead(activation, policy, on_retry, ending, started)

    def _take_over(self, name: str, ending: Ending) -> tuple[Activation[ActivePlugin], bool]:
        """Return the new activation of a plugin whose activation was abandoned.

        Also return whether this caller must make it: only one of the waiting callers does.

        Raise ``WaitCancelledError`` if ``ending`` has ended this caller's wait, too.
        """
        if self._closing.is_set():
            ending.end(CLOSED)
        if ending.reason:
            raise ending.error()
        try:
            return self._activations.claim(name, threading.get_ident())
        except RuntimeError:
            ending.end(CLOSED)
            raise ending.error() from None

    def _lead(
        self,
        activation: Activation[ActivePlugin],
        policy: RetryPolicy,
        on_retry: OnRetry | None,
        ending: Ending,
        started: float,
    ) -> ActivePlugin:
        handshake = self._handshake(activation.name, self._until(ending), ending)
        on_retry = self._on_retry if on_retry is None else on_retry
        if self._observers:
            on_retry = notifying_retries(self._observers, activation.name, on_retry)
        try:
            with ending.cancellation.calling(lambda: handshake.end(ending.reason)):
                plugin = try_again(
                    handshake,
                    policy,
                    self._clock,
                    is_worth_waiting_for,
                    on_retry,
                    ending=ending,
                    started=started,
                )
        except BaseException as error:
            self._settle(activation, handshake, started, None, ending.unless_own(error))
            raise
        try:
            self._settle(activation, handshake, started, plugin)
        finally:  # an observer may raise a ``KeyboardInterrupt``
            self._call_handlers(activation)
        self._check_open(ending, started)
        assert activation.plugin is not None  # noqa: S101  it is in a registry that is not closed
        return activation.plugin

    def _check_open(self, ending: Ending, started: float) -> None:
        # The registry may be closed by a handler, or while handlers run.
        if self._closing.is_set():
            ending.end(CLOSED)
            raise ending.error(elapsed=self._clock.now() - started)

    def _settle(
        self,
        activation: Activation[ActivePlugin],
        handshake: Handshake,
        started: float,
        plugin: ActivePlugin | None,
        error: BaseException | None = None,
    ) -> None:
        seconds = self._clock.now() - started if self._observers else 0.0
        self._activations.settle(activation, plugin, error, seconds)
        # If the plugin was already active under another name, that client is shared instead.
        if activation.plugin is None or activation.plugin is not plugin:
            try:
                handshake.give_up()
            except BaseException as raised:  # the outcome is already settled, so only log this
                what = f"closing the client of plugin {quoted(activation.name)} failed"
                log_failure(what, raised)
        if self._observers:
            self._activations.report(activation.name, (activation.plugin or activation).name)

    def _call_handlers(self, activation: Activation[ActivePlugin]) -> None:
        call_handlers(self._activations.take_pending_calls(activation), self._observers)

    def _on_retries(self, activations: Sequence[Activation[ActivePlugin]]) -> list[OnRetry | None]:
        if not self._observers:
            return [self._on_retry] * len(activations)
        return [
            notifying_retries(self._observers, activation.name, self._on_retry)
            for activation in activations
        ]

    def _until(self, ending: Ending) -> Discovery:
        return self._discovery if self._is_local else ended_by(self._discovery, ending.cancellation)

    def _handshake(self, name: str, discovery: Discovery, ending: Ending) -> Handshake:
        return Handshake(
            name,
            discovery,
            self._new_client,
            self._activation_timeout,
            self._activations.known,
            prompt_schemes=self._prompt_schemes,
            ending=ending,
        )

    def _new_selector(self) -> Selector | None:
        # A look-up that may block must not run in the one thread of the selector.
        return self._selector() if self._selector is not None and self._is_local else None

    def _new_client(self, plugin: Plugin) -> Client:
        transport = self._connect(plugin.address, plugin.tls_config)
        if plugin.managed is not None:
            transport = WatchedTransport(transport, partial(self._activations.recheck, plugin))
        return self._make_client(
            transport,
            plugin.address,
            clock=self._clock,
            retry=self._retry,
            timeout=self._timeout,
            max_response_bytes=self._max_response_bytes,
            name=plugin.name,
            on_retry=self._on_retry,
        )

    def load(self, names: Iterable[str], ending: Ending) -> Generator[Activation[ActivePlugin]]:
        """Activate many plugins concurrently, and yield each activation once it has an outcome.

        Handlers run in this thread. Closing the iterator ends the activations that are running.
        """
        led_here: list[Activation[ActivePlugin]] = []
        led_elsewhere: list[Activation[ActivePlugin]] = []
        try:
            for name in names:
                activation, leading = self._activations.claim(name, None)
                (led_here if leading else led_elsewhere).append(activation)
            with closing(self._lead_side_by_side(led_here, ending)) as led:
                yield from led
        finally:
            # This changes something only if the loop was cut short: then other callers may take
            # the lead, and the handlers of plugins that became active are still called.
            call_handlers(self._activations.abandon(led_here), self._observers)
        for activation in led_elsewhere:
            activation.wait(self._clock, ending)
        yield from (activation for activation in led_elsewhere if not activation.abandoned)
        if abandoned := [activation.name for activation in led_elsewhere if activation.abandoned]:
            if self._closing.is_set():
                ending.end(CLOSED)
                raise ending.error()
            yield from self.load(abandoned, ending)

    def _lead_side_by_side(
        self, activations: list[Activation[ActivePlugin]], ending: Ending
    ) -> Generator[Activation[ActivePlugin]]:
        discovery = self._until(ending)
        handshakes = [
            self._handshake(activation.name, discovery, ending) for activation in activations
        ]
        started = self._clock.now()

        def begin(index: int) -> PendingResponse | None:
            return handshakes[index].begin()

        def end() -> None:
            for handshake in handshakes:
                handshake.end(ending.reason)

        def settle(
            outcome: Outcome[ActivePlugin],
        ) -> tuple[Activation[ActivePlugin], BaseException | None]:
            # The second result is what to raise in the caller's thread.
            activation, handshake = activations[outcome.index], handshakes[outcome.index]
            error = ending.unless_own(outcome.error)
            of_plugin = isinstance(outcome.error, Exception)
            raised = None if of_plugin else outcome.error or outcome.refusal
            try:
                self._settle(activation, handshake, started, outcome.value, error)
            except KeyboardInterrupt as interrupt:  # of an observer
                raised = interrupt
            return activation, raised

        # Handlers run in this thread while the workers continue: a handler may wait for a plugin
        # that the workers are activating.
        workers = retry_side_by_side(
            handshakes,
            self._retry,
            self._clock,
            is_retryable,
            settle,
            ending=ending,
            begin=begin,
            selector=self._new_selector(),
            on_retry=self._on_retries(activations),
        )
        with ending.cancellation.calling(end), closing(workers):
            try:
                for activation, raised in workers:
                    if raised is not None:
                        raise raised
                    if activation.pending_calls:
                        self._call_handlers(activation)
                    yield activation
            except BaseException:  # also raised when the caller closes this generator
                ending.end(LEFT)
                raise


def client_of(observers: Observers) -> Callable[..., Client]:
    """Return a function that takes the arguments of ``Client`` and makes an observed client.

    Without observers, the function is ``Client`` itself.
    """
    if not observers:
        return Client
    from moby_plugins.app.observed_client import ObservedClient

    return partial(ObservedClient, observers=observers)


def call_handlers(
    pending_calls: Iterable[PendingHandlerCall[ActivePlugin]], observers: Observers
) -> None:
    """Call each handler with its plugin; if one raises ``KeyboardInterrupt``, raise it last.

    Other exceptions of a handler are logged, and reported to the observers.
    """
    call_all(
        partial(_call_handler, handler, plugin, observers) for handler, plugin in pending_calls
    )


def _call_handler(
    handler: Callable[[str, Client], object], plugin: ActivePlugin, observers: Observers
) -> None:
    try:
        handler(plugin.name, plugin.client)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        notify_failed_handler(handler, plugin, error, observers)
