"""AuthZPlugin: table B5 of protocol.md."""

from typing import Any

import pytest

from moby_plugins.domain.errors import DriverError, StatusError
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import AuthZPlugin, AuthZRequest, Verdict
from moby_plugins.testing import status
from tests.unit.app.subsystems.exchanges import Exchange, Table, asked, part_of, replying

REQUEST = AuthZRequest(
    "ada",
    "TLS",
    "DELETE",  # where a body is absent, a POST would be denied unasked
    "/v1.41/containers/create?name=x",
    b'{"Image":"x"}',
    {"Content-Type": "application/json"},
    (b"-----BEGIN",),
)
ANSWERED = AuthZRequest(
    request_method="GET",
    request_uri="/_ping",
    response_status_code=200,
    response_body=b"OK",
    response_headers={"Server": "Docker"},
)


class TestB5(Table):
    """Table B5: the calls of an AuthZPlugin; every field is left out where it is empty."""

    kind = AuthZPlugin
    exchanges = (
        Exchange(
            "authorize_request",
            (REQUEST,),
            "AuthZPlugin.AuthZReq",
            '{"User":"ada","UserAuthNMethod":"TLS","RequestMethod":"DELETE",'
            '"RequestUri":"/v1.41/containers/create?name=x","RequestBody":"eyJJbWFnZSI6IngifQ==",'
            '"RequestHeaders":{"Content-Type":"application/json"},'
            '"RequestPeerCertificates":["LS0tLS1CRUdJTg=="]}',
            '{"Allow":false,"Msg":"not you"}',
            Verdict(False, "not you"),
        ),
        Exchange(
            "authorize_response",
            (ANSWERED,),
            "AuthZPlugin.AuthZRes",
            '{"RequestMethod":"GET","RequestUri":"/_ping","ResponseStatusCode":200,'
            '"ResponseBody":"T0s=","ResponseHeaders":{"Server":"Docker"}}',
            '{"Allow":true}',
            Verdict(True),
        ),
        Exchange(
            "authorize_request",
            (AuthZRequest(),),
            "AuthZPlugin.AuthZReq",
            "{}",
            '{"Allow":false}',
            Verdict(),
        ),
    )


def test_the_manifest_of_an_authorization_plugin_names_authz() -> None:
    """B5: Implements has this name, while the paths have AuthZPlugin."""
    part, _ = part_of(AuthZPlugin, {"authorize_request": Verdict(True)})

    assert asked(PluginApp(part), "Plugin.Activate") == (200, '{"Implements":["authz"]}')


@pytest.mark.parametrize("reply", [{}, None, {"Allow": None}, {"Msg": "who knows"}])
def test_a_response_without_a_true_allow_is_a_denial(reply: Any) -> None:
    """B5: an absent or null Allow does not allow the request."""
    assert replying(AuthZPlugin, "AuthZReq", reply).authorize_request(REQUEST).allow is False


def test_a_response_with_an_error_is_never_a_permission() -> None:
    """B5: Err beside Allow raises an error, and so does any status but 200."""
    with pytest.raises(DriverError, match="unsure"):
        replying(AuthZPlugin, "AuthZReq", {"Allow": True, "Err": "unsure"}).authorize_request(
            REQUEST
        )
    with pytest.raises(StatusError, match="broken"):
        replying(AuthZPlugin, "AuthZRes", status(500, "broken")).authorize_response(REQUEST)


@pytest.mark.parametrize("body", [b"", b"{", b'{"RequestBody":"*"}', b'{"User":1}'])
def test_an_unreadable_authorization_request_is_refused_with_status_400(body: bytes) -> None:
    """B10: the implementation is not called; the Go SDK calls it with an empty request."""
    part, received = part_of(AuthZPlugin, {"authorize_request": Verdict(True)})

    status_code, _ = asked(PluginApp(part), "AuthZPlugin.AuthZReq", body)

    assert (status_code, received) == (400, [])
