"""What is written as ``config.json``, and what an engine would take from one."""

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
def test_names_that_engines_take(name: str) -> None:
    """A path of small letters with a host before it and a tag behind it."""
    assert check_reference(name) == name


@every(
    "name", ["", "Shelf", "a//b", "../x", "a b", "a:", "a@sha256:0", "-a", "a\n", "ü", "a" * 256]
)
def test_other_names_are_refused(name: str) -> None:
    """Before anything is laid out; the text says what a name is."""
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
def test_a_socket_is_called_after_the_plugin_within_22_bytes(reference: str, socket: str) -> None:
    """An engine dials it below a directory whose name has 64 digits."""
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
def test_sockets_that_no_engine_reaches(socket: str, concern: str) -> None:
    """Bytes count, and not characters."""
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


def test_what_is_laid_out_is_read_without_a_finding() -> None:
    """All that can be asked for, as an engine takes it; the network is empty."""
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


def test_what_is_laid_out_is_written_as_engines_call_it() -> None:
    """Every key to the letter: an engine takes any case, and other tools do not."""
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


def test_what_was_not_asked_for_is_empty_or_left_out() -> None:
    """The network is empty, and a description is the name where there is none."""
    bare = Wanted(reference="shelf").as_json()

    assert bare["description"] == "shelf"
    assert Wanted(reference="shelf", description="Books.").as_json()["description"] == "Books."
    assert bare["network"] == {"type": ""}
    assert Wanted(reference="shelf", network="host").as_json()["network"] == {"type": "host"}
    assert bare["linux"] == {"capabilities": [], "devices": []}
    assert "propagatedMount" not in bare


@every("text", ["", "=1", "A B=1", "a-b", "1A", "Aü", "A=\0"])
def test_variables_that_are_none(text: str) -> None:
    """A name is what a shell takes for one."""
    with pytest.raises(SettingsError) as caught:
        variable(text)

    assert str(caught.value) == f"{quoted(text)} is not of the form NAME or NAME=VALUE"


@every("text", ["/a:/b", "n:/a", "n:a:/b", "n:/a:b", "n:/a:/b:rw", "n:/a:/b:ro:x"])
def test_mounts_that_are_none(text: str) -> None:
    """Both paths are absolute; nothing but ``ro`` follows them."""
    with pytest.raises(SettingsError) as caught:
        Mount.parsed(text)

    assert str(caught.value) == (
        f"{quoted(text)} is not of the form NAME:SOURCE:DESTINATION[:ro], with absolute paths:"
        " for example state:/var/lib/shelf:/state"
    )


def test_a_variable_has_a_name_and_perhaps_a_value() -> None:
    """In small letters, too."""
    assert variable("a1") == {"name": "a1", "description": "", "settable": ["value"]}
    assert variable("_A=b=c")["value"] == "b=c"
    assert variable("A=")["value"] == ""


def test_a_capability_is_a_word() -> None:
    """In any case, with its prefix or without."""
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
def test_what_is_no_configuration_is_one_problem(data: bytes, why: str) -> None:
    """An engine refuses all of it, so nothing else is judged."""
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
def test_a_wrong_type_of_json_is_a_problem(
    config: Any, where: str, is_now: str, wanted: str
) -> None:
    """An engine cannot decode it; keys count in any case."""
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
    """At any depth; what was meant is said where it is near."""
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


def test_ids_reach_from_the_superusers_to_the_largest() -> None:
    """Both are in 32 bits without a sign."""
    config = read_config(b'{"user": {"uid": 0, "gid": 4294967295}}')

    assert config.findings == ()
    assert config.part("user") == {"uid": 0, "gid": 4294967295}


def test_null_in_an_array_is_an_empty_element_and_a_wrong_one_is_left_out() -> None:
    """As Go decodes them; what follows is read."""
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


def test_null_is_as_good_as_nothing() -> None:
    """As Go decodes it."""
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
def test_types_that_no_engine_matches(given: str) -> None:
    """Its form, its case and its kind count, to the letter."""
    assert matched_kind(given) == ""


def test_kinds_are_those_of_the_subsystems() -> None:
    """All that this library knows, and the two of swarms."""
    from moby_plugins.domain.plugin_config import KINDS
    from moby_plugins.subsystems import ENGINE_SUBSYSTEMS

    known = {kind.implements.lower() for kind in ENGINE_SUBSYSTEMS}
    assert {*KINDS} == known | {"csicontroller", "csinode"}


def test_a_description_is_found_among_what_else_is_printed() -> None:
    """The last one counts; half a line is none."""
    told = Description(("VolumeDriver",), "shelf.sock")
    output = f'hello\n{Description((), "x").line()}\n{told.line()}\nbye\n{{"moby-plugins": 3\n'

    assert Description.found(output) == told
    assert Description.found("hello") is None
    for broken in ("3", '{"implements": 3, "socket": ""}', '{"implements": []}', "{"):
        assert Description.found(f'{told.line()}\n{{"moby-plugins": {broken}}}') == told
    assert not DESCRIBE.startswith("MOBY_PLUGINS_")  # that would be a setting


def test_the_short_name_has_no_host_and_no_tag() -> None:
    """What a directory is called after."""
    assert short_name("host:5000/mp/shelf:1.0") == "shelf"
