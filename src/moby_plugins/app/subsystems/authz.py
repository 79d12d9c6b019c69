"""AuthZPlugin, ``authz`` in the manifest (protocol.md B5)."""

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from moby_plugins.app.subsystem import Remote, Subsystem, omitempty, remote

# Whose parameters an engine may find in the body.
_WITH_BODY = {"POST", "PUT", "PATCH"}


@frozen
class AuthZRequest:
    """A request to the engine's API, or with the ``response_…`` fields its answer.

    ``user`` comes from a TLS client certificate and is "" without one. Bodies
    are there for JSON only; an answer over 64 KiB, or one that was flushed,
    comes without status, headers and body (trap 8): a policy that must see an
    answer's body fails closed where there is none. ``request_headers`` lack
    credentials.
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
        """Whether the engine may act on a body that is not, or not all, in ``request_body``.

        Engines keep back what is no JSON, what carries credentials, and in
        affected versions what was sent in chunks or is large (CVE-2024-41110,
        CVE-2026-34040). Of chunks they tell nothing, so that only a
        Content-Length shows that a POST has no body.
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
    """Whether to allow; ``msg`` tells the user why not."""

    allow: bool = False
    msg: str = field(default="", metadata=omitempty())


def unseen(request: AuthZRequest) -> Verdict:
    """Deny a request whose body the engine did not show."""
    return Verdict(
        False, f"the engine did not show the body of {request.request_method or 'this request'}"
    )


class _Seen(Remote):
    """A verdict on a request; where its body was kept back, one on that."""

    @property
    def called(self) -> tuple[str, ...]:
        """The method itself, and that for what was not shown."""
        return (self.name, "authorize_unseen")

    def invoke(self, part: Any, *arguments: Any) -> Any:
        """Ask ``part`` about what it was shown, or about what it was not."""
        (request,) = arguments
        if request.body_withheld:
            return part.authorize_unseen(request)
        return super().invoke(part, request)


class AuthZPlugin(Subsystem):
    """Allows or denies requests to the engine's API, before and after they are carried out.

    ``authorize_request`` is asked about requests that the plugin sees whole, and
    ``authorize_unseen`` about all others: unless overridden, it denies.

    An ``Err`` in an answer 200 is an error here, whatever ``Allow`` says; engines
    ignore it (trap 8), so a plugin that cannot decide answers ``Verdict(False)``
    or raises.
    """

    implements = "authz"

    @_Seen("AuthZReq")
    def authorize_request(self, request: AuthZRequest) -> Verdict:
        """Before the engine acts."""
        raise NotImplementedError

    def authorize_unseen(self, request: AuthZRequest) -> Verdict:
        """The same for a request whose ``body_withheld`` is true; denies, unless overridden."""
        return unseen(request)

    @remote("AuthZRes")
    def authorize_response(self, request: AuthZRequest) -> Verdict:
        """Before its answer goes out; an answer cannot be changed, only held back."""
        raise NotImplementedError
