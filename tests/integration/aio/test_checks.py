"""The library's checks of plugins, against asynchronous plugins on sockets."""

from collections.abc import Callable
from pathlib import Path

import pytest

from examples.async_log_plugin import AsyncJsonLines
from examples.async_volume_plugin import AsyncShelf
from moby_plugins.aio import AsyncPluginApp, AsyncSubsystem
from moby_plugins.checks import CheckOutcome, built_in_checks, new_target, run_checks, select
from moby_plugins.serving import plugin_server_tcp, plugin_server_unix

PLUGINS: dict[str, tuple[Callable[[Path], AsyncSubsystem], str]] = {
    "volumes": (AsyncShelf, "VolumeDriver"),
    "logs": (AsyncJsonLines, "LogDriver"),
}


@pytest.mark.parametrize("kind", PLUGINS)
@pytest.mark.parametrize("scheme", ["unix", "tcp"])
def test_no_check_fails_or_warns_for_an_asynchronous_plugin(
    kind: str, scheme: str, short_path: Path, tmp_path: Path
) -> None:
    """The examples pass the checks of protocol, recovery, descriptors and processor time."""
    make, subsystem = PLUGINS[kind]
    app = AsyncPluginApp(make(tmp_path))
    if scheme == "unix":
        server = plugin_server_unix(app, "p", sockets_path=str(short_path), drain=0.5)
    else:
        server = plugin_server_tcp(app, "p", specs_path=str(short_path), drain=0.5)
    with server, new_target(server.addr) as target:
        checks = select(built_in_checks(), subsystems=["Plugin", subsystem])
        results = list(run_checks(checks, target))
    assert len(results) > 20
    bad = {CheckOutcome.FAILED, CheckOutcome.WARNED}
    assert [each for each in results if each.outcome in bad] == []
