"""The bridge onto a session of requests, without a socket."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import requests
import requests.adapters
import responses

from moby_plugins import Request, SpecError, TLSOptions
from moby_plugins.adapters.http.requests import RequestsConnect, RequestsTransport
from moby_plugins.domain.address import Address

URL = "http://plugin.example:8080/M.x"
SECURE = "https://plugin.example:443/M.x"


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """A session as its owner made it."""
    with requests.Session() as session:
        yield session


@pytest.fixture
def transport(session: requests.Session) -> RequestsTransport:
    """A transport over it to a plain-text plugin."""
    return RequestsConnect(session)(Address("tcp://plugin.example:8080"), None)


@pytest.fixture
def plugin() -> Iterator[responses.RequestsMock]:
    """What the plugin answers; each answer must be asked for."""
    with responses.RequestsMock() as mock:
        yield mock


def sent(plugin: responses.RequestsMock) -> Any:
    """The one request that was sent, with the options it was sent with as ``req_kwargs``."""
    (call,) = plugin.calls
    return call.request


@pytest.mark.parametrize("status", [200, 404, 500])
def test_a_response_has_its_status_headers_and_unread_body(
    status: int, transport: RequestsTransport, plugin: responses.RequestsMock
) -> None:
    """This holds for every status, those of errors included."""
    plugin.post(URL, b'{"A": 1}', status=status, headers={"X-One": "1"})

    response = transport.send(Request("M.x", b"{}"), None)

    assert (response.status, response.headers["x-one"]) == (status, "1")
    assert [response.body.read(5), response.body.read(5), response.body.read(5)] == [
        b'{"A":',
        b" 1}",
        b"",
    ]
    response.body.close()


def test_a_request_is_sent_unchanged(
    transport: RequestsTransport, plugin: responses.RequestsMock
) -> None:
    """It has its own query, body and headers, and asks for no compressed response."""
    plugin.post(URL + "?a=b", b"")

    transport.send(Request("M.x?a=b", b"{}", {"Host": "h", "User-Agent": "me"}), 3.5).body.close()

    assert sent(plugin).body == b"{}"
    headers = sent(plugin).headers
    assert (headers["Host"], headers["User-Agent"]) == ("h", "me")
    assert (headers["Accept-Encoding"], headers["Content-Length"]) == ("identity", "2")
    assert "Content-Type" not in headers
    assert sent(plugin).req_kwargs["timeout"] == 3.5
    assert sent(plugin).req_kwargs["stream"] is True


@pytest.mark.parametrize(
    ("length", "wanted"), [(4, ("4", None)), (None, (None, "chunked"))], ids=["known", "unknown"]
)
def test_an_iterable_is_sent_with_its_length_or_in_chunks(
    length: int | None,
    wanted: tuple[str | None, str | None],
    transport: RequestsTransport,
    plugin: responses.RequestsMock,
) -> None:
    """The head always says one of the two: a known length, or chunks."""
    plugin.add_callback("POST", URL, lambda request: (200, {}, b"".join(cast("Any", request.body))))

    response = transport.send(Request("M.x", [b"so", b"me"], length=length), None)

    assert response.body.read(99) == b"some"
    headers = sent(plugin).headers
    assert (headers.get("Content-Length"), headers.get("Transfer-Encoding")) == wanted
    response.body.close()


@pytest.mark.parametrize("location", ["http://elsewhere.example/M.x", "/other", "http://[bad"])
def test_a_redirect_is_returned_and_not_followed(
    location: str, transport: RequestsTransport, plugin: responses.RequestsMock
) -> None:
    """Its Location is not even parsed, and its body is unread."""
    plugin.post(URL, b"over there", status=307, headers={"Location": location})

    response = transport.send(Request("M.x", b"{}"), None)

    assert (response.status, response.headers["Location"]) == (307, location)
    assert response.body.read(99) == b"over there"
    assert len(plugin.calls) == 1
    response.body.close()


def test_the_environment_does_not_change_a_call(
    transport: RequestsTransport,
    plugin: responses.RequestsMock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither proxies, nor ``.netrc``, nor bundles of certificates are taken from it."""
    (tmp_path / "netrc").write_text("machine plugin.example login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent")
    for variable in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    plugin.post(URL, b"")

    transport.send(Request("M.x"), None).body.close()

    assert "Authorization" not in sent(plugin).headers
    assert sent(plugin).req_kwargs["proxies"] == {}
    assert sent(plugin).req_kwargs["verify"] is True


