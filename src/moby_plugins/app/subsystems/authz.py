"""AuthZPlugin, ``authz`` in the manifest (protocol.md B5)."""

from collections.abc import Mapping

from attrs import field, frozen

from moby_plugins.app.messages import omitempty
from moby_plugins.app.remote import remote
from moby_plugins.app.subsystem import Subsystem


@frozen
class AuthZRequest:
    """A request to the engine's API, or with the ``response_…`` fields its answer.

    ``user`` comes from a TLS client certificate and is "" without one. Bodies
    are there for JSON only; an answer over 64 KiB, or one that was flushed,
    comes without status, headers and body (trap 8): a policy that must see a
    body fails closed where there is none. ``request_headers`` lack credentials.
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


@frozen
class Verdict:
    """Whether to allow; ``msg`` tells the user why not."""

    allow: bool = False
    msg: str = field(default="", metadata=omitempty())


class AuthZPlugin(Subsystem):
    """Allows or denies requests to the engine's API, before and after they are carried out.

    An ``Err`` in an answer 200 is an error here, whatever ``Allow`` says; engines
    ignore it (trap 8), so a plugin that cannot decide answers ``Verdict(False)``
    or raises.
    """

    implements = "authz"

    @remote("AuthZReq")
    def authorize_request(self, request: AuthZRequest) -> Verdict:
        """Before the engine acts."""
        raise NotImplementedError

    @remote("AuthZRes")
    def authorize_response(self, request: AuthZRequest) -> Verdict:
        """Before its answer goes out; an answer cannot be changed, only held back."""
        raise NotImplementedError
