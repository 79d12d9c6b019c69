"""A transport over a ``requests.Session`` that the user owns (extra ``requests``).

The session's mounted adapters, certificates, authentication and hooks are used. Redirects are not
followed, and neither proxy variables nor ``.netrc`` are read. requests applies a time-out to each
step of an exchange, not to the whole: this transport also limits the time until the body ends, but
each step before the body may take the whole time-out. A session cannot be made to read as strictly
as ``urllib3.py``, or to notice a response while it sends, so use it for plugins that the host
trusts.
"""

import time
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from attrs import field, frozen
from requests import PreparedRequest, Session
from requests import Request as SessionRequest
from requests import Response as SessionResponse
from requests.exceptions import (
    InvalidSchema,
    InvalidURL,
    MissingSchema,
    RequestException,
    Timeout,
    URLRequired,
)

from moby_plugins.adapters.http.deadline_socket import LONGEST
from moby_plugins.adapters.http.strict_response import check_framing
from moby_plugins.adapters.http.urllib3 import (
    ERRORS,
    CallersError,
    causes,
    guarded,
    translate,
)
from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.domain.errors import PluginError, SpecError, TransportError, TransportTimeoutError
from moby_plugins.domain.http import TIMED_OUT, Request, Response
from moby_plugins.domain.text import shown


@frozen
class RequestsConnect:
    """A factory of transports over ``session``, for ``Settings(transports={"tcp": …})``.

    The URL of a UNIX socket is ``http+unix://`` with the path quoted, for which adapters for
    requests are commonly mounted. The user closes the session. The session is used from several
    threads if the transports are.
    """

    session: Session = field()

    @session.validator
    def _is_session(self, _: object, session: object) -> None:
        if not isinstance(session, Session):
            raise TypeError(f"session must be a requests.Session, not {shown(session)}")

    def __call__(self, address: Address, tls: TLSOptions | None, /) -> "RequestsTransport":
        """Return a transport; raise ``SpecError`` for TLS options that requests cannot apply."""
        if tls is not None and (tls.min_version or tls.passphrase):
            raise SpecError(
                "requests cannot apply MinVersion or a passphrase: use another transport"
            )
        return RequestsTransport(self.session, address, tls if address.encrypted else None)


class RequestsTransport:
    """A transport that sends requests to one plugin over the user's ``requests.Session``."""

    def __init__(self, session: Session, address: Address, tls: TLSOptions | None) -> None:
        self._session = session
        self._address = address
        self._tls = tls
        if address.host:
            self._base = f"{'https' if address.encrypted else 'http'}://{address.host_header}/"
        else:
            self._base = f"http+unix://{quote(address.path, safe='')}/"

    def __repr__(self) -> str:
        return "requests"

    def send(self, request: Request, timeout: float | None) -> Response:
        """Send ``request`` through the session, and return the response.

        Each step until the head is received may take ``timeout`` seconds, and the body must end
        ``timeout`` seconds after the call began; ``None`` means no limit. Raises
        ``TransportError``, ``TransportTimeoutError`` after a time-out, and ``SpecError`` if the
        session cannot use the URL.
        """
        ends = None if timeout is None else time.monotonic() + timeout
        patience = None if timeout is None else min(timeout, LONGEST)
        try:
            answer = self._session.send(self._prepare(request), timeout=patience, **self._options())
            try:
                headers = answer.raw.headers
                check_framing(
                    headers.getlist("content-length"), headers.getlist("transfer-encoding")
                )
            except BaseException:
                answer.close()
                raise
        except CallersError as error:
            raised = error.raised
        except ERRORS as error:
            raise _translate(error, self._address, answered=False) from error
        else:
            return Response(answer.status_code, _Body(answer, self._address, ends), headers)
        try:
            raise raised
        finally:
            del raised  # its traceback refers to this frame

    def close(self) -> None:
        """Do nothing: the user closes the session, and a running call ends by its time-out."""

    def _prepare(self, request: Request) -> PreparedRequest:
        prepared = self._session.prepare_request(
            SessionRequest(
                "POST",
                self._base + request.method,
                headers={"Accept-Encoding": "identity", **request.headers},
                data=guarded(request.body),
                # Without an auth argument, requests would read .netrc.
                auth=self._session.auth or _no_auth,
            )
        )
        prepared.hooks["response"] = [*prepared.hooks["response"], _hide_location]
        if request.length is not None:
            prepared.headers.pop("Transfer-Encoding", None)
            prepared.headers["Content-Length"] = str(request.length)
        return prepared

    def _options(self) -> dict[str, Any]:
        verify, cert = self._session.verify, self._session.cert
        if self._tls is not None:
            verify = False if self._tls.insecure_skip_verify else self._tls.ca_file or verify
            cert = (self._tls.cert_file, self._tls.key_file) if self._tls.cert_file else cert
        return {
            "stream": True,
            "allow_redirects": False,
            # Passed explicitly, so that requests does not read the environment.
            "proxies": self._session.proxies,
            "verify": verify,
            "cert": cert,
        }


class _Body:
    """The body of a response, under the deadline of the whole exchange."""

    def __init__(self, answer: SessionResponse, address: Address, ends: float | None) -> None:
        self._answer = answer
        self._address = address
        self._ends = ends
        self._is_reading = False

    def read(self, size: int, /) -> bytes:
        self._is_reading = True
        try:
            data: bytes = self._answer.raw.read1(size, decode_content=False) or b""
            if self._ends is not None and time.monotonic() >= self._ends:
                raise TimeoutError(TIMED_OUT)
        except ERRORS as error:
            raise _translate(error, self._address, answered=True) from error
        finally:
            self._is_reading = False
        return data

    def close(self) -> None:
        if self._is_reading:  # in another thread, which would otherwise wait on
            with suppress(OSError, RuntimeError, ValueError):  # it has just ended
                self._answer.raw.shutdown()
        self._answer.close()


def _no_auth(prepared: PreparedRequest) -> PreparedRequest:
    return prepared


def _hide_location(answer: SessionResponse, **_: Any) -> None:
    # Even with allow_redirects=False, requests would read the body to prepare the redirect.
    answer.headers.pop("Location", None)


def _translate(error: BaseException, address: Address, *, answered: bool) -> PluginError:
    """Return the ``PluginError`` for an error of requests, or for the urllib3 error inside it."""
    if isinstance(error, (InvalidSchema, InvalidURL, MissingSchema, URLRequired)):
        return SpecError(f"the session cannot reach {shown(address.text)}: {shown(error)}")
    inner = [e for e in causes(error) if not isinstance(e, RequestException)]
    if inner and not isinstance(error, Timeout):
        return translate(inner[0], address, answered=answered)
    error_class = TransportTimeoutError if isinstance(error, Timeout) else TransportError
    translated = error_class(
        TIMED_OUT if isinstance(error, Timeout) else shown(error), address.text
    )
    translated.answered = answered
    return translated
