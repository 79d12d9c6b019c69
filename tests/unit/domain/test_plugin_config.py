"""The ``config.json`` of a managed plugin: written, and read as an engine reads it."""

import json
from typing import Any

import pytest

from moby_plugins import SettingsError
from moby_plugins.domain.findings import PROBLEM, WARNING, Finding
from moby_plugins.domain.plugin_config import (
    DESCRIBE,
    Description,
    Mount,
    Wanted,
    capability,
    check_reference,
    matched_kind,
    read_config,
    short_name,
    socket_concern,
    socket_for,
    variable,
)
from moby_plugins.domain.text import quoted
from tests.cases import every


def found(config: Any) -> list[Finding]:
    """What is found in a configuration."""
    return [*read_config(json.dumps(config).encode()).findings]


@every("name", ["shelf", "mp/shelf", "mp/shelf:1.0", "host:5000/a/b_c:T", "a-b", "a" * 255])
def test_a_valid_reference_is_accepted_as_a_plugins_name(name: str) -> None:
    """A reference is a path in lower case, with an optional host and an optional tag."""
    assert check_reference(name) == name


@every(
    "name", ["", "Shelf", "a//b", "../x", "a b", "a:", "a@sha256:0", "-a", "a\n", "ü", "a" * 256]
)
def test_an_invalid_reference_is_refused_as_a_plugins_name(name: str) -> None:
    """The error quotes the name and describes the form of a valid one."""
    with pytest.raises(SettingsError) as caught:
        check_reference(name)

    assert str(caught.value).partition(" is not")[0] == quoted(name)
    assert str(caught.value).endswith(
        " is not a managed plugin's name: small letters and digits, with parts joined by / . _"
        " or -, and a :TAG where it needs one, as in alice/shelf:1.0"
    )


@pytest.mark.parametrize(
    ("reference", "socket"),
    [
        ("mp/shelf:1.0", "shelf.sock"),
        ("host:5000/shelf", "shelf.sock"),
        ("a_b.c", "a-b-c.sock"),
        ("a" * 40, "a" * 17 + ".sock"),
    ],
)
def test_a_socket_is_named_after_the_plugin_in_at_most_22_bytes(
    reference: str, socket: str
) -> None:
    """The socket's path is limited, and has the plugin's id of 64 digits as a directory."""
    assert socket_for(reference) == socket
    assert socket_concern(socket) == ""
    assert len(socket) <= 22


@every(
    ("socket", "concern"),
    [
        ("", "it is missing"),
        ("../../evil.sock", "'../../evil.sock' is not a plain name of a file"),
        ("a/b.sock", "'a/b.sock' is not a plain name of a file"),
        ("a\0b", r"'a\x00b' is not a plain name of a file"),
        (".", "'.' is not a plain name of a file"),
        ("..", "'..' is not a plain name of a file"),
        ("a" * 23, f"'{'a' * 23}' has 23 bytes, and an engine reaches at most 22"),
        ("ü" * 12, f"'{'ü' * 12}' has 24 bytes, and an engine reaches at most 22"),
        ("a" * 22, ""),
    ],
)
def test_a_socket_name_that_no_engine_can_reach_is_reported(socket: str, concern: str) -> None:
    """A socket's name must be a plain file name of at most 22 bytes, not characters."""
    assert socket_concern(socket) == concern


WANTED = Wanted(
    reference="mp/shelf:1",
    kinds=("VolumeDriver", "authz"),
    socket="shelf.sock",
    entrypoint=("/usr/bin/python3", "/app"),
    propagated_mount="/var/lib/shelf",
    env=(variable("DEBUG=0"), variable("TOKEN"), variable("_z9=")),
    mounts=(Mount.parsed("state:/var/lib/s:/state"), Mount.parsed(":/etc/x:/x:ro")),
    capabilities=(capability("sys_admin"),),
    devices=("/dev/net/tun",),
)


