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
def test_a_request_that_a_rule_covers_is_allowed(doorman: AuthZPlugin, uri: str) -> None:
    """The API version at the beginning and the query are no part of the path that a rule covers."""
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
def test_a_request_that_no_rule_covers_is_denied(
    doorman: AuthZPlugin, method: str, uri: str
) -> None:
    """A rule's pattern must match the whole path, as the engine reads it."""
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
def test_a_request_with_the_body_values_of_the_rule_is_allowed(
    doorman: AuthZPlugin, body: object
) -> None:
    """Keys in the body are compared without case, as the engine reads them."""
    assert doorman.authorize_request(create(body)).allow


@pytest.mark.parametrize("user", ["", "bob", "Alice"])
def test_a_rule_with_users_allows_no_other_user(doorman: AuthZPlugin, user: str) -> None:
    """A request by another user or without a user name is denied."""
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
def test_a_request_without_the_body_values_of_the_rule_is_denied(
    doorman: AuthZPlugin, body: object
) -> None:
    """Where the rule requires false, a key that is absent, null or 0 is not enough."""
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
def test_a_request_with_an_absent_or_ambiguous_body_is_denied(
    doorman: AuthZPlugin, body: bytes
) -> None:
    """A body that the engine might read in another way, such as one with a key twice, is denied."""
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
    """One mistake anywhere in the policy file has all requests denied."""
    policy.write_text(text)

    verdict = doorman.authorize_request(AuthZRequest(request_method="GET", request_uri="/version"))

    assert not verdict.allow
    assert verdict.msg.startswith("no decision: ")


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"\xff")])
def test_without_a_policy_nothing_is_allowed(
    doorman: AuthZPlugin, policy: Path, spoil: object
) -> None:
    """All requests are denied if the policy file is missing or is not UTF-8 text."""
    assert callable(spoil)
    spoil(policy)

    assert not doorman.authorize_request(create()).allow


def test_an_empty_policy_allows_nothing(doorman: AuthZPlugin, policy: Path) -> None:
    """An empty file is a valid policy without rules, so that each request is decided: denied."""
    policy.write_text("")

    verdict = doorman.authorize_request(create())

    assert (verdict.allow, verdict.msg) == (False, "the policy does not allow it")


def test_a_changed_policy_applies_to_the_next_request(doorman: AuthZPlugin, policy: Path) -> None:
    """The policy file is read for each request."""
    assert doorman.authorize_request(create()).allow

    policy.write_text(POLICY.replace("alice", "bob"))

    assert not doorman.authorize_request(create()).allow


def test_the_responses_of_the_engine_are_always_allowed(doorman: AuthZPlugin) -> None:
    """The request has been carried out by then; holding back its response would undo nothing."""
    assert doorman.authorize_response(create()).allow
