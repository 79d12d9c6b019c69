"""The SecretProvider subsystem, called ``secretprovider`` in manifests (protocol.md B9)."""

from collections.abc import Mapping

from attrs import field, frozen

from moby_plugins.app.subsystem import Subsystem, omitempty, remote

MAX_SECRET_BYTES = 511_999


@frozen
class PortConfig:
    """A published network port of a service.

    ``protocol`` is 0 for TCP, 1 for UDP, 2 for SCTP; ``publish_mode`` is 0 for ingress, 1 for host.
    """

    name: str = field(default="", metadata=omitempty())
    protocol: int = field(default=0, metadata=omitempty())
    target_port: int = field(default=0, metadata=omitempty())
    published_port: int = field(default=0, metadata=omitempty())
    publish_mode: int = field(default=0, metadata=omitempty())


@frozen
class EndpointSpec:
    """The way a service is reached: ``mode`` is 0 for a virtual address, 1 for DNS."""

    mode: int = field(default=0, metadata=omitempty())
    ports: tuple[PortConfig, ...] = field(default=(), metadata=omitempty())


@frozen
class SecretRequest:
    """The secret that is requested, and the task that requests it."""

    secret_name: str = field(default="", metadata=omitempty())
    secret_labels: Mapping[str, str] = field(factory=dict, metadata=omitempty())
    service_hostname: str = field(default="", metadata=omitempty())
    service_id: str = field(default="", metadata=omitempty("ServiceID"))
    service_name: str = field(default="", metadata=omitempty())
    service_labels: Mapping[str, str] = field(factory=dict, metadata=omitempty())
    task_id: str = field(default="", metadata=omitempty("TaskID"))
    task_name: str = field(default="", metadata=omitempty())
    task_image: str = field(default="", metadata=omitempty())
    node_id: str = field(default="", metadata=omitempty("NodeID"))
    service_endpoint_spec: EndpointSpec | None = field(default=None, metadata=omitempty())


def _check_size(_: object, __: object, value: bytes) -> None:
    if not 1 <= len(value) <= MAX_SECRET_BYTES:
        raise ValueError(f"a secret must have 1 to {MAX_SECRET_BYTES} bytes, not {len(value)}")


@frozen
class Secret:
    """A secret; with ``do_not_reuse`` it is for one task only.

    Raises ``ValueError`` if the value has a size that a swarm manager refuses.
    """

    value: bytes = field(validator=_check_size)
    do_not_reuse: bool = False

    def __repr__(self) -> str:
        """Return the size of the secret, but not the secret itself."""
        return f"Secret({len(self.value)} bytes, do_not_reuse={self.do_not_reuse})"


class SecretProvider(Subsystem):
    """A provider of secrets for swarm tasks, called when the manager assigns a task."""

    implements = "secretprovider"

    @remote()
    def get_secret(self, request: SecretRequest) -> Secret:
        """Return the secret for a task; after an exception the task does not get the secret."""
        raise NotImplementedError
