"""What observers export of an event: bounded texts, of which there is a bounded number."""

from asyncio import CancelledError
from json import JSONDecodeError
from socket import gaierror
from typing import Any

import pytest

from moby_plugins import StatusError, TransportTimeoutError
from moby_plugins.adapters.observing.attributes import (
    MAX_LABEL,
    OTHER,
    Labels,
    error_kind,
    error_type,
    peer,
    url,
)
from tests.cases import every


def test_the_first_texts_count_by_themselves() -> None:
    """The rest is one; what was kept stays."""
    labels = Labels(2)

    assert [labels(text) for text in ("a", "b", "c", "a", "d")] == ["a", "b", OTHER, "a", OTHER]


def test_a_text_is_printable_and_short() -> None:
    """Whatever it is made of."""
    labels = Labels(2)

    assert labels("a\nb") == "a\\nb"
    assert len(labels("x" * 100_000)) < MAX_LABEL + 20


def test_the_name_of_an_errors_class_is_printable_and_short() -> None:
    """Also if the class claims to be Python's own."""
    odd: Any = type("Odd\n" + "x" * 5_000, (Exception,), {"__module__": "json"})

    kind = error_kind(odd())

    assert kind.startswith("Odd\\nxxx")
    assert len(kind) < MAX_LABEL + 20


class OddError(TransportTimeoutError):
    """Of a program's own."""


class StrangeError(Exception):
    """Of a program's own, too."""


@every(
    ("error", "kind"),
    [
        (None, ""),
        (ValueError(), "ValueError"),
        (OddError("x"), "TransportTimeoutError"),
        (StrangeError(), "Exception"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (StatusError(500, "M.x", ""), "StatusError"),
        (CancelledError(), "CancelledError"),
        (JSONDecodeError("x", "", 0), "JSONDecodeError"),
        (gaierror(), "gaierror"),
    ],
)
def test_an_error_counts_as_a_class_that_is_known(error: Any, kind: str) -> None:
    """The library's or Python's: so there are only so many."""
    assert error_kind(error) == kind


def test_the_type_of_a_response_that_is_an_error_is_its_status() -> None:
    """As OpenTelemetry has it."""
    assert error_type(StatusError(503, "M.x", "")) == "503"
    assert error_type(OddError("x")) == "TransportTimeoutError"


@pytest.mark.parametrize(
    ("address", "attributes", "full"),
    [
        (
            "unix:///run/a.sock",
            {"server.address": "/run/a.sock", "network.transport": "unix"},
            "http://plugin.moby.localhost/M.x",
        ),
        (
            "tcp://host:80",
            {"server.address": "host", "server.port": 80},
            "http://host:80/M.x",
        ),
        (
            "https://[::1]:443",
            {"server.address": "::1", "server.port": 443},
            "https://[::1]:443/M.x",
        ),
        ("exec:///bin/x", {"server.address": "/bin/x"}, "exec:///bin/x/M.x"),
    ],
)
def test_an_address_is_told_as_the_conventions_have_it(
    address: str, attributes: dict[str, Any], full: str
) -> None:
    """A socket by its path, a host with its port, and another scheme as it is."""
    assert peer(address) == attributes
    assert url(address, "M.x") == full
