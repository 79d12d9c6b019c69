"""Recorded HTTP responses, with Moby's outcomes, over a real UNIX socket."""

import base64
import json
from pathlib import Path
from typing import Any

from moby_plugins import Settings, StatusError, TransportError, WireError, new_client
from moby_plugins.testing import FakeClock
from tests.cases import case
from tests.dummy_plugin import DummyPlugin, answering

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "http.json").read_text())


def outcome(plugin: DummyPlugin, settings: Settings) -> dict[str, Any]:
    """What a call came to, in the words of the vectors."""
    with new_client(plugin.addr, settings=settings, clock=FakeClock()) as client:
        try:
            return {"answer": client.call("M.x", {}, object)}
        except StatusError as error:
            return {"status_error": str(error).strip()}
        except WireError:
            return {"error": True}
        except TransportError:
            return {"transport_error": True}


def test_each_recorded_response_has_its_expected_outcome(
    short_path: Path, settings: Settings
) -> None:
    """Every row of the HTTP vectors gives its result or error, after its number of attempts."""
    for number, (name, row) in enumerate(VECTORS.items()):
        with case(name):
            want = dict(row["want"])
            attempts = want.pop("attempts")
            # The vectors tell what cannot be decoded from what is cut off; both are a WireError.
            if want.pop("decode_error", False):
                want["error"] = True
            if "status_error" in want:
                want["status_error"] = want["status_error"].strip()
            response = base64.b64decode(row["response_base64"])
            requests: list[bytes] = []

            with DummyPlugin.on_unix(
                short_path / f"{number}.sock", answering(response, requests=requests)
            ) as plugin:
                assert outcome(plugin, settings) == want
            assert len(requests) == attempts
