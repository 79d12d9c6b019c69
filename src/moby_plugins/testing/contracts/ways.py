"""The ways in which a plugin may behave, and plugins that do."""

import json
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from moby_plugins.domain.http import Request, Response
from moby_plugins.ports import Transport
from moby_plugins.testing import (
    drips,
    drops,
    drops_mid_body,
    hangs,
    malformed,
    not_json,
    refused,
    status,
)

# What a plugin does with a request; those that answer go on answering.
Way: TypeAlias = Literal[
    "answers",  # 200 and ANSWER
    "answers nothing",  # 200 and no body
    "echoes",  # 200 and the request's body
    "tells",  # 200 and the request as JSON: method, headers (names in lower case), body
    "fails",  # 500 and FAILURE
    "sends a page",  # 200 and something that begins with PAGE
    "sends much",  # 200 and MUCH bytes
    "refuses",  # nobody listens
    "hangs",  # takes the request and says nothing
    "drops",  # takes the request and closes the connection
    "drops mid-body",  # 200, some of the body it announced, and closes the connection
    "drips",  # 200, and a byte of ANSWER every tenth of a second
    "is malformed",  # says something that is not HTTP
]
PluginThat: TypeAlias = Callable[[Way], Transport]

ANSWER = b'{"Volumes": [{"Name": "data"}, {"Name": "logs"}]}\n'
FAILURE = b'{"Err": "disk full"}'
PAGE = b"<!DOCTYPE html>"
MUCH = (5 << 20) + 1


def _tell(request: Request) -> Response:
    told = {
        "method": request.method,
        "headers": {name.lower(): value for name, value in request.headers.items()},
        "body": request.read().decode(),
    }
    return Response(200, json.dumps(told).encode())


# What a ``MemoryTransport`` or a ``FaultServer`` is made of to behave like this.
PLUGINS: dict[Way, Any] = {
    "answers": lambda _: Response(200, ANSWER),
    "answers nothing": lambda _: Response(200, b""),
    "echoes": lambda request: Response(200, request.read()),
    "tells": _tell,
    "fails": status(500, "disk full"),
    "sends a page": not_json(),
    "sends much": lambda _: Response(200, iter([bytes(MUCH - 1), b"1"])),
    "refuses": refused(),
    "hangs": hangs(),
    "drops": drops(),
    "drops mid-body": drops_mid_body(),
    "drips": drips(ANSWER, every=0.1),
    "is malformed": malformed(),
}
