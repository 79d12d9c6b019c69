"""What has gone wrong elsewhere: the traps of protocol.md B11 that concern what is said.

The traps of time and of place, 4 to 6, 13, 15, 17, 19 and 20, are in
``test_traps_of_hosts.py``.
"""

import base64
from typing import Any

import pytest

from moby_plugins.domain.errors import DriverError, StatusError, TransportError, WireError
from moby_plugins.serving import PluginApp
from moby_plugins.subsystems import (
    AuthZPlugin,
    AuthZRequest,
    EndpointInterface,
    GraphDriver,
    IpamDriver,
    LogCapabilities,
    LogDriver,
    LogEntry,
    LogInfo,
    NetworkDriver,
    ReadConfig,
    Verdict,
    Volume,
    VolumeDriver,
)
from moby_plugins.testing import Response, drops, script, status
from tests.unit.app.subsystems.exchanges import asked, client_to, part_of, replying


def test_1_a_retry_sends_the_whole_body_again() -> None:
    """Trap 1: the second attempt carries what the first did."""
    client, line = client_to({"VolumeDriver.Remove": script(drops(), {})})

    VolumeDriver(client).remove("db")

    assert [request.read() for request in line.requests] == [b'{"Name":"db"}\n'] * 2


def test_1_a_retry_of_an_archive_sends_no_rest_of_it() -> None:
    """Trap 1: an archive that was partly read and cannot be rewound is not sent again."""
    client, line = client_to({"GraphDriver.ApplyDiff": script(drops(), {"Size": 6})})

    with pytest.raises(TransportError, match=r"partly read and cannot be rewound"):
        GraphDriver(client).apply_diff("a", "b", iter([b"tar", b"tar"]))
    assert len(line.requests) == 1


@pytest.mark.parametrize("code", [201, 204])
def test_2_only_200_is_a_success(code: int) -> None:
    """Trap 2: 201 and 204 are failures, and our plugins answer 200."""
    part, _ = part_of(VolumeDriver, {"remove": None})

    with pytest.raises(StatusError) as caught:
        replying(VolumeDriver, "Remove", Response(code, b"{}")).remove("db")

    assert caught.value.status == code
    assert asked(PluginApp(part), "VolumeDriver.Remove", '{"Name":"db"}') == (200, "{}")


@pytest.mark.parametrize(
    "answer",
    [
        b'{"volume":{"name":"db"}}',
        b'{"Volume":{"Name":"x","NAME":"db"},"More":[1]} and what follows',
        b'{"Volume":{"Name":"db","Mountpoint":null,"CreatedAt":null,"Status":null}}',
    ],
)
def test_3_whatever_an_engine_reads_is_read(answer: bytes) -> None:
    """Trap 3: keys without case, the first value only, null for nothing."""
    assert replying(VolumeDriver, "Get", answer).get("db") == Volume("db")
    assert replying(VolumeDriver, "Create", b"null").create("db") is None


@pytest.mark.parametrize("key", ["Error", "Err"])
def test_7_an_ipam_error_is_no_success(key: str) -> None:
    """Trap 7: Error is the key, and Err is not mistaken for an address pool taken back."""
    with pytest.raises(DriverError, match="no such pool"):
        replying(IpamDriver, "ReleasePool", {key: "no such pool"}).release_pool("p")


def test_8_an_error_never_allows() -> None:
    """Trap 8: Err beside Allow is an error, and ours tells its own by a status."""
    part, _ = part_of(AuthZPlugin, {"authorize_request": RuntimeError("policy unreadable")})
    client, _ = client_to(PluginApp(part))

    with pytest.raises(DriverError, match="unsure"):
        replying(AuthZPlugin, "AuthZReq", {"Allow": True, "Err": "unsure"}).authorize_request(
            AuthZRequest()
        )
    with pytest.raises(StatusError, match="policy unreadable"):
        AuthZPlugin(client).authorize_request(AuthZRequest())


