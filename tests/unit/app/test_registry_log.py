"""What a registry logs of hostile plugins is printable, short, and on separate lines."""

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
def test_a_plugin_that_get_all_leaves_out_is_logged_in_one_printable_line(
    reply: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Line breaks, control characters and long texts in a response forge no line in the log."""
    host = MemoryHost({"bad": reply})

    assert host.registry.get_all("A") == [] or reply == {"Implements": {LONG: 1}}

    for line in lines(caplog):
        assert line.startswith("left out plugin 'bad': ")
        assert line.isprintable()
        assert len(line) < 1500


def test_the_log_line_of_a_left_out_plugin_names_plugin_address_and_status(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The line also names the method that failed, here the handshake."""
    MemoryHost({"bad": answering(503, b"")}).registry.get_all(None)

    [message] = caplog.messages
    assert message == (
        "left out plugin 'bad': Plugin.Activate: status 503 Service Unavailable "
        "(plugin 'bad' at memory://bad)"
    )


def test_the_log_of_a_failing_handler_has_only_short_printable_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The traceback is logged, and line breaks in the exception's text forge no line."""

    def fail(_: str, __: Client) -> None:
        raise RuntimeError(LONG)

    host = MemoryHost({"good": ["A"]})
    host.registry.handle("A", fail)
    host.registry.get("good", "A")

    told = [*lines(caplog)]
    assert told[1] == "Traceback (most recent call last):"
    assert all(line.isprintable() and len(line.encode()) < 4096 for line in told)


def test_each_warning_of_a_driver_is_one_short_printable_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The warnings are about an unknown volume scope and about a clean-up that failed."""
    scope = {"Capabilities": {"Scope": LONG}}

    replying(VolumeDriver, "Capabilities", scope).capabilities()
    replying(GraphDriver, "Cleanup", status(500, LONG)).cleanup()

    told = [*lines(caplog)]
    assert len(told) == 2
    assert all(line.isprintable() and len(line) < 1500 for line in told)


@pytest.mark.parametrize("reply", [status(409, "in use"), {"Err": "in use"}])
def test_the_error_of_a_call_names_the_plugin_and_its_address(reply: Any) -> None:
    """Plugin and address are attributes of the error, and in a note that tracebacks show."""
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


def test_the_error_of_a_stream_names_the_plugin_and_its_address() -> None:
    """``stream`` itself raises the error, since the status comes before the first chunk."""
    client, _ = client_of(status(500, "no"), MemoryHost().clock)

    with pytest.raises(PluginError) as caught:
        client.stream("M.x")

    error: Any = caught.value
    assert (error.plugin, error.address, error.status) == ("p", "tcp://host:1", 500)


def test_a_request_refuses_a_method_with_line_breaks() -> None:
    """The error message is one short printable line, although the method is long."""
    with pytest.raises(ValueError, match="is not a method") as caught:
        Request(LONG)

    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
