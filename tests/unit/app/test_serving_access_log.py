"""The access log has a line for each call that an app has served; what can be served as an app."""

import logging

import pytest

from moby_plugins import Request, Response, StatusError
from moby_plugins.aio import AsyncPluginApp, AsyncVolumeDriver
from moby_plugins.app.serving import AccessLog, as_app
from moby_plugins.domain.http import App
from moby_plugins.serving import PluginApp, observed
from moby_plugins.subsystems import Volume, VolumeDriver
from moby_plugins.testing import FakeClock


class Shelves(VolumeDriver):
    """A driver with one method."""

    def list(self) -> tuple[()]:
        return ()


def logged(app: App, clock: FakeClock) -> App:
    """An app whose calls are logged."""
    return observed(app, [AccessLog()], now=clock.now)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged of calls."""
    return [each.getMessage() for each in caplog.records if each.name == "moby_plugins.access"]


def test_a_call_is_logged_with_its_status_bytes_and_time(caplog: pytest.LogCaptureFixture) -> None:
    """The line has the method without its query string."""
    caplog.set_level(logging.INFO)
    clock = FakeClock()

    def app(request: Request) -> Response:
        clock.advance(0.25)
        return Response(404, b"12345")

    logged(app, clock)(Request("A.B?secret=1", b"{}"))

    assert lines(caplog) == ["A.B 404 5 bytes 250.0 ms"]


def test_a_stream_is_logged_once_when_it_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    """The line has the number of bytes that were read, which may not be all."""
    caplog.set_level(logging.INFO)
    clock = FakeClock()
    response = logged(lambda _: Response(200, iter([b"abc", b"de"])), clock)(Request("A.B"))

    assert response.body.read(100) == b"abc"
    assert lines(caplog) == []
    clock.advance(1)
    response.body.close()
    response.body.close()

    assert lines(caplog) == ["A.B 200 3 bytes 1000.0 ms"]


def test_a_call_of_an_app_that_raises_is_logged_with_status_500(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The exception is raised on, and the host is sent status 500."""
    caplog.set_level(logging.INFO)

    def app(request: Request) -> Response:
        raise KeyError("x")

    with pytest.raises(KeyError):
        logged(app, FakeClock())(Request("A.B"))

    assert lines(caplog) == ["A.B 500 0 bytes 0.0 ms"]


def test_the_access_log_has_the_status_that_the_host_gets_instead(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The app refuses the call, or returns a response that cannot be sent."""
    caplog.set_level(logging.INFO)

    def refuses(request: Request) -> Response:
        raise StatusError(418, "A.B", "tea")

    for app in (refuses, lambda _: Response(200, b"x", {"X": "\n"})):
        with pytest.raises((StatusError, ValueError)):
            logged(app, FakeClock())(Request("A.B"))

    assert lines(caplog) == ["A.B 418 0 bytes 0.0 ms", "A.B 500 0 bytes 0.0 ms"]


@pytest.mark.parametrize("found", [Shelves, Shelves(), PluginApp(Shelves())])
def test_as_app_accepts_a_subsystem_class_an_instance_or_an_app(found: object) -> None:
    """Each of them becomes a ``PluginApp`` of that subsystem."""
    app = as_app(found)

    assert isinstance(app, PluginApp)
    assert app.manifest.implements == ("VolumeDriver",)


@pytest.mark.parametrize("found", [3, None, int, VolumeDriver])
def test_as_app_refuses_what_cannot_be_served(found: object) -> None:
    """The ``TypeError`` says what could be served."""
    kind = type(found).__name__
    told = (
        "VolumeDriver does not implement any method of a subsystem"
        if found is VolumeDriver
        else f"the app is {kind!r}, and neither a PluginApp, a subsystem nor a function from"
        " Request to Response"
    )
    with pytest.raises(TypeError, match=f"^{told}$"):
        as_app(found)


def test_an_asynchronous_subsystem_is_an_asynchronous_app() -> None:
    """A class and an instance both become an ``AsyncPluginApp``."""

    class Later(AsyncVolumeDriver):
        async def list(self) -> list[Volume]:
            return []

    for found in (Later, Later()):
        app = as_app(found)
        assert isinstance(app, AsyncPluginApp)
        assert app.manifest.implements == ("VolumeDriver",)


async def make_later() -> PluginApp:
    """Make an app, as some servers want it."""
    return PluginApp(Shelves())


@pytest.mark.parametrize("found", [make_later, lambda: PluginApp(Shelves()), lambda a, b: None])
def test_a_function_that_makes_an_app_is_not_served(found: object) -> None:
    """Such a function takes no request, and the error says what to write instead."""
    told = (
        r"^the app cannot be called with a request alone; if it makes an app, serve that:"
        r" app = make_app\(\) in the module$"
    )
    with pytest.raises(TypeError, match=told):
        as_app(found)


@pytest.mark.parametrize(
    "found", [lambda request: None, lambda *_: None, lambda a, b=1: None, max, str.upper]
)
def test_as_app_accepts_any_function_that_takes_one_request(found: object) -> None:
    """Functions that are written in C are accepted, too."""
    assert as_app(found) is found
