"""Checks of AuthZPlugin, which handshakes call ``authz`` (protocol.md B5)."""

import base64
from typing import Any

from moby_plugins.checks.answer import Answer
from moby_plugins.checks.outcome import Check, CheckOutcome, check, require, warn
from moby_plugins.checks.session import MANY, Session
from moby_plugins.domain.http import OK

SUBSYSTEM = "authz"
REQUEST, RESPONSE = "AuthZPlugin.AuthZReq", "AuthZPlugin.AuthZRes"
LARGEST_BODY = 4 << 20


def b64(data: bytes) -> str:
    """Return ``data`` in base64, as engines send the bodies of API requests to a plugin."""
    return base64.b64encode(data).decode()


PING = {"RequestMethod": "GET", "RequestUri": "/_ping"}


def creation(body: bytes) -> dict[str, Any]:
    """Return arguments of AuthZReq, for an API request with ``body`` to create a container.

    They name no user and no certificate, which engines send only for clients with a certificate.
    """
    return {
        "RequestMethod": "POST",
        "RequestUri": "/v1.40/containers/create?name=moby-plugins-check",
        "RequestBody": b64(body),
        "RequestHeaders": {"Content-Type": "application/json", "Content-Length": str(len(body))},
    }


CREATE = creation(b'{"Image": "moby-plugins-check"}')
CREATED: dict[str, Any] = {
    "ResponseStatusCode": 201,
    "ResponseBody": b64(b'{"Id": "moby-plugins-check", "Warnings": []}'),
    "ResponseHeaders": {"Content-Type": "application/json"},
}


def verdict(plugin: Session, method: str, args: Any) -> Answer:
    """Call the plugin and return its response; fail the check if it is not a verdict."""
    answer = plugin.send(method, args)
    require(answer.status == OK, f"{answer}: the user's request fails")
    require(isinstance(answer.fields.get("allow"), bool), f"{answer}: Allow is not a boolean")
    return answer


def large_body(size: int) -> bytes:
    """Return the body of a request to create a container, a JSON object of ``size`` bytes."""
    begin, end = b'{"Image": "moby-plugins-check", "Labels": {"padding": "', b'"}}'
    return begin + b"x" * (size - len(begin) - len(end)) + end


def _judges(
    name: str, expects: str, *requests: tuple[str, Any], worst: CheckOutcome = CheckOutcome.FAILED
) -> Check:
    @check(SUBSYSTEM, name, expects=expects, source="B5", reads_only=True, worst=worst)
    def run_check(plugin: Session) -> None:
        for method, args in requests:
            verdict(plugin, method, args)

    return run_check


FAMILY = (
    _judges(
        "request", "AuthZReq is answered with a verdict: Allow is true or false", (REQUEST, CREATE)
    ),
    _judges(
        "response",
        "AuthZRes is answered with a verdict: Allow is true or false",
        (RESPONSE, CREATE | CREATED),
    ),
    _judges(
        "anonymous request",
        "a request without user, headers and body has a verdict: engines leave out empty values",
        (REQUEST, PING),
    ),
    _judges(
        "body that is no text",
        "a request whose body is any bytes has a verdict",
        (REQUEST, creation(bytes(range(256)))),
        worst=CheckOutcome.WARNED,
    ),
    _judges(
        "largest body",
        f"a request's body of {LARGEST_BODY >> 20} MiB, the most that engines send, has a verdict",
        (REQUEST, creation(large_body(LARGEST_BODY))),
    ),
    _judges(
        "any method and path",
        "a request with any method and path has a verdict; it may have escapes, or no version",
        *(
            (REQUEST, {"RequestMethod": method, "RequestUri": uri})
            for method in ("GET", "HEAD", "POST", "PUT", "DELETE")
            for uri in ("/", "/v1.24/info?x=%2F%00&y", "/containers/%F0%9F%90%B3/json", "*")
        ),
    ),
)


@check(SUBSYSTEM, source="B5, B11 trap 8", reads_only=True)
def invisible_response(plugin: Session) -> None:
    """AuthZRes without status, headers and body has a verdict: engines send responses over 64 KiB
    like that.
    """
    verdict(plugin, RESPONSE, CREATE)


@check(SUBSYSTEM, source="B11 trap 8", reads_only=True)
def error_beside_a_verdict(plugin: Session) -> None:
    """no response has both a verdict and Err: engines ignore Err then, and use Allow."""
    for method, args in ((REQUEST, PING), (REQUEST, CREATE), (RESPONSE, CREATE | CREATED)):
        answer = verdict(plugin, method, args)
        require(not answer.text("err"), answer)


@check(SUBSYSTEM, source="B5", reads_only=True)
def reason_of_a_denial(plugin: Session) -> None:
    """a denial has a reason for the user, in Msg."""
    for args in (PING, CREATE):
        answer = verdict(plugin, REQUEST, args)
        warn(answer.fields["allow"] or answer.text("msg"), answer)


@check(
    SUBSYSTEM,
    "same request, same verdict",
    expects=f"{MANY} identical requests at once have the same verdict",
    source="B5",
    reads_only=True,
)
def same_request_same_verdict(plugin: Session) -> None:
    verdicts = plugin.side_by_side(*[lambda: verdict(plugin, REQUEST, CREATE)] * MANY)
    allowed = [answer.fields["allow"] for answer in verdicts]
    warn(len(set(allowed)) == 1, f"{allowed.count(True)} of {MANY} were allowed")
