"""More active plugins than a host has descriptors.

By hand: ``MANY_PLUGINS=10000 pytest tests/integration/process/test_many_plugins.py``.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from moby_plugins.app.settings import BUILT_IN
from tests.dummy_plugin import Conversation, DummyPlugin, http
from tests.integration.certificates import Certificates
from tests.integration.process.programs import python

MANY = int(os.environ.get("MANY_PLUGINS", "400"))
SECONDS = 30 + MANY / 20
MANIFEST = http(b'{"Implements":["VolumeDriver"]}')


def behave(conversation: Conversation) -> None:
    """Shake hands, and answer 1 to all else, until the host hangs up; slowly, if asked to."""
    while request := conversation.read_request():
        if b"slow" in request:
            time.sleep(0.1)
        conversation.send(MANIFEST if b"Plugin.Activate" in request else http(b"1"))


@pytest.fixture(params=["unix", "tcp"])
def specs(request: pytest.FixtureRequest, short_path: Path) -> Iterator[Path]:
    """A directory with specs of many plugins, all at one address."""
    if request.param == "unix":
        running = DummyPlugin.on_unix(short_path / "p.sock", behave)
    else:
        running = DummyPlugin.on_tcp(behave)
    directory = short_path / "specs"
    directory.mkdir()
    with running as plugin:
        for number in range(MANY):
            (directory / f"plugin-{number:05}.spec").write_text(plugin.addr)
        yield directory


def told(story: str, transport: str, specs: Path) -> list[str]:
    """What the program prints."""
    program = ("-m", "tests.integration.process.many_plugins", story, transport, str(specs))
    return python(*program, seconds=SECONDS)


@pytest.mark.parametrize("transport", sorted(BUILT_IN))
def test_more_plugins_than_descriptors_are_active_and_called(transport: str, specs: Path) -> None:
    """``get_all`` and a call to each plugin succeed, and most descriptors stay free."""
    active, opened, opened_later, again = told("all", transport, specs)

    assert active == f"active {MANY} failed []"
    assert again == f"again {MANY} True"
    for line in (opened, opened_later):
        assert 16 <= int(line.removeprefix("open ")) <= 128, line


@pytest.mark.parametrize("transport", sorted(BUILT_IN))
def test_idle_connections_are_closed_when_descriptors_run_out(transport: str, specs: Path) -> None:
    """If the system refuses a descriptor, all idle connections are closed, and the call goes on."""
    assert told("none-left", transport, specs) == ["called True with True", "freed True"]


@pytest.mark.parametrize("transport", sorted(BUILT_IN))
def test_specs_tls_files_and_host_names_can_be_read_when_descriptors_run_out(
    transport: str, specs: Path
) -> None:
    """Idle connections are closed for these as they are for a new connection."""
    Certificates(specs)

    said = told("opened", transport, specs)

    refused = [line for line in said if line.startswith("a name")]
    assert all("connection refused" in line for line in refused), said
    assert [line for line in said if line not in refused] == [
        "scan True",
        "lookup plugin-00000",
        "another registry's scan True",
        "TLS files None",
        "the system's roots None",
        "get plugin-00001",
    ]
    assert len(refused) == 2


@pytest.mark.parametrize("transport", sorted(BUILT_IN))
def test_modules_can_be_imported_at_first_use_when_descriptors_run_out(
    transport: str, specs: Path
) -> None:
    """A module is a file: if it cannot be opened, idle connections are closed for it, too."""
    Certificates(specs)

    assert told("first-use", transport, specs) == ["a type 1", "TLS None", "another registry True"]


@pytest.mark.parametrize("transport", sorted(BUILT_IN))
def test_calls_beyond_the_number_of_descriptors_wait_for_each_other(
    transport: str, specs: Path
) -> None:
    """No call fails: a dial waits until another call has closed its connection."""
    assert told("at-once", transport, specs) == ["threads True", "tasks True"]
