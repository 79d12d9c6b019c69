"""The transport that settings call ``"auto"``: what it is, and where that is shown."""

import logging

import pytest

from moby_plugins import (
    Settings,
    SettingsError,
    connect_by_name,
    connect_by_scheme,
    new_client,
    new_local_registry,
)
from moby_plugins.app.config import fastest
from moby_plugins.ports import Address
from tests.cases import every

ADDR = "unix:///run/x.sock"


@every(
    ("version", "chosen"),
    [
        ("0.6.4", "urllib3"),
        ("0.6", "urllib3"),
        (None, "urllib3"),
        ("nonsense", "urllib3"),
        ("", "urllib3"),
        ("0.7.0", "httptools"),
        ("0.7", "httptools"),
        ("0.10rc1", "httptools"),
        ("1.0", "httptools"),
        ("1", "httptools"),
    ],
)
def test_the_transport_auto_is_httptools_if_its_version_is_0_7_or_later(
    version: object, chosen: str
) -> None:
    """Otherwise it is urllib3: older or unreadable versions of httptools were never tested."""
    assert fastest(version)[0] == chosen


def test_the_transport_auto_is_chosen_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """The ``repr`` of a registry and one line of the log name the HTTP library."""
    caplog.set_level(logging.DEBUG, "moby_plugins")
    with new_local_registry(Settings()) as registry:
        said = repr(registry)
    assert repr(registry) == said
    connect = connect_by_scheme(Settings())
    transports = [connect(Address(addr), None) for addr in (ADDR, "tcp://h:1")]

    assert "unix, tcp, http, https over httptools (auto)" in said
    assert [*map(repr, transports)] == ["httptools", "httptools"]
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert lines[0].startswith("the transport 'auto' is httptools: httptools is ")


def test_the_repr_of_a_client_names_its_transport() -> None:
    """The ``repr`` has the address, too, without user name and password."""
    with new_client("tcp://me:secret@h:1", settings=Settings()) as client:
        assert repr(client) == "<Client of tcp://h:1 over httptools>"


@pytest.mark.parametrize(
    ("name", "chosen"),
    [("urllib3", "urllib3"), ("httptools", "httptools"), ("auto", "httptools")],
)
def test_connect_by_name_makes_transports_of_the_named_kind(name: str, chosen: str) -> None:
    """``connect_by_name`` takes the names that settings take, such as ``auto``."""
    transport = connect_by_name(name)(Address(ADDR), None)
    transport.close()

    assert repr(transport) == chosen


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (5, "name must be the name of a transport, not 5"),
        ("urlib3", "no transport is called 'urlib3'; there are: auto, httptools, urllib3"),
    ],
)
def test_connect_by_name_refuses_an_unknown_name(name: str, message: str) -> None:
    """The SettingsError says which names there are, or that the name must be one."""
    with pytest.raises(SettingsError) as caught:
        connect_by_name(name)

    assert str(caught.value) == message
