"""The example authorization plugin under the calls of a real engine, as ``trace`` recorded them.

Docker 20.10 was asked for two containers: one with a password in its environment, and a
privileged one. What it asked about ``/version`` was taken out, for it tells of the machine.
"""

import json
from base64 import b64decode
from pathlib import Path

import pytest

from examples.authz_plugin import Doorman
from moby_plugins.serving import PluginApp
from moby_plugins.testing import assert_replayed
from moby_plugins.tracing import load_recording

RECORDING = Path(__file__).parents[2] / "recordings" / "authorization.jsonl"
POLICY = """
[[allow]]
methods = ["GET", "HEAD"]
path = "/.*"
[[allow]]
methods = ["POST"]
path = "/containers/create"
body = { "HostConfig.Privileged" = false }
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """The file with the policy that was in force."""
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    return path


def test_the_plugin_repeats_its_recorded_decisions_for_a_real_engine(policy: Path) -> None:
    """The ordinary container is allowed, the privileged one is denied, as in the recording."""
    assert_replayed(RECORDING, PluginApp(Doorman(policy)))


def test_a_replay_under_another_policy_fails(policy: Path) -> None:
    """With an empty policy the plugin denies what it allowed in the recording."""
    policy.write_text("")

    with pytest.raises(AssertionError, match=r"\['Allow'\]: expected true, got false"):
        assert_replayed(RECORDING, PluginApp(Doorman(policy)))


def test_the_recording_has_no_password() -> None:
    """The password is masked even in the user's request, in base64 within the plugin's request."""
    asked = [json.loads(call.request.data or b"{}") for call in load_recording(RECORDING).calls]
    bodies = [b64decode(each["RequestBody"]) for each in asked if "RequestBody" in each]

    assert [json.loads(body)["Env"] for body in bodies] == [
        ["DB_PASSWORD=***"],
        ["DB_PASSWORD=***"],
        None,
    ]
