"""Activation of plugins for asyncio: in a task of the registry, for which all callers wait.

A *lead* (``Lead``) is one running activation of a plugin's name. A caller joins the lead of the
name, or starts one, and waits for its ``outcome``. The waiting callers are counted. Cancelling one
of them does not affect the others. When the last one leaves, it first removes the lead, so that no
other caller can join it, and then cancels its task.

A lead belongs to one event loop. Active plugins and handlers are shared by all loops, in
``Activations``. The task of a lead has a context of its own, so that the context variables and the
cancellation of the caller that started it do not affect other callers.

The caller that started the lead waits for the handlers too; other callers wait for the outcome
only. A handler may therefore ``get`` any plugin, including its own, without a deadlock.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import nullcontext, suppress
from contextvars import Context, copy_context
from copy import copy
from functools import partial
from inspect import isawaitable
from typing import Any, TypeVar

from attrs import field, frozen

from moby_plugins.app.activation import (
    CLOSED,
    Activation,
    Activations,
    PendingHandlerCall,
    asks_for_itself,
)
from moby_plugins.app.aio.attempts import retry as try_again
from moby_plugins.app.aio.client import AsyncClient
from moby_plugins.app.aio.handshake import AsyncHandshake, AsyncWatchedTransport
from moby_plugins.app.aio.lead import (
    LEADING,
    AsyncActivePlugin,
    Lead,
)
from moby_plugins.app.aio.observed_client import client_of
from moby_plugins.app.observing import (
    Observers,
    notify_failed_handler,
    notifying_retries,
)
from moby_plugins.app.retrying import Ending, OnRetry, chance
from moby_plugins.async_ports import AsyncConnect
from moby_plugins.domain.errors import (
    PluginError,
    WaitCancelledError,
)
from moby_plugins.domain.plugin import Plugin
from moby_plugins.domain.retry import (
    RetryPolicy,
    Tries,
    is_retryable,
    is_worth_waiting_for,
)
from moby_plugins.ports import Cancellation, Discovery, LocalDiscovery, ended_by

# The most handshakes of one ``get_all`` that run at the same time.
SIDE_BY_SIDE = 64

T = TypeVar("T")


@frozen
class AsyncLeaders:
    """The activator of one registry's plugins; records active ones in ``activations``.

    The other arguments are those of ``AsyncRegistry``. Tasks, and event loops in other threads, may
    share the object.
    """

    activations: Activations[AsyncActivePlugin]
    _discovery: Discovery
    _connect: AsyncConnect
    _retry: RetryPolicy
    _timeout: float | None
    _activation_timeout: float
    _max_response_bytes: int
    _observers: Observers
    _on_retry: OnRetry | None
    _make_client: Callable[..., AsyncClient] = field(init=False)
    _closing: Cancellation = field(factory=Cancellation, init=False)
    _running: dict[tuple[asyncio.AbstractEventLoop, str], Lead] = field(factory=dict, init=False)
    # References to the tasks, with their leads: an event loop keeps only weak ones.
    _tasks: dict[asyncio.Task[Any], Lead | None] = field(factory=dict, init=False)
    # Those that were cancelled: a second time would interrupt what they do to end.
    _cancelled: set[asyncio.Task[Any]] = field(factory=set, init=False)
    # A discovery that only reads files is called without a thread.
    _is_local: bool = field(init=False)

    @_make_client.default
    def _client_of_its_kind(self) -> Callable[..., AsyncClient]:
        return client_of(self._observers)

    @_is_local.default
    def _has_files_alone(self) -> bool:
        return isinstance(self._discovery, LocalDiscovery) and self._discovery.is_local

    async def ask(self, question: Callable[[Discovery], T]) -> T:
        """Return ``question(discovery)``; call it in a worker thread unless look-ups are local."""
        if self._is_local:
            return question(self._discovery)
        left = Cancellation()
        try:
            return await asyncio.to_thread(question, ended_by(self._discovery, left))
        except asyncio.CancelledError:
            left.set()
            raise

    async def scan(self) -> list[str]:
        """Return the names of plugins that can be found.

        Raise ``WaitCancelledError`` if the registry is closed before they are found.
        """
        if self._is_local:
            return self._discovery.scan()
        scanning = self.ask(lambda discovery: discovery.scan())
        task = self._start(scanning, "scans", Context())
        try:
            await asyncio.wait({task})
        finally:
            self._cancel(task)
        if task.cancelled() and self._closing.is_set():
            raise WaitCancelledError(CLOSED)
        names: list[str] = task.result()
        return names

    async def activate(
        self, name: str, policy: RetryPolicy, on_retry: OnRetry | None
    ) -> AsyncActivePlugin:
        """Start or join the activation of a plugin, and wait for it.

        Raises ``PluginError`` if the look-up or the handshake fails and the policy gives up,
        ``WaitCancelledError`` if the registry is closed during the call, and ``RuntimeError`` if it
        was closed before, or if code that activates the plugin, such as a discovery, calls this for
        the same plugin.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        while True:
            tries = Tries(policy, is_worth_waiting_for, started, chance)
            lead, until = self._enter(name, tries, on_retry, None)
            is_leader = until is lead.task
            try:
                # The handlers of an eager task may have closed the registry already.
                if not (until.done() or self._closing.is_set()):
                    ends = {until, lead.refusal} if is_leader else {until}
                    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if is_leader:
                    lead.on_retry = None
                self._leave(lead)
            self._check_open(name, loop.time() - started)
            if is_leader and lead.refusal.done():
                lead.refusal.result()
            if not lead.outcome.cancelled():
                return _shared(lead)
            _check_left(lead, until)
            # Another waiting caller may have activated the plugin by now.
            active = self.activations.active(name)
            if active is not None:
                return active

    async def load(
        self,
        names: Iterable[str],
        each: Callable[[str, AsyncActivePlugin | None, BaseException | None], object],
    ) -> None:
        """Activate plugins concurrently; call ``each`` with a name and its plugin or error."""
        loop = asyncio.get_running_loop()
        turn = asyncio.Semaphore(SIDE_BY_SIDE)
        ended: asyncio.Queue[tuple[Lead, asyncio.Future[Any]]] = asyncio.Queue()
        entered: list[Lead] = []
        again: list[str] = []
        try:
            for name in names:
                plugin = self.activations.active(name)
                if plugin is not None:
                    each(name, plugin, None)
                    continue
                tries = Tries(self._retry, is_retryable, loop.time(), chance)
                lead, until = self._enter(name, tries, None, turn)
                entered.append(lead)
                until.add_done_callback(partial(_put, ended, lead))
                if until is lead.task:
                    lead.refusal.add_done_callback(partial(_put, ended, lead))
            for _ in entered:
                lead, until = await ended.get()
                self._check_open()
                if until is lead.refusal:
                    until.result()
                if lead.outcome.cancelled():
                    _check_left(lead, until)
                    again.append(lead.name)
                elif (error := lead.outcome.exception()) is not None:
                    each(lead.name, None, error)
                else:
                    each(lead.name, lead.outcome.result(), None)
        finally:
            for lead in entered:
                self._leave(lead)
        if again:
            await self.load(again, each)

    def forget(self, name: str) -> None:
        """Forget a plugin: callers that wait still get it, the next ``get`` activates it again."""
        plugin = self.activations.drop(name)
        for key, lead in list(self._running.items()):
            if lead.name == name:
                lead.forgotten = True
                self._running.pop(key, None)
        if plugin is not None:
            self.activations.report(plugin.name)

    def close(self) -> None:
        """Mark the registry as closed: new activations raise ``RuntimeError``.

        Callers that wait for running ones get ``WaitCancelledError``; ``end`` wakes them.
        """
        self._closing.set()

    async def end(self) -> None:
        """End all waits, cancel the registry's tasks, and wait for those of this event loop.

        A task of the registry that calls this is neither cancelled nor waited for.
        """
        self.close()
        running_loop = asyncio.get_running_loop()
        self._running.clear()
        tasks: set[asyncio.Task[Any]] = set()
        for task, lead in list(self._tasks.items()):
            loop = task.get_loop()
            if lead is not None:
                _in_loop(loop, running_loop, lead.end)
            if task is asyncio.current_task():  # a handler closes the registry
                continue
            _in_loop(loop, running_loop, partial(self._cancel, task))
            if loop is running_loop:
                tasks.add(task)
        if tasks:
            await asyncio.wait(tasks)

    async def call_handlers(
        self, pending_calls: Iterable[PendingHandlerCall[AsyncActivePlugin]]
    ) -> None:
        """Call each handler with its plugin; if one raises ``KeyboardInterrupt``, raise it last.

        Other exceptions of a handler are logged, and reported to the observers. If this task is
        cancelled, another task makes the remaining calls, unless the registry was closed.
        """
        interrupt: KeyboardInterrupt | None = None
        calls = iter(pending_calls)
        for handler, plugin in calls:
            if asyncio.current_task() in self._cancelled:  # the last handler has ignored that
                break
            try:
                await self._call_handler(handler, plugin)
            except KeyboardInterrupt as error:  # raised below, after all handlers have run
                interrupt = error
            except asyncio.CancelledError:
                remaining = [*calls]
                if remaining and not self._closing.is_set():
                    self._start(self.call_handlers(remaining), "calls handlers", copy_context())
                raise
        if interrupt is not None:
            raise interrupt

    async def _call_handler(
        self, handler: Callable[[str, Any], object], plugin: AsyncActivePlugin
    ) -> None:
        task = asyncio.current_task()
        # The caller may have been cancelled before, and have gone on.
        cancelling = task.cancelling() if task else 0
        try:
            result = handler(plugin.name, plugin.client)
            if isawaitable(result):
                await result
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            is_cancelled = task is not None and task.cancelling() > cancelling
            if isinstance(error, asyncio.CancelledError) and is_cancelled:
                raise
            notify_failed_handler(handler, plugin, error, self._observers)

    def _new_client(self, plugin: Plugin) -> AsyncClient:
        """Return a client for a plugin that was found."""
        transport = self._connect(plugin.address, plugin.tls_config)
        if plugin.managed is not None:
            transport = AsyncWatchedTransport(transport, partial(self.activations.recheck, plugin))
        return self._make_client(
            transport,
            plugin.address,
            retry=self._retry,
            timeout=self._timeout,
            max_response_bytes=self._max_response_bytes,
            name=plugin.name,
            on_retry=self._on_retry,
        )

    def _enter(
        self,
        name: str,
        tries: Tries,
        on_retry: OnRetry | None,
        turn: asyncio.Semaphore | None,
    ) -> tuple[Lead, asyncio.Future[Any]]:
        """Join or start the activation of the plugin ``name``.

        A new activation gets ``tries`` and ``on_retry``, and holds the semaphore ``turn``, if
        given, during each attempt. Returns the lead, which is the activation that all callers
        share, and the future to wait for.
        """
        lead = self._running.get((asyncio.get_running_loop(), name))
        if lead is None:
            lead = self._begin(name, tries, on_retry, turn)
            until: asyncio.Future[Any] = _task_of(lead)
        elif lead is LEADING.get(None):
            raise asks_for_itself(name)
        else:
            until = lead.outcome
        lead.waiting += 1
        return lead, until

    def _check_open(self, name: str = "", elapsed: float = 0.0) -> None:
        """Raise ``WaitCancelledError`` if the registry was closed.

        The error names the plugin ``name``, for which the caller waited ``elapsed`` seconds.
        """
        if self._closing.is_set():
            ending = Ending(name)
            ending.end(CLOSED)
            raise ending.error(elapsed=elapsed)

    def _begin(
        self,
        name: str,
        tries: Tries,
        on_retry: OnRetry | None,
        turn: asyncio.Semaphore | None,
    ) -> Lead:
        if self._closing.is_set():
            raise RuntimeError(CLOSED)
        loop = asyncio.get_running_loop()
        lead = self._running[loop, name] = Lead(name, loop, on_retry, self._on_retry)
        # An eager task may have ended when ``_start`` returns.
        activating = self._lead(lead, tries, turn)
        lead.task = self._start(activating, f"activates {name}", Context(), lead)
        return lead

    def _start(
        self, coroutine: Any, what: str, context: Context, lead: Lead | None = None
    ) -> asyncio.Task[Any]:
        # Not by ``context=``: not every task factory takes that.
        create = asyncio.get_running_loop().create_task
        task: asyncio.Task[Any] = context.run(create, coroutine, name=f"moby-plugins {what}")
        self._tasks[task] = lead
        task.add_done_callback(self._forget_task)
        return task

    def _cancel(self, task: asyncio.Task[Any]) -> None:
        if task not in self._cancelled and not task.done():
            self._cancelled.add(task)
            task.cancel()

    def _forget_task(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        self._cancelled.discard(task)
        if not task.cancelled():
            task.exception()  # mark it retrieved: the waiting callers get it from the outcome

    async def _lead(self, lead: Lead, tries: Tries, turn: asyncio.Semaphore | None) -> None:
        handshake = AsyncHandshake(
            lead.name,
            self.ask,
            self._new_client,
            self._activation_timeout,
            self.activations.known,
        )

        async def attempt(number: int) -> AsyncActivePlugin:
            requested_at = lead.loop.time()
            async with turn or nullcontext():
                # The time that it waited for its turn does not count against its budget.
                tries.postpone(lead.loop.time() - requested_at)
                token = LEADING.set(lead)
                try:
                    return await handshake(number)
                finally:
                    LEADING.reset(token)

        notify_retry: OnRetry = lead.notify_retry
        if self._observers:
            notify_retry = notifying_retries(self._observers, lead.name, notify_retry)
        started, ending = tries.started, Ending(lead.name)
        try:
            plugin = await try_again(attempt, tries, notify_retry, ending=ending)
            activation = self._share(lead, plugin, lead.loop.time() - started)
        except BaseException as error:
            handshake.give_up()
            self._forget_lead(lead)
            if ending.left:
                # What the policy raised is its caller's own: others activate the plugin again.
                lead.refuse(error)
                lead.settle(None, None)
                return
            lead.settle(None, None if self._closing.is_set() else error)
            if not isinstance(error, Exception):
                raise
            if not self._closing.is_set():
                self.activations.fail(lead.name, error, lead.loop.time() - started)
                self.activations.report(lead.name)
            return
        self._forget_lead(lead)
        # If the attempt ignored that its last caller has left, handlers may still be cancelled.
        self._cancelled.difference_update({asyncio.current_task()})
        # If the plugin is active under another name, or in another loop, that client is shared.
        lead.settle(activation.plugin, None)
        try:
            if activation.plugin is not plugin:
                handshake.give_up()
            elif self._observers:
                self.activations.report(plugin.name)
        finally:  # an observer may raise a ``KeyboardInterrupt``
            await self.call_handlers(self.activations.take_pending_calls(activation))

    def _share(
        self, lead: Lead, plugin: AsyncActivePlugin, seconds: float
    ) -> Activation[AsyncActivePlugin]:
        if not lead.forgotten:
            return self.activations.share(lead.name, plugin, seconds)
        activation = Activation[AsyncActivePlugin](lead.name, None)
        self.activations.settle(activation, plugin, None, seconds)
        return activation

    def _leave(self, lead: Lead) -> None:
        lead.waiting -= 1
        if not lead.waiting and not lead.outcome.done():
            # Remove it first, so that no other caller joins a lead that is being cancelled.
            self._forget_lead(lead)
            self._cancel(_task_of(lead))

    def _forget_lead(self, lead: Lead) -> None:
        if self._running.get((lead.loop, lead.name)) is lead:
            self._running.pop((lead.loop, lead.name), None)


def _task_of(lead: Lead) -> asyncio.Task[None]:
    assert lead.task is not None  # noqa: S101  it is started with the lead
    return lead.task


def _check_left(lead: Lead, until: asyncio.Future[Any]) -> None:
    """Raise the exception that interrupted the task of ``lead``, in the caller that started it.

    To be called if ``lead`` has no outcome and the registry is open. ``until`` is what the caller
    waited for: the task of ``lead`` if the caller started it, else the outcome. The exception is
    one that is no ``Exception``, for example that of ``pytest.fail()``. For any other caller, and
    if other code cancelled the task, return: the caller then activates the plugin again.
    """
    task = _task_of(lead)
    if until is task and not task.cancelled() and (error := task.exception()) is not None:
        raise error


def _put(
    ended: "asyncio.Queue[tuple[Lead, asyncio.Future[Any]]]", lead: Lead, until: asyncio.Future[Any]
) -> None:
    ended.put_nowait((lead, until))


def _shared(lead: Lead) -> AsyncActivePlugin:
    """Return the plugin that ``lead`` has activated, to one of the callers that wait for it.

    If the activation failed, each caller gets a copy of the ``PluginError``, since tasks must not
    share a traceback. Call this only once ``lead.outcome`` is done.
    """
    error = lead.outcome.exception()
    if isinstance(error, PluginError):
        raise copy(error) from error.__cause__
    return lead.outcome.result()


def _in_loop(
    loop: asyncio.AbstractEventLoop,
    running_loop: asyncio.AbstractEventLoop,
    do: Callable[[], object],
) -> None:
    if loop is running_loop:
        do()
        return
    with suppress(RuntimeError):  # a closed loop runs no tasks
        loop.call_soon_threadsafe(do)