def test_a_config_json_with_all_settings_is_read_without_findings() -> None:
    """Every setting that can be requested is written as an engine accepts it."""
    config = read_config(json.dumps(WANTED.as_json()).encode())

    assert config.findings == ()
    assert config.types == ("docker.volumedriver/1.0", "docker.authz/1.0")
    assert config.kinds == {"volumedriver", "authz"}
    assert config.part("network") == {"type": ""}
    assert config.part("linux")["capabilities"] == ["CAP_SYS_ADMIN"]
    assert [each["source"] for each in config.mounts] == ["/var/lib/s", "/etc/x"]
    assert [each["settable"] for each in config.mounts] == [["source"], []]
    assert config.mounts[1]["options"] == ["rbind", "ro"]
    assert [(each["name"], each.get("value")) for each in config.fields["env"]] == [
        ("PYTHONUNBUFFERED", "1"),
        ("DEBUG", "0"),
        ("TOKEN", None),
        ("_z9", ""),
    ]


def test_a_written_config_json_has_the_documented_keys() -> None:
    """Engines accept keys in any case, but other tools need the documented one."""
    settable = {"description": "", "settable": ["value"]}

    assert WANTED.as_json() == {
        "description": "mp/shelf:1",
        "documentation": "",
        "entrypoint": ["/usr/bin/python3", "/app"],
        "workdir": "/",
        "interface": {
            "types": ["docker.volumedriver/1.0", "docker.authz/1.0"],
            "socket": "shelf.sock",
        },
        "network": {"type": ""},
        "linux": {
            "capabilities": ["CAP_SYS_ADMIN"],
            "devices": [{"name": "tun", "description": "", "path": "/dev/net/tun", "settable": []}],
        },
        "mounts": [
            {
                "name": "state",
                "description": "",
                "source": "/var/lib/s",
                "destination": "/state",
                "type": "bind",
                "options": ["rbind"],
                "settable": ["source"],
            },
            {
                "name": "",
                "description": "",
                "source": "/etc/x",
                "destination": "/x",
                "type": "bind",
                "options": ["rbind", "ro"],
                "settable": [],
            },
        ],
        "env": [
            {"name": "PYTHONUNBUFFERED", "description": "", "settable": [], "value": "1"},
            {"name": "DEBUG", **settable, "value": "0"},
            {"name": "TOKEN", **settable},
            {"name": "_z9", **settable, "value": ""},
        ],
        "propagatedMount": "/var/lib/shelf",
    }


def test_settings_that_were_not_requested_are_empty_or_omitted() -> None:
    """The network is empty, and the plugin's name takes the place of a missing description."""
    bare = Wanted(reference="shelf").as_json()

    assert bare["description"] == "shelf"
    assert Wanted(reference="shelf", description="Books.").as_json()["description"] == "Books."
    assert bare["network"] == {"type": ""}
    assert Wanted(reference="shelf", network="host").as_json()["network"] == {"type": "host"}
    assert bare["linux"] == {"capabilities": [], "devices": []}
    assert "propagatedMount" not in bare


@every("text", ["", "=1", "A B=1", "a-b", "1A", "Aü", "A=\0"])
def test_an_invalid_environment_variable_is_refused(text: str) -> None:
    """The name of a variable must be one that a shell accepts."""
    with pytest.raises(SettingsError) as caught:
        variable(text)

    assert str(caught.value) == f"{quoted(text)} is not of the form NAME or NAME=VALUE"


@every("text", ["/a:/b", "n:/a", "n:a:/b", "n:/a:b", "n:/a:/b:rw", "n:/a:/b:ro:x"])
def test_an_invalid_mount_is_refused(text: str) -> None:
    """Both paths of a mount must be absolute, and only ``:ro`` may follow them."""
    with pytest.raises(SettingsError) as caught:
        Mount.parsed(text)

    assert str(caught.value) == (
        f"{quoted(text)} is not of the form NAME:SOURCE:DESTINATION[:ro], with absolute paths:"
        " for example state:/var/lib/shelf:/state"
    )