def test_options_that_are_set_on_the_session_are_used(
    session: requests.Session, transport: RequestsTransport, plugin: responses.RequestsMock
) -> None:
    """The session's own authentication, proxies, hooks and certificates are used."""
    met: list[int] = []
    session.auth = ("me", "secret")
    session.proxies = {"http": "http://proxy.example"}
    session.verify, session.cert = "/ca.pem", "/both.pem"
    session.hooks["response"].append(lambda answer, **_: met.append(answer.status_code))
    plugin.post(URL, b"")

    transport.send(Request("M.x"), None).body.close()

    assert sent(plugin).headers["Authorization"].startswith("Basic ")
    options = sent(plugin).req_kwargs
    assert options["proxies"] == {"http": "http://proxy.example"}
    assert (options["verify"], options["cert"]) == ("/ca.pem", "/both.pem")
    assert met == [200]


@pytest.mark.parametrize(
    ("options", "verify", "cert"),
    [
        (None, "/session.pem", "/session.both"),
        (TLSOptions(), "/session.pem", "/session.both"),
        (TLSOptions(ca_file="/ca.pem"), "/ca.pem", "/session.both"),
        (TLSOptions(insecure_skip_verify=True), False, "/session.both"),
        (TLSOptions(ca_file="/ca.pem", insecure_skip_verify=True), False, "/session.both"),
        (TLSOptions(cert_file="/c", key_file="/k"), "/session.pem", ("/c", "/k")),
    ],
)
def test_tls_options_of_a_plugin_override_those_of_the_session(
    options: TLSOptions | None,
    verify: object,
    cert: object,
    session: requests.Session,
    plugin: responses.RequestsMock,
) -> None:
    """The session's apply where the plugin's say nothing, and the session is not changed."""
    session.verify, session.cert = "/session.pem", "/session.both"
    plugin.post(SECURE, b"")
    transport = RequestsConnect(session)(Address("https://plugin.example"), options)

    transport.send(Request("M.x"), None).body.close()

    assert (sent(plugin).req_kwargs["verify"], sent(plugin).req_kwargs["cert"]) == (verify, cert)
    assert (session.verify, session.cert) == ("/session.pem", "/session.both")


def test_tls_options_are_ignored_for_plain_text(
    session: requests.Session, plugin: responses.RequestsMock
) -> None:
    """For ``tcp`` the session's own settings stay as they are."""
    plugin.post(URL, b"")
    connect = RequestsConnect(session)

    connect(Address("tcp://plugin.example:8080"), TLSOptions("/ca.pem")).send(
        Request("M.x"), None
    ).body.close()

    assert sent(plugin).req_kwargs["verify"] is True


@pytest.mark.parametrize("options", [TLSOptions(min_version=772), TLSOptions(passphrase="x")])
def test_tls_options_that_requests_cannot_apply_are_a_spec_error(
    options: TLSOptions, session: requests.Session
) -> None:
    """An option is applied or refused, and never ignored silently."""
    with pytest.raises(SpecError, match="cannot apply MinVersion or a passphrase"):
        RequestsConnect(session)(Address("https://plugin.example"), options)


def test_a_unix_socket_needs_an_adapter_in_the_session(session: requests.Session) -> None:
    """Without one that is mounted for ``http+unix``, the call is a ``SpecError``."""
    transport = RequestsConnect(session)(Address("unix:///run/p.sock"), None)

    with pytest.raises(SpecError, match=r"^the session cannot reach unix:///run/p.sock: "):
        transport.send(Request("M.x"), None)


def test_the_url_of_a_unix_socket_has_the_quoted_path_as_its_host(
    session: requests.Session, plugin: responses.RequestsMock
) -> None:
    """Adapters for UNIX sockets expect that form."""
    plugin.post("http+unix://%2Frun%2Fp.sock/M.x", b"1")
    session.mount("http+unix://", requests.adapters.HTTPAdapter())

    response = RequestsConnect(session)(Address("unix:///run/p.sock"), None).send(
        Request("M.x"), None
    )

    assert response.body.read(9) == b"1"
    response.body.close()


def test_closing_the_transport_does_not_close_the_session(
    session: requests.Session, transport: RequestsTransport, plugin: responses.RequestsMock
) -> None:
    """The session belongs to the user, and can still be used."""
    plugin.post(URL, b"")

    transport.close()

    assert transport.send(Request("M.x"), None).status == 200
