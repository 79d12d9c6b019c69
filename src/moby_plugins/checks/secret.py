"""Checks of SecretProvider, which handshakes call ``secretprovider`` (protocol.md B9)."""

import base64
import binascii
from typing import Any

from moby_plugins.checks.answer import text_or_empty
from moby_plugins.checks.handshake import spelled
from moby_plugins.checks.outcome import check, fail, require, skip, warn
from moby_plugins.checks.session import MANY, Session
from moby_plugins.domain.json import kind_of

SUBSYSTEM = "secretprovider"
GET = "SecretProvider.GetSecret"
LARGEST = 511_999
TASK: dict[str, Any] = {
    "SecretLabels": {"moby-plugins-check": "1"},
    "ServiceHostname": "moby-plugins-check",
    "ServiceID": "moby-plugins-check",
    "ServiceName": "moby-plugins-check",
    "ServiceLabels": {"moby-plugins-check": "1"},
    "TaskID": "moby-plugins-check",
    "TaskName": "moby-plugins-check.1",
    "TaskImage": "scratch",
    "NodeID": "moby-plugins-check",
    "ServiceEndpointSpec": {
        "Mode": 1,
        "Ports": [{"Name": "x", "Protocol": 1, "TargetPort": 53, "PublishMode": 1}],
    },
}


def secret(plugin: Session, **task: Any) -> dict[str, Any]:
    """Return the response of GetSecret for the secret that the user named.

    ``task`` holds the other arguments. Skip the check if the user named no secret.
    """
    if not plugin.options.secret:
        skip("no secret to ask for: name one that the provider has with --secret NAME")
    return plugin.call(GET, {"SecretName": plugin.options.secret, **task})


def value(fields: dict[str, Any]) -> bytes:
    """Return the secret in a response of GetSecret, decoded from base64."""
    text = text_or_empty(
        fields.get("value"), f"Value is {kind_of(fields.get('value'))}, not a string"
    )
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        fail(f"Value is not base64: {error}")


@check(SUBSYSTEM, source="B9", reads_only=True)
def unknown_secret(plugin: Session) -> None:
    """GetSecret of an unknown secret is an error, with a message in Err."""
    answer = plugin.refused(GET, {"SecretName": plugin.name(), **TASK})
    warn(answer.text("err"), f"{answer}: no Err")


@check(SUBSYSTEM, "value", source="B9", reads_only=True)
def value_is_base64(plugin: Session) -> None:
    """Value is base64."""
    value(secret(plugin, **TASK))


@check(
    SUBSYSTEM,
    expects=f"{GET} returns Value in exactly this spelling: not all hosts ignore case",
    source="B11 trap 3",
    reads_only=True,
)
def exact_spelling(plugin: Session) -> None:
    secret(plugin)
    spelled(plugin.send(GET, {"SecretName": plugin.options.secret}).value, ("Value",))


@check(
    SUBSYSTEM,
    expects=f"{MANY} calls of GetSecret at once, as for {MANY} tasks, all succeed",
    source="B0, B9",
    reads_only=True,
)
def tasks_side_by_side(plugin: Session) -> None:
    plugin.side_by_side(*[lambda: value(secret(plugin, **TASK))] * MANY)


@check(
    SUBSYSTEM,
    expects=f"a secret has 1 to {LARGEST} bytes; swarm managers refuse any other size",
    source="B9",
    reads_only=True,
)
def size(plugin: Session) -> None:
    length = len(value(secret(plugin, **TASK)))
    require(1 <= length <= LARGEST, f"{length} bytes")


@check(SUBSYSTEM, source="B9", reads_only=True)
def reuse(plugin: Session) -> None:
    """DoNotReuse is true, false or absent."""
    flag = secret(plugin, **TASK).get("donotreuse", False)
    require(isinstance(flag, bool), f"DoNotReuse is {flag!r}")


@check(SUBSYSTEM, source="B9", reads_only=True)
def task_that_says_little(plugin: Session) -> None:
    """GetSecret succeeds without arguments that are zero or empty: engines leave them out."""
    secret(plugin)
    secret(plugin, ServiceEndpointSpec={"Ports": [{"TargetPort": 80}]})


@check(SUBSYSTEM, "same task, same secret", source="B9", reads_only=True)
def same_task_same_secret(plugin: Session) -> None:
    """a task that asks again gets the same secret."""
    first, second = value(secret(plugin, **TASK)), value(secret(plugin, **TASK))
    warn(first == second, f"{len(first)} bytes, then {len(second)} others")
