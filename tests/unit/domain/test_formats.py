"""Texts that engines parse: what Go accepts is accepted, and what Go refuses is refused."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest

from moby_plugins.domain.formats import (
    check_ip,
    check_mac,
    check_prefix,
    check_timestamp,
    timestamp,
    unless_empty,
)
from moby_plugins.domain.text import quoted
from tests.cases import every


@every(
    "text",
    [
        "2026-08-01T12:00:00Z",
        "2026-08-01T12:00:00.123456789Z",
        "2026-08-01T12:00:00.1+05:30",
        "2024-02-29T23:59:59-12:00",
        "0001-01-01T00:00:00Z",
        "0000-02-29T00:00:00Z",
    ],
)
def test_a_time_that_go_accepts_is_valid(text: str) -> None:
    """A time has a zone, and any number of decimals of a second."""
    check_timestamp(text)


@every(
    "text",
    [
        "",
        "2026-08-01T12:00:00",
        "2026-08-01T12:00:00.5",
        "2026-08-01 12:00:00Z",
        "2026-08-01t12:00:00z",
        "2026-08-01T12:00:00,5Z",
        "2026-08-01T12:00:00.Z",
        "2026-08-01T12:00Z",
        "2026-08-01T12:00:60Z",
        "2026-08-01T24:00:00Z",
        "2026-02-30T12:00:00Z",
        "2025-02-29T12:00:00Z",
        "2026-13-01T12:00:00Z",
        "2026-08-01T12:00:00+0530",
        "2026-08-01T12:00:00+05:30:15",
        "2026-08-01T12:00:00+24:00",
        "2026-08-01",
        "26-08-01T12:00:00Z",
        "٢٠٢٦-08-01T12:00:00Z",
        "2026-08-01T12:00:00Z\n",
        "yesterday",
    ],
)
def test_a_time_that_go_refuses_is_refused(text: str) -> None:
    """The error says that the text is not a time in RFC 3339."""
    with pytest.raises(ValueError, match="is not a time in RFC 3339"):
        check_timestamp(text)


@every(
    ("value", "text"),
    [
        (datetime(2026, 8, 1, 12, tzinfo=UTC), "2026-08-01T12:00:00Z"),
        (datetime(2026, 8, 1, 12, 0, 0, 5, UTC), "2026-08-01T12:00:00.000005Z"),
        (
            datetime(2026, 8, 1, 12, tzinfo=timezone(timedelta(hours=5, minutes=30))),
            "2026-08-01T12:00:00+05:30",
        ),
        (
            datetime(2026, 8, 1, 12, tzinfo=timezone(timedelta(hours=-4, minutes=-15))),
            "2026-08-01T12:00:00-04:15",
        ),
        (
            datetime(2026, 8, 1, 12, tzinfo=timezone(timedelta(seconds=28))),
            "2026-08-01T11:59:32Z",
        ),
        ("as it is", "as it is"),
    ],
)
def test_a_datetime_is_written_as_go_reads_it(value: datetime | str, text: str) -> None:
    """UTC is written as Z, another zone as its offset, and an offset with seconds in UTC."""
    assert timestamp(value) == text


def test_a_datetime_without_a_zone_is_local_time() -> None:
    """``timestamp`` takes such a datetime for local time, as Python's ``astimezone`` does."""
    naive = datetime(2026, 8, 1, 12)  # noqa: DTZ001  the point

    text = timestamp(naive)

    check_timestamp(text)
    assert datetime.fromisoformat(text) == naive.astimezone()


def test_a_datetime_out_of_range_is_an_error() -> None:
    """A datetime whose time in UTC would be before the year 1 raises ``ValueError``."""
    early = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1, seconds=1)))

    told = r"^datetime\.datetime\(1, 1, 1, .*\) is out of range: date value out of range$"
    with pytest.raises(ValueError, match=told):
        timestamp(early)


