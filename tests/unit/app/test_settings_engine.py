"""The engine that settings name: by code, file and environment."""

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from moby_plugins import Settings, SettingsError, TLSOptions, new_local_discovery
from tests.cases import every

SOCKET = "unix:///var/run/docker.sock"


def test_no_engine_is_asked_unless_one_is_named() -> None:
    """Not that of DOCKER_HOST either; an empty variable names none."""
    assert Settings().engine is None
    assert Settings.from_env({"DOCKER_HOST": SOCKET}).engine is None
    assert Settings.from_env({"MOBY_PLUGINS_ENGINE": ""}).engine is None


def test_an_engine_is_named_in_each_source(tmp_path: Path) -> None:
    """By its address."""
    file = tmp_path / "settings.toml"
    file.write_text(f'engine = "{SOCKET}"\n')

    assert Settings(engine=SOCKET).engine == SOCKET
    assert Settings.load(file).engine == SOCKET
    assert Settings.from_env({"MOBY_PLUGINS_ENGINE": SOCKET}).engine == SOCKET
    assert evolve(Settings(engine=SOCKET), timeout=1).engine == SOCKET


def test_one_behind_tls_has_options(tmp_path: Path) -> None:
    """In code they are a value, in a file a table, in the environment pairs."""
    options = TLSOptions(ca_file="/ca.pem", min_version=772, exclusive_root_pools=True)
    file = tmp_path / "settings.toml"
    file.write_text(
        'engine = "https://h:2376"\n[engine_tls]\nca_file = "/ca.pem"\nmin_version = 772\n'
        "exclusive_root_pools = true\n"
    )
    pairs = "ca_file=/ca.pem, min_version=772, exclusive_root_pools=true"
    environ = {"MOBY_PLUGINS_ENGINE": "https://h:2376", "MOBY_PLUGINS_ENGINE_TLS": pairs}

    for settings in (
        Settings(engine="https://h:2376", engine_tls=options),
        Settings.load(file),
        Settings.from_env(environ),
    ):
        assert settings.engine_tls == options


def test_a_password_in_an_engines_address_is_not_kept() -> None:
    """As in every address: it is never sent."""
    settings = Settings(engine="https://me:secret@h:2376")

    assert settings.engine == "https://h:2376"
    assert "secret" not in repr(settings)


@every(
    ("given", "reason"),
    [
        ({"engine": "/var/run/docker.sock"}, "did you mean unix:///var/run/docker.sock?"),
        ({"engine": "ssh://h"}, "ssh://h is none of http://, https://, tcp://, unix://"),
        ({"engine": "unix://"}, "engine: "),
        ({"engine": 5}, "engine must be the address of an engine, not 5"),
        ({"engine": SOCKET, "engine_tls": TLSOptions()}, "engine at https://"),
        ({"engine_tls": {"ca_file": "/ca.pem"}}, "engine at https://"),
        ({"engine": "https://h", "engine_tls": {"cafile": "/"}}, "unknown setting 'cafile'"),
        ({"engine": "https://h", "engine_tls": {"ca_file": 5}}, "engine_tls: "),
        ({"engine": "https://h", "engine_tls": {"min_version": 1}}, "engine_tls: MinVersion"),
        ({"engine": "https://h", "engine_tls": 5}, "a table of TLS options"),
    ],
)
def test_what_cannot_be_an_engine_is_refused(given: dict[str, Any], reason: str) -> None:
    """When the settings are made, by the setting's name."""
    with pytest.raises(SettingsError) as caught:
        Settings(**given)

    assert reason in str(caught.value)


def test_an_engine_that_is_not_verified_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """As a plugin is."""
    options = TLSOptions(insecure_skip_verify=True)
    new_local_discovery(Settings(engine="https://h:2376", engine_tls=options))

    assert caplog.messages == ["https://h:2376: TLS without verification of the plugin"]


def test_an_option_that_is_no_boolean_is_refused() -> None:
    """With the variable's name."""
    with pytest.raises(SettingsError, match="MOBY_PLUGINS_ENGINE_TLS: 'yes' is neither"):
        Settings.from_env({"MOBY_PLUGINS_ENGINE_TLS": "insecure_skip_verify=yes"})
