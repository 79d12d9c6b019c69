"""The contract of transports that can begin an exchange, and of selectors (``ports.py``)."""

import time
from collections.abc import Callable
from contextlib import closing
from typing import TypeAlias

import pytest
from attrs import frozen

from moby_plugins.domain.errors import TransportError, TransportTimeoutError
from moby_plugins.domain.http import Request, Response
from moby_plugins.ports import BeginningTransport, PendingResponse, Selector, Transport
from moby_plugins.testing.contracts.transport import ANSWER, Behaviour, PluginThat, read_all

NewSelector: TypeAlias = Callable[[], Selector]

# Seconds within which a plugin that is not slow responds.
SOON = 1.5


@frozen
class BegunTransport:
    """A transport that begins each exchange, waits with a selector, and finishes it.

    Return such transports from ``plugin_that`` to run ``TransportContract`` on exchanges that are
    begun. An exchange that cannot be begun is sent by ``transport.send``.
    """

    transport: BeginningTransport
    new_selector: NewSelector

    def send(self, request: Request, timeout: float | None) -> Response:
        """Begin the exchange, wait for it and finish it."""
        pending = self.transport.begin(request, timeout)
        if pending is None:
            return self.transport.send(request, timeout)
        with closing(pending):
            selector = self.new_selector()
            selector.add(pending)
            assert selector.wait() == [pending]
            return pending.finish()

    def close(self) -> None:
        """Close the transport."""
        self.transport.close()


class BeginningTransportContract:
    """The contract of a ``BeginningTransport`` together with a ``Selector``: subclass it.

    The subclass has the fixtures ``plugin_that`` of ``TransportContract``, for plugins that are
    reached without waiting, and ``new_selector``, which creates a selector for them.
    """

    def test_one_that_drips_holds_no_other_back(
        self, plugin_that: PluginThat, new_selector: NewSelector
    ) -> None:
        """The selector returns other responses while one is readable and not complete."""
        selector = new_selector()
        drips = begun(plugin_that("drips"), selector)
        began = time.monotonic()
        others = [begun(plugin_that("answers"), selector) for _ in range(3)]

        ready: list[PendingResponse] = []
        while not set(others) <= set(ready):
            ready += selector.wait()

        assert time.monotonic() - began < SOON
        assert all(pending.is_whole for pending in others)
        assert [read_all(pending.finish()) for pending in others] == [ANSWER] * len(others)
        if drips not in ready:
            assert selector.wait() == [drips]
        assert read_all(drips.finish()) == ANSWER

    def test_one_that_hangs_is_returned_at_its_time_out(
        self, plugin_that: PluginThat, new_selector: NewSelector
    ) -> None:
        """At its time-out, ``wait`` returns a response that never came; ``finish`` then raises."""
        selector = new_selector()
        hangs = begun(plugin_that("hangs"), selector, timeout=0.3)
        answers = begun(plugin_that("answers"), selector, timeout=30)

        assert selector.wait() == [answers]
        assert selector.wait() == [hangs]
        assert hangs.is_whole
        with pytest.raises(TransportTimeoutError):
            hangs.finish()
        answers.close()

    def test_closing_the_transport_ends_what_is_pending(
        self, plugin_that: PluginThat, new_selector: NewSelector
    ) -> None:
        """A selector returns a pending response whose transport was closed; ``finish`` raises."""
        selector = new_selector()
        transport = plugin_that("hangs")
        pending = begun(transport, selector)
        transport.close()

        assert selector.wait() == [pending]
        with pytest.raises(TransportError):
            pending.finish()

    def test_what_is_closed_holds_nothing(
        self, plugin_that: PluginThat, new_selector: NewSelector
    ) -> None:
        """A closed exchange may be closed again, and the transport remains usable."""
        transport = plugin_that("answers")
        pending = begun(transport, new_selector())
        pending.close()
        pending.close()

        assert read_all(transport.send(Request("M.x"), None)) == ANSWER

    def test_without_anything_to_wait_for_nothing_is_waited_for(
        self, new_selector: NewSelector
    ) -> None:
        """A selector without exchanges returns at once."""
        assert new_selector().wait() == []

    @pytest.mark.parametrize("behaviour", ["drops", "is malformed", "refuses"])
    def test_what_fails_raises_what_send_raises(
        self, behaviour: Behaviour, plugin_that: PluginThat, new_selector: NewSelector
    ) -> None:
        """The error is that of ``send``, raised by ``begin`` or by ``finish``."""
        transport = plugin_that(behaviour)
        with pytest.raises(TransportError) as sent:
            transport.send(Request("M.x"), None)
        assert isinstance(transport, BeginningTransport)
        with pytest.raises(TransportError) as finished:
            BegunTransport(transport, new_selector).send(Request("M.x"), None)

        assert str(finished.value) == str(sent.value)


def begun(
    transport: Transport, selector: Selector, timeout: float | None = None
) -> PendingResponse:
    """Begin an exchange, add it to ``selector``, and return it."""
    assert isinstance(transport, BeginningTransport)
    pending = transport.begin(Request("M.x"), timeout)
    assert pending is not None
    selector.add(pending)
    return pending
