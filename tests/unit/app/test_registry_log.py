"""What a registry logs of hostile plugins: lines of its own, printable and short."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from moby_plugins import Client, PluginError
from moby_plugins.subsystems import GraphDriver, VolumeDriver
from moby_plugins.testing import Request, Response, status
from tests.unit.app.in_memory import MemoryHost, client_of
from tests.unit.app.subsystems.exchanges import replying

FORGED = "\n2026-01-01 CRITICAL sshd: \x1b[2J\r\u2028"
LONG = FORGED * 10_000


def lines(caplog: pytest.LogCaptureFixture) -> Iterator[str]:
    """What a handler with an ordinary formatter writes."""
    for record in caplog.records:
        yield from logging.Formatter().format(record).split("\n")


def answering(code: int, body: bytes) -> Any:
    """A reply of these bytes."""
    return lambda _: Response(code, body)


@pytest.mark.parametrize(
    "reply",
    [
        status(500, LONG),
        answering(500, LONG.encode()),
        answering(200, LONG.encode()),
        answering(200, b"[" + b"1" * (1 << 20) + b".1e9999]"),
        answering(200, b'{"' + b"x" * (1 << 20) + b'": 1}{'),
        {"Implements": [LONG, 1]},
        {"Implements": {LONG: 1}},
        answering(302, b""),
    ],
)
def test_a_plugin_that_is_left_out_is_one_line(
    reply: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it answers, and whatever it is called."""
    host = MemoryHost({"bad": reply})

    assert host.registry.get_all("A") == [] or reply == {"Implements": {LONG: 1}}

    for line in lines(caplog):
        assert line.startswith("left out plugin 'bad': ")
        assert line.isprintable()
        assert len(line) < 1500


def test_the_line_says_whose_response_it_was(caplog: pytest.LogCaptureFixture) -> None:
    """The plugin, its address and the status."""
    MemoryHost({"bad": answering(503, b"")}).registry.get_all(None)

    [message] = caplog.messages
    assert message == (
        "left out plugin 'bad': Plugin.Activate: status 503 Service Unavailable "
        "(plugin 'bad' at memory://bad)"
    )


def test_a_handler_that_fails_forges_no_line(caplog: pytest.LogCaptureFixture) -> None:
    """Its stack is there, in lines of a bounded length."""

    def fail(_: str, __: Client) -> None:
        raise RuntimeError(LONG)

    host = MemoryHost({"good": ["A"]})
    host.registry.handle("A", fail)
    host.registry.get("good", "A")

    told = [*lines(caplog)]
    assert told[1] == "Traceback (most recent call last):"
    assert all(line.isprintable() and len(line.encode()) < 4096 for line in told)


def test_what_drivers_say_forges_no_line(caplog: pytest.LogCaptureFixture) -> None:
    """A scope that is none, and a clean-up that failed."""
    scope = {"Capabilities": {"Scope": LONG}}

    replying(VolumeDriver, "Capabilities", scope).capabilities()
    replying(GraphDriver, "Cleanup", status(500, LONG)).cleanup()

    told = [*lines(caplog)]
    assert len(told) == 2
    assert all(line.isprintable() and len(line) < 1500 for line in told)


@pytest.mark.parametrize("reply", [status(409, "in use"), {"Err": "in use"}])
def test_an_error_of_a_call_says_whose_it_is(reply: Any) -> None:
    """Its attributes do, and a note, which tracebacks show."""
    host = MemoryHost(
        {
            "shelf": {
                "Plugin.Activate": {"Implements": ["VolumeDriver"]},
                "VolumeDriver.Remove": reply,
            }
        }
    )
    driver = VolumeDriver(host.registry.get("shelf", "VolumeDriver").client)

    with pytest.raises(PluginError) as caught:
        driver.remove("books")

    error: Any = caught.value
    assert str(error) == "VolumeDriver.Remove: in use"
    assert (error.plugin, error.address) == ("shelf", "memory://shelf")
    [note] = error.__notes__
    assert note.startswith(f"plugin 'shelf' at memory://shelf, status {error.status} ")


def test_an_error_of_a_stream_says_whose_it_is() -> None:
    """The status comes before the first chunk."""
    client, _ = client_of(status(500, "no"), MemoryHost().clock)

    with pytest.raises(PluginError) as caught:
        client.stream("M.x")

    error: Any = caught.value
    assert (error.plugin, error.address, error.status) == ("p", "tcp://host:1", 500)


def test_requests_are_values_of_their_own() -> None:
    """A method that would break the request's line is told in one line too."""
    with pytest.raises(ValueError, match="is not a method") as caught:
        Request(LONG)

    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
