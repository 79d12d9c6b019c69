"""What is written as ``config.json``, and what an engine would take from one."""

import json
from typing import Any

import pytest

from moby_plugins import SettingsError
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
from tests.cases import every


def found(config: Any) -> list[tuple[str, str]]:
    """How much each finding matters, and where it is."""
    data = config if isinstance(config, bytes) else json.dumps(config).encode()
    return [(each.severity, each.where) for each in read_config(data).findings]


@every("name", ["shelf", "mp/shelf", "mp/shelf:1.0", "host:5000/a/b_c:T", "a-b"])
def test_names_that_engines_take(name: str) -> None:
    """A path of small letters with a host before it and a tag behind it."""
    assert check_reference(name) == name


@every(
    "name", ["", "Shelf", "a//b", "../x", "a b", "a:", "a@sha256:0", "-a", "a\n", "ü", "a" * 256]
)
def test_other_names_are_refused(name: str) -> None:
    """Before anything is laid out; the text says what a name is."""
    with pytest.raises(SettingsError, match="is not a managed plugin's name"):
        check_reference(name)


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
        ("", "missing"),
        ("../../evil.sock", "not a plain name"),
        ("a/b.sock", "not a plain name"),
        ("..", "not a plain name"),
        ("a" * 23, "has 23 bytes, and an engine reaches at most 22"),
        ("ü" * 12, "has 24 bytes"),
        ("a" * 22, ""),
    ],
)
def test_sockets_that_no_engine_reaches(socket: str, concern: str) -> None:
    """Bytes count, and not characters."""
    assert concern in socket_concern(socket)
    assert bool(concern) == bool(socket_concern(socket))


def test_what_is_laid_out_is_read_without_a_finding() -> None:
    """All that can be asked for, as an engine takes it; the network is empty."""
    wanted = Wanted(
        reference="mp/shelf:1",
        kinds=("VolumeDriver", "authz"),
        socket="shelf.sock",
        entrypoint=("/usr/bin/python3", "/app"),
        propagated_mount="/var/lib/shelf",
        env=(variable("DEBUG=0"), variable("TOKEN")),
        mounts=(Mount.parsed("state:/var/lib/s:/state"), Mount.parsed(":/etc/x:/x:ro")),
        capabilities=(capability("sys_admin"),),
        devices=("/dev/fuse",),
    )

    config = read_config(json.dumps(wanted.as_json()).encode())

    assert config.findings == ()
    assert config.types == ("docker.volumedriver/1.0", "docker.authz/1.0")
    assert config.kinds == {"volumedriver", "authz"}
    assert wanted.as_json()["network"] == {"type": ""}
    assert config.part("linux")["capabilities"] == ["CAP_SYS_ADMIN"]
    assert [each["settable"] for each in config.mounts] == [["source"], []]
    assert config.mounts[1]["options"] == ["rbind", "ro"]
    env = config.fields["env"]
    assert [(each["name"], each.get("value")) for each in env] == [
        ("PYTHONUNBUFFERED", "1"),
        ("DEBUG", "0"),
        ("TOKEN", None),
    ]


@every("text", ["", "=1", "A B=1", "a-b", "A=\0"])
def test_variables_that_are_none(text: str) -> None:
    """A name is what a shell takes for one."""
    with pytest.raises(SettingsError, match="not of the form NAME"):
        variable(text)


@every("text", ["/a:/b", "n:/a", "n:a:/b", "n:/a:b", "n:/a:/b:rw", "n:/a:/b:ro:x"])
def test_mounts_that_are_none(text: str) -> None:
    """Both paths are absolute; nothing but ``ro`` follows them."""
    with pytest.raises(SettingsError, match="not of the form NAME:SOURCE:DESTINATION"):
        Mount.parsed(text)


def test_a_capability_is_a_word() -> None:
    """In any case, with its prefix or without."""
    assert capability("CAP_NET_ADMIN") == "CAP_NET_ADMIN"
    with pytest.raises(SettingsError, match="is not a capability"):
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

    assert not config.readable
    assert [each.severity for each in config.findings] == ["problem"]
    assert why in config.findings[0].what


@every(
    ("config", "where"),
    [
        ({"description": 3}, "description"),
        ({"Interface": {"Types": "docker.authz/1.0"}}, "interface.types"),
        ({"interface": {"types": [None]}}, "interface.types[0]"),
        ({"entrypoint": "/app"}, "entrypoint"),
        ({"entrypoint": [1]}, "entrypoint[0]"),
        ({"user": "nobody"}, "user"),
        ({"user": {"uid": -1}}, "user.uid"),
        ({"user": {"uid": True}}, "user.uid"),
        ({"linux": []}, "linux"),
        ({"linux": {"devices": [{"path": 1}]}}, "linux.devices[0].path"),
        ({"mounts": {}}, "mounts"),
        ({"env": [{"settable": "value"}]}, "env[0].settable"),
        ({"ipchost": "yes"}, "ipchost"),
    ],
)
def test_a_wrong_type_of_json_is_a_problem(config: Any, where: str) -> None:
    """An engine cannot decode it; keys count in any case."""
    assert found(config) == [("problem", f"config.json: {where}")]


@pytest.mark.parametrize(
    ("config", "where"),
    [
        ({"propagateMount": "/x"}, "propagateMount"),
        ({"interface": {"type": []}}, "interface.type"),
        ({"mounts": [{"src": "/x"}]}, "mounts[0].src"),
    ],
)
def test_an_unknown_key_is_a_warning(config: Any, where: str) -> None:
    """At any depth; what was meant is said where it is near."""
    findings = read_config(json.dumps(config).encode()).findings

    assert [(each.severity, each.where) for each in findings] == [
        ("warning", f"config.json: {where}")
    ]
    assert "engines ignore it" in findings[0].why


def test_an_unknown_key_may_be_meant_for_another() -> None:
    """``propagateMount`` is what authors write for ``propagatedMount``."""
    (finding,) = read_config(b'{"propagateMount": "/x"}').findings

    assert "did you mean propagatedmount?" in finding.what


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
    assert not DESCRIBE.startswith("MOBY_PLUGINS_")  # that would be a setting


def test_the_short_name_has_no_host_and_no_tag() -> None:
    """What a directory is called after."""
    assert short_name("host:5000/mp/shelf:1.0") == "shelf"
