"""What holds for every message of every subsystem, and for arbitrary bytes in its place."""

import json
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moby_plugins import PluginError, Response, Settings, WireError, new_client, subsystems
from moby_plugins.app import wire
from moby_plugins.app.fields import name_on_wire
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import LogEntry, Subsystem, decode_frames, encode_frame
from moby_plugins.testing import MemoryTransport
from moby_plugins.testing.strategies import (
    MethodCall,
    json_values,
    log_entries,
    messages,
    method_calls,
)

PUBLIC = [getattr(subsystems, name) for name in subsystems.__all__]
CLASSES = [thing for thing in PUBLIC if isinstance(thing, type)]
KINDS = [kind for kind in CLASSES if issubclass(kind, Subsystem) and kind is not Subsystem]
MESSAGES = [kind for kind in CLASSES if attrs.has(kind)]
# Every key that some message has, so that what is wrong is found in the right place.
KEYS = sorted(
    {name_on_wire(field) for kind in MESSAGES for field in attrs.fields(kind)}
    | {remote.result for kind in KINDS for remote in kind.remotes.values() if remote.result}
    | {key for kind in KINDS for key in kind.error_keys}
)
NEARLY = st.dictionaries(
    st.sampled_from(KEYS),
    json_values() | st.dictionaries(st.sampled_from(KEYS), json_values(), max_size=5),
    max_size=8,
)
BYTES = st.binary(max_size=40) | NEARLY.map(lambda value: json.dumps(value).encode())


def calls_of(kind: type[Subsystem]) -> st.SearchStrategy[tuple[MethodCall, ...]]:
    """A call of each method of a subsystem."""
    return st.tuples(*(method_calls(kind, remote.name) for remote in kind.remotes.values()))


CALLS = {kind: calls_of(kind) for kind in KINDS}
VALUES = {kind: messages(kind) for kind in MESSAGES}


def plain(value: Any) -> Any:
    """A stream read to its end, its bytes joined or its items listed; anything else as it is."""
    if not isinstance(value, (Iterator, list)):
        return value
    items = list(value)
    return b"".join(items) if all(isinstance(item, bytes) for item in items) else items


def part_that_returns(
    kind: type[Subsystem], results: dict[str, Any]
) -> tuple[Subsystem, dict[str, tuple[Any, ...]]]:
    """An implementation that returns these results, and what its methods received."""
    received: dict[str, tuple[Any, ...]] = {}

    def method(name: str) -> Callable[..., Any]:
        def answer(_: Subsystem, *arguments: Any) -> Any:
            received[name] = arguments
            return results[name]

        return answer

    return type("Part", (kind,), {name: method(name) for name in results})(), received


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=max(3, settings().max_examples // 3))  # each is a call of every method
@given(data=st.data())
def test_every_method_carries_its_arguments_and_its_result(
    kind: type[Subsystem], data: st.DataObject
) -> None:
    """What a host passes to any method arrives, and what the plugin returns comes back."""
    calls = data.draw(CALLS[kind])
    results = {call.method: call.result for call in calls}
    part, received = part_that_returns(kind, results)
    plugin = MemoryTransport(PluginApp(part))
    memory = Settings(transports={"memory": plugin.connect})

    with new_client("memory://p", settings=memory) as client:
        proxy = kind(client)
        came = {call.method: plain(getattr(proxy, call.method)(*call.arguments)) for call in calls}

    assert came == {method: plain(result) for method, result in results.items()}
    assert received == {call.method: call.arguments for call in calls}


@given(data=st.data())
def test_every_message_is_decoded_as_it_was_encoded(data: st.DataObject) -> None:
    """A value that is encoded and decoded again is equal to the first."""
    kind = data.draw(st.sampled_from(MESSAGES))
    value = data.draw(VALUES[kind])

    assert wire.decode(wire.encode(value), kind) == value


@given(json_values())
def test_plain_json_is_decoded_as_it_was_encoded(value: Any) -> None:
    """A JSON value without a type is equal after encoding and decoding."""
    assert wire.decode(wire.encode([value])) == [value]


@given(st.sampled_from(MESSAGES), BYTES)
def test_any_bytes_are_decoded_as_a_message_or_raise_a_wire_error(kind: type, body: bytes) -> None:
    """Decoding arbitrary bytes raises no exception but a ``WireError``."""
    try:
        value = wire.decode(body, kind)
    except WireError:
        return
    assert isinstance(value, kind)


@given(kind=st.sampled_from(KINDS), data=st.data(), body=BYTES)
def test_any_response_is_a_result_or_raises_a_plugin_error(
    kind: type[Subsystem], data: st.DataObject, body: bytes
) -> None:
    """A proxy raises only documented exceptions, whatever bytes the plugin sends."""
    call = data.draw(st.sampled_from(data.draw(CALLS[kind])))
    transport = MemoryTransport(lambda _: Response(200, body))
    memory = Settings(transports={"memory": transport.connect})
    try:
        with new_client("memory://p", settings=memory) as client:
            plain(getattr(kind(client), call.method)(*call.arguments))
    except PluginError:
        return
    assert len(transport.calls) == 1


def in_chunks(data: bytes, sizes: list[int]) -> Callable[[int], bytes]:
    """A ``read(n)`` that never gives more than the next of ``sizes``, over and over."""
    file, turns = BytesIO(data), [0]

    def read(size: int) -> bytes:
        turns[0] += 1
        return file.read(min(size, sizes[turns[0] % len(sizes)]))

    return read


@given(st.lists(log_entries()), st.lists(st.integers(1, 9), min_size=1))
def test_log_frames_are_decoded_as_they_were_encoded_however_they_are_split(
    entries: list[LogEntry], sizes: list[int]
) -> None:
    """Entries are whole, in whatever pieces the stream is read."""
    data = b"".join(map(encode_frame, entries))

    assert list(decode_frames(in_chunks(data, sizes))) == entries


@given(st.lists(st.binary(max_size=30)), st.booleans())
def test_any_bytes_are_log_entries_or_a_wire_error(parts: list[bytes], framed: bool) -> None:  # noqa: FBT001
    """Bytes that are no frame, and a frame without an entry, raise a ``WireError``."""
    lengths = [len(part).to_bytes(4, "big") if framed else b"" for part in parts]
    data = b"".join(length + part for length, part in zip(lengths, parts, strict=True))
    try:
        entries = list(decode_frames(BytesIO(data).read))
    except WireError:
        return
    assert len(entries) <= len(parts) or not framed
