"""Properties for any input: values are read as written, and errors are documented ones."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from moby_plugins import Plugin, RetryPolicy, SpecError, StatusError
from moby_plugins.domain.address import Address
from moby_plugins.domain.http import status_error
from moby_plugins.domain.json import first_value
from moby_plugins.domain.plugin import is_plugin_name, read_spec
from moby_plugins.testing.strategies import (
    Spec,
    addresses,
    json_values,
    names,
    plugins,
    retry_policies,
    specs,
)

T = TypeVar("T")
E = TypeVar("E", bound=Exception)

# Bytes of all sorts, those that are nearly JSON among them.
BYTES = st.binary(max_size=40) | st.text('[]{}":,0123456789.eE+-truefalsn\\ud8', max_size=40).map(
    lambda text: text.encode()
)


def value_or(error: type[E], read: Callable[[], T]) -> T | E:
    """What ``read`` returns, or the error of that kind that it raises."""
    try:
        return read()
    except error as raised:
        return raised


@given(addresses())
def test_an_address_reads_as_it_was_written(address: Address) -> None:
    """Parsing the text of an address gives the address, part by part."""
    again = Address(address.text)

    assert again == address
    assert (again.scheme, again.path, again.host, again.port) == (
        address.scheme,
        address.path,
        address.host,
        address.port,
    )


@given(st.lists(names(), min_size=1).map(lambda parts: "/" + "/".join(parts)))
def test_the_address_of_a_socket_leads_back_to_it(path: str) -> None:
    """Whatever a socket's path holds, its address names that path and no other."""
    address = Address.of_socket(path)

    assert (address.scheme, Address(address.text).path) == ("unix", path)


@given(
    st.sampled_from(["tcp", "http", "https"]),
    st.from_regex(r"[a-z][a-z0-9]{0,9}(\.[a-z0-9]{1,5})?", fullmatch=True),
    st.integers(1, 65535),
)
def test_a_host_and_a_port_are_read_as_they_were_written(scheme: str, host: str, port: int) -> None:
    """The host and the port of a TCP address are kept, and are sent as the Host header."""
    address = Address(f"{scheme}://{host}:{port}/dropped")

    assert (address.scheme, address.host, address.port) == (scheme, host, port)
    assert address.host_header == f"{host}:{port}"


@given(st.text() | st.builds("{}://{}".format, st.sampled_from(["unix", "tcp"]), st.text()))
def test_any_text_is_an_address_or_a_spec_error(text: str) -> None:
    """No text makes an address raise anything but its documented error."""
    result = value_or(SpecError, lambda: Address(text))

    # A user's name before an "@" is left out.
    assert isinstance(result, SpecError) or result.text == text or "@" in text


@given(specs())
def test_a_spec_gives_the_plugin_that_it_describes(spec: Spec) -> None:
    """White space, the case of keys, and other keys in the spec do not matter."""
    assert read_spec(spec.name, spec.file, spec.data) == spec.plugin


@given(BYTES | json_values().map(lambda value: json.dumps(value).encode()))
@pytest.mark.parametrize("file", ["/etc/p.json", "/etc/p.spec"])
def test_any_bytes_are_a_spec_or_an_error_that_names_the_file(file: str, data: bytes) -> None:
    """Reading a spec gives a plugin or raises ``SpecError``, and no other exception."""
    result = value_or(SpecError, lambda: read_spec("p", file, data))

    assert isinstance(result, Plugin) or (result.file == file and result.reason)


@given(json_values(), st.sampled_from(["", " ", "\n]", "{}", "\x00"]))
def test_json_is_read_as_it_was_written(value: Any, tail: str) -> None:
    """The first JSON value of a body is read, whatever follows it."""
    text = json.dumps([value]) + tail

    assert first_value(text.encode()) == [value]


@given(BYTES)
@example(b"\xff")
@example(b"-")
def test_any_bytes_are_json_or_a_value_error(data: bytes) -> None:
    """A value that was read can be written as JSON again; the error has a text."""
    result = value_or(ValueError, lambda: first_value(data))

    if isinstance(result, ValueError):
        assert str(result)
    else:
        assert first_value(json.dumps(result).encode()) == result


@given(st.integers(201, 599), BYTES)
def test_any_body_of_an_error_response_gives_its_status_and_a_text(
    status: int, body: bytes
) -> None:
    """A status other than 200 becomes a ``StatusError``, however broken the body is."""
    error = status_error(status, "M.x", body)

    assert type(error) is StatusError
    assert (error.status, error.method) == (status, "M.x")
    assert error.message.encode(errors="strict") is not None


@given(names(), plugins())
def test_plugins_with_equal_attributes_are_equal(name: str, plugin: Plugin) -> None:
    """The drawn names are valid, and an address keeps the text from which it was made."""
    assert is_plugin_name(name)
    assert plugin == Plugin(plugin.name, plugin.addr, plugin.tls_config, plugin.manifest)
    assert plugin.address.text == plugin.addr


@given(retry_policies(), st.lists(st.floats(0.0, 100.0), max_size=50))
@example(RetryPolicy(), [0.0] * 50)
def test_no_retry_begins_after_the_budget(policy: RetryPolicy, durations: list[float]) -> None:
    """However long attempts take, only the first may begin when the budget is used up."""
    elapsed = last = 0.0
    for retries, duration in enumerate(durations):
        elapsed += duration
        delay = policy.next_delay(retries, elapsed)
        if delay is None:
            wait = min(policy.initial * policy.factor ** min(retries, 50), policy.max_delay)
            assert elapsed + wait >= policy.budget
            return
        assert 0 < delay <= policy.max_delay
        assert delay >= min(last, policy.max_delay)
        elapsed, last = elapsed + delay, delay
        assert elapsed < policy.budget
