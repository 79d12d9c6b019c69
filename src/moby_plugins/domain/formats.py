"""Texts in messages that engines parse: times, addresses with and without a prefix, MAC addresses.

Go's parsers are stricter than Python's, and one text that they refuse fails the whole answer
(protocol.md B2 to B4). Each rule is written once, here, for both ends of the protocol.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from ipaddress import ip_address
from typing import Any, TypeAlias

from moby_plugins.domain.text import quoted, shown

Rule: TypeAlias = Callable[[str], None]

_RFC_3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?"
    r"(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
# No leading zero, and no mask in place of the number of its bits.
_PREFIX_LENGTH = re.compile("0|[1-9][0-9]{0,2}")
# The octets of a MAC address, an EUI-64 and an address of IP over InfiniBand.
_MAC_OCTETS = {6, 8, 20}
_PAIRS = re.compile("[0-9A-Fa-f]{2}(?:(?P<by>[:-])[0-9A-Fa-f]{2})(?:(?P=by)[0-9A-Fa-f]{2})*")
_QUADS = re.compile(r"[0-9A-Fa-f]{4}(?:\.[0-9A-Fa-f]{4})+")


def timestamp(value: str | datetime) -> str:
    """Return a time as RFC 3339; text passes unchanged, and ``check_timestamp`` judges it.

    A ``datetime`` without a time zone is local time, as it is to Python's own methods.
    Raises ``ValueError`` for one that has no time in UTC, such as ``datetime.min``.
    """
    if not isinstance(value, datetime):
        return value
    try:
        aware = value.astimezone() if value.utcoffset() is None else value
        # RFC 3339 has no seconds in an offset; local mean times have.
        if (aware.utcoffset() or timedelta()) % timedelta(minutes=1):
            aware = aware.astimezone(UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(f"{quoted(value)} is out of range: {shown(error)}") from error
    return aware.isoformat().replace("+00:00", "Z")


def check_timestamp(text: str) -> None:
    """Raise ``ValueError`` for what is not RFC 3339, as Go reads it: with a time zone."""
    match = _RFC_3339.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{quoted(text)} is no time in RFC 3339: write 2006-01-02T15:04:05Z, or pass a"
            " datetime, as datetime.now(timezone.utc) is"
        )
    try:
        # Year 0 is one to Go, and a leap year as 2000 is.
        date.fromisoformat(re.sub("^0000", "2000", match[1]))
    except ValueError as error:
        raise ValueError(f"{quoted(text)} is no time in RFC 3339: {shown(error)}") from error


def check_ip(text: str) -> None:
    """Raise ``ValueError`` for what Go's ``net.ParseIP`` refuses: a zone, a prefix, a name."""
    try:
        if "%" in text:
            raise ValueError("it has a zone")
        ip_address(text)
    except ValueError as error:
        raise ValueError(f"{quoted(text)} is no IP address such as 10.0.0.1") from error


def check_prefix(text: str) -> None:
    """Raise ``ValueError`` for what Go's ``netip.ParsePrefix`` refuses.

    An address, a slash and the number of its leading bits; neither a mask nor a zone.
    """
    address, slash, length = text.rpartition("/")
    try:
        check_ip(address)
        bits = ip_address(address).max_prefixlen
        if not (slash and _PREFIX_LENGTH.fullmatch(length) and int(length) <= bits):
            raise ValueError("its prefix is no number of bits")
    except ValueError as error:
        raise ValueError(
            f"{quoted(text)} is no address with a prefix such as 10.0.0.1/24"
        ) from error


def check_mac(text: str) -> None:
    """Raise ``ValueError`` for what Go's ``net.ParseMAC`` refuses."""
    digits = text.replace(":", "").replace("-", "").replace(".", "")
    written = _PAIRS.fullmatch(text) or _QUADS.fullmatch(text)
    if written is None or len(digits) / 2 not in _MAC_OCTETS:
        raise ValueError(f"{quoted(text)} is no MAC address such as 02:42:0a:00:00:02")


def unless_empty(rule: Rule) -> Rule:
    """Return ``rule`` for a text that may be empty."""
    return lambda text: rule(text) if text else None


def follows(rule: Rule) -> Callable[[object, Any, Any], None]:
    """Return a validator of an attrs field that holds its text to ``rule`` and names the field.

    What is no text is left to those who check types.
    """

    def validate(_: object, attribute: Any, value: Any) -> None:
        if isinstance(value, str):
            try:
                rule(value)
            except ValueError as error:
                raise ValueError(f"{attribute.name}: {error}") from error

    return validate
