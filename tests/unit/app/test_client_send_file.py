"""``send_file``: what may be sent, and when it may be sent again."""

import io
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

from moby_plugins.app.client import Client
from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import (
    StatusError,
    TransportError,
    TransportTimeoutError,
    WireError,
)
from moby_plugins.testing import (
    FakeClock,
    Request,
    Response,
    drips,
    drops,
    refused,
    script,
    status,
)
from tests.unit.app.hosts import AnyClock, client_of
from tests.unit.app.in_memory import TCP

BODY = b"0123456789"


class Pipe(io.BytesIO):
    """A file that cannot be rewound."""

    def seekable(self) -> bool:
        return False


def behind_a_header() -> io.BytesIO:
    """A file of which some was read already."""
    file = io.BytesIO(b"header" + BODY)
    file.seek(6)
    return file


def chunks() -> Iterator[bytes]:
    """The body, once."""
    yield BODY[:4]
    yield BODY[4:]


AGAIN: dict[str, Callable[[], Any]] = {
    "bytes": lambda: BODY,
    "a file": lambda: io.BytesIO(BODY),
    "a file from where it stands": behind_a_header,
    "a list": lambda: [BODY[:4], BODY[4:]],
}
ONCE: dict[str, Callable[[], Any]] = {"a pipe": lambda: Pipe(BODY), "an iterator": chunks}
ALL = AGAIN | ONCE


@attrs.frozen
class Taken:
    """A typed result."""

    size: int


def size(request: Request) -> dict[str, int]:
    """Tell how large the body is."""
    return {"Size": len(request.read())}


def echo(request: Request) -> str:
    """Tell the body."""
    return request.read().decode()


@pytest.mark.parametrize("kind", ALL)
def test_all_kinds_of_data_arrive_whole(kind: str, clock: AnyClock) -> None:
    """Bytes, files and iterables are sent as the body, and the response is plain JSON."""
    client, line = client_of(echo, clock)

    assert client.send_file("M.x", ALL[kind]()) == BODY.decode()
    assert len(line.requests) == 1


@pytest.mark.parametrize(
    ("kind", "length"),
    [
        ("a file", 10),
        ("a file from where it stands", 10),
        ("a list", None),
        ("a pipe", None),
        ("an iterator", None),
    ],
)
def test_a_request_has_a_length_if_that_of_the_data_is_known(
    kind: str, length: int | None, clock: AnyClock
) -> None:
    """A file that can seek is sent with its length; pipes and iterables are sent in chunks."""
    client, line = client_of(size, clock)

    client.send_file("M.x", ALL[kind]())

    assert [request.length for request in line.requests] == [length]


def test_the_response_to_send_file_is_decoded_as_the_requested_type(clock: AnyClock) -> None:
    """``into`` has the same meaning as for ``call``."""
    client, _ = client_of(size, clock)

    assert client.send_file("M.x", BODY, Taken) == Taken(10)
    assert client.send_file("M.x", chunks(), into=Taken) == Taken(10)


@pytest.mark.parametrize("kind", ALL)
def test_data_is_sent_again_after_a_refused_connection(kind: str, clock: AnyClock) -> None:
    """No data was read for a connection that was refused, so any data can be sent again."""
    client, line = client_of(script(refused(), refused(), echo), clock)

    assert client.send_file("M.x", ALL[kind]()) == BODY.decode()
    assert [request.attempt for request in line.requests] == [1, 2, 3]
    assert clock.sleeps == [1, 2]


@pytest.mark.parametrize("kind", AGAIN)
def test_data_that_can_be_read_again_is_sent_whole_again(kind: str, clock: AnyClock) -> None:
    """After a connection that broke, the plugin gets all of the data, not the rest."""
    client, line = client_of(script(drops(), drops(), echo), clock)

    assert client.send_file("M.x", AGAIN[kind]()) == BODY.decode()
    assert len(line.requests) == 3


