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


def test_texts_beyond_the_limit_share_one_label() -> None:
    """The first texts keep labels of their own; each later one becomes ``OTHER``."""
    labels = Labels(2)

    assert [labels(text) for text in ("a", "b", "c", "a", "d")] == ["a", "b", OTHER, "a", OTHER]


def test_a_label_is_printable_and_short() -> None:
    """Line breaks are escaped, and a long text is shortened."""
    labels = Labels(2)

    assert labels("a\nb") == "a\\nb"
    assert len(labels("x" * 100_000)) < MAX_LABEL + 20


def test_the_name_of_an_errors_class_is_printable_and_short() -> None:
    """This holds also for a class whose ``__module__`` claims to be Python's own."""
    odd: Any = type("Odd\n" + "x" * 5_000, (Exception,), {"__module__": "json"})

    kind = error_kind(odd())

    assert kind.startswith("Odd\\nxxx")
    assert len(kind) < MAX_LABEL + 20


class OddError(TransportTimeoutError):
    """An error of a program's own, derived from one of this library."""


class StrangeError(Exception):
    """An error of a program's own, derived from ``Exception`` alone."""


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
def test_an_error_is_counted_as_its_nearest_known_class(error: Any, kind: str) -> None:
    """Known classes are the library's and Python's, so that there is a bounded number of them."""
    assert error_kind(error) == kind


def test_the_error_type_of_a_response_with_an_error_status_is_that_status() -> None:
    """The conventions of OpenTelemetry say so; the type of any other error is its class."""
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
def test_an_address_is_exported_as_the_opentelemetry_conventions_say(
    address: str, attributes: dict[str, Any], full: str
) -> None:
    """A socket has its path, a host its port, and another scheme is exported as it is."""
    assert peer(address) == attributes
    assert url(address, "M.x") == full
