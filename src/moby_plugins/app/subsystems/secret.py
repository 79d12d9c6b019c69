"""SecretProvider, ``secretprovider`` in the manifest (protocol.md B9)."""

from collections.abc import Mapping

from attrs import field, frozen

from moby_plugins.app.subsystem import Subsystem, omitempty, remote

MAX_SECRET_BYTES = 511_999


@frozen
class PortConfig:
    """A port of a service. Protocol 0 TCP, 1 UDP, 2 SCTP; publish mode 0 ingress, 1 host."""

    name: str = field(default="", metadata=omitempty())
    protocol: int = field(default=0, metadata=omitempty())
    target_port: int = field(default=0, metadata=omitempty())
    published_port: int = field(default=0, metadata=omitempty())
    publish_mode: int = field(default=0, metadata=omitempty())


@frozen
class EndpointSpec:
    """How a service is reached: mode 0 by a virtual address, 1 by DNS."""

    mode: int = field(default=0, metadata=omitempty())
    ports: tuple[PortConfig, ...] = field(default=(), metadata=omitempty())


@frozen
class SecretRequest:
    """Which secret is wanted, and the task that wants it."""

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
        raise ValueError(f"a secret has 1 to {MAX_SECRET_BYTES} bytes, not {len(value)}")


@frozen
class Secret:
    """A secret; ``do_not_reuse`` makes it this task's alone.

    Raises ``ValueError`` for one that a swarm manager refuses.
    """

    value: bytes = field(validator=_check_size)
    do_not_reuse: bool = False

    def __repr__(self) -> str:
        """Without the secret itself."""
        return f"Secret({len(self.value)} bytes, do_not_reuse={self.do_not_reuse})"


class SecretProvider(Subsystem):
    """Gives secrets to swarm tasks, when the manager assigns them."""

    implements = "secretprovider"

    @remote()
    def get_secret(self, request: SecretRequest) -> Secret:
        """The secret for this task; a failure keeps it from the task."""
        raise NotImplementedError