@pytest.mark.parametrize("kind", ONCE)
def test_data_that_was_partly_read_and_cannot_be_read_again_is_not_sent_again(
    kind: str, clock: AnyClock
) -> None:
    """The error of that attempt is raised, and says why there was no further attempt."""
    client, line = client_of(script(refused(), drops(), echo), clock)

    with pytest.raises(TransportError) as caught:
        client.send_file("M.x", ONCE[kind]())

    assert caught.value.body_spent
    assert str(caught.value) == (
        f"plugin 'p' at {TCP}: the plugin closed the connection without a response"
        " (tried 2 times in 1 s; not tried again: the request's body was partly read and"
        " cannot be rewound)"
    )
    assert len(line.requests) == 2


@pytest.mark.parametrize("kind", ALL)
def test_a_response_with_an_error_status_is_not_tried_again(kind: str, clock: AnyClock) -> None:
    """Whatever the data, ``send_file`` raises a StatusError with the plugin's message."""
    client, line = client_of(status(507, "disk full"), clock)

    with pytest.raises(StatusError, match=r"(?m)^M\.x: disk full$"):
        client.send_file("M.x", ALL[kind]())

    assert len(line.requests) == 1


@pytest.mark.parametrize("kind", ALL)
def test_a_time_out_while_the_response_arrives_is_not_reported_as_an_error_of_the_data(
    kind: str, clock: AnyClock
) -> None:
    """The error says that a response was begun; the data is not sent again."""
    client, line = client_of(drips(b"[1, 2, 3]"), clock)

    with pytest.raises(TransportTimeoutError) as caught:
        client.send_file("M.x", ALL[kind](), timeout=3)

    assert (caught.value.answered, caught.value.body_spent) == (True, False)
    assert len(line.requests) == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: ZeroDivisionError("mine"),
        lambda: OSError("mine"),
        lambda: TimeoutError("mine"),
        lambda: KeyboardInterrupt("mine"),
        lambda: StatusError(404, "Other.x", "mine"),
        # What reading another plugin's stream raises.
        lambda: WireError("cut off", "Other.x", "tcp://other:2", "other"),
        lambda: TransportError("reset", "tcp://other:2", "other"),
    ],
)
@pytest.mark.parametrize("first", [b"", b"some"], ids=["at once", "half-way"])
def test_an_exception_from_reading_the_data_is_raised_unchanged(
    first: bytes, make: Callable[[], BaseException], clock: AnyClock
) -> None:
    """The exception is not translated and gets no plugin's name; there is no retry."""
    error = make()

    def failing() -> Iterator[bytes]:
        if first:
            yield first
        raise error

    client, line = client_of(size, clock)
    with pytest.raises(type(error)) as caught:
        client.send_file("M.x", failing())

    assert caught.value is error
    assert str(caught.value) == str(make())
    assert (len(line.requests), clock.sleeps) == (1, [])


def test_an_exception_from_reading_the_data_is_raised_whatever_the_transport_raises() -> None:
    """A transport that takes it for a broken connection does not hide the exception."""
    clock = FakeClock()
    error = OSError("mine")

    def failing() -> Iterator[bytes]:
        yield b"some"
        raise error

    class Hiding:
        def send(self, request: Request, timeout: float | None) -> Response:
            try:
                return Response(200, request.read())
            except OSError as cause:
                raise TransportError("aborted", TCP) from cause

        def close(self) -> None: ...

    with pytest.raises(OSError, match=r"^mine$") as caught:
        Client(Hiding(), Address(TCP), clock=clock).send_file("M.x", failing())

    assert caught.value is error
    assert clock.sleeps == []


def test_a_file_of_text_is_refused(clock: AnyClock) -> None:
    """``send_file`` raises a TypeError, and does not try again."""
    client, line = client_of(size, clock)

    with pytest.raises(TypeError, match=r"^a body must yield bytes, not str$"):
        client.send_file("M.x", io.StringIO("text"))

    assert len(line.requests) == 1
