"""Settings from a file and from the environment."""

from pathlib import Path

import pytest
from attrs import fields

from moby_plugins.app.settings import Settings
from moby_plugins.domain.errors import SettingsError
from moby_plugins.domain.retry import RetryPolicy
from tests.cases import every

KNOWN = ", ".join(attribute.name for attribute in fields(Settings))


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    """Where a settings file goes."""
    return tmp_path / "settings.toml"


def test_a_file_sets_what_it_names(toml: Path) -> None:
    """TOML keys are the settings' names; what is not named keeps its default."""
    toml.write_text(
        """
        sockets_path = "/s"
        specs_paths = ["/a"]
        timeout = 5
        activation_timeout = inf
        max_response_bytes = 1024
        [retry]
        budget = 60
        [transports]
        memory = "httptools"
        [plugins]
        shelf = "unix:///run/shelf.sock"
        """
    )

    assert Settings.load(toml) == Settings(
        sockets_path="/s",
        specs_paths=("/a",),
        transports={"memory": "httptools"},
        plugins={"shelf": "unix:///run/shelf.sock"},
        retry=RetryPolicy(budget=60),
        timeout=5,
        activation_timeout=float("inf"),
        max_response_bytes=1024,
    )


def test_an_empty_file_changes_nothing(toml: Path) -> None:
    """A file may be named by its path as a string, too."""
    toml.write_text("")

    assert Settings.load(str(toml)) == Settings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("socket_path = 1", f"unknown setting 'socket_path'; known: {KNOWN}"),
        (
            "[retry]\nbugdet = 1",
            "unknown setting 'bugdet'; known: initial, factor, max_delay, budget, jitter",
        ),
        ("[retry]\nbudget = -1", "budget must be a number, 0 or more: -1"),
        ("[plugins]\nshelf = 5", "plugins: 'shelf': an address or a Plugin is expected, not 5"),
        ("plugins = 5", "plugins must be a mapping from name to address, not 5"),
        ("retry = 5", "retry must be a RetryPolicy, not 5"),
        ("timeout = -1", "timeout must be a positive number, not -1"),
        ("transports = 1", "transports must be a mapping from scheme to transport, not 1"),
        ("sockets_path", "Expected '=' after a key"),
        ("a = '\ud8ff'", "'utf-8' codec can't decode byte"),
    ],
)
def test_a_mistake_in_a_settings_file_is_an_error_with_the_file_name(
    toml: Path, text: str, message: str
) -> None:
    """Every mistake in a file is an error that begins with the file's name."""
    toml.write_bytes(text.encode(errors="surrogatepass"))

    with pytest.raises(SettingsError) as caught:
        Settings.load(toml)

    assert str(caught.value).startswith(f"{toml}: {message}")


def test_a_missing_settings_file_is_an_error_with_the_file_name(toml: Path) -> None:
    """The ``SettingsError`` has the system's ``FileNotFoundError`` as its cause."""
    with pytest.raises(SettingsError) as caught:
        Settings.load(toml)

    assert str(caught.value) == f"{toml}: No such file or directory"
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_environment_variables_of_other_programs_change_no_setting() -> None:
    """``DOCKER_HOST`` or a prefix in small letters, for example, leaves the defaults unchanged."""
    environ = {"HOME": "/root", "XDG_CONFIG_HOME": "/x", "DOCKER_HOST": "y", "moby_plugins_x": "z"}

    assert Settings.from_env(environ) == Settings()


def test_the_environment_sets_what_it_names() -> None:
    """A variable is a setting's name in capitals; each number of the retry policy has its own."""
    environ = {
        "MOBY_PLUGINS_SOCKETS_PATH": "/s",
        "MOBY_PLUGINS_SPECS_PATHS": "/a:/b::",
        "MOBY_PLUGINS_TRANSPORTS": " unix = urllib3 , TCP=httptools, ",
        "MOBY_PLUGINS_PLUGINS": "shelf=unix:///run/a=b.sock, db = tcp://h:1",
        "MOBY_PLUGINS_DISCOVERY": "local",
        "MOBY_PLUGINS_RETRY_BUDGET": "60",
        "MOBY_PLUGINS_RETRY_INITIAL": "0.5",
        "MOBY_PLUGINS_TIMEOUT": "2.5",
        "MOBY_PLUGINS_ACTIVATION_TIMEOUT": "None",
        "MOBY_PLUGINS_MAX_RESPONSE_BYTES": "1024",
    }

    assert Settings.from_env(environ) == Settings(
        sockets_path="/s",
        specs_paths=("/a", "/b"),
        transports={"unix": "urllib3", "tcp": "httptools"},
        plugins={"shelf": "unix:///run/a=b.sock", "db": "tcp://h:1"},
        retry=RetryPolicy(initial=0.5, budget=60),
        timeout=2.5,
        activation_timeout=None,
        max_response_bytes=1024,
    )


