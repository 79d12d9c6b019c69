"""An authorization plugin that allows what a policy in TOML allows, and nothing else.

    python authz_plugin.py /run/docker/plugins/doorman.sock /etc/doorman.toml
    dockerd --authorization-plugin doorman

    [[allow]]                       # all users may read
    methods = ["GET", "HEAD"]
    path = "/.*"
    [[allow]]                       # alice may create containers that are not privileged
    methods = ["POST"]
    path = "/containers/create"
    users = ["alice"]
    body = { "HostConfig.Privileged" = false }

Requests are denied if the policy is missing or invalid, or if a rule needs a body that is missing.
The policy is read for each request, so a change takes effect at once.
"""

import argparse
import json
import logging
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from attrs import field, frozen
from attrs.validators import deep_iterable, instance_of, optional

from moby_plugins.serving import PluginApp, serve_unix
from moby_plugins.subsystems import AuthZPlugin, AuthZRequest, Verdict

TEXTS = deep_iterable(instance_of(str), instance_of(list))


@frozen
class Rule:
    """A rule that allows requests that all its fields match; ``path`` is for the whole path."""

    methods: list[str] = field(validator=TEXTS)
    path: re.Pattern[str] = field(converter=re.compile)
    users: list[str] | None = field(default=None, validator=optional(TEXTS))
    body: Mapping[str, Any] = field(factory=dict, validator=instance_of(dict))

    def allows(self, request: AuthZRequest) -> bool:
        """Return whether the rule allows ``request``; raise ``ValueError`` for an invalid body."""
        path = unquote(request.request_uri.partition("?")[0])
        return (
            request.request_method in self.methods
            and self.path.fullmatch(re.sub(r"^/v[0-9.]+(?=/)", "", path)) is not None
            and (self.users is None or request.user in self.users)
            and (not self.body or self._holds(unambiguous(request.request_body)))
        )

    def _holds(self, body: Any) -> bool:
        for key, wanted in self.body.items():
            found = body
            for part in key.casefold().split("."):
                found = found.get(part) if isinstance(found, dict) else None
            # Compare types too, since 0 equals False in Python.
            if type(found) is not type(wanted) or found != wanted:
                return False
        return True


def unambiguous(body: bytes) -> Any:
    """Decode JSON with case-folded keys: engines ignore case, and use the last of equal keys."""

    def folded(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = {key.casefold(): value for key, value in pairs}
        if len(result) < len(pairs):
            raise ValueError("a key comes twice in the body")
        return result

    return json.loads(body, object_pairs_hook=folded)


class Doorman(AuthZPlugin):
    """An authorization plugin with the policy in the file ``policy``."""

    def __init__(self, policy: Path) -> None:
        self._policy = policy

    def authorize_request(self, request: AuthZRequest) -> Verdict:
        try:
            policy = tomllib.loads(self._policy.read_text())
            rules = [Rule(**rule) for rule in policy.pop("allow", [])]
            if policy:
                raise ValueError(f"no policy has a key {min(policy)!r}")
            allowed = any(rule.allows(request) for rule in rules)
        except Exception as error:  # without a decision, deny the request
            return Verdict(False, f"no decision: {type(error).__name__}: {error}")
        return Verdict(allowed, "" if allowed else "the policy does not allow it")

    def authorize_unseen(self, request: AuthZRequest) -> Verdict:
        return self.authorize_request(request)  # rules that need a body deny it

    def authorize_response(self, request: AuthZRequest) -> Verdict:  # noqa: ARG002
        return Verdict(True)  # the request was already authorized


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Allows what a policy allows.")
    parser.add_argument("socket", help="the plugin's name, or the path of its socket")
    parser.add_argument("policy", type=Path, help="a file in TOML")
    arguments = parser.parse_args()
    logging.basicConfig()
    serve_unix(PluginApp(Doorman(arguments.policy)), arguments.socket)
