"""Explain a failed handshake: what is wrong, why it matters, and what to do."""

from typing import TypeAlias

from attrs import frozen

from moby_plugins.domain.address import Address
from moby_plugins.domain.errors import (
    NOT_FOUND,
    PluginError,
    SpecError,
    StatusError,
    TransportError,
    TransportTimeoutError,
    WireError,
    status_line,
)
from moby_plugins.domain.permissions import shell_command
from moby_plugins.domain.text import sentence, shown

# What is wrong, why it matters, and what to do about it.
Explanation: TypeAlias = tuple[str, str, str]

_RETRIED = "hosts try for 15 seconds, and fail"
_AT_ONCE = "hosts fail with it at once, and do not try again"


# What to do about a rejected certificate, by a part of OpenSSL's message.
_CERTIFICATES = (
    ("mismatch", "have a certificate made for the host that the address names"),
    ("expired", "have the plugin's certificate made again"),
    ("not yet valid", "set the clocks of host and plugin"),
    ("", "name the authority that signed the plugin's certificate in TLSConfig.CAFile"),
)


@frozen
class HandshakeOutcome:
    """The outcome of a handshake: the subsystems that the plugin implements, or an ``error``.

    ``seconds`` is the time-out that the handshake had. ``instead`` is the scheme that worked,
    ``"tcp"`` or ``"https"``, if the scheme of the plugin's address failed; else "".
    """

    seconds: float
    implements: tuple[str, ...] = ()
    error: PluginError | None = None
    instead: str = ""


def explained(
    name: str, address: Address, outcome: HandshakeOutcome, error: PluginError
) -> Explanation:
    """Return an explanation of why the handshake with plugin ``name`` failed with ``error``."""
    if outcome.instead:
        return _of_scheme(address, outcome.instead)
    if isinstance(error, TransportTimeoutError):
        return _of_silence(name, outcome.seconds)
    if isinstance(error, TransportError):
        return _of_failed_exchange(name, error)
    return _of_refusal(name, error)


def _of_scheme(address: Address, instead: str) -> Explanation:
    scheme, spoken = shown(address.scheme), "TLS" if instead == "https" else "plain text"
    return (
        f"the plugin speaks {spoken}, and its address says {scheme}://",
        "hosts and the plugin do not understand each other",
        f"write {instead}:// in place of {scheme}:// in the spec",
    )


def _of_silence(name: str, seconds: float) -> Explanation:
    slow = shell_command("moby-plugins", "inspect", "--timeout", "30", name)
    return (
        f"the plugin did not respond within {seconds:g} s",
        "hosts wait until their time-out, and fail",
        f"look into its log, and start it again; where it is only slow, see how slow: {slow}",
    )


def _of_failed_exchange(name: str, error: TransportError) -> Explanation:
    reason = error.reason.lower()
    if "certificate verify failed" in reason:
        advice = next(advice for text, advice in _CERTIFICATES if text in reason)
        return error.reason, "hosts refuse to speak with the plugin", advice
    if "refused" in reason or "unknown host" in reason:
        return error.reason, _RETRIED, "start the plugin, or correct the address in the spec"
    return error.reason, _RETRIED, _listener_command(name)


def _of_refusal(name: str, error: PluginError) -> Explanation:
    if isinstance(error, StatusError):
        message = f": {shown(error.message)}" if error.message else ""
        look = shell_command("moby-plugins", "inspect", name)
        missing = error.status == NOT_FOUND
        return (
            f"it answered Plugin.Activate with {status_line(error.status)}{message}",
            _AT_ONCE,
            _listener_command(name) if missing else f"look into the plugin's log; then: {look}",
        )
    if isinstance(error, WireError):
        what = f"its response to Plugin.Activate cannot be used: {sentence(error.reason)}"
        return what, _AT_ONCE, _listener_command(name)
    reason = error.reason if isinstance(error, SpecError) else str(error)
    return reason, "hosts cannot reach the plugin", "correct the spec"


def _listener_command(name: str) -> str:
    look = shell_command("moby-plugins", "inspect", name)
    return f"see that the plugin, and no other program, listens there; then: {look}"
