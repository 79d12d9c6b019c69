"""What ``hung_up`` returns in a plugin in memory, and when a caller that leaves sets it."""

import threading
from collections.abc import Iterator

from moby_plugins.domain.http import Request, Response
from moby_plugins.serving import hung_up
from moby_plugins.testing import MemoryTransport


def test_hung_up_is_set_when_a_caller_closes_a_response_early() -> None:
    """The plugin's event is set before its generator is closed, but not after a whole response."""
    events: list[threading.Event] = []
    at_the_end: list[bool] = []

    def plugin(_: Request) -> Response:
        own = hung_up()
        events.append(own)

        def chunks() -> Iterator[bytes]:
            try:
                assert hung_up() is own
                yield from (b"one", b"two")
            finally:
                at_the_end.append(hung_up().is_set())

        return Response(200, chunks())

    transport = MemoryTransport(plugin)
    whole, left = (transport.send(Request("M.x"), None) for _ in range(2))
    while whole.body.read(10):
        pass
    whole.body.close()
    assert left.body.read(10) == b"one"
    left.body.close()

    assert [event.is_set() for event in events] == at_the_end == [False, True]


def test_outside_of_a_call_hung_up_returns_an_event_that_is_never_set() -> None:
    """So a plugin's author can call a method directly in a test."""
    assert not hung_up().is_set()
    assert hung_up() is not hung_up()


def test_a_call_within_a_call_has_its_own_hung_up_event() -> None:
    """A plugin may itself be the host of another one."""
    inner = MemoryTransport(lambda _: Response(200, b"" if hung_up() is outer[0] else b"own"))
    outer: list[threading.Event] = []

    def plugin(request: Request) -> Response:
        outer.append(hung_up())
        answer = inner.send(request, None)
        assert hung_up() is outer[0]
        return answer

    assert MemoryTransport(plugin).send(Request("M.x"), None).body.read(10) == b"own"
