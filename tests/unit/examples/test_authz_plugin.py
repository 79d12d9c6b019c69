"""The example authorization plugin, called in memory by a host's typed proxy (protocol.md B5)."""

import json
from pathlib import Path

import pytest

from examples.authz_plugin import Doorman
from moby_plugins.subsystems import AuthZPlugin, AuthZRequest
from moby_plugins.testing import MemoryRegistry

POLICY = r"""
[[allow]]
methods = ["GET", "HEAD"]
path = "/(version|containers/json|containers/[^/]+/json)"
[[allow]]
methods = ["POST"]
path = "/containers/create"
users = ["alice"]
body = { "HostConfig.Privileged" = false, "Image" = "busybox" }
"""
HARMLESS = {"Image": "busybox", "HostConfig": {"Privileged": False}}


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """The file with the policy."""
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    return path


@pytest.fixture
def doorman(policy: Path, plugin_registry: MemoryRegistry) -> AuthZPlugin:
    """A host's proxy of the plugin."""
    plugin_registry.add("doorman", Doorman(policy))
    return AuthZPlugin(plugin_registry.get("doorman", "authz").client)


def create(body: object = HARMLESS, user: str = "alice", uri: str = "") -> AuthZRequest:
    """A user's request to make a container."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return AuthZRequest(
        user=user,
        request_method="POST",
        request_uri=uri or "/v1.41/containers/create?name=x",
        request_body=content,
    )


@pytest.mark.parametrize(
    "uri",
    ["/version", "/v1.41/version", "/v1.41/containers/json?all=1", "/containers/c0ffee/json"],
)
def test_what_a_rule_covers_is_allowed(doorman: AuthZPlugin, uri: str) -> None:
    """The version prefix and the query are no part of the path."""
    verdict = doorman.authorize_request(AuthZRequest(request_method="GET", request_uri=uri))

    assert (verdict.allow, verdict.msg) == (True, "")


@pytest.mark.parametrize(
    ("method", "uri"),
    [
        ("DELETE", "/version"),
        ("get", "/version"),
        ("", ""),
        ("GET", "/"),
        ("GET", "/versions"),
        ("GET", "/v1.41/v1.41/version"),
        ("GET", "/containers/a%2Fb/json"),
        ("GET", "/containers/../images/json"),
        ("GET", "/version\n"),
        ("POST", "/images/create"),
    ],
)
def test_what_no_rule_covers_is_denied(doorman: AuthZPlugin, method: str, uri: str) -> None:
    """A pattern covers the whole path, as the engine reads it."""
    verdict = doorman.authorize_request(AuthZRequest(request_method=method, request_uri=uri))

    assert (verdict.allow, verdict.msg) == (False, "the policy does not allow it")


@pytest.mark.parametrize(
    "body",
    [
        HARMLESS,
        {**HARMLESS, "Cmd": ["sh"]},
        {"image": "busybox", "HOSTCONFIG": {"privileged": False}},
    ],
)
def test_a_body_that_says_what_the_rule_wants_is_allowed(
    doorman: AuthZPlugin, body: object
) -> None:
    """Keys are read without case, as the engine reads them."""
    assert doorman.authorize_request(create(body)).allow


@pytest.mark.parametrize("user", ["", "bob", "Alice"])
def test_a_rule_for_somebody_is_for_nobody_else(doorman: AuthZPlugin, user: str) -> None:
    """Neither for those without a name."""
    assert not doorman.authorize_request(create(user=user)).allow


@pytest.mark.parametrize(
    "body",
    [
        {"Image": "busybox", "HostConfig": {"Privileged": True}},
        {"Image": "busybox", "HostConfig": {"Privileged": 0}},
        {"Image": "busybox", "HostConfig": {"Privileged": None}},
        {"Image": "busybox", "HostConfig": {}},
        {"Image": "busybox", "HostConfig": False},
        {"Image": "busybox"},
        {},
        [],
        None,
    ],
)
def test_a_body_that_does_not_say_it_is_denied(doorman: AuthZPlugin, body: object) -> None:
    """Absent is not false, and neither is zero."""
    verdict = doorman.authorize_request(create(body))

    assert (verdict.allow, verdict.msg) == (False, "the policy does not allow it")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b'{"Image":"busybox","HostConfig":{"Privileged":false}} {}',
        b'{"Image":"busybox","HostConfig":{"Privileged":false},"hostconfig":{"Privileged":true}}',
        b'{"Image":"busybox","HostConfig":{"Privileged":false,"PRIVILEGED":true}}',
        '{"Image":"busybox","HostConfig":{"Privileged":false},"Ho\u017ftConfig":{}}'.encode(),
        b"[" * 100_000,
    ],
    ids=["absent", "cut off", "no text", "two", "twice", "twice within", "folded", "deep"],
)
def test_a_body_that_is_absent_or_ambiguous_is_denied(doorman: AuthZPlugin, body: bytes) -> None:
    """What the engine might read in another way is not decided here."""
    verdict = doorman.authorize_request(create(body))

    assert not verdict.allow
    assert verdict.msg.startswith("no decision: ")


@pytest.mark.parametrize(
    "text",
    [
        "[[allow]",
        "allow = 1",
        "allow = [1]",
        '[[allow]]\nmethods = ["GET"]',
        '[[allow]]\npath = "/.*"',
        '[[allow]]\nmethods = "GET"\npath = "/.*"',
        '[[allow]]\nmethods = [1]\npath = "/.*"',
        '[[allow]]\nmethods = ["GET"]\npath = "("',
        '[[allow]]\nmethods = ["GET"]\npath = "/.*"\nuser = ["alice"]',
        '[[allow]]\nmethods = ["GET"]\npath = "/.*"\nusers = "alice"',
        '[[allow]]\nmethods = ["GET"]\npath = "/.*"\nbody = 1',
        'deny = []\n[[allow]]\nmethods = ["GET"]\npath = "/.*"',
    ],
)
def test_a_policy_that_cannot_be_read_allows_nothing(
    doorman: AuthZPlugin, policy: Path, text: str
) -> None:
    """One mistake anywhere closes it: half a policy is none."""
    policy.write_text(text)

    verdict = doorman.authorize_request(AuthZRequest(request_method="GET", request_uri="/version"))

    assert not verdict.allow
    assert verdict.msg.startswith("no decision: ")


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"\xff")])
def test_without_a_policy_nothing_is_allowed(
    doorman: AuthZPlugin, policy: Path, spoil: object
) -> None:
    """A file that is gone, or no text."""
    assert callable(spoil)
    spoil(policy)

    assert not doorman.authorize_request(create()).allow


def test_an_empty_policy_allows_nothing(doorman: AuthZPlugin, policy: Path) -> None:
    """It is a policy, so there is a decision."""
    policy.write_text("")

    verdict = doorman.authorize_request(create())

    assert (verdict.allow, verdict.msg) == (False, "the policy does not allow it")


def test_a_changed_policy_counts_at_once(doorman: AuthZPlugin, policy: Path) -> None:
    """It is read for each request."""
    assert doorman.authorize_request(create()).allow

    policy.write_text(POLICY.replace("alice", "bob"))

    assert not doorman.authorize_request(create()).allow


def test_answers_are_let_through(doorman: AuthZPlugin) -> None:
    """What was allowed is done; holding its answer back would undo nothing."""
    assert doorman.authorize_response(create()).allow
