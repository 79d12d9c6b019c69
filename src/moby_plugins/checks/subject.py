"""The plugin under check: what is sent to it, and for how long it may think."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Self

from attrs import field, frozen, validators

from moby_plugins.app.client import MAX_RESPONSE_BYTES, Client, Stream, accepted, read_whole
from moby_plugins.app.config import connect_by_scheme, system_clock
from moby_plugins.app.settings import Settings
from moby_plugins.checks.answer import Answer
from moby_plugins.checks.check import fail
from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.domain.errors import TransportTimeoutError
from moby_plugins.domain.http import Content, Response
from moby_plugins.ports import Clock, Transport


@frozen
class Setup:
    """What the checks are told about a plugin and its place.

    ``timeout`` is the seconds that each call may take, ``limit`` those for all checks.
    ``volume_opts`` go with each volume that is made; ``secret`` names one that
    the plugin has. ``found`` is the path of the socket or spec, "" for a plugin
    that was named by its address. ``tag`` is part of all names that are used.
    """

    timeout: float = field(default=10.0, validator=validators.gt(0))
    limit: float = field(default=300.0, validator=validators.gt(0))
    volume_opts: Mapping[str, str] = field(factory=dict)
    secret: str = ""
    found: str = ""
    tag: str = field(factory=lambda: secrets.token_hex(4))


class Subject:
    """The plugin at ``address``, reached over ``transport``: a context manager that closes it.

    ``tls`` is as the spec has it; ``new_subject`` makes one by its address. Each
    request is sent once. A method that has not answered within ``setup.timeout`` is
    not asked again, so that a plugin which hangs costs one time-out for each method.
    Threads may share it.
    """

    def __init__(
        self,
        transport: Transport,
        address: Address,
        *,
        clock: Clock,
        tls: TLSOptions | None = None,
        setup: Setup | None = None,
    ) -> None:
        self.address = address
        self.tls = tls
        self.clock = clock
        self.setup = setup or Setup()
        self._transport = transport
        self._client = Client(transport, address, clock=clock)
        self._mute: set[str] = set()
        self._numbers = count(1)

    def number(self) -> int:
        """A number that nothing else of this run has."""
        return next(self._numbers)

    def send(self, method: str, body: Content = b"", length: int | None = None) -> Answer:
        """The answer to one request, whatever its status.

        Raises ``TransportError`` and ``WireError`` where none comes, and fails
        the check for a method that has hung before.
        """
        with self._patience(method):
            response = self._open(method, body, length)
            try:
                data = read_whole(response.body, MAX_RESPONSE_BYTES)
            finally:
                response.body.close()
        return Answer(method, response.status, data, response.headers)

    @contextmanager
    def stream(self, method: str, body: bytes = b"") -> Iterator[Stream]:
        """The answer to one request as it comes; raises as ``send``, and ``StatusError``."""
        with self._patience(method):
            response = self._open(method, body, None)
            with Stream(accepted(response, method), method, self.address.text, "") as stream:
                yield stream

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, method: str, body: Content, length: int | None) -> Response:
        request = self._client.request(method, body, length)
        return self._transport.send(request, self.setup.timeout)

    @contextmanager
    def _patience(self, method: str) -> Iterator[None]:
        name = method.partition("?")[0]
        if name in self._mute:
            fail(f"{name} did not answer in time before, and was not asked again")
        try:
            yield
        except TransportTimeoutError:
            self._mute.add(name)
            raise


def new_subject(
    addr: str,
    tls_config: TLSOptions | None = None,
    *,
    settings: Settings | None = None,
    clock: Clock | None = None,
    setup: Setup | None = None,
) -> Subject:
    """The plugin at ``addr``, as ``new_client`` would reach it; whoever asks for it closes it.

    Nothing is sent yet. Raises ``SpecError`` for an address or TLS file that cannot be
    used, and ``SettingsError``.
    """
    address = Address(addr)
    connect = connect_by_scheme(Settings.from_env() if settings is None else settings)
    transport = connect(address, tls_config)
    return Subject(transport, address, clock=clock or system_clock(), tls=tls_config, setup=setup)
