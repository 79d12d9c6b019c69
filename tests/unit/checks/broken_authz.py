"""A broken plugin for each check of authz."""

import base64
from typing import Any

from moby_plugins.checks.authz import LARGEST_BODY
from tests.unit.checks.broken import (
    Broken,
    adds,
    at_once,
    does,
    refuses,
    says,
    warned,
)
from tests.unit.checks.broken_volumes import no, only_once, refuses_if

REQUEST, RESPONSE = "AuthZPlugin.AuthZReq", "AuthZPlugin.AuthZRes"


def reads_text(args: dict[str, Any]) -> bool:
    """Whether the body is none that decodes."""
    try:
        base64.b64decode(args.get("RequestBody", "")).decode()
    except UnicodeDecodeError:
        return True
    return False


def fickle() -> Broken:
    """Another verdict each time."""
    turns = iter(range(1000))
    return warned(does(lambda _, __: {"Allow": next(turns) % 2 == 0}, REQUEST))


BROKEN = {
    "authz: request": Broken(says(REQUEST, {"Allow": "yes"})),
    "authz: response": Broken(says(RESPONSE, {})),
    "authz: anonymous request": Broken(
        refuses_if(lambda args: "RequestHeaders" not in args, REQUEST)
    ),
    "authz: body that is no text": warned(refuses_if(reads_text, REQUEST)),
    "authz: largest body": Broken(
        refuses_if(lambda args: len(args["RequestBody"]) > LARGEST_BODY, REQUEST)
    ),
    "authz: any method and path": Broken(
        refuses_if(lambda args: not args["RequestUri"].startswith("/v1"), REQUEST)
    ),
    "authz: invisible response": Broken(
        refuses_if(lambda args: "ResponseStatusCode" not in args, RESPONSE)
    ),
    "authz: error beside a verdict": Broken(adds(REQUEST, Allow=True, Err="no decision")),
    "authz: reason of a denial": warned(says(REQUEST, {"Allow": False})),
    "authz: same request, same verdict": fickle(),
}
MORE = (
    ("authz: request", Broken(refuses(REQUEST))),
    ("authz: request", Broken(says(REQUEST, b"yes"))),
    ("authz: same request, same verdict", Broken(at_once(REQUEST))),
    ("authz: same request, same verdict", Broken(only_once(REQUEST))),
    ("authz: error beside a verdict", Broken(does(lambda *_: no(), RESPONSE))),
)
