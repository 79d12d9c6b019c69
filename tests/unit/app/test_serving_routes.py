"""Which part of an app serves a request, and which response an exception becomes."""

import json
from typing import Any

import pytest

from moby_plugins import StatusError
from moby_plugins.app.serving import Route, Routes, refusal
from moby_plugins.domain.http import Request, Response
from moby_plugins.subsystems import GraphDriver, Subsystem, remote


class Greeter(Subsystem):
    """A definition for one test."""

    @remote(result="Greeting")
    def greet(self, name: str) -> str:
        """Greet."""
        raise NotImplementedError


class Polite(Greeter):
    """A part."""

    def greet(self, name: str) -> str:
        return f"Good morning, {name}"


class Layers(GraphDriver):
    """A part that takes a stream."""

    def apply_diff(self, id: str, parent: str, archive: Any) -> int:
        return 0


@pytest.fixture
def routes() -> Routes:
    """Both parts, with a narrow bound."""
    return Routes([Polite(), Layers()], max_request_bytes=4)


def said(response: Response) -> tuple[int, Any]:
    """Its status and its JSON."""
    return response.status, json.loads(response.body.read(1 << 20))


def test_the_handshake_is_routed_to_a_response_without_calling_a_part(routes: Routes) -> None:
    """The response lists the subsystems that the parts implement."""
    response = routes.route("Plugin.Activate")

    assert isinstance(response, Response)
    assert said(response) == (200, {"Implements": ["Greeter", "GraphDriver"]})


def test_an_unknown_method_is_refused_with_status_404(routes: Routes) -> None:
    """The message names the method, and no part is called."""
    response = routes.route("Greeter.Shout")

    assert isinstance(response, Response)
    assert said(response) == (404, {"Err": "this plugin has no method Greeter.Shout"})


def test_a_method_is_routed_to_the_part_that_has_it(routes: Routes) -> None:
    """The route has the limit of the request body, and none for a method that takes a stream."""
    greet, apply = routes.route("Greeter.Greet"), routes.route("GraphDriver.ApplyDiff")

    assert isinstance(greet, Route)
    assert isinstance(apply, Route)
    assert (greet.remote.name, type(greet.part), greet.limit) == ("greet", Polite, 4)
    assert (apply.remote.name, type(apply.part), apply.limit) == ("apply_diff", Layers, None)


def test_a_body_over_the_bound_is_not_admitted(routes: Routes) -> None:
    """The announced length or the bytes count; a method that takes a stream has no limit."""
    greet, apply = routes.route("Greeter.Greet"), routes.route("GraphDriver.ApplyDiff")
    assert isinstance(greet, Route)
    assert isinstance(apply, Route)
    small = Request("Greeter.Greet", b"1234")

    assert greet.admit(small) is small
    for body, length in ((b"12345", None), (iter(()), 5)):
        with pytest.raises(StatusError, match="larger than 4 bytes") as caught:
            greet.admit(Request("Greeter.Greet", body, length=length))
        assert caught.value.status == 413
    assert apply.admit(Request("GraphDriver.ApplyDiff", iter((b"12345",)))).read() == b"12345"


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (ValueError("no room"), (500, {"Err": "no room"})),
        (StatusError(409, "M.x", "in use"), (409, {"Err": "in use"})),
        (StatusError(200, "M.x", "odd"), (500, {"Err": "odd"})),
    ],
    ids=["any", "with a status", "of no error"],
)
def test_an_exception_becomes_a_response(error: BaseException, answer: tuple[int, Any]) -> None:
    """The status is 500, or that of a ``StatusError`` if that is the status of an error."""
    assert said(refusal(error)) == answer
