"""AuthZPlugin: a request whose body the engine does not show is denied by default."""

from typing import Any

from attrs import evolve

from moby_plugins.app import wire
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import AuthZPlugin, AuthZRequest, Verdict
from tests.cases import every
from tests.unit.app.subsystems.exchanges import asked

CREATE = AuthZRequest(request_method="POST", request_uri="/v1.47/containers/create")
JSON = {"Content-Type": "application/json"}


class Lenient(AuthZPlugin):
    """A plugin whose author did not consider bodies that the engine withholds."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[AuthZRequest] = []

    def authorize_request(self, request: AuthZRequest) -> Verdict:
        self.asked.append(request)
        return Verdict(b'"Privileged":true' not in request.request_body)


class Builder(Lenient):
    """A plugin that allows build contexts, which engines never show."""

    def authorize_unseen(self, request: AuthZRequest) -> Verdict:
        if request.request_headers.get("Content-Type") == "application/x-tar":
            return Verdict(True)
        return super().authorize_unseen(request)


def verdict(plugin: AuthZPlugin, request: AuthZRequest) -> Any:
    """What the plugin answers an engine."""
    status, answer = asked(PluginApp(plugin), "AuthZPlugin.AuthZReq", wire.encode(request))
    assert status == 200
    return wire.decode(answer.encode(), Verdict)


UNSEEN = {
    "a length, and no body": {"Content-Length": "99", **JSON},
    "a length in other letters": {"content-LENGTH": " 99 "},
    "a length that is not a number": {"Content-Length": "0x0"},
    "a body of another kind": {"Content-Length": "99", "Content-Type": "application/x-tar"},
    "chunks": {"Transfer-Encoding": "chunked", **JSON},
    "chunks of which the engine tells nothing": JSON,
    "no header at all": {},
}


@every("headers", UNSEEN.values(), ids=UNSEEN)
def test_a_request_whose_body_was_not_shown_is_denied(headers: dict[str, str]) -> None:
    """``authorize_request`` is not called for a request whose body the engine withheld."""
    plugin = Lenient()

    answer = verdict(plugin, evolve(CREATE, request_headers=headers))

    assert answer == Verdict(False, "the engine did not show the body of POST")
    assert plugin.asked == []


SEEN = {
    "a whole body": evolve(CREATE, request_headers={"Content-Length": "2"}, request_body=b"{}"),
    "a body from chunks": evolve(CREATE, request_headers=JSON, request_body=b"{}"),
    "no body, and it says so": evolve(CREATE, request_headers={"Content-Length": "0"}),
    "a request that has none": AuthZRequest(request_method="GET", request_uri="/_ping"),
    "a removal": AuthZRequest(request_method="DELETE", request_uri="/containers/x"),
}


@every("request_", SEEN.values(), ids=SEEN)
def test_a_request_that_was_shown_whole_is_decided_by_authorize_request(
    request_: AuthZRequest,
) -> None:
    """A request that has no body counts as shown whole, too."""
    plugin = Lenient()

    assert verdict(plugin, request_) == Verdict(True)
    assert plugin.asked == [request_]


def test_a_request_of_which_only_a_part_of_the_body_was_shown_is_denied() -> None:
    """A body that is shorter than its Content-Length counts as withheld."""
    request = evolve(CREATE, request_headers={"Content-Length": "9"}, request_body=b"{}")

    assert request.body_withheld
    assert verdict(Lenient(), request).allow is False


@every("method", ["GET", "DELETE", "HEAD", "OPTIONS", "BREW"])
def test_a_body_that_is_announced_but_not_shown_is_withheld_whatever_the_method(
    method: str,
) -> None:
    """A Content-Length of 1 announces a body, even for GET or an unknown method."""
    assert AuthZRequest(
        request_method=method, request_headers={"Content-Length": "1"}
    ).body_withheld


def test_authorize_unseen_may_allow_a_request_whose_body_was_not_shown() -> None:
    """An override allows build contexts here; other requests are still denied."""
    tar = evolve(CREATE, request_headers={"Content-Type": "application/x-tar"})

    assert verdict(Builder(), tar) == Verdict(True)
    assert verdict(Builder(), CREATE).allow is False
