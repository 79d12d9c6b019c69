"""``Trace`` stands between a host and a plugin: it passes calls on, and records them."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from moby_plugins.domain.errors import TransportError, WireError
from moby_plugins.domain.http import Content, NoAnswerError, Request, Response
from moby_plugins.testing import FakeClock, MemoryTransport, drops, drops_mid_body
from moby_plugins.tracing import Progress, RecordedCall, Trace


class Traced:
    """A plugin that replies so, and what was seen of its calls."""

    def __init__(self, reply: Any) -> None:
        self.clock = FakeClock()
        self.plugin = MemoryTransport(reply, clock=self.clock)
        self.calls: list[RecordedCall] = []
        self.pieces: list[Progress] = []
        self.app = Trace(self.plugin, self.clock.now, self.calls.append, self.pieces.append)

    def call(
        self, method: str = "M.x", body: Content = b"", headers: Mapping[str, str] | None = None
    ) -> Response:
        """The answer that the host gets."""
        return self.app(Request(method, body, headers or {}))


def read(response: Response) -> bytes:
    """The whole body; closed then."""
    data = b"".join(iter(lambda: response.body.read(1 << 16), b""))
    response.body.close()
    return data


def test_a_call_and_its_response_are_passed_on_unchanged_and_recorded() -> None:
    """Method, query, body and headers go on; status, headers and body come back."""
    seen: list[Request] = []

    def plugin(request: Request) -> Response:
        seen.append(request)
        return Response(404, b'{"Err":"no"}', {"Content-Type": "text/x", "Content-Length": "12"})

    traced = Traced(plugin)
    headers = {"Host": "", "Accept": "v1.2", "User-Agent": "Go"}
    response = traced.call("M.x?a=b%20", b"{}\n", headers)

    assert (response.status, read(response)) == (404, b'{"Err":"no"}')
    assert response.headers == {"Content-Type": "text/x", "Content-Length": "12"}
    assert (seen[0].method, seen[0].body) == ("M.x?a=b%20", b"{}\n")
    assert seen[0].headers == headers
    [call] = traced.calls
    assert (call.method, call.request.data, call.status) == ("M.x?a=b%20", b"{}\n", 404)
    assert (call.answer.data, call.broken, call.host_left) == (b'{"Err":"no"}', "", False)


def test_headers_of_a_single_connection_are_not_passed_on() -> None:
    """Each side frames its bodies and keeps its connections by itself."""
    headers = {"Connection": "close", "Transfer-Encoding": "chunked", "Keep-Alive": "5", "X": "y"}
    seen: list[Request] = []

    def plugin(request: Request) -> Response:
        seen.append(request)
        return Response(200, b"", headers)

    response = Traced(plugin).call(headers=headers)

    assert seen[0].headers == {"X": "y"}
    assert response.headers == {"X": "y"}


def test_a_recorded_call_has_its_start_and_its_duration() -> None:
    """The duration lasts until the end of the response was read."""

    def slow(_: Request) -> bytes:
        traced.clock.advance(2)
        return b"abc"

    traced = Traced(slow)
    traced.clock.advance(5)

    response = traced.call()
    traced.clock.advance(1)
    read(response)

    assert (traced.calls[0].at, traced.calls[0].took) == (5, 3)


def test_bodies_pass_as_they_come_in_both_directions() -> None:
    """No piece waits for the end of its body, and each is reported with running counts."""
    log: list[str] = []

    def upload() -> Iterator[bytes]:
        for piece in (b"one", b"three"):
            log.append(f"sent {len(traced.pieces)}")
            yield piece

    def answer() -> Iterator[bytes]:
        for piece in (b"a", b"bc"):
            log.append(f"made {len(traced.pieces)}")
            yield piece

    traced = Traced(lambda _: answer())
    response = traced.call(body=upload())

    assert log == ["sent 0", "sent 1"]
    assert response.body.read(10) == b"a"
    assert log[2:] == ["made 2"]
    assert traced.calls == []
    read(response)
    assert [(each.part, each.pieces, each.size) for each in traced.pieces] == [
        ("request", 1, 3),
        ("request", 2, 8),
        ("answer", 1, 1),
        ("answer", 2, 3),
    ]
    assert traced.calls[0].request.pieces == (b"one", b"three")
    assert traced.calls[0].answer.pieces == (b"a", b"bc")


def test_the_recorded_part_of_a_body_is_bounded() -> None:
    """A body of 2 MiB is passed on whole, and 1 MiB of it is recorded."""
    traced = Traced(lambda _: iter([bytes(1 << 19)] * 4))

    assert len(read(traced.call())) == 4 << 19

    answer = traced.calls[0].answer
    assert (len(answer.data), answer.omitted, answer.size) == (1 << 20, 1 << 20, 2 << 20)


def test_a_plugin_that_sends_no_response_gives_the_host_none() -> None:
    """``NoAnswerError`` closes the host's connection, and the call is recorded as broken."""
    traced = Traced({"M.x": drops()})

    with pytest.raises(NoAnswerError, match="closed the connection without a response") as caught:
        traced.call(body=b"{}")

    assert isinstance(caught.value, ConnectionResetError)
    assert isinstance(caught.value.__cause__, TransportError)
    [call] = traced.calls
    assert (call.status, call.request.data) == (0, b"{}")
    assert call.broken == "the plugin closed the connection without a response"


