"""The targets of fuzzing: each takes any bytes, and raises if its promise does not hold.

A documented error is a good outcome; any other exception is a fault, and so are results that
contradict each other.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from io import BytesIO

from moby_plugins import DriverError, Manifest, Plugin, SpecError, WireError
from moby_plugins.app import wire
from moby_plugins.domain.address import Address
from moby_plugins.domain.http_grammar import read_headers
from moby_plugins.domain.plugin import read_spec
from moby_plugins.subsystems import (
    ENGINE_SUBSYSTEMS,
    LogEntry,
    Streamed,
    decode_frames,
    encode_frame,
)
from moby_plugins.testing import Request
from tests.fuzz.answers import ENGINES, ask
from tests.fuzz.plugin import METHODS, REACHED, app_of_all

Target = Callable[[bytes], None]

NAME = "shelf"
APP = app_of_all()
STATUSES = {200, 400, 404, 413, REACHED}
REMOTES = tuple(
    remote
    for subsystem in ENGINE_SUBSYSTEMS
    for remote in subsystem.remotes.values()
    if not isinstance(remote, Streamed)
)


def spec(data: bytes) -> None:
    """Reading a ``.spec`` or ``.json`` file gives a plugin or a ``SpecError``."""
    for file in ("shelf.spec", "shelf.json"):
        with suppress(SpecError):
            plugin = read_spec(NAME, file, data)
            assert type(plugin) is Plugin
            assert plugin.name == NAME
            tls = plugin.tls_config
            if tls is not None:
                assert not tls.passphrase
                # Without a CA file nothing is verified (protocol.md A2).
                assert tls.ca_file or tls.insecure_skip_verify


def address(data: bytes) -> None:
    """A text gives an address or a ``SpecError``; the address of a path has the same path."""
    text = data.decode(errors="surrogateescape")
    with suppress(SpecError):
        found = Address(text)
        assert found == Address(found.text)
        assert found.scheme.islower()
        assert 0 <= found.port < 1 << 16
        found.host_header.encode("ascii")
        assert not set("\r\n\0 ") & set(found.host_header + found.path * (found.scheme == "tcp"))
    if data and b"\0" not in data:
        with suppress(SpecError):
            path = "/" + text
            assert Address.of_socket(path).path == path


def manifest(data: bytes) -> None:
    """A response to the handshake gives a manifest or a ``WireError``."""
    with suppress(WireError):
        implements = wire.decode(data, Manifest).implements
        assert isinstance(implements, tuple)
        assert all(type(kind) is str for kind in implements)


def answer(data: bytes) -> None:
    """A response gives a ``PluginError``, or the same value with each HTTP library."""
    outcomes = [ask(engine, data) for engine in ENGINES]
    assert all(str(error) for _, error in outcomes)
    values = [value for value, error in outcomes if error is None]
    # One library may be stricter; where both accept the response, its value is the same.
    assert all(json.dumps(value) == json.dumps(values[0]) for value in values), outcomes


def result(data: bytes) -> None:
    """The body of a response gives a method's result, its error, or a ``WireError``."""
    remote = REMOTES[sum(data[:1]) % len(REMOTES)]
    with suppress(WireError, DriverError):
        remote.read_answer(wire.decode(data[1:]))


def frames(data: bytes) -> None:
    """Log frames give entries or a ``WireError``; an entry that is encoded decodes to the same."""
    with suppress(WireError):
        for entry in decode_frames(BytesIO(data).read):
            assert type(entry) is LogEntry
            assert list(decode_frames(BytesIO(encode_frame(entry)).read)) == [entry]


def headers(data: bytes) -> None:
    """The headers of a request are read whole or give a ``ValueError``."""
    with suppress(ValueError):
        found: dict[bytes, bytes] = {}
        read_headers(BytesIO(data), found)
        assert not (b"Content-Length" in found and b"Transfer-Encoding" in found)
        assert all(
            b"\n" not in line and b"\r" not in line for pair in found.items() for line in pair
        )


def dispatcher(data: bytes) -> None:
    """A plugin responds to each request with a documented status other than 500."""
    method, body = METHODS[sum(data[:1]) % len(METHODS)], data[1:]
    for sent in (body, [body[:7], body[7:]]):
        answered = APP(Request(method, sent, {}))
        assert answered.status in STATUSES, (method, answered.status)
        answered.body.close()


TARGETS: Mapping[str, Target] = {
    target.__name__: target
    for target in (spec, address, manifest, answer, result, frames, headers, dispatcher)
}
