"""VolumeDriver: table B2 of protocol.md."""

import logging
from typing import Any

import pytest

from moby_plugins.domain.errors import (
    DriverError,
    StatusError,
    TransportError,
    TransportTimeoutError,
    WireError,
)
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import Volume, VolumeCapabilities, VolumeDriver
from moby_plugins.testing import FakeClock, hangs, refused, status
from tests.cases import every
from tests.unit.app.subsystems.exchanges import (
    Exchange,
    Table,
    asked,
    client_to,
    part_of,
    replying,
)

DB = Volume("db", "/v/db", "2026-01-02T03:04:05Z", {"size": 5})
DB_JSON = (
    '{"Name":"db","Mountpoint":"/v/db","CreatedAt":"2026-01-02T03:04:05Z","Status":{"size":5}}'
)


class TestB2(Table):
    """Table B2: the calls of a VolumeDriver."""

    kind = VolumeDriver
    exchanges = (
        Exchange(
            "create",
            ("db", {"size": "10G"}),
            "VolumeDriver.Create",
            '{"Name":"db","Opts":{"size":"10G"}}',
            "{}",
            timeout=120.0,
        ),
        Exchange(
            "create",
            ("db", None),
            "VolumeDriver.Create",
            '{"Name":"db","Opts":null}',
            "{}",
            timeout=120.0,
        ),
        Exchange("remove", ("db",), "VolumeDriver.Remove", '{"Name":"db"}', "{}", timeout=60.0),
        Exchange(
            "path",
            ("db",),
            "VolumeDriver.Path",
            '{"Name":"db"}',
            '{"Mountpoint":"/v/db"}',
            "/v/db",
            60.0,
        ),
        Exchange(
            "mount",
            ("db", "0a"),
            "VolumeDriver.Mount",
            '{"Name":"db","ID":"0a"}',
            '{"Mountpoint":"/v/db"}',
            "/v/db",
            120.0,
        ),
        Exchange(
            "unmount",
            ("db", "0a"),
            "VolumeDriver.Unmount",
            '{"Name":"db","ID":"0a"}',
            "{}",
            timeout=60.0,
        ),
        Exchange(
            "list",
            (),
            "VolumeDriver.List",
            "{}",
            '{"Volumes":[' + DB_JSON + ',{"Name":"x","Mountpoint":""}]}',
            (DB, Volume("x")),
            60.0,
        ),
        Exchange(
            "get", ("db",), "VolumeDriver.Get", '{"Name":"db"}', f'{{"Volume":{DB_JSON}}}', DB, 60.0
        ),
        Exchange("get", ("y",), "VolumeDriver.Get", '{"Name":"y"}', '{"Volume":null}', None, 60.0),
        Exchange(
            "capabilities",
            (),
            "VolumeDriver.Capabilities",
            "{}",
            '{"Capabilities":{"Scope":"global"}}',
            VolumeCapabilities("global"),
            60.0,
        ),
    )


@pytest.mark.parametrize(
    ("timeouts", "expected"), [({}, [120.0, 60.0]), ({"mount": 5, "get": 0.5}, [5.0, 0.5])]
)
def test_each_time_out_can_be_overridden(timeouts: Any, expected: list[float]) -> None:
    """B2: Mount has 120 s and Get 60 s, unless ``timeouts`` has another number."""
    client, line = client_to({"VolumeDriver.Mount": {}, "VolumeDriver.Get": {}})
    driver = VolumeDriver(client, timeouts=timeouts)

    driver.mount("db", "1")
    driver.get(name="db")

    assert line.timeouts == expected


def test_a_call_that_timed_out_is_not_sent_again() -> None:
    """B0: Mount's 120 s are more than the 30 s in which calls are tried again."""
    clock = FakeClock()
    client, line = client_to({"VolumeDriver.Mount": hangs()}, clock)

    with pytest.raises(TransportTimeoutError):
        VolumeDriver(client).mount("db", "1")

    assert (len(line.requests), clock.now()) == (1, 120.0)


