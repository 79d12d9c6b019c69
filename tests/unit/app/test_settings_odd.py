"""Invalid settings are an error when a value is made or a file is loaded, never later."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moby_plugins.app.client import Client
from moby_plugins.app.hosting import plugin_server_unix
from moby_plugins.app.registry import Registry
from moby_plugins.app.settings import Settings
from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import SettingsError
from moby_plugins.domain.retry import MAX_SECONDS, RetryPolicy, seconds
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import VolumeDriver
from moby_plugins.testing import FakeClock, MemoryDiscovery, MemoryTransport
from tests.cases import every
from tests.unit.app.subsystems.exchanges import client_to

HUGE = 10**400
# What is not a time-out: more than a float can be, than Python writes, than a clock can wait for.
NO_SECONDS: tuple[Any, ...] = (HUGE, math.nan, -math.inf, -1, 0, True, "5", [])


@every("value", NO_SECONDS)
def test_a_time_out_that_is_not_a_number_of_seconds_is_refused_everywhere(value: Any) -> None:
    """Settings, clients, registries, proxies and calls raise before anything is sent."""
    client, line = client_to({"A.B": {}})
    transport, address, clock = MemoryTransport({}), Address("tcp://h:1"), FakeClock()

    with pytest.raises(SettingsError):
        Settings(timeout=value)
    with pytest.raises(SettingsError):
        Settings(activation_timeout=value)
    with pytest.raises(ValueError, match="a time-out must be a positive number of seconds"):
        Client(transport, address, clock=clock, timeout=value)
    with pytest.raises(ValueError, match="a time-out must be a positive number of seconds"):
        Registry(discovery=MemoryDiscovery(), connect=transport.connect, clock=clock, timeout=value)
    with pytest.raises(ValueError, match="a time-out must be a positive number of seconds"):
        VolumeDriver(client, timeouts={"mount": value})
    with pytest.raises(ValueError, match="a time-out must be a positive number of seconds"):
        client.call("A.B", timeout=value)
    with pytest.raises(ValueError, match="a time-out must be a positive number of seconds"):
        client.stream("A.B", timeout=value)
    assert line.requests == []


def test_infinity_is_no_bound() -> None:
    """Time-outs, the longest wait and the budget may be infinite; the first wait may not."""
    assert seconds(math.inf) is None
    Settings(timeout=math.inf, activation_timeout=None)
    RetryPolicy(factor=math.inf, max_delay=math.inf, budget=math.inf)
    with pytest.raises(ValueError, match="must be a number"):
        RetryPolicy(initial=math.inf)


@pytest.mark.parametrize("name", ["initial", "factor", "max_delay", "budget"])
@pytest.mark.parametrize("value", [HUGE, math.nan, -math.inf, -1, True, "1", None, []])
def test_a_retry_policy_refuses_a_field_that_is_not_a_usable_number(name: str, value: Any) -> None:
    """The error names the field, and does not print a number of 400 digits."""
    with pytest.raises(ValueError, match=f"^{name} must be a number") as caught:
        RetryPolicy(**{name: value})
    assert len(str(caught.value)) < 400


def test_a_number_with_more_digits_than_python_prints_is_refused() -> None:
    """The message shows the type instead of the number."""
    with pytest.raises(SettingsError, match="something that cannot be shown: int"):
        Settings(timeout=10**5000)
    with pytest.raises(ValueError, match="something that cannot be shown: int"):
        RetryPolicy(budget=10**5000)


def test_no_wait_is_longer_than_a_clock_can_wait() -> None:
    """The delay is at most ``MAX_SECONDS``, however fast the policy's waits grow."""
    policy = RetryPolicy(initial=1.0, factor=1e300, max_delay=math.inf, budget=math.inf)

    assert [policy.next_delay(retries, 0.0) for retries in range(3)] == [
        1,
        MAX_SECONDS,
        MAX_SECONDS,
    ]


@every(
    "given",
    [
        {"sockets_path": 5},
        {"sockets_path": ""},
        {"sockets_path": "a\0b"},
        {"specs_paths": "/etc"},
        {"specs_paths": b"/etc"},
        {"specs_paths": {"/etc": 1}},
        {"specs_paths": [5]},
        {"transports": {"unix": 5}},
        {"transports": {"unix": "nosuch"}},
        {"transports": {"foo": "nosuch"}},
        {"transports": {"": "urllib3"}},
        {"transports": {"a b": "urllib3"}},
        {"transports": ["unix"]},
        {"max_response_bytes": HUGE},
        {"max_response_bytes": 1.0},
        {"max_response_bytes": True},
        {"retry": {"budget": 1}},
    ],
)
def test_an_odd_setting_is_refused_when_it_is_made(given: dict[str, Any]) -> None:
    """The value has a wrong type, is out of range, or names something that does not exist."""
    with pytest.raises(SettingsError):
        Settings(**given)