def test_8_a_response_that_was_not_shown_is_told_from_an_empty_one() -> None:
    """Trap 8: over 64 KiB there is no status, so a policy can fail closed."""

    class Careful(AuthZPlugin):
        def authorize_response(self, request: AuthZRequest) -> Verdict:
            return Verdict(bool(request.response_status_code), "nothing to look at")

    app = PluginApp(Careful())
    seen = '{"RequestMethod":"GET","ResponseStatusCode":200,"ResponseBody":""}'

    assert asked(app, "AuthZPlugin.AuthZRes", seen)[1].startswith('{"Allow":true')
    assert asked(app, "AuthZPlugin.AuthZRes", '{"RequestMethod":"GET"}')[1] == (
        '{"Allow":false,"Msg":"nothing to look at"}'
    )


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (status(500, "database away"), StatusError),
        ({"Err": "database away"}, DriverError),
        (b"database away", WireError),
    ],
)
def test_9_an_error_is_not_taken_for_an_absent_volume(reply: Any, error: type[Exception]) -> None:
    """Trap 9: only an answer without a volume and without an error is None."""
    with pytest.raises(error):
        replying(VolumeDriver, "Get", reply).get("db")


def test_10_null_among_volumes_is_refused() -> None:
    """Trap 10: a WireError where others crashed."""
    with pytest.raises(WireError, match=r"VolumeDriver\.List: Volumes.*null"):
        replying(VolumeDriver, "List", {"Volumes": [{"Name": "a"}, None]}).list()


def test_11_an_empty_time_is_read_but_never_written() -> None:
    """Trap 11: CreatedAt is left out where it is not known."""
    part, _ = part_of(VolumeDriver, {"get": Volume("db", "/v")})
    reply = {"Volume": {"Name": "db", "CreatedAt": ""}}

    assert replying(VolumeDriver, "Get", reply).get("db") == Volume("db")
    assert asked(PluginApp(part), "VolumeDriver.Get", '{"Name":"db"}') == (
        200,
        '{"Volume":{"Name":"db","Mountpoint":"/v"}}',
    )


def test_12_each_mount_of_the_same_id_reaches_the_plugin() -> None:
    """Trap 12: a plugin can count them, nothing is folded on the way."""
    part, received = part_of(VolumeDriver, {"mount": "/v", "unmount": None})
    client, _ = client_to(PluginApp(part))
    driver = VolumeDriver(client)

    driver.mount("db", "1")
    driver.mount("db", "1")
    driver.unmount("db", "1")

    assert received == [("mount", "db", "1"), ("mount", "db", "1"), ("unmount", "db", "1")]


def test_14_log_capabilities_and_options_have_their_real_keys() -> None:
    """Trap 14: Cap and Config, whatever the documentation says."""
    part, received = part_of(LogDriver, {"capabilities": LogCapabilities(True), "read_logs": []})
    app = PluginApp(part)
    body = '{"ReadConfig":{"Tail":1},"Config":{"Tail":2}}'

    assert asked(app, "LogDriver.Capabilities") == (200, '{"Cap":{"ReadLogs":true}}')
    assert asked(app, "LogDriver.ReadLogs", body) == (200, "")
    assert received[-1] == ("read_logs", LogInfo(), ReadConfig(tail=2))


def test_16_lines_get_their_newline() -> None:
    """Trap 16: the lines of a FIFO, given back as they came, do not run together."""
    part, _ = part_of(LogDriver, {"read_logs": [LogEntry("stdout", 1, b"a")] * 2})
    client, _ = client_to(PluginApp(part))

    lines = [entry.line for entry in LogDriver(client).read_logs(LogInfo(), ReadConfig())]

    assert lines == [b"a\n", b"a\n"]


def test_16_a_line_that_would_vanish_is_an_error() -> None:
    """Trap 16: an engine shows stdout and stderr only."""
    part, _ = part_of(LogDriver, {"read_logs": [LogEntry("Stdout", 1, b"a")]})

    assert asked(PluginApp(part), "LogDriver.ReadLogs", "{}") == (
        500,
        '{"Err":"a log entry\'s source is not stdout or stderr: \'Stdout\'"}',
    )


def test_18_a_mac_address_is_bytes_in_options_and_text_in_the_interface() -> None:
    """Trap 18: both arrive as they were sent."""
    part, received = part_of(NetworkDriver, {"create_endpoint": None})
    client, _ = client_to(PluginApp(part))
    mac = bytes.fromhex("02420a000002")
    interface = EndpointInterface(mac_address="02:42:0a:00:00:02")

    NetworkDriver(client).create_endpoint("n", "e", interface, {"endpoint.macaddress": mac})

    [(_, _, _, given, options)] = received
    assert given.mac_address == "02:42:0a:00:00:02"
    assert base64.b64decode(options["endpoint.macaddress"]) == mac
