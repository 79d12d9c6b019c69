"""Formats of texts that engines parse: times, IP addresses and prefixes, MAC addresses.

Go's parsers are stricter than Python's, and a text that they reject makes the whole response fail
(protocol.md B2 to B4). Both ends of the protocol use these rules.
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
# No leading zero, and no netmask in place of the number of bits.
_PREFIX_LENGTH = re.compile("0|[1-9][0-9]{0,2}")
# The number of octets of a MAC address, an EUI-64 and an IP-over-InfiniBand address.
_MAC_OCTETS = {6, 8, 20}
_PAIRS = re.compile("[0-9A-Fa-f]{2}(?:(?P<by>[:-])[0-9A-Fa-f]{2})(?:(?P=by)[0-9A-Fa-f]{2})*")
_QUADS = re.compile(r"[0-9A-Fa-f]{4}(?:\.[0-9A-Fa-f]{4})+")


def timestamp(value: str | datetime) -> str:
    """Return a ``datetime`` as RFC 3339; return a text unchanged and unchecked.

    A ``datetime`` without a time zone is taken as local time, as by Python's own methods.
    Raises ``ValueError`` if it is out of range in UTC, as ``datetime.min`` may be.
    """
    if not isinstance(value, datetime):
        return value
    try:
        aware = value.astimezone() if value.utcoffset() is None else value
        # RFC 3339 has no seconds in an offset, but offsets of local mean times have.
        if (aware.utcoffset() or timedelta()) % timedelta(minutes=1):
            aware = aware.astimezone(UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(f"{quoted(value)} is out of range: {shown(error)}") from error
    return aware.isoformat().replace("+00:00", "Z")


def check_timestamp(text: str) -> None:
    """Raise ``ValueError`` if ``text`` is not RFC 3339 as Go reads it: with a time zone."""
    match = _RFC_3339.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{quoted(text)} is not a time in RFC 3339: write 2006-01-02T15:04:05Z, or pass a"
            " datetime, such as datetime.now(timezone.utc)"
        )
    try:
        # Go accepts year 0, which is a leap year like 2000.
        date.fromisoformat(re.sub("^0000", "2000", match[1]))
    except ValueError as error:
        raise ValueError(f"{quoted(text)} is not a time in RFC 3339: {shown(error)}") from error


def check_ip(text: str) -> None:
    """Raise ``ValueError`` if Go's ``net.ParseIP`` rejects ``text``, for example with a zone."""
    try:
        if "%" in text:
            raise ValueError("it has a zone")
        ip_address(text)
    except ValueError as error:
        raise ValueError(f"{quoted(text)} is not an IP address such as 10.0.0.1") from error


def check_prefix(text: str) -> None:
    """Raise ``ValueError`` if Go's ``netip.ParsePrefix`` rejects ``text``.

    It accepts an address, a slash and the number of leading bits, but no netmask and no zone.
    """
    address, slash, length = text.rpartition("/")
    try:
        check_ip(address)
        bits = ip_address(address).max_prefixlen
        if not (slash and _PREFIX_LENGTH.fullmatch(length) and int(length) <= bits):
            raise ValueError("its prefix is not a number of bits")
    except ValueError as error:
        raise ValueError(
            f"{quoted(text)} is not an address with a prefix such as 10.0.0.1/24"
        ) from error


def check_mac(text: str) -> None:
    """Raise ``ValueError`` if Go's ``net.ParseMAC`` rejects ``text``."""
    digits = text.replace(":", "").replace("-", "").replace(".", "")
    written = _PAIRS.fullmatch(text) or _QUADS.fullmatch(text)
    if written is None or len(digits) / 2 not in _MAC_OCTETS:
        raise ValueError(f"{quoted(text)} is not a MAC address such as 02:42:0a:00:00:02")


def unless_empty(rule: Rule) -> Rule:
    """Return a rule that accepts an empty text, and applies ``rule`` to any other."""
    return lambda text: rule(text) if text else None


def follows(rule: Rule) -> Callable[[object, Any, Any], None]:
    """Return an attrs validator that applies ``rule``; its ``ValueError`` names the field.

    Values other than strings are ignored: another validator checks types.
    """

    def validate(_: object, attribute: Any, value: Any) -> None:
        if isinstance(value, str):
            try:
                rule(value)
            except ValueError as error:
                raise ValueError(f"{attribute.name}: {error}") from error

    return validate
