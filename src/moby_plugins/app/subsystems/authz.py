"""The AuthZPlugin subsystem, called ``authz`` in manifests (protocol.md B5)."""

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from moby_plugins.app.subsystem import RemoteMethod, Subsystem, omitempty, remote

# The HTTP methods of requests whose parameters an engine may read from the body.
_WITH_BODY = {"POST", "PUT", "PATCH"}


@frozen
class AuthZRequest:
    """A request to the engine's API; the ``response_…`` fields hold the engine's response to it.

    ``user`` comes from a TLS client certificate and is "" without one. Only JSON bodies are
    included. A response that is larger than 64 KiB or was flushed has neither status, headers nor
    body (trap 8 in docs/protocol.md): a policy that must see a response's body has to deny a
    response without one. ``request_headers`` do not contain credentials.
    """

    user: str = field(default="", metadata=omitempty())
    user_authn_method: str = field(default="", metadata=omitempty("UserAuthNMethod"))
    request_method: str = field(default="", metadata=omitempty())
    request_uri: str = field(default="", metadata=omitempty())
    request_body: bytes = field(default=b"", metadata=omitempty())
    request_headers: Mapping[str, str] = field(factory=dict, metadata=omitempty())
    request_peer_certificates: tuple[bytes, ...] = field(default=(), metadata=omitempty())
    response_status_code: int = field(default=0, metadata=omitempty())
    response_body: bytes = field(default=b"", metadata=omitempty())
    response_headers: Mapping[str, str] = field(factory=dict, metadata=omitempty())

    @property
    def body_withheld(self) -> bool:
        """Whether the engine may act on a body that is not completely in ``request_body``.

        Engines withhold a body that is not JSON or contains credentials, and affected versions
        withhold one that was sent in chunks or is large (CVE-2024-41110, CVE-2026-34040). They do
        not say whether a body was sent in chunks, so only a Content-Length shows that a POST has no
        body.
        """
        headers = {name.lower(): value.strip() for name, value in self.request_headers.items()}
        length = headers.get("content-length")
        if length is not None:
            return length != str(len(self.request_body))
        if self.request_body:
            return False
        return "transfer-encoding" in headers or self.request_method.upper() in _WITH_BODY


@frozen
class Verdict:
    """The decision on a request or response; ``msg`` is the reason for a denial, for the user."""

    allow: bool = False
    msg: str = field(default="", metadata=omitempty())


def unseen(request: AuthZRequest) -> Verdict:
    """Return a verdict that denies a request whose body the engine did not show."""
    return Verdict(
        False, f"the engine did not show the body of {request.request_method or 'this request'}"
    )


class _Seen(RemoteMethod):
    """A method that calls ``authorize_unseen`` if the engine withheld the request's body."""

    @property
    def called(self) -> tuple[str, ...]:
        """The names of ``authorize_request`` and ``authorize_unseen``, one of which is called."""
        return (self.name, "authorize_unseen")

    def invoke(self, part: Any, *arguments: Any) -> Any:
        """Call ``authorize_unseen`` of ``part`` for a withheld body, else ``authorize_request``."""
        (request,) = arguments
        if request.body_withheld:
            return part.authorize_unseen(request)
        return super().invoke(part, request)


class AuthZPlugin(Subsystem):
    """A plugin that allows or denies requests to the engine's API, and the responses to them.

    A request to the engine's API goes to ``authorize_request`` if the plugin sees it completely,
    else to ``authorize_unseen``, which denies the request unless it is overridden.

    A proxy raises an error for an ``Err`` in a response 200, regardless of ``Allow``. Engines
    ignore ``Err`` (trap 8 in docs/protocol.md): a plugin that cannot decide must return
    ``Verdict(False)`` or raise.
    """

    implements = "authz"

    @_Seen("AuthZReq")
    def authorize_request(self, request: AuthZRequest) -> Verdict:
        """Decide on a request before the engine acts on it."""
        raise NotImplementedError

    def authorize_unseen(self, request: AuthZRequest) -> Verdict:
        """Decide on a request whose ``body_withheld`` is true; unless overridden, deny it."""
        return unseen(request)

    @remote("AuthZRes")
    def authorize_response(self, request: AuthZRequest) -> Verdict:
        """Decide on the engine's response before it is sent; it can be denied, but not changed."""
        raise NotImplementedError