@pytest.mark.parametrize(
    ("reply", "scope"),
    [
        ({"Capabilities": {"Scope": "GLOBAL"}}, "global"),
        ({"Capabilities": {"Scope": ""}}, "local"),
        ({"Capabilities": None}, "local"),
        ({}, "local"),
        ({"Err": "no"}, "local"),
        ({"Capabilities": []}, "local"),
        (b"", "local"),
        (status(404), "local"),
        (status(500, "broken"), "local"),
        (refused(), "local"),
    ],
)
def test_the_scope_of_a_volume_driver_is_local_unless_it_is_global(
    reply: Any, scope: str, caplog: pytest.LogCaptureFixture
) -> None:
    """B2: any case counts; an empty scope or a failure means local, without a warning."""
    driver = replying(VolumeDriver, "Capabilities", reply)

    assert driver.capabilities() == VolumeCapabilities(scope)
    assert caplog.records == []


def test_an_unknown_scope_is_local_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """B2: other values are local, and are logged."""
    driver = replying(VolumeDriver, "Capabilities", {"Capabilities": {"Scope": "Galaxy"}})

    with caplog.at_level(logging.WARNING, logger="moby_plugins"):
        capabilities = driver.capabilities()

    assert capabilities.scope == "local"
    assert [record.getMessage() for record in caplog.records] == [
        "a volume driver's scope is 'Galaxy': taken for local"
    ]


@pytest.mark.parametrize("reply", [{}, {"Volume": None}, None])
def test_get_returns_none_if_the_response_has_neither_a_volume_nor_an_error(reply: Any) -> None:
    """B2: an absent or null Volume means that there is no such volume."""
    assert replying(VolumeDriver, "Get", reply).get("db") is None


def test_get_returns_the_volume_as_the_response_describes_it() -> None:
    """B2: an empty object is a volume with an empty name, and keys match in any case."""
    assert replying(VolumeDriver, "Get", {"Volume": {}}).get("db") == Volume("")
    assert replying(VolumeDriver, "Get", {"volume": {"NAME": "x"}}).get("db") == Volume("x")


def test_err_in_a_response_with_status_200_is_a_driver_error() -> None:
    """B0: the message has the name of the method and the driver's text."""
    with pytest.raises(DriverError) as caught:
        replying(VolumeDriver, "Create", {"Err": "disk full"}).create("db")

    assert str(caught.value) == "VolumeDriver.Create: disk full"


def test_err_in_a_response_with_another_status_is_a_status_error() -> None:
    """B0: the error has the status of the response, and the driver's text."""
    with pytest.raises(StatusError) as caught:
        replying(VolumeDriver, "Remove", status(500, "in use")).remove("db")

    assert (caught.value.status, str(caught.value)) == (500, "VolumeDriver.Remove: in use")


@pytest.mark.parametrize("volumes", [None, []])
def test_a_null_or_empty_list_of_volumes_is_an_empty_tuple(volumes: Any) -> None:
    """B0: null means the empty value of its type."""
    assert replying(VolumeDriver, "List", {"Volumes": volumes}).list() == ()


def test_the_error_for_a_response_of_a_wrong_type_names_the_field() -> None:
    """The WireError has the address and the method, too."""
    with pytest.raises(WireError) as caught:
        replying(VolumeDriver, "Mount", {"Mountpoint": 5}).mount("db", "1")

    assert str(caught.value) == (
        "tcp://host:1: VolumeDriver.Mount: Mountpoint: a string expected, not a number"
    )


def test_an_absent_or_null_argument_has_its_default_or_the_empty_value() -> None:
    """B0: an absent name is the empty string, absent options are None."""
    part, received = part_of(VolumeDriver, {"create": None})
    app = PluginApp(part)

    for body in ('{"Name":"db"}', '{"name":"db","Opts":null,"More":1}', "null", "{}"):
        assert asked(app, "VolumeDriver.Create", body) == (200, "{}")

    assert received == [("create", name, None) for name in ("db", "db", "", "")]


@every(
    "reply",
    [{}, {"Volume": None}, None, status(404), status(500), {"Err": "gone"}, b"gone", {"Volume": 5}],
)
def test_find_returns_none_where_an_engine_takes_the_volume_for_absent(reply: Any) -> None:
    """B2: a response without a volume, or with any error, means an absent volume."""
    assert replying(VolumeDriver, "Get", reply).find("db") is None


def test_find_returns_the_volume_and_raises_an_error_without_a_response() -> None:
    """A plugin that cannot be reached says nothing about its volumes."""
    assert replying(VolumeDriver, "Get", {"Volume": {"Name": "db"}}).find("db") == Volume("db")
    with pytest.raises(TransportError):
        replying(VolumeDriver, "Get", refused()).find("db")