@pytest.mark.parametrize(
    "text",
    [
        f"timeout = {HUGE}",
        f"max_response_bytes = {HUGE}",
        f"[retry]\nbudget = {HUGE}",
        f"timeout = {'9' * 5000}",
        "timeout = nan",
        "timeout = true",
        "sockets_path = 5",
        "sockets_path = ''",
        'sockets_path = "a\\u0000b"',
        "specs_paths = '/etc'",
        "specs_paths = [['/etc']]",
        "[transports]\nfoo = 'nosuch'",
        "[transports]\nunix = 5",
        "[transports.unix]\na = 1",
        "[retry]\ninitial = inf",
        "[retry]\ninitial = 2026-08-01",
        "x = " + "[" * 1500 + "]" * 1500,
        "x = " + "{a = " * 1500 + "1" + "}" * 1500,
        ".".join(["a"] * 1500) + " = 1",
    ],
    ids=lambda text: text[:30],
)
def test_an_odd_setting_is_refused_when_a_file_is_loaded(text: str, tmp_path: Path) -> None:
    """The ``SettingsError`` begins with the file's name."""
    file = tmp_path / "settings.toml"
    file.write_text(text)

    with pytest.raises(SettingsError, match=f"^{file}: "):
        Settings.load(file)


@every(
    ("variable", "text"),
    [
        ("TIMEOUT", "-1e300"),
        ("TIMEOUT", "nan"),
        ("TIMEOUT", ""),
        ("MAX_RESPONSE_BYTES", "9" * 5000),
        ("RETRY_BUDGET", "nan"),
        ("RETRY_INITIAL", "inf"),
        ("TRANSPORTS", "unix=nosuch"),
        ("TRANSPORTS", "urllib3"),
        ("SOCKETS_PATH", ""),
    ],
)
def test_an_odd_setting_is_refused_in_the_environment(variable: str, text: str) -> None:
    """The ``SettingsError`` begins with the variable's name."""
    with pytest.raises(SettingsError, match=f"^MOBY_PLUGINS_{variable}: "):
        Settings.from_env({f"MOBY_PLUGINS_{variable}": text})


@every(
    "given",
    [
        *({"mode": mode} for mode in (-1, 0o1777, True, "660", HUGE)),
        *({"group": group} for group in (-5, 1 << 32, True, 1.5, HUGE)),
    ],
)
def test_an_invalid_file_mode_or_group_of_a_socket_is_refused(
    given: dict[str, Any],
) -> None:
    """Making the server raises a ``ValueError``; an unknown group name is found at its start."""

    class Volumes(VolumeDriver):
        def remove(self, name: str) -> None:
            """Nothing to do."""

    with pytest.raises(ValueError, match=r"is not a (file mode|group)"):
        plugin_server_unix(PluginApp(Volumes()), "/nowhere/p.sock", **given)


@pytest.mark.parametrize(
    ("path", "why"),
    [("/dev/zero", "not a regular file"), ("large.toml", "the file is larger than 1048576 bytes")],
)
def test_a_file_of_settings_is_not_read_without_end(path: str, why: str, tmp_path: Path) -> None:
    """A file over one megabyte is refused, and so is a device, which would never end."""
    (tmp_path / "large.toml").write_text("#" * (1 << 20) + "\n")

    with pytest.raises(SettingsError, match=f"{why}$"):
        Settings.load(tmp_path / path)


def test_the_error_of_a_deeply_nested_settings_file_escapes_the_file_name(tmp_path: Path) -> None:
    """A line break in the name of the file forges no line of a log."""
    file = tmp_path / "a\nCRITICAL: b.toml"
    file.write_text("x = " + "[" * 5000 + "]" * 5000)

    with pytest.raises(SettingsError) as caught:
        Settings.load(file)
    assert str(caught.value).isprintable()


def test_a_number_too_large_for_a_float_is_refused_in_the_environment() -> None:
    """Only the text ``inf`` is read as infinity."""
    for name in ("TIMEOUT", "ACTIVATION_TIMEOUT", "RETRY_BUDGET"):
        with pytest.raises(SettingsError, match=f"MOBY_PLUGINS_{name}: .* is too large"):
            Settings.from_env({f"MOBY_PLUGINS_{name}": "1" + "0" * 400})
    assert Settings.from_env({"MOBY_PLUGINS_TIMEOUT": "inf"}).timeout == math.inf


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_settings_file_must_be_a_regular_file(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """A directory or a FIFO is refused, without waiting for a writer."""
    make(tmp_path / "settings.toml")

    with pytest.raises(SettingsError, match=r"settings\.toml: "):
        Settings.load(tmp_path / "settings.toml")
