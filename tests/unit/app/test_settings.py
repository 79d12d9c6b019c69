"""Settings: their defaults, and the values that are refused."""

from pathlib import Path
from typing import Any

import pytest

from moby_plugins.app.settings import Settings
from moby_plugins.domain.errors import SettingsError
from moby_plugins.domain.plugin import Plugin
from moby_plugins.domain.retry import RetryPolicy
from moby_plugins.testing import MemoryTransport
from tests.cases import every

IN_MEMORY = MemoryTransport({}).connect


def test_the_default_directories_are_those_of_docker_engines() -> None:
    """The default of each transport is auto, which chooses the fastest that is installed."""
    settings = Settings()

    assert settings.sockets_path == "/run/docker/plugins"
    assert settings.specs_paths == ("/etc/docker/plugins", "/usr/lib/docker/plugins")
    assert settings.transports == dict.fromkeys(["unix", "tcp", "http", "https"], "auto")
    assert (settings.plugins, settings.discovery) == ({}, "local")
    assert settings.retry == RetryPolicy()
    assert settings.timeout is None
    assert settings.activation_timeout == 30.0
    assert settings.max_response_bytes == 64 * 1024 * 1024


def test_paths_may_be_path_objects() -> None:
    """Paths of any kind are kept as strings."""
    settings = Settings(sockets_path=Path("/s"), specs_paths=[Path("/a"), "/b"])

    assert (settings.sockets_path, settings.specs_paths) == ("/s", ("/a", "/b"))


def test_a_transport_of_ones_own_joins_the_others() -> None:
    """Naming one scheme leaves the rest as they were; schemes are in lower case."""
    settings = Settings(transports={"MEMORY": IN_MEMORY, "tcp": "httptools"})

    assert settings.transports == {
        "memory": IN_MEMORY,
        "unix": "auto",
        "tcp": "httptools",
        "http": "auto",
        "https": "auto",
    }


@every(
    ("given", "message"),
    [
        ({"sockets_path": None}, "a path must be a string, not None"),
        ({"sockets_path": b"/run"}, "a path must be a string, not b'/run'"),
        ({"sockets_path": ""}, "'' cannot be a path"),
        ({"sockets_path": "/run\0"}, "'/run\\x00' cannot be a path"),
        ({"sockets_path": "/run/\ud800"}, "'/run/\\ud800' cannot be a path"),
        ({"specs_paths": "/etc"}, "paths must be a list of strings, not '/etc'"),
        ({"specs_paths": 5}, "paths must be a list of strings, not 5"),
        ({"specs_paths": ["/etc", 5]}, "a path must be a string, not 5"),
        ({"specs_paths": [""]}, "'' cannot be a path"),
        (
            {"transports": "urllib3"},
            "transports must be a mapping from scheme to transport, not 'urllib3'",
        ),
        ({"transports": {"tcp": 5}}, "5 is neither a transport's name nor a callable"),
        ({"transports": {"tcp": ""}}, "'' is neither a transport's name nor a callable"),
        ({"transports": {5: "urllib3"}}, "5 is not a scheme of an address"),
        ({"plugins": 5}, "plugins must be a mapping from name to address, not 5"),
        ({"plugins": "a=b"}, "plugins must be a mapping from name to address, not 'a=b'"),
        ({"plugins": {"shelf": 5}}, "plugins: 'shelf': an address or a Plugin is expected, not 5"),
        (
            {"plugins": {5: "tcp://h:1"}},
            "plugins: 5: 5 is not a plugin name: no separators, no NUL, not empty, '.' or '..'",
        ),
        (
            {"plugins": {"a": "h:1"}},
            (
                "plugins: 'a': address 'h:1' is not of the form scheme://… or unix:/path; "
                "did you mean tcp://h:1?"
            ),
        ),
        (
            {"plugins": {"a": Plugin("b", "tcp://h:1")}},
            "plugins: 'a': the Plugin given as 'a' has another name: 'b'",
        ),
        ({"discovery": 5}, "discovery must be a name, or a function of the settings, not 5"),
        ({"discovery": "lokal"}, "no discovery is called 'lokal'; there are: local"),
        ({"retry": 5}, "retry must be a RetryPolicy, not 5"),
        ({"retry": None}, "retry must be a RetryPolicy, not None"),
        ({"timeout": 0}, "timeout must be a positive number, not 0"),
        ({"timeout": "5"}, "timeout must be a positive number, not '5'"),
        ({"timeout": True}, "timeout must be a positive number, not True"),
        ({"timeout": float("nan")}, "timeout must be a positive number, not nan"),
        ({"activation_timeout": -1.0}, "activation_timeout must be a positive number, not -1.0"),
        ({"max_response_bytes": 0}, "max_response_bytes must be a positive whole number, not 0"),
        (
            {"max_response_bytes": 1.5},
            "max_response_bytes must be a positive whole number, not 1.5",
        ),
        (
            {"max_response_bytes": None},
            "max_response_bytes must be a positive whole number, not None",
        ),
    ],
)
def test_a_setting_of_a_wrong_type_or_out_of_range_is_refused(
    given: dict[str, Any], message: str
) -> None:
    """The ``SettingsError`` says what would be right."""
    with pytest.raises(SettingsError) as caught:
        Settings(**given)

    assert str(caught.value) == message


@pytest.mark.parametrize("timeout", [None, 1, 0.5, float("inf")])
def test_time_outs_may_be_absent_whole_or_endless(timeout: float | None) -> None:
    """``None`` and infinity mean that there is no time-out."""
    settings = Settings(timeout=timeout, activation_timeout=timeout)

    assert (settings.timeout, settings.activation_timeout) == (timeout, timeout)


def test_passwords_in_addresses_of_plugins_are_not_shown() -> None:
    """The ``repr`` of settings names the plugins, and holds none of their addresses."""
    settings = Settings(plugins={"shelf": "tcp://me:secret@h:1"})

    assert "plugins='shelf'" in repr(settings)
    assert "secret" not in repr(settings)