def test_an_empty_variable_sets_an_empty_list_of_spec_directories() -> None:
    """The defaults do not apply, so no directory of specs is searched."""
    assert Settings.from_env({"MOBY_PLUGINS_SPECS_PATHS": ""}).specs_paths == ()


def test_from_env_reads_the_environment_of_the_process_by_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``from_env()`` without an argument reads the process's own variables."""
    monkeypatch.setenv("MOBY_PLUGINS_TIMEOUT", "7")

    assert Settings.from_env().timeout == 7.0


@every(
    ("variable", "text", "message"),
    [
        ("MOBY_PLUGINS_TIMEOUT", "soon", "could not convert string to float: 'soon'"),
        ("MOBY_PLUGINS_TIMEOUT", "-1", "timeout must be a positive number, not -1.0"),
        (
            "MOBY_PLUGINS_MAX_RESPONSE_BYTES",
            "64M",
            "invalid literal for int() with base 10: '64M'",
        ),
        ("MOBY_PLUGINS_RETRY_BUDGET", "x", "could not convert string to float: 'x'"),
        ("MOBY_PLUGINS_RETRY_FACTOR", "0", "factor must be a number, 1 or more: 0.0"),
        (
            "MOBY_PLUGINS_RETRY_X",
            "1",
            "unknown setting 'x'; known: initial, factor, max_delay, budget, jitter",
        ),
        ("MOBY_PLUGINS_RETRY", "5", "retry must be a RetryPolicy, not '5'"),
        ("MOBY_PLUGINS_SOCKETS_PATH", "", "'' cannot be a path"),
        ("MOBY_PLUGINS_TRANSPORTS", "unix", "'' is neither a transport's name nor a callable"),
        (
            "MOBY_PLUGINS_PLUGINS",
            "shelf",
            "plugins: 'shelf': address '' is not of the form scheme://… or unix:/path",
        ),
        ("MOBY_PLUGINS_TIME_OUT", "1", f"unknown setting 'time_out'; known: {KNOWN}"),
    ],
)
def test_a_mistake_in_the_environment_is_an_error_with_the_variable_name(
    variable: str, text: str, message: str
) -> None:
    """Every mistake in the environment is an error that begins with the variable's name."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"MOBY_PLUGINS_SPECS_PATHS": "/a", variable: text})

    assert str(caught.value) == f"{variable}: {message}"


@pytest.mark.parametrize(
    ("environ", "specs_paths"),
    [
        (
            {"HOME": "/home/u"},
            ("/home/u/.config/docker/plugins", "/home/u/.local/lib/docker/plugins"),
        ),
        (
            {"HOME": "/home/u", "XDG_CONFIG_HOME": "/cfg"},
            ("/cfg/docker/plugins", "/home/u/.local/lib/docker/plugins"),
        ),
        ({"HOME": "/home/u", "MOBY_PLUGINS_SPECS_PATHS": "/a"}, ("/a",)),
    ],
)
def test_a_rootless_engine_has_the_users_directories(
    environ: dict[str, str], specs_paths: tuple[str, ...]
) -> None:
    """The directories are below ``XDG_CONFIG_HOME`` or ``HOME``, unless a variable sets them."""
    settings = Settings.from_env({"ROOTLESSKIT_STATE_DIR": "/run/user/1/rk", **environ})

    assert settings.specs_paths == specs_paths
    assert settings.sockets_path == "/run/docker/plugins"


def test_under_rootlesskit_a_missing_home_is_taken_from_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the given environment has no ``HOME``, the process's own home directory counts."""
    monkeypatch.setenv("HOME", "/home/process")

    settings = Settings.from_env({"ROOTLESSKIT_STATE_DIR": "/run/user/1/rk"})

    assert settings.specs_paths == (
        "/home/process/.config/docker/plugins",
        "/home/process/.local/lib/docker/plugins",
    )
