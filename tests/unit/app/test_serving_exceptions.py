"""Exceptions of any kind that a plugin's code raises become a response or are logged."""

import asyncio
import logging
from collections.abc import Iterator
from typing import NoReturn

import pytest

from moby_plugins.domain.errors import StatusError, WireError
from moby_plugins.domain.http import Request, Response
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import GraphDriver, VolumeDriver


class Unusual(BaseException):
    """What a library raises that is not meant to be caught."""


class SilentError(Exception):
    """An exception that cannot be shown as text."""

    def __repr__(self) -> str:
        return "SilentError"

    def __str__(self) -> NoReturn:
        raise SystemExit("nor shown")


ANYTHING = {
    "mkfs: bad option": SystemExit("mkfs: bad option"),
    "KeyboardInterrupt": KeyboardInterrupt(),
    "CancelledError": asyncio.CancelledError(),
    "GeneratorExit": GeneratorExit(),
    "odd": Unusual("odd"),
    "SilentError": SilentError(),
    "disk full": OSError("disk full"),
}
anything = pytest.mark.parametrize(("text", "error"), ANYTHING.items(), ids=ANYTHING)


class Layers(GraphDriver):
    """``diff`` raises ``error`` at the place that its layer is called after."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error

    def diff(self, id: str, parent: str = "") -> Iterator[bytes]:
        try:
            if id == "beginning":
                raise self._error
            yield b"first"
            if id == "middle":
                raise self._error
            yield b"last"
        finally:
            if id == "end":
                raise self._error


class Volumes(VolumeDriver):
    """``remove`` raises ``error``."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error

    def remove(self, name: str) -> None:
        raise self._error


def diff(error: BaseException, place: str) -> Response:
    """The answer of a layer whose ``diff`` raises there."""
    app = PluginApp(Layers(error))
    return app(Request("GraphDriver.Diff", b'{"ID":"%b"}' % place.encode()))


@anything
def test_an_exception_of_a_method_becomes_a_response_of_status_500(
    text: str, error: BaseException
) -> None:
    """The response has the exception's text, or its class where there is no usable text."""
    answer = PluginApp(Volumes(error))(Request("VolumeDriver.Remove", b'{"Name":"v"}'))

    assert answer.status == 500
    assert answer.body.read(1000) == b'{"Err":"%b"}\n' % text.encode()


@anything
def test_an_exception_of_a_generator_before_its_first_chunk_is_status_500(
    text: str, error: BaseException
) -> None:
    """No status was sent yet, so the exception can still become a response."""
    answer = diff(error, "beginning")

    assert answer.status == 500
    assert answer.body.read(1000) == b'{"Err":"%b"}\n' % text.encode()


@anything
def test_an_exception_of_a_generator_after_a_chunk_cuts_the_response_off(
    text: str, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """The host sees that the response is not complete, and the cause is logged."""
    answer = diff(error, "middle")
    assert answer.body.read(1000) == b"first"

    with pytest.raises(WireError, match="cut off"):
        answer.body.read(1000)

    assert "GraphDriver.Diff failed in the middle of its response" in caplog.text


@pytest.mark.parametrize(
    "error", [error for text, error in ANYTHING.items() if text != "GeneratorExit"], ids=repr
)
def test_an_exception_while_a_generator_is_closed_is_logged(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """Closing the response does not raise, as the exception is no concern of the host."""
    answer = diff(error, "end")
    assert answer.body.read(1000) == b"first"

    with caplog.at_level(logging.ERROR):
        answer.body.close()

    assert "closing the response of GraphDriver.Diff failed" in caplog.text


def test_a_status_error_with_none_as_its_message_becomes_a_response() -> None:
    """The response has the status of the error, and the error's text."""
    error = StatusError(409, "X", None)  # type: ignore[arg-type]

    answer = PluginApp(Volumes(error))(Request("VolumeDriver.Remove", b'{"Name":"v"}'))

    assert (answer.status, answer.body.read(1000)) == (409, b'{"Err":"X: None"}\n')


class OddStatusError(StatusError):
    """One that does not give its message."""

    @property
    def message(self) -> str:
        raise SystemExit

    @message.setter
    def message(self, _: str) -> None:
        pass


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (StatusError(409, "M.x", 5), 409, b'{"Err":"5"}\n'),  # type: ignore[arg-type]
        (StatusError("409", "M.x", "no"), 500, b'{"Err":"no"}\n'),  # type: ignore[arg-type]
        (OddStatusError(409, "M.x", "no"), 500, b'{"Err":"OddStatusError"}\n'),
    ],
)
def test_a_status_error_with_parts_of_wrong_types_becomes_a_response(
    error: StatusError, status: int, body: bytes
) -> None:
    """Python does not check the types of the status and the message that an author passes."""
    answer = PluginApp(Volumes(error))(Request("VolumeDriver.Remove", b'{"Name":"v"}'))

    assert (answer.status, answer.body.read(1000)) == (status, body)