def test_an_environment_variable_has_a_name_and_optionally_a_value() -> None:
    """The name may be in lower case; the value begins after the first =."""
    assert variable("a1") == {"name": "a1", "description": "", "settable": ["value"]}
    assert variable("_A=b=c")["value"] == "b=c"
    assert variable("A=")["value"] == ""


def test_a_capability_is_accepted_in_any_case_and_without_its_prefix() -> None:
    """net_admin becomes CAP_NET_ADMIN; a text that is not one word is refused."""
    for text in ("CAP_NET_ADMIN", "NET_ADMIN", "net_admin", "cap_Net_Admin"):
        assert capability(text) == "CAP_NET_ADMIN"
    with pytest.raises(SettingsError, match=r"^'net admin' is not a capability such as CAP"):
        capability("net admin")


@every(
    ("data", "why"),
    [
        (b"", "empty"),
        (b"[]", "an array"),
        (b"null", "null"),
        (b'{"a": 1', "Expecting"),
        (b"{} x", "Extra data"),
        (b"\xef\xbb\xbf{}", ""),
        (b'{"description": "\xff"}', ""),
        (b'{"a": NaN}', "NaN"),
        (b"[" * 100_000, ""),
    ],
)
def test_a_file_that_is_not_a_json_object_is_a_single_problem(data: bytes, why: str) -> None:
    """An engine refuses the whole config.json, so no other findings are reported."""
    config = read_config(data)

    assert (config.readable, config.fields) == (False, {})
    (finding,) = config.findings
    assert why in finding.what
    assert finding == Finding(
        PROBLEM,
        "config.json",
        finding.what,
        "an engine refuses to create the plugin",
        "write it as one JSON object in UTF-8, as `moby-plugins package` does",
    )


@every(
    ("config", "where", "is_now", "wanted"),
    [
        ({"description": 3}, "description", "a number", "a string"),
        ({"Interface": {"Types": "docker.authz/1.0"}}, "interface.types", "a string", "an array"),
        ({"interface": {"types": [None]}}, "interface.types[0]", "null", "a string"),
        ({"entrypoint": "/app"}, "entrypoint", "a string", "an array"),
        ({"entrypoint": [1]}, "entrypoint[0]", "a number", "a string"),
        ({"user": "nobody"}, "user", "a string", "an object"),
        ({"user": {"uid": -1}}, "user.uid", "a number", "a number from 0 to 4294967295"),
        ({"user": {"gid": 1 << 32}}, "user.gid", "a number", "a number from 0 to 4294967295"),
        ({"user": {"uid": True}}, "user.uid", "a boolean", "a number from 0 to 4294967295"),
        ({"linux": []}, "linux", "an array", "an object"),
        ({"linux": {"devices": [{"path": 1}]}}, "linux.devices[0].path", "a number", "a string"),
        ({"mounts": {}}, "mounts", "an object", "an array"),
        ({"env": [{"settable": "value"}]}, "env[0].settable", "a string", "an array"),
        ({"ipchost": "yes"}, "ipchost", "a string", "a boolean"),
    ],
)
def test_a_key_with_a_value_of_the_wrong_json_type_is_a_problem(
    config: Any, where: str, is_now: str, wanted: str
) -> None:
    """An engine cannot decode such a config.json; the case of keys does not matter."""
    assert found(config) == [
        Finding(
            PROBLEM,
            f"config.json: {where}",
            f"it is {is_now}, and not {wanted}",
            "an engine cannot decode it, and refuses to create the plugin",
            f"write {wanted} there",
        )
    ]


