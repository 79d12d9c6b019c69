"""The example authorization plugin in front of a real Docker engine (protocol.md B5)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.components import requires
from tests.integration.engine.dockerd import IMAGE, Engine
from tests.integration.engine.plugin_process import EXAMPLES, PluginProcess, StartPlugin

pytestmark = requires("docker.io", "dockerd", "docker", "busybox", root=True)

POLICY = """
[[allow]]
methods = ["GET", "HEAD"]
path = "/.*"
[[allow]]
methods = ["POST"]
path = "/images/create"
[[allow]]
methods = ["POST"]
path = "/containers/create"
body = { "HostConfig.Privileged" = false }
"""


@pytest.fixture(scope="module")
def policy(directory: Path) -> Path:
    """The file with the policy."""
    path = directory / "policy.toml"
    path.write_text(POLICY)
    return path


@pytest.fixture(scope="module")
def doorman(start_plugin: StartPlugin, policy: Path) -> PluginProcess:
    """The example authorization plugin."""
    return start_plugin("doorman", EXAMPLES / "authz_plugin.py", policy)


@pytest.fixture(scope="module")
def guarded(doorman: PluginProcess) -> Iterator[Engine]:
    """An engine of its own, that asks the plugin first."""
    engine = Engine(f"--authorization-plugin={doorman.name}")
    try:
        engine.start()
        engine.import_image()
        yield engine
    finally:
        engine.close()


def test_a_command_that_the_policy_allows_succeeds(guarded: Engine) -> None:
    """This holds for a rule without a body, and for a rule that checks the request's body."""
    assert IMAGE in guarded.docker("images", "--format", "{{.Repository}}").splitlines()
    assert guarded.try_docker("create", "--network", "none", IMAGE, "echo").returncode == 0


@pytest.mark.parametrize(
    "command",
    [
        ("create", "--privileged", IMAGE, "echo"),
        ("volume", "create", "refused"),
        ("rmi", IMAGE),
    ],
    ids=" ".join,
)
def test_a_command_that_the_policy_does_not_allow_is_denied(
    guarded: Engine, doorman: PluginProcess, command: tuple[str, ...]
) -> None:
    """``docker`` fails, and prints the name and the message of the plugin."""
    done = guarded.try_docker(*command)

    assert done.returncode != 0
    denied = f"authorization denied by plugin {doorman.name}: the policy does not allow it"
    assert denied in done.stderr


@pytest.mark.parametrize("text", [None, "[[allow]", "allow = 1", '[[allow]]\nmethod = "GET"'])
def test_all_commands_are_denied_while_the_policy_cannot_be_read(
    guarded: Engine, doorman: PluginProcess, policy: Path, text: str | None
) -> None:
    """The plugin denies commands at once, and allows them again once the policy is valid."""
    if text is None:
        policy.unlink()
    else:
        policy.write_text(text)
    try:
        done = guarded.try_docker("ps")
    finally:
        policy.write_text(POLICY)

    assert f"authorization denied by plugin {doorman.name}: no decision: " in done.stderr
    assert guarded.try_docker("ps").returncode == 0
