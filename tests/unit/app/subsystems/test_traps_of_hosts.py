"""Known mistakes of other hosts: the traps of protocol.md B11 about time and paths."""

import math

import pytest

from moby_plugins.app.client import Client
from moby_plugins.app.settings import Settings
from moby_plugins.domain.address import Address, TLSOptions
from moby_plugins.domain.errors import StatusError, TransportTimeoutError
from moby_plugins.domain.plugin import Plugin, read_spec
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import (
    LogDriver,
    LogEntry,
    LogInfo,
    MetricsCollector,
    NetworkCapabilities,
    NetworkDriver,
    ReadConfig,
    Volume,
    VolumeDriver,
    encode_frame,
)
from moby_plugins.testing import (
    FakeClock,
    MemoryRegistry,
    drips,
    hangs,
    script,
    status,
)
from tests.unit.app.subsystems.exchanges import asked, client_to, part_of


def test_4_a_handshake_without_a_response_times_out(plugin_registry: MemoryRegistry) -> None:
    """Trap 4: an attempt ends after 30 s, while an engine waits for ever."""
    plugin_registry.add("p", {"Plugin.Activate": hangs()})

    with pytest.raises(TransportTimeoutError):
        plugin_registry.get("p", "VolumeDriver")

    assert plugin_registry.clock.now() == 30.0


def test_5_capabilities_that_failed_once_can_be_requested_again(
    plugin_registry: MemoryRegistry,
) -> None:
    """Trap 5: a handler that raises during the activation does not disable the plugin."""
    replies = script(status(500, "not yet"), {"Scope": "local"})
    plugin_registry.add("p", {"NetworkDriver.GetCapabilities": replies})
    failures: list[StatusError] = []

    def ask(_: str, client: Client) -> None:
        try:
            NetworkDriver(client).get_capabilities()
        except StatusError as error:
            failures.append(error)
            raise

    plugin_registry.handle("NetworkDriver", ask)
    plugin = plugin_registry.get("p", "NetworkDriver")

    assert [error.message for error in failures] == ["not yet"]
    assert NetworkDriver(plugin.client).get_capabilities() == NetworkCapabilities("local")


def test_6_a_handler_may_get_its_own_plugin(plugin_registry: MemoryRegistry) -> None:
    """Trap 6: a handler that runs for an activation gets that plugin without a deadlock."""
    part, received = part_of(MetricsCollector, {"start_metrics": None})
    plugin_registry.add("p", part)

    def start(name: str, _: Client) -> None:
        MetricsCollector(plugin_registry.get(name, "MetricsCollector").client).start_metrics()

    plugin_registry.handle("MetricsCollector", start)
    plugin_registry.get("p", "MetricsCollector")

    assert received == [("start_metrics",)]


def test_13_the_mountpoint_of_get_and_of_mount_is_the_same_path() -> None:
    """Trap 13: neither path has a prefix, and the scoped path of a local plugin has none."""
    part, _ = part_of(VolumeDriver, {"mount": "/v/db", "get": Volume("db", "/v/db")})
    client, _ = client_to(PluginApp(part))
    driver = VolumeDriver(client)

    got = driver.get("db")

    assert got is not None
    assert got.mountpoint == driver.mount("db", "1") == "/v/db"
    assert Plugin.local("p", "unix:///p.sock").scoped_path("/v/db") == "/v/db"


def test_15_stop_logging_does_not_wait_for_start_logging() -> None:
    """Trap 15: a plugin responds to a call while another one is running."""
    answers: list[tuple[int, str]] = []

    class Slow(LogDriver):
        def start_logging(self, file: str, info: LogInfo) -> None:
            answers.append(asked(app, "LogDriver.StopLogging", '{"File":"/f"}'))

        def stop_logging(self, file: str) -> None:
            answers.append((0, file))

    app = PluginApp(Slow())

    assert asked(app, "LogDriver.StartLogging", '{"File":"/f"}') == (200, "{}")
    assert answers == [(0, "/f"), (200, "{}")]


def test_17_a_clients_time_out_does_not_cut_logs_that_are_followed() -> None:
    """Trap 17: ReadLogs has no time-out, unless the proxy is given one."""
    clock = FakeClock()
    body = encode_frame(LogEntry("stdout", 1, b"tick\n")) * 3
    client, line = client_to({"LogDriver.ReadLogs": drips(body)}, clock, timeout=30.0)

    read = list(LogDriver(client).read_logs(LogInfo(), ReadConfig(follow=True)))
    bounded = LogDriver(client, timeouts={"read_logs": 2.0}).read_logs(LogInfo(), ReadConfig())

    assert (len(read), clock.now() > 30.0, line.timeouts) == (3, True, [None])
    with pytest.raises(TransportTimeoutError):
        list(bounded)


def test_17_the_definition_of_read_logs_has_an_infinite_time_out() -> None:
    """Trap 17: the time-out of the client does not apply to a method that streams."""
    assert LogDriver.remotes["ReadLogs"].timeout == math.inf


def test_19_tls_options_for_a_tcp_address_cause_a_warning() -> None:
    """Trap 19: ``tcp://`` is plain text, whatever TLS options are given."""
    address = Address("tcp://host:1")

    assert not address.encrypted
    assert TLSOptions(ca_file="/ca.pem").concerns(encrypted=address.encrypted) == (
        "TLS options are given, but only https:// is encrypted: this is plain text"
    )


def test_19_a_spec_without_a_ca_file_turns_verification_off_with_a_warning() -> None:
    """Trap 19: engines read such a spec in the same way."""
    plugin = read_spec("p", "p.json", b'{"Addr":"https://host:1","TLSConfig":{}}')

    assert plugin.tls_config is not None
    assert plugin.tls_config.insecure_skip_verify
    assert plugin.tls_config.concerns(encrypted=True) == "TLS without verification of the plugin"


def test_20_rootless_directories_are_the_documented_ones() -> None:
    """Trap 20: specs are read from the user's directories, and not from /etc."""
    environ = {"ROOTLESSKIT_STATE_DIR": "/r", "XDG_CONFIG_HOME": "/h/c", "HOME": "/h"}

    assert Settings.from_env(environ).specs_paths == (
        "/h/c/docker/plugins",
        "/h/.local/lib/docker/plugins",
    )
