"""A broken plugin for each check of MetricsCollector and of secretprovider."""

import base64
import os

from attrs import evolve

from moby_plugins.checks import CheckOutcome
from tests.unit.checks.broken import (
    OPTIONS,
    Broken,
    adds,
    at_once,
    does,
    edits,
    refuses,
    says,
    warned,
)
from tests.unit.checks.broken_volumes import only_once, refuses_if

START, STOP = "MetricsCollector.StartMetrics", "MetricsCollector.StopMetrics"
GET = "SecretProvider.GetSecret"


def secret(value: bytes, **keys: object) -> Broken:
    """Every secret is this."""
    return Broken(says(GET, {"Value": base64.b64encode(value).decode(), **keys}))


BROKEN = {
    "MetricsCollector: start and stop": Broken(refuses(STOP)),
    "MetricsCollector: errors by status": Broken(says(START, {"Err": "no metrics"})),
    "MetricsCollector: start twice": Broken(only_once(START)),
    "MetricsCollector: stop without start": Broken(refuses(STOP)),
    "MetricsCollector: start again": Broken(only_once(START)),
    "MetricsCollector: managed plugin": Broken(adds("Plugin.Activate")),
    "secretprovider: unknown secret": secret(b"s3cret"),
    "secretprovider: value": Broken(says(GET, {"Value": "s3cret!"})),
    "secretprovider: exact spelling": warned(
        edits(GET, lambda told: {key.lower(): text for key, text in told.items()})
    ),
    "secretprovider: tasks side by side": Broken(at_once(GET)),
    "secretprovider: size": secret(b""),
    "secretprovider: reuse": secret(b"s3cret", DoNotReuse="yes"),
    "secretprovider: task that says little": Broken(
        refuses_if(lambda args: "ServiceID" not in args, GET)
    ),
    "secretprovider: same task, same secret": warned(
        does(lambda _, __: {"Value": base64.b64encode(os.urandom(9)).decode()}, GET)
    ),
}
MORE = (
    ("MetricsCollector: managed plugin", warned(adds("Plugin.Activate"), evolve(OPTIONS, path=""))),
    ("secretprovider: size", secret(b"x" * 512_000)),
    ("secretprovider: value", Broken(says(GET, {"Value": 0}))),
    ("secretprovider: value", Broken(adds(GET), CheckOutcome.SKIPPED, evolve(OPTIONS, secret=""))),
)
