"""IpamDriver: table B4 of protocol.md."""

from typing import Any

import pytest

from moby_plugins.domain.errors import DriverError, StatusError, WireError
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import (
    AddressResponse,
    AddressSpaces,
    IpamCapabilities,
    IpamDriver,
    PoolResponse,
)
from moby_plugins.testing import refused, status
from tests.cases import every
from tests.unit.app.subsystems.exchanges import Exchange, Table, asked, part_of, replying

GATEWAY = "com.docker.network.gateway"


class TestB4(Table):
    """Table B4: the calls of an IpamDriver."""

    kind = IpamDriver
    exchanges = (
        Exchange(
            "get_capabilities",
            (),
            "IpamDriver.GetCapabilities",
            "",
            '{"RequiresMACAddress":true,"RequiresRequestReplay":false}',
            IpamCapabilities(requires_mac_address=True),
        ),
        Exchange(
            "get_default_address_spaces",
            (),
            "IpamDriver.GetDefaultAddressSpaces",
            "",
            '{"LocalDefaultAddressSpace":"l","GlobalDefaultAddressSpace":"g"}',
            AddressSpaces("l", "g"),
        ),
        Exchange(
            "request_pool",
            ("l", "10.0.0.0/8", "10.1.0.0/16", {"a": "b"}, True),
            "IpamDriver.RequestPool",
            '{"AddressSpace":"l","Pool":"10.0.0.0/8","SubPool":"10.1.0.0/16",'
            '"Options":{"a":"b"},"V6":true}',
            '{"PoolID":"p","Pool":"10.0.0.0/8","Data":{"' + GATEWAY + '":"10.0.0.1/8"}}',
            PoolResponse("p", "10.0.0.0/8", {GATEWAY: "10.0.0.1/8"}),
        ),
        Exchange("release_pool", ("p",), "IpamDriver.ReleasePool", '{"PoolID":"p"}', "{}"),
        Exchange(
            "request_address",
            ("p", "", {"RequestAddressType": GATEWAY}),
            "IpamDriver.RequestAddress",
            '{"PoolID":"p","Address":"","Options":{"RequestAddressType":"' + GATEWAY + '"}}',
            '{"Address":"10.0.0.1/8","Data":{}}',
            AddressResponse("10.0.0.1/8"),
        ),
        Exchange(
            "release_address",
            ("p", "10.0.0.1"),
            "IpamDriver.ReleaseAddress",
            '{"PoolID":"p","Address":"10.0.0.1"}',
            "{}",
        ),
    )


@pytest.mark.parametrize(
    ("method", "arguments", "sent"),
    [
        (
            "request_pool",
            ("l",),
            '{"AddressSpace":"l","Pool":"","SubPool":"","Options":null,"V6":false}',
        ),
        ("request_address", ("p",), '{"PoolID":"p","Address":"","Options":null}'),
    ],
)
def test_an_implementation_accepts_the_empty_values_that_engines_send(
    method: str, arguments: tuple[Any, ...], sent: str
) -> None:
    """B4: engines send an empty string, null or false for what they do not request."""
    result = PoolResponse("p", "::/64") if method == "request_pool" else AddressResponse("::1/64")
    part, received = part_of(IpamDriver, {method: result})
    app = PluginApp(part)
    path = next(r.method for r in IpamDriver.remotes.values() if r.name == method)

    assert asked(app, path, sent)[0] == 200
    assert received[0][: 1 + len(arguments)] == (method, *arguments)
    assert received[0][-1] in {None, False}


@every("reply", [{"Error": "no"}, {"Err": "no"}, [], b"", status(404), status(500), refused()])
def test_a_failed_call_of_get_capabilities_means_no_capabilities(reply: Any) -> None:
    """B4: the host goes on as if the driver had returned false for both."""
    driver = replying(IpamDriver, "GetCapabilities", reply)

    assert driver.get_capabilities() == IpamCapabilities(False, False)


@pytest.mark.parametrize(
    ("reply", "kind", "text"),
    [
        ({"Error": "used up"}, DriverError, "IpamDriver.RequestPool: used up"),
        ({"Err": "used up"}, DriverError, "IpamDriver.RequestPool: used up"),
        (status(500, "used up"), StatusError, "IpamDriver.RequestPool: used up"),
    ],
)
def test_an_error_of_an_ipam_driver_is_raised_under_the_key_error_or_err(
    reply: Any, kind: type[Exception], text: str
) -> None:
    """B4: either key with status 200 is a DriverError, another status a StatusError."""
    with pytest.raises(kind) as caught:
        replying(IpamDriver, "RequestPool", reply).request_pool("l")

    assert str(caught.value) == text


@pytest.mark.parametrize("address", ["", "10.0.0.1", "10.0.0.1/99", "ten/8"])
def test_a_response_without_an_address_and_its_prefix_is_refused(address: str) -> None:
    """B4: addresses and pools are in CIDR notation, and may not be empty."""
    with pytest.raises(WireError, match=r"IpamDriver.RequestAddress"):
        replying(IpamDriver, "RequestAddress", {"Address": address}).request_address("p")
    with pytest.raises(WireError, match=r"IpamDriver.RequestPool"):
        replying(IpamDriver, "RequestPool", {"PoolID": "p", "Pool": address}).request_pool("l")


def test_an_exception_of_an_ipam_implementation_becomes_status_500_with_err() -> None:
    """B4: engines recognize this as an error, while they ignore Err with status 200."""
    part, _ = part_of(IpamDriver, {"release_pool": LookupError("no such pool")})

    answer = asked(PluginApp(part), "IpamDriver.ReleasePool", '{"PoolID":"p"}')

    assert answer == (500, '{"Err":"no such pool"}')


@every(
    "pool", ["10.0.0.0", "10.0.0.0/255.255.0.0", "fe80::%eth0/64", "10.0.0.0/024", "10.0.0.0/33"]
)
def test_a_pool_that_go_could_not_read_is_refused_at_both_ends(pool: str) -> None:
    """B4: pools, addresses and gateways must be what ``netip.ParsePrefix`` accepts."""
    right = {"PoolID": "p", "Pool": "10.0.0.0/8"}
    with pytest.raises(WireError):
        replying(IpamDriver, "RequestPool", {**right, "Pool": pool}).request_pool("s")
    with pytest.raises(WireError):
        replying(IpamDriver, "RequestPool", {**right, "Data": {GATEWAY: pool}}).request_pool("s")
    with pytest.raises(WireError):
        replying(IpamDriver, "RequestAddress", {"Address": pool}).request_address("p")
    for make in (lambda: PoolResponse("p", pool), lambda: AddressResponse(pool)):
        with pytest.raises(ValueError, match="is not an address with a prefix"):
            make()
