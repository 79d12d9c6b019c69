"""Known mistakes of other hosts: the traps of protocol.md B11 about the content of messages.

The traps about time and paths, 4 to 6, 13, 15, 17, 19 and 20, are in
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
    """Trap 1: the second attempt has the same body as the first."""
    client, line = client_to({"VolumeDriver.Remove": script(drops(), {})})

    VolumeDriver(client).remove("db")

    assert [request.read() for request in line.requests] == [b'{"Name":"db"}\n'] * 2


def test_1_an_archive_that_was_partly_read_is_not_sent_again() -> None:
    """Trap 1: a retry of data that cannot be rewound would send only the rest."""
    client, line = client_to({"GraphDriver.ApplyDiff": script(drops(), {"Size": 6})})

    with pytest.raises(TransportError, match=r"partly read and cannot be rewound"):
        GraphDriver(client).apply_diff("a", "b", iter([b"tar", b"tar"]))
    assert len(line.requests) == 1


@pytest.mark.parametrize("code", [201, 204])
def test_2_only_200_is_a_success(code: int) -> None:
    """Trap 2: 201 and 204 are failures, and plugins of this library respond with 200."""
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
def test_3_a_response_is_read_as_leniently_as_by_an_engine(answer: bytes) -> None:
    """Trap 3: keys match in any case, only the first value counts, null means absent."""
    assert replying(VolumeDriver, "Get", answer).get("db") == Volume("db")
    assert replying(VolumeDriver, "Create", b"null").create("db") is None


@pytest.mark.parametrize("key", ["Error", "Err"])
def test_7_an_error_of_an_ipam_driver_is_raised_under_either_key(key: str) -> None:
    """Trap 7: the key is Error, and engines take Err for a success."""
    with pytest.raises(DriverError, match="no such pool"):
        replying(IpamDriver, "ReleasePool", {key: "no such pool"}).release_pool("p")


def test_8_a_response_with_an_error_never_allows_a_request() -> None:
    """Trap 8: Err beside Allow is an error; plugins of this library send a status."""
    part, _ = part_of(AuthZPlugin, {"authorize_request": RuntimeError("policy unreadable")})
    client, _ = client_to(PluginApp(part))

    with pytest.raises(DriverError, match="unsure"):
        replying(AuthZPlugin, "AuthZReq", {"Allow": True, "Err": "unsure"}).authorize_request(
            AuthZRequest()
        )
    with pytest.raises(StatusError, match="policy unreadable"):
        AuthZPlugin(client).authorize_request(AuthZRequest())


def test_8_a_plugin_can_distinguish_a_response_that_was_not_shown_from_an_empty_one() -> None:
    """Trap 8: engines hide a response over 64 KiB, also its status; a policy can deny it."""

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
    """Trap 9: only a response without a volume and without an error gives None."""
    with pytest.raises(error):
        replying(VolumeDriver, "Get", reply).get("db")


def test_10_null_among_volumes_is_refused() -> None:
    """Trap 10: such a list raises a WireError here, while an engine crashes."""
    with pytest.raises(WireError, match=r"VolumeDriver\.List: Volumes.*null"):
        replying(VolumeDriver, "List", {"Volumes": [{"Name": "a"}, None]}).list()


def test_11_an_empty_creation_time_is_accepted_but_never_sent() -> None:
    """Trap 11: a plugin leaves CreatedAt out if it is not known."""
    part, _ = part_of(VolumeDriver, {"get": Volume("db", "/v")})
    reply = {"Volume": {"Name": "db", "CreatedAt": ""}}

    assert replying(VolumeDriver, "Get", reply).get("db") == Volume("db")
    assert asked(PluginApp(part), "VolumeDriver.Get", '{"Name":"db"}') == (
        200,
        '{"Volume":{"Name":"db","Mountpoint":"/v"}}',
    )


def test_12_each_mount_of_the_same_id_reaches_the_plugin() -> None:
    """Trap 12: equal calls are not merged, so that a plugin can count them."""
    part, received = part_of(VolumeDriver, {"mount": "/v", "unmount": None})
    client, _ = client_to(PluginApp(part))
    driver = VolumeDriver(client)

    driver.mount("db", "1")
    driver.mount("db", "1")
    driver.unmount("db", "1")

    assert received == [("mount", "db", "1"), ("mount", "db", "1"), ("unmount", "db", "1")]


def test_14_log_capabilities_and_options_have_the_keys_that_engines_use() -> None:
    """Trap 14: the keys are Cap and Config, although Docker's docs have others."""
    part, received = part_of(LogDriver, {"capabilities": LogCapabilities(True), "read_logs": []})
    app = PluginApp(part)
    body = '{"ReadConfig":{"Tail":1},"Config":{"Tail":2}}'

    assert asked(app, "LogDriver.Capabilities") == (200, '{"Cap":{"ReadLogs":true}}')
    assert asked(app, "LogDriver.ReadLogs", body) == (200, "")
    assert received[-1] == ("read_logs", LogInfo(), ReadConfig(tail=2))


def test_16_a_newline_is_added_to_log_lines() -> None:
    """Trap 16: without a newline, a host would show the lines as one."""
    part, _ = part_of(LogDriver, {"read_logs": [LogEntry("stdout", 1, b"a")] * 2})
    client, _ = client_to(PluginApp(part))

    lines = [entry.line for entry in LogDriver(client).read_logs(LogInfo(), ReadConfig())]

    assert lines == [b"a\n", b"a\n"]


def test_16_a_log_entry_of_an_unknown_source_is_an_error() -> None:
    """Trap 16: an engine shows stdout and stderr only, and would drop the line."""
    part, _ = part_of(LogDriver, {"read_logs": [LogEntry("Stdout", 1, b"a")]})

    assert asked(PluginApp(part), "LogDriver.ReadLogs", "{}") == (
        500,
        '{"Err":"a log entry\'s source is not stdout or stderr: \'Stdout\'"}',
    )


def test_18_a_mac_address_is_bytes_in_options_and_text_in_the_interface() -> None:
    """Trap 18: both forms arrive as they were sent."""
    part, received = part_of(NetworkDriver, {"create_endpoint": None})
    client, _ = client_to(PluginApp(part))
    mac = bytes.fromhex("02420a000002")
    interface = EndpointInterface(mac_address="02:42:0a:00:00:02")

    NetworkDriver(client).create_endpoint("n", "e", interface, {"endpoint.macaddress": mac})

    [(_, _, _, given, options)] = received
    assert given.mac_address == "02:42:0a:00:00:02"
    assert base64.b64decode(options["endpoint.macaddress"]) == mac
