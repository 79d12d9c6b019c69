"""The Docker engine that settings name, in code, in a file or in the environment."""

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from moby_plugins import Settings, SettingsError, TLSOptions, new_local_discovery
from tests.cases import every

SOCKET = "unix:///var/run/docker.sock"


def test_no_engine_is_asked_unless_one_is_named() -> None:
    """``DOCKER_HOST`` is ignored, and an empty variable names no engine."""
    assert Settings().engine is None
    assert Settings.from_env({"DOCKER_HOST": SOCKET}).engine is None
    assert Settings.from_env({"MOBY_PLUGINS_ENGINE": ""}).engine is None


def test_an_engine_may_be_named_in_code_in_a_file_or_in_the_environment(tmp_path: Path) -> None:
    """The setting is the engine's address in each of them."""
    file = tmp_path / "settings.toml"
    file.write_text(f'engine = "{SOCKET}"\n')

    assert Settings(engine=SOCKET).engine == SOCKET
    assert Settings.load(file).engine == SOCKET
    assert Settings.from_env({"MOBY_PLUGINS_ENGINE": SOCKET}).engine == SOCKET
    assert evolve(Settings(engine=SOCKET), timeout=1).engine == SOCKET


def test_an_engine_behind_tls_may_have_tls_options(tmp_path: Path) -> None:
    """The options are a value in code, a table in a file, and pairs in the environment."""
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
    """The user and the password are removed from the address, since they are never sent."""
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
def test_an_engine_setting_that_cannot_be_used_is_refused(
    given: dict[str, Any], reason: str
) -> None:
    """The ``SettingsError`` is raised when the settings are made, and has the reason."""
    with pytest.raises(SettingsError) as caught:
        Settings(**given)

    assert reason in str(caught.value)


def test_an_engine_that_is_not_verified_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """The warning is the same as for a plugin that is not verified."""
    options = TLSOptions(insecure_skip_verify=True)
    new_local_discovery(Settings(engine="https://h:2376", engine_tls=options))

    assert caplog.messages == ["https://h:2376: TLS without verification of the plugin"]


def test_an_option_that_is_no_boolean_is_refused() -> None:
    """The ``SettingsError`` names the variable."""
    with pytest.raises(SettingsError, match="MOBY_PLUGINS_ENGINE_TLS: 'yes' is neither"):
        Settings.from_env({"MOBY_PLUGINS_ENGINE_TLS": "insecure_skip_verify=yes"})
