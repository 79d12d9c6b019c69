"""Explanations of a failed handshake: what is wrong, why it matters, and what to do."""

import pytest

from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import (
    PluginError,
    SpecError,
    StatusError,
    TransportError,
    TransportTimeoutError,
    WireError,
)
from moby_plugins.domain.handshake import HandshakeOutcome, explained
from tests.cases import every

LISTENS = "see that the plugin, and no other program, listens there; then: moby-plugins inspect db"
RETRIED = "hosts try for 15 seconds, and fail"
AT_ONCE = "hosts fail with it at once, and do not try again"


@every(
    ("error", "what", "why", "remedy"),
    [
        (
            TransportTimeoutError("timed out"),
            "the plugin did not respond within 2 s",
            "hosts wait until their time-out, and fail",
            (
                "look into its log, and start it again; where it is only slow, see how slow:"
                " moby-plugins inspect --timeout 30 db"
            ),
        ),
        (
            TransportError("connection refused: no process listens there"),
            "connection refused: no process listens there",
            RETRIED,
            "start the plugin, or correct the address in the spec",
        ),
        (
            TransportError("unknown host: Name or service not known"),
            "unknown host: Name or service not known",
            RETRIED,
            "start the plugin, or correct the address in the spec",
        ),
        (TransportError("malformed response: SSH"), "malformed response: SSH", RETRIED, LISTENS),
        (
            TransportError("TLS: certificate verify failed: unable to get issuer certificate"),
            "TLS: certificate verify failed: unable to get issuer certificate",
            "hosts refuse to speak with the plugin",
            "name the authority that signed the plugin's certificate in TLSConfig.CAFile",
        ),
        (
            TransportError("TLS: certificate verify failed: Hostname mismatch"),
            "TLS: certificate verify failed: Hostname mismatch",
            "hosts refuse to speak with the plugin",
            "have a certificate made for the host that the address names",
        ),
        (
            TransportError("TLS: certificate verify failed: certificate has expired"),
            "TLS: certificate verify failed: certificate has expired",
            "hosts refuse to speak with the plugin",
            "have the plugin's certificate made again",
        ),
        (
            TransportError("TLS: certificate verify failed: certificate is not yet valid"),
            "TLS: certificate verify failed: certificate is not yet valid",
            "hosts refuse to speak with the plugin",
            "set the clocks of host and plugin",
        ),
        (
            StatusError(404, "Plugin.Activate", "no such page"),
            "it answered Plugin.Activate with 404 Not Found: no such page",
            AT_ONCE,
            LISTENS,
        ),
        (
            StatusError(500, "Plugin.Activate", ""),
            "it answered Plugin.Activate with 500 Internal Server Error",
            AT_ONCE,
            "look into the plugin's log; then: moby-plugins inspect db",
        ),
        (
            WireError("no JSON"),
            "its response to Plugin.Activate cannot be used: no JSON",
            AT_ONCE,
            LISTENS,
        ),
        (
            SpecError("CAFile cannot be used", "/ca"),
            "CAFile cannot be used",
            "hosts cannot reach the plugin",
            "correct the spec",
        ),
        (PluginError("odd"), "odd", "hosts cannot reach the plugin", "correct the spec"),
    ],
)
def test_each_failure_of_a_handshake_is_explained(
    error: PluginError, what: str, why: str, remedy: str
) -> None:
    """The explanation says what is wrong, why it matters, and what to do about it."""
    asked = HandshakeOutcome(2.0, error=error)

    assert explained("db", Address("tcp://h:1"), asked, error) == (what, why, remedy)


@pytest.mark.parametrize(
    ("addr", "instead", "what", "remedy"),
    [
        (
            "tcp://h:1",
            "https",
            "the plugin speaks TLS, and its address says tcp://",
            "write https:// in place of tcp:// in the spec",
        ),
        (
            "https://h:1",
            "tcp",
            "the plugin speaks plain text, and its address says https://",
            "write tcp:// in place of https:// in the spec",
        ),
    ],
)
def test_a_wrong_scheme_in_the_address_is_explained_in_place_of_the_error(
    addr: str, instead: str, what: str, remedy: str
) -> None:
    """The plugin speaks TLS where the address says tcp://, or plain text where it says https://."""
    error = TransportError("malformed")
    asked = HandshakeOutcome(2.0, error=error, instead=instead)

    told = explained("db", Address(addr), asked, error)

    assert told == (what, "hosts and the plugin do not understand each other", remedy)


def test_the_plugin_name_in_a_remedy_is_quoted_for_a_shell() -> None:
    """A plugin's name may have a space, or any character that a file's name can have."""
    error = WireError("no JSON")
    _, _, remedy = explained("a b", Address("tcp://h:1"), HandshakeOutcome(2.0, error=error), error)

    assert remedy.endswith(": moby-plugins inspect 'a b'")
