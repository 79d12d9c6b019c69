"""Hosts whose requests begin wrongly: other methods, addresses, versions and protocols."""

import logging

import pytest

from tests.cases import case
from tests.integration.hostile.bounds import bounded
from tests.integration.hostile.hosts import Served
from tests.integration.hostile.test_requests import BODY, LENGTH, statuses

LINES = {
    b"POST / HTTP/1.1": 400,
    b"POST  HTTP/1.1": 400,
    b"POST * HTTP/1.1": 400,
    b"POST Echo.Say HTTP/1.1": 400,
    b"POST /%00 HTTP/1.1": 400,
    b"POST /Echo.Say%0d%0aX: HTTP/1.1": 400,
    b"POST /%ff%fe HTTP/1.1": 400,
    b"POST /\xff HTTP/1.1": 400,
    b"POST /Echo.Say#x HTTP/1.1": 400,
    b"POST /../../etc/passwd HTTP/1.1": 404,
    b"POST /%2fEcho.Say HTTP/1.1": 404,
    b"POST /echo.say HTTP/1.1": 404,
    b"POST http://elsewhere HTTP/1.1": 400,
    b"POST http:///Echo.Say HTTP/1.1": 400,
    b"POST http://user@elsewhere/Echo.Say HTTP/1.1": 400,
    b"POST ftp://elsewhere/Echo.Say HTTP/1.1": 400,
    b"POST //elsewhere/Echo.Say HTTP/1.1": 400,
    b"POST http://[::1/ HTTP/1.1": 400,
    b"POST //[x/Echo.Say HTTP/1.1": 400,
    b"POST /Echo.Say": 400,
    b"POST /Echo.Say HTTP/1.1 more": 400,
    b"POST /Echo.Say HTTP/1.1\0": 400,
    b"POST /Echo.Say HTTP/1.-1": 400,
    b"POST /Echo.Say HTTP/1.0_1": 400,
    b"POST /Echo.Say HTTP/0.9": 400,
    b"POST /Echo.Say HTTP/9.9": 400,
    b"PRI * HTTP/2.0": 400,
    b"POST /Echo.Say HTTP/1.2": 400,
    b"POST /Echo.Say HTTP/1.10": 400,
    b"POST /Echo.Say HTTP/ 2.0": 400,
    b"POST /Echo.Say HTTP/+2.0": 400,
    b"POST /Echo.Say HTTP/2_0.0": 400,
    b"POST /Echo.Say HTTP/01.1": 400,
    b"POST /Echo.Say http/1.1": 400,
    b"POST /Echo.Say HTTP/1.0 HTTP/1.1": 400,
    b"GET /Echo.Say HTTP/1.2": 400,
    b"post /Echo.Say HTTP/1.1": 400,
    b"GET /Echo.Say HTTP/1.1": 405,
    b"HEAD /Echo.Say HTTP/1.1": 405,
    b"OPTIONS * HTTP/1.1": 405,
    b"CONNECT elsewhere:80 HTTP/1.1": 405,
    b"CONNECT /Echo.Say HTTP/1.1": 400,
    b"GET Echo.Say HTTP/1.1": 400,
    b"GET * HTTP/1.1": 400,
    b"P\xffST /Echo.Say HTTP/1.1": 400,
    b"P@ST /Echo.Say HTTP/1.1": 400,
    b"PO:ST /Echo.Say HTTP/1.1": 400,
    b'P"OST /Echo.Say HTTP/1.1': 400,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03": 400,
    b"SSH-2.0-OpenSSH_9.2": 400,
}


def test_a_request_with_an_invalid_request_line_is_refused(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """The response has an error status, no method is called, and nothing is logged."""
    for line, status in LINES.items():
        with case(line):
            with bounded(), caplog.at_level(logging.WARNING):
                answer = served.told(line + b"\r\nHost: x\r\n" + LENGTH + b"\r\n" + BODY)

            assert statuses(answer)[:1] == [status], answer
            assert served.echoes.said == []
            assert caplog.records == []
            served.assert_answers_others()


def test_a_response_to_head_has_no_body(served: Served) -> None:
    """A host expects the next response right after the head, whatever length the head states."""
    asked = b"HEAD /Echo.Say HTTP/1.1\r\nHost: x\r\n\r\n"
    with bounded():
        told = served.told(
            asked + b"POST /Echo.Say HTTP/1.1\r\nHost: x\r\n" + LENGTH + b"\r\n" + BODY
        )

    head, _, rest = told.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 405 ")
    assert b"Content-Length: " in head
    assert rest.startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("target", [b"http://elsewhere/Echo.Say", b"HTTPS://x:1/Echo.Say?a=b"])
def test_a_request_target_in_absolute_form_is_accepted(target: bytes, served: Served) -> None:
    """HTTP requires this of each server; only the path of the target counts."""
    with bounded():
        answer = served.told(
            b"POST " + target + b" HTTP/1.1\r\nHost: x\r\n" + LENGTH + b"\r\n" + BODY
        )

    assert statuses(answer)[:1] == [200], answer
    assert len(served.echoes.said) == 1


def test_a_request_of_a_browser_is_refused_on_tcp_but_not_on_a_unix_socket(served: Served) -> None:
    """A web page must not call a plugin on TCP, and it cannot connect to a UNIX socket."""
    with bounded():
        answer = served.told(
            b"POST /Echo.Say HTTP/1.1\r\nHost: x\r\noRiGiN: null\r\n" + LENGTH + b"\r\n" + BODY
        )

    tcp = served.server.addr.startswith("tcp://")
    assert statuses(answer)[:1] == [403 if tcp else 200], answer
    assert len(served.echoes.said) == (0 if tcp else 1)
