"""Clients and registries, made as settings say."""

from pathlib import Path

import pytest

from moby_plugins import (
    Plugin,
    PluginNotFoundError,
    RetryPolicy,
    Settings,
    SpecError,
    TLSOptions,
    TransportTimeoutError,
    WireError,
    new_client,
    new_local_registry,
)
from moby_plugins.testing import FakeClock, MemoryTransport, hangs
from tests.transports import RecordingConnect, install_transport


@pytest.fixture
def recorder() -> RecordingConnect:
    """A transport in memory that notes who connects."""
    return RecordingConnect()


def test_a_client_is_made_from_the_settings(recorder: RecordingConnect) -> None:
    """A client calls over the transport that its address and settings choose."""
    tls = TLSOptions(ca_file="/ca.pem")

    with new_client(
        "memory://x", tls, settings=Settings(transports={"memory": recorder}), clock=FakeClock()
    ) as client:
        answer = client.call("VolumeDriver.List", {})

    assert answer == {"Volumes": []}
    assert recorder.asked == [("memory://x", tls)]


@pytest.mark.parametrize(("given", "bound"), [(None, 5.0), (2.0, 2.0)])
def test_the_time_out_of_a_client_is_that_of_the_settings_unless_one_is_given(
    given: float | None, bound: float
) -> None:
    """The retry policy is that of the settings, and the clock is the one that was given."""
    clock = FakeClock()
    memory = MemoryTransport({"M.x": hangs()}, clock=clock)
    settings = Settings(
        transports={"memory": memory.connect}, timeout=5.0, retry=RetryPolicy(budget=3.0 + bound)
    )

    with (
        new_client("memory://x", settings=settings, timeout=given, clock=clock) as client,
        pytest.raises(TransportTimeoutError) as caught,
    ):
        client.call("M.x")

    assert caught.value.attempts == 2
    assert clock.now() == 1.0 + 2 * bound


def test_a_clients_responses_are_bounded_by_the_settings() -> None:
    """``max_response_bytes`` of the settings is the limit for each response."""
    memory = MemoryTransport({"M.x": b'"0123456789"'})
    settings = Settings(transports={"memory": memory.connect}, max_response_bytes=11)

    with (
        new_client("memory://x", settings=settings) as client,
        pytest.raises(WireError, match="larger than 11 bytes"),
    ):
        client.call("M.x")


def test_a_client_of_an_invalid_address_is_refused() -> None:
    """The SpecError is raised where the client is made, and suggests an address."""
    with pytest.raises(SpecError, match="did you mean tcp://localhost:8080"):
        new_client("localhost:8080")


def test_a_client_without_settings_takes_them_from_environment_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here a variable names the transport of an installed package."""
    monkeypatch.syspath_prepend(tmp_path)
    install_transport(
        tmp_path, "told", "def connect(address, tls, /):\n    raise LookupError(address.text)\n"
    )
    monkeypatch.setenv("MOBY_PLUGINS_TRANSPORTS", "tcp=told")

    with pytest.raises(LookupError, match="tcp://h:1"):
        new_client("tcp://h:1")


def test_a_registry_is_made_from_the_settings(recorder: RecordingConnect, tmp_path: Path) -> None:
    """A registry looks in the settings' directories, and connects by their transports."""
    (tmp_path / "db.spec").write_text("memory://db")
    settings = Settings(
        sockets_path=tmp_path / "none", specs_paths=[tmp_path], transports={"memory": recorder}
    )

    with new_local_registry(settings, clock=FakeClock()) as registry:
        names, found = registry.scan(), registry.lookup("db")
        active = registry.get("db", "VolumeDriver")

    assert names == ["db"]
    assert found == Plugin.local("db", "memory://db")
    assert active.manifest.implements == ("VolumeDriver",)
    assert recorder.asked == [("memory://db", TLSOptions(insecure_skip_verify=True))]


def test_a_registry_waits_on_its_clock_as_the_settings_say(tmp_path: Path) -> None:
    """``get`` uses the retry policy of the settings, and sleeps on the clock that was given."""
    clock = FakeClock()
    settings = Settings(
        sockets_path=tmp_path, specs_paths=(), retry=RetryPolicy(initial=2.0, budget=10.0)
    )

    with (
        new_local_registry(settings, clock=clock) as registry,
        pytest.raises(PluginNotFoundError) as caught,
    ):
        registry.get("db", "VolumeDriver")

    assert clock.sleeps == [2.0, 4.0]
    assert caught.value.attempts == 3


def test_a_handshake_is_bounded_by_the_settings(tmp_path: Path) -> None:
    """``activation_timeout`` bounds the handshake, ``timeout`` the calls after it."""
    clock = FakeClock()
    memory = MemoryTransport(
        {"Plugin.Activate": hangs(4.0, {"Implements": ["M"]}), "M.x": hangs()}, clock=clock
    )
    (tmp_path / "db.spec").write_text("memory://db")
    settings = Settings(
        sockets_path=tmp_path,
        specs_paths=[tmp_path],
        transports={"memory": memory.connect},
        retry=RetryPolicy.never(),
        timeout=1.0,
        activation_timeout=5.0,
    )

    with new_local_registry(settings, clock=clock) as registry:
        client = registry.get("db", "M").client
        activated = clock.now()
        with pytest.raises(TransportTimeoutError):
            client.call("M.x")

    assert (activated, clock.now()) == (4.0, 5.0)