def test_a_response_that_breaks_off_breaks_off_for_the_host() -> None:
    """The part that arrived is passed on and recorded, and the call is recorded as broken."""
    traced = Traced({"M.x": drops_mid_body(b"half")})
    response = traced.call()

    assert response.body.read(100) == b"half"
    with pytest.raises(NoAnswerError):
        response.body.read(100)
    response.body.close()

    [call] = traced.calls
    assert (call.status, call.answer.data, call.host_left) == (200, b"half", False)
    assert call.broken == "the response's body is cut off or badly chunked"


def test_a_host_that_leaves_is_seen() -> None:
    """The plugin's body is closed, and the call is not recorded as broken."""
    closed: list[bool] = []

    def endless() -> Iterator[bytes]:
        try:
            while True:
                yield b"more"
        finally:
            closed.append(True)

    traced = Traced(lambda _: endless())
    response = traced.call()
    response.body.read(100)
    response.body.close()

    assert closed == [True]
    assert traced.calls[0].host_left
    assert traced.calls[0].broken == ""


def test_a_host_that_breaks_its_own_request_off_is_seen() -> None:
    """The call is recorded as left by the host, not as broken by the plugin."""

    def upload() -> Iterator[bytes]:
        yield b"half"
        raise WireError("the request's body is cut off")

    traced = Traced({"M.x": {}})

    with pytest.raises(NoAnswerError):
        traced.call(body=upload())

    [call] = traced.calls
    assert (call.request.data, call.host_left, call.broken) == (b"half", True, "")


def test_an_app_without_a_response_looks_the_same_in_memory_as_over_a_socket() -> None:
    """``MemoryTransport`` raises that the plugin sent no response, or a body that is cut off."""
    before = Traced({"M.x": drops()})
    within = Traced({"M.x": drops_mid_body()})

    with pytest.raises(TransportError, match="closed the connection without a response"):
        MemoryTransport(before.app).send(Request("M.x"), None)
    response = MemoryTransport(within.app).send(Request("M.x"), None)
    with pytest.raises(WireError, match="cut off"):
        read(response)


@pytest.mark.parametrize("error", [ValueError("mine"), SystemExit("mine"), KeyboardInterrupt()])
def test_a_call_goes_on_whatever_its_observers_raise(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """The bodies are passed on unchanged, and each exception is logged."""

    def fail(_: object) -> None:
        raise error

    plugin = MemoryTransport(lambda _: Response(200, iter([b"one", b"two"])))
    app = Trace(plugin, FakeClock().now, fail, fail)

    assert read(app(Request("M.x", iter([b"a", b"b"])))) == b"onetwo"
    assert caplog.text.count("an observer of calls failed") == 5