def test_the_error_for_a_text_that_is_no_time_says_what_to_write() -> None:
    """The error shows the form that Go accepts, and how to pass a datetime."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011  its whole text is compared
        check_timestamp("today")
    assert str(caught.value) == (
        "'today' is not a time in RFC 3339: write 2006-01-02T15:04:05Z, or pass a datetime, such"
        " as datetime.now(timezone.utc)"
    )
    with pytest.raises(ValueError, match=r"^'2026-02-30T00:00:00Z' is not a time in RFC 3339: day"):
        check_timestamp("2026-02-30T00:00:00Z")


@every(
    "text", ["10.0.0.0/24", "10.0.0.5/32", "0.0.0.0/0", "fe80::1/64", "::/0", "::ffff:1.2.3.4/120"]
)
def test_an_ip_prefix_that_go_accepts_is_valid(text: str) -> None:
    """A prefix of IPv4 or IPv6 is valid, with or without bits of the host."""
    check_prefix(text)


@every(
    "text",
    [
        "",
        "10.0.0.0",
        "10.0.0.0/",
        "/24",
        "10.0.0.0/255.255.0.0",
        "10.0.0.0/0.0.255.255",
        "10.0.0.0/024",
        "10.0.0.0/+8",
        "10.0.0.0/ 8",
        "10.0.0.0/33",
        "fe80::1/129",
        "fe80::1%eth0/64",
        "fe80::1/64%eth0",
        "010.0.0.0/8",
        "10.0.0/8",
        "10.0.0.0/8/8",
        "10.0.0.0/٨",
        " 10.0.0.0/8",
        "10.0.0.0/8\n",
        "167772160/8",
        "home/8",
    ],
)
def test_an_ip_prefix_that_go_refuses_is_refused(text: str) -> None:
    """Masks, zones, leading zeros and bare addresses are errors; Python accepts most of them."""
    told = f"{text!r} is not an address with a prefix such as 10.0.0.1/24"
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        check_prefix(text)


@pytest.mark.parametrize("text", ["10.0.0.1", "::1", "fe80::1", "::ffff:1.2.3.4"])
def test_an_ip_address_that_go_accepts_is_valid(text: str) -> None:
    """Addresses of IPv4 and of IPv6 are valid."""
    check_ip(text)


@every("text", ["", "10.0.0.1/24", "fe80::1%eth0", "10.0.0.01", "1", "home", "::g"])
def test_an_ip_address_that_go_refuses_is_refused(text: str) -> None:
    """An address with a prefix, a zone or a leading zero is an error, and so is a name."""
    told = f"{text!r} is not an IP address such as 10.0.0.1"
    with pytest.raises(ValueError, match=f"^{re.escape(told)}$"):
        check_ip(text)


@every(
    "text",
    [
        "02:42:0a:00:00:02",
        "02-42-0A-00-00-02",
        "0242.0a00.0002",
        "02:00:5e:10:00:00:00:01",
        "0200.5e10.0000.0001",
        ":".join(["00"] * 20),
    ],
)
def test_a_mac_address_that_go_accepts_is_valid(text: str) -> None:
    """A MAC address has 6, 8 or 20 octets, in one of three notations."""
    check_mac(text)


@every(
    "text",
    [
        "",
        "02:42:0a:00:00",
        "02:42:0a:00:00:02:03",
        "02:42:0a-00-00-02",
        "2:42:a:0:0:2",
        "02420a000002",
        "0242.0a00.00022",
        "02:42:0a:00:00:0g",
        "02:42:0a:00:00:02\n",
    ],
)
def test_a_mac_address_that_go_refuses_is_refused(text: str) -> None:
    """Another number of octets, mixed separators and missing separators are errors."""
    with pytest.raises(ValueError, match="is not a MAC address") as caught:
        check_mac(text)
    assert str(caught.value).startswith(quoted(text))


@pytest.mark.parametrize("rule", [check_ip, check_prefix, check_mac])
def test_a_rule_in_unless_empty_also_accepts_an_empty_text(rule: Callable[[str], None]) -> None:
    """Other invalid texts are still refused, and the error does not repeat all of a long one."""
    unless_empty(rule)("")
    with pytest.raises(ValueError, match="is no") as caught:
        unless_empty(rule)("x" * 1_000_000)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("zone", [None, timezone(timedelta(hours=1, seconds=1))])
def test_the_error_for_a_datetime_before_year_1_in_utc_shows_the_datetime(
    zone: timezone | None,
) -> None:
    """This is the first moment of year 1, in a zone east of UTC or without a zone."""
    with pytest.raises(ValueError, match=r"^datetime\.datetime\(1, 1, 1.* is out of range: "):
        timestamp(datetime(1, 1, 1, tzinfo=zone))
