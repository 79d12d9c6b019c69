"""The transport in memory keeps the contract of all transports, on a clock of the test's own."""

import json

import pytest

from moby_plugins import Request, Response
from moby_plugins.testing import (
    FakeClock,
    MemoryTransport,
    drips,
    drops,
    drops_mid_body,
    hangs,
    malformed,
    not_json,
    refused,
    status,
)
from tests.contracts.transport import ANSWER, MUCH, PluginThat, TransportContract, Way


def tell(request: Request) -> Response:
    """An answer that describes its request."""
    told = {
        "method": request.method,
        "headers": {name.lower(): value for name, value in request.headers.items()},
        "body": request.read().decode(),
    }
    return Response(200, json.dumps(told).encode())


REPLIES = {
    "answers": ANSWER,
    "answers nothing": b"",
    "echoes": lambda request: Response(200, request.read()),
    "tells": tell,
    "fails": status(500, "disk full"),
    "sends a page": not_json(),
    "sends much": lambda _: iter([bytes(MUCH - 1), b"1"]),
    "refuses": refused(),
    "hangs": hangs(),
    "drops": drops(),
    "drops mid-body": drops_mid_body(),
    "drips": drips(ANSWER, every=0.1),
    "is malformed": malformed(),
}


class TestMemoryTransport(TransportContract):
    SLACK = 0.0
    REFUSED = "stale socket: it exists, but nobody listens on it"

    @pytest.fixture
    def clock(self) -> FakeClock:
        """Time in memory is the clock's."""
        return FakeClock()

    @pytest.fixture
    def plugin_that(self, clock: FakeClock) -> PluginThat:
        """A plugin in memory, whatever its method."""

        def connect(way: Way) -> MemoryTransport:
            methods = ("M.x", "VolumeDriver.Get")
            return MemoryTransport(dict.fromkeys(methods, REPLIES[way]), clock=clock)

        return connect
