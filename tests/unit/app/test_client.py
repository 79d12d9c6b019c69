"""A client of one plugin: what it sends, how it reads the response, and what it raises."""

import math
from typing import Any

import attrs
import pytest

from moby_plugins.app.client import Client
from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import (
    PluginError,
    StatusError,
    WireError,
    is_not_found,
)
from moby_plugins.testing import (
    FakeClock,
    MemoryTransport,
    Request,
    drips,
    drops_mid_body,
    not_json,
    status,
)
from tests.unit.app.hosts import AnyClock, client_of
from tests.unit.app.in_memory import TCP, Line


@attrs.frozen
class Volume:
    """A typed argument and result."""

    name: str
    mount_point: str = "/"


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("unix:///run/p.sock", "plugin.moby.localhost"),
        ("tcp://host:1234", "host:1234"),
        ("https://[::1]:9", "[::1]:9"),
    ],
)
def test_a_request_has_the_headers_of_the_protocol(address: str, host: str) -> None:
    """Host, Accept and User-Agent, and no Content-Type."""
    clock = FakeClock()
    line = Line(MemoryTransport({"M.x": 1}))

    Client(line, Address(address), clock=clock).call("/M.x")

    assert line.requests == [
        Request(
            "M.x",
            b"",
            {
                "Host": host,
                "Accept": "application/vnd.docker.plugins.v1.2+json",
                "User-Agent": "moby-plugins/0.1.0",
            },
        )
    ]


@pytest.mark.parametrize(
    ("args", "body"),
    [
        (None, b""),
        ({}, b"{}\n"),
        ({"Name": "ä", "N": [1, None]}, b'{"Name":"\\u00e4","N":[1,null]}\n'),
        (Volume("data"), b'{"Name":"data","MountPoint":"/"}\n'),
    ],
)
def test_arguments_are_json_and_a_newline(args: Any, body: bytes, clock: AnyClock) -> None:
    """Plain values and attrs classes are encoded; without arguments the body is empty."""
    client, line = client_of(1, clock)

    client.call("M.x", args)

    assert [request.body for request in line.requests] == [body]


@pytest.mark.parametrize(
    ("reply", "into", "expected"),
    [
        ({"A": [1, None]}, None, {"A": [1, None]}),
        (b"", None, None),
        (b'{"A":1} {"B":2}', None, {"A": 1}),
        ({"name": "data", "MountPoint": None, "More": 1}, Volume, Volume("data", "/")),
        ([{"Name": "a"}], list[Volume], [Volume("a")]),
        (None, Volume, Volume("")),
    ],
)
def test_a_response_is_decoded_as_plain_json_or_as_the_requested_type(
    reply: Any, into: Any, expected: object, clock: AnyClock
) -> None:
    """A call sends one request; an empty body is ``None`` unless a type was requested."""
    client, line = client_of(reply, clock)

    assert client.call("M.x", {}, into) == expected
    assert len(line.requests) == 1


@pytest.mark.parametrize(
    ("reply", "into", "said"),
    [
        (b"", Volume, "empty where JSON was expected"),
        ({"Name": 1}, Volume, "Name: a string expected, not a number"),
        ([], Volume, "an object expected, not an array"),
    ],
)
def test_the_error_for_a_response_of_another_type_names_the_plugin_and_the_method(
    reply: Any, into: Any, said: str, clock: AnyClock
) -> None:
    """The ``WireError`` has the address and what is wrong, too; the call is not tried again."""
    client, line = client_of(reply, clock)

    with pytest.raises(WireError) as caught:
        client.call("M.x", {}, into)

    error = caught.value
    assert (error.plugin, error.address, error.method) == ("p", TCP, "M.x")
    assert str(error) == f"plugin 'p' at {TCP}: M.x: {said}"
    assert len(line.requests) == 1


@pytest.mark.parametrize("reply", [not_json(), drops_mid_body()])
def test_a_call_with_a_broken_response_is_not_tried_again(reply: Any, clock: AnyClock) -> None:
    """A body with status 200 that is cut off or not JSON raises a ``WireError`` at once."""
    client, line = client_of(reply, clock)

    with pytest.raises(WireError, match=rf"^plugin 'p' at {TCP}: M\.x: "):
        client.call("M.x")

    assert (len(line.requests), clock.sleeps) == (1, [])


def test_a_response_may_be_as_large_as_the_bound_and_no_larger(clock: AnyClock) -> None:
    """``max_response_bytes`` is the size of the largest response that is accepted."""
    client, _ = client_of(lambda request: b'"' + request.read() + b'"', clock, max_response_bytes=6)

    assert client.send_file("M.x", b"1234") == "1234"
    with pytest.raises(WireError) as caught:
        client.send_file("M.x", b"12345")

    assert str(caught.value) == f"plugin 'p' at {TCP}: M.x: the response is larger than 6 bytes"


def test_an_error_of_the_plugin_is_raised_with_its_message(clock: AnyClock) -> None:
    """Any status but 200 is a ``StatusError``, never tried again; 404 is "not found"."""
    client, line = client_of(status(404, "no such volume"), clock)

    with pytest.raises(StatusError, match=r"(?m)^M\.x: no such volume$") as caught:
        client.call("/M.x")

    assert (caught.value.status, caught.value.attempts) == (404, 1)
    assert is_not_found(caught.value)
    assert (len(line.requests), clock.sleeps) == (1, [])


@pytest.mark.parametrize(
    ("fault", "timeout"),
    [(drops_mid_body(b"disk f", 500), None), (drips(b"disk full", status=500), 6.5)],
)
def test_an_error_response_whose_body_breaks_off_keeps_its_status(
    fault: Any, timeout: float | None, clock: AnyClock
) -> None:
    """The text received so far is the message; the error of reading the rest is the cause."""
    client, line = client_of(fault, clock)

    with pytest.raises(StatusError, match=r"(?m)^M\.x: disk f$") as caught:
        client.call("M.x", timeout=timeout)

    assert isinstance(caught.value.__cause__, PluginError)
    assert len(line.requests) == 1


@pytest.mark.parametrize("method", ["", "/", "M x", "M\r\nX: y", "M\0", "Mä"])
def test_a_method_that_would_break_the_request_is_an_error(method: str, clock: AnyClock) -> None:
    """A name with a space, a line end or a letter beyond ASCII is refused; nothing is sent."""
    client, line = client_of(1, clock)

    with pytest.raises(ValueError, match="is not a method"):
        client.call(method)

    assert line.requests == []


@pytest.mark.parametrize("args", [math.nan, object(), {"A": {1, 2}, "B": object()}])
def test_arguments_without_a_json_form_are_an_error(args: Any, clock: AnyClock) -> None:
    """NaN, sets and arbitrary objects raise an exception, and nothing is sent."""
    client, line = client_of(1, clock)

    with pytest.raises((TypeError, ValueError)):
        client.call("M.x", args)

    assert line.requests == []