@every(
    ("config", "where", "said"),
    [
        (
            {"propagateMount": "/x"},
            "propagateMount",
            (
                "'propagateMount' is not a key of a plugin's configuration;"
                " did you mean propagatedmount?"
            ),
        ),
        (
            {"interface": {"type": []}},
            "interface.type",
            "'type' is not a key of a plugin's configuration; did you mean types?",
        ),
        (
            {"mounts": [{"xyz": "/x"}]},
            "mounts[0].xyz",
            "'xyz' is not a key of a plugin's configuration",
        ),
    ],
)
def test_an_unknown_key_is_a_warning(config: Any, where: str, said: str) -> None:
    """Keys are checked at any depth, and a known key with a similar name is suggested."""
    meant = said.partition("did you mean ")[2].rstrip("?")

    assert found(config) == [
        Finding(
            WARNING,
            f"config.json: {where}",
            said,
            "engines ignore it silently, so it has no effect",
            f"write {meant} instead" if meant else "remove it",
        )
    ]


def test_user_and_group_ids_from_0_to_4294967295_are_accepted() -> None:
    """Engines decode both ids as 32 bits without a sign."""
    config = read_config(b'{"user": {"uid": 0, "gid": 4294967295}}')

    assert config.findings == ()
    assert config.part("user") == {"uid": 0, "gid": 4294967295}


def test_null_in_an_array_is_an_empty_element_and_a_wrong_type_is_skipped() -> None:
    """Go decodes null so; the elements after one of the wrong type are still read."""
    config = read_config(
        b'{"entrypoint": ["a", null, 1, "b"], "mounts": [null, 1, {"name": "m"}],'
        b' "interface": {"types": [null, "docker.authz/1.0"]}}'
    )

    assert config.texts("entrypoint") == ("a", "", "b")
    assert config.mounts == ({}, {"name": "m"})
    assert config.types == ("docker.authz/1.0",)
    assert [each.where.rpartition(" ")[2] for each in config.findings] == [
        "entrypoint[2]",
        "mounts[1]",
        "interface.types[0]",
    ]


def test_a_key_with_the_value_null_counts_as_absent() -> None:
    """Go decodes null as an empty value, so there is no finding about its type."""
    nothing = dict.fromkeys(("interface", "entrypoint", "mounts", "env", "linux", "user"))

    config = read_config(json.dumps(nothing).encode())

    assert config.findings == ()
    assert (config.types, config.mounts, config.texts("entrypoint")) == ((), (), ())


@every(
    "given",
    [
        "volumedriver",
        "docker.VolumeDriver/1.0",
        "docker.volumedriver/2.0",
        "docker.volumedriver",
        "docker.shelfdriver/1.0",
        '".olumedriver"]/',
        "docker.volumedriver/1.0\n",
        "x.volumedriver/1.0",
    ],
)
def test_an_interface_type_that_no_engine_looks_for_is_not_matched(given: str) -> None:
    """The prefix, subsystem, version and case of the type must match exactly."""
    assert matched_kind(given) == ""


def test_the_known_interface_types_are_all_subsystems_and_two_of_swarms() -> None:
    """The two types, csicontroller and csinode, have no subsystem class."""
    from moby_plugins.domain.plugin_config import KINDS
    from moby_plugins.subsystems import ENGINE_SUBSYSTEMS

    known = {kind.implements.lower() for kind in ENGINE_SUBSYSTEMS}
    assert {*KINDS} == known | {"csicontroller", "csinode"}


def test_a_plugins_description_is_found_among_its_other_output() -> None:
    """The last valid description line counts; malformed ones are ignored."""
    told = Description(("VolumeDriver",), "shelf.sock")
    output = f'hello\n{Description((), "x").line()}\n{told.line()}\nbye\n{{"moby-plugins": 3\n'

    assert Description.found(output) == told
    assert Description.found("hello") is None
    for broken in ("3", '{"implements": 3, "socket": ""}', '{"implements": []}', "{"):
        assert Description.found(f'{told.line()}\n{{"moby-plugins": {broken}}}') == told
    assert not DESCRIBE.startswith("MOBY_PLUGINS_")  # that would be a setting


def test_the_short_name_has_no_host_and_no_tag() -> None:
    """The directory of a packaged plugin is named after the short name."""
    assert short_name("host:5000/mp/shelf:1.0") == "shelf"
