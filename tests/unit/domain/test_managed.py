"""Managed plugins as engines tell of them: names, capabilities, paths."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moby_plugins.domain.errors import SpecError
from moby_plugins.domain.managed import (
    SUBSYSTEMS,
    asked_as,
    familiar,
    found_plugin,
    is_api_version,
    is_called,
    is_engine_name,
    is_socket_name,
    manifest_of,
    read_plugin,
    read_plugins,
    read_root,
    unmatched,
)
from moby_plugins.domain.plugin import (
    Managed,
    ManagedPlugin,
    Plugin,
    PluginMount,
    check_protocol,
)
from moby_plugins.subsystems import ENGINE_SUBSYSTEMS
from tests.cases import every

ROOTFS = "/r/plugins/ID/rootfs"
SCOPE = Managed(ROOTFS, "/mnt/v")
PROPAGATED = "/r/plugins/ID/propagated-mount"


@every(
    ("path", "scoped"),
    [
        # As Go has them.
        ("/mnt/v/a", f"{PROPAGATED}/a"),
        ("/mnt/v", PROPAGATED),
        ("/mnt/v2/a", f"{PROPAGATED}/2/a"),
        ("/mnt", f"{ROOTFS}/mnt"),
        ("", ROOTFS),
        ("a/b", f"{ROOTFS}/a/b"),
        ("//mnt/v/a", f"{ROOTFS}/mnt/v/a"),
        ("/mnt/v//a/./b", f"{PROPAGATED}/a/b"),
        # Go's lead out of the plugin's directory.
        ("/mnt/v/../../../etc", f"{PROPAGATED}/etc"),
        ("/../../../etc/passwd", f"{ROOTFS}/etc/passwd"),
        ("/mnt/v..", PROPAGATED),
        ("/mnt/v/a/../b/..", PROPAGATED),
        ("/mnt/v/a/b/c/../d", f"{PROPAGATED}/a/b/d"),
        ("..", ROOTFS),
    ],
)
def test_a_path_is_scoped_as_engines_have_it(path: str, scoped: str) -> None:
    """The mount is a prefix of the path as it was given; only what is left is cleaned."""
    assert SCOPE.scoped(path) == scoped


def test_the_prefix_may_end_inside_a_name() -> None:
    """As the engine compares strings."""
    shelf = Managed(ROOTFS, "/var/lib/shelf")

    assert shelf.scoped("/var/lib/shelf2/a") == f"{PROPAGATED}/2/a"


def test_without_a_mount_every_path_is_in_the_root_file_system() -> None:
    """Also the empty one."""
    assert Managed(ROOTFS).scoped("/a") == f"{ROOTFS}/a"
    assert Managed(ROOTFS).scoped("") == ROOTFS


@given(st.text(alphabet="./amntv", max_size=30), st.sampled_from(["", "/", "/mnt/v", "a", ".."]))
def test_no_path_leads_out_of_the_plugins_directory(path: str, mount: str) -> None:
    """Whatever the plugin answers, and whatever its mount is called."""
    scoped = Managed(ROOTFS, mount).scoped(path)

    assert ".." not in scoped.split("/")
    assert scoped.startswith((ROOTFS, PROPAGATED))


@every(
    ("types", "implements"),
    [
        (["docker.volumedriver/1.0"], ("VolumeDriver",)),
        (["docker.networkdriver/1.0", "docker.ipamdriver/1.0"], ("NetworkDriver", "IpamDriver")),
        (["docker.authz/1.0"] * 2, ("authz",)),
        (["docker.volumedriver/9.9"], ("VolumeDriver",)),  # the version is not looked at
        (["docker.volumedriver"], ("VolumeDriver",)),
        (["docker.weatherstation/1.0"], ("weatherstation",)),
        (["docker.VolumeDriver/1.0"], ()),  # look-ups are in small letters
        (['.olumedriver"]/', "volumedriver", "", "acme.volumedriver/1.0", "docker./1.0"], ()),
    ],
)
def test_capabilities_are_the_manifest(types: list[str], implements: tuple[str, ...]) -> None:
    """Those that engines find a plugin by, as handshakes call them."""
    assert manifest_of(types).implements == implements


def test_what_no_look_up_matches_is_told() -> None:
    """A type's form, case, version or kind."""
    good = [f"docker.{name.lower()}/1.0" for name in SUBSYSTEMS]
    bad = ["docker.VolumeDriver/1.0", "docker.volumedriver", "docker.networkdriver/2.0"]
    bad += ["docker.weather/1.0", '.olumedriver"]/', "", "acme.authz/1.0"]

    assert unmatched([*good, *bad]) == tuple(bad)


def test_all_subsystems_that_engines_speak_have_a_capability() -> None:
    """The names of the domain are those of the classes."""
    assert {kind.implements for kind in ENGINE_SUBSYSTEMS} == {*SUBSYSTEMS}


@every(
    ("name", "whole"),
    [
        ("shelf", "shelf:latest"),
        ("shelf:v1", "shelf:v1"),
        ("mp/shelf", "mp/shelf:latest"),
        ("docker.io/mp/shelf", "mp/shelf:latest"),
        ("index.docker.io/library/shelf", "shelf:latest"),
        ("library/shelf:v1", "shelf:v1"),
        ("localhost:5000/shelf", "localhost:5000/shelf:latest"),
        ("Not A Name", "Not A Name"),
    ],
)
def test_a_name_is_written_as_engines_write_it(name: str, whole: str) -> None:
    """With its tag, and without what every name has."""
    assert familiar(name) == whole


def test_only_a_long_beginning_of_an_id_is_one() -> None:
    """A shorter one is what legacy plugins are called, and gets a tag that no id has."""
    assert asked_as("a" * 12) == "a" * 12
    assert asked_as("a" * 11) == "a" * 11 + ":latest"
    assert asked_as("g" * 12) == "g" * 12 + ":latest"


@given(st.text(max_size=40))
def test_a_name_of_an_engine_needs_no_escape_in_a_path(name: str) -> None:
    """Whatever is taken has neither dots for names nor what would end a path or a line."""
    if is_engine_name(name):
        assert not {*name} & {*" ?#%\\\\\r\n\0"}
        assert not {"", ".", ".."} & {*name.split("/")}


def test_a_protocol_that_is_not_spoken_is_refused() -> None:
    """It is told by the look-up, and dialled by no client."""
    other = Managed(ROOTFS, protocol="moby.plugins.grpc/v1")
    plugin = Plugin("p:latest", "unix:///p.sock", managed=other)

    assert plugin.protocol == "moby.plugins.grpc/v1"
    with pytest.raises(SpecError, match=r"speaks 'moby\.plugins\.grpc/v1'"):
        check_protocol(plugin)


def test_what_an_engine_leaves_out_has_a_default() -> None:
    """Only the name is needed; ``null`` is as good as nothing, and keys count in any case."""
    bare = ManagedPlugin("a", "", False, (), "", "moby.plugins.http/v1", "", (), ())
    nothing = dict.fromkeys(("Id", "Enabled", "Config", "Settings"))
    mount = PluginMount("", "", "", "", ())

    assert read_plugin({"name": "a"}) == read_plugin({"NAME": "a"} | nothing) == bare
    assert read_plugin({"Name": "a", "Settings": {"Mounts": [None, {}]}}).mounts == (mount, mount)
    assert read_plugin({"Name": "a", "Settings": {"Env": [None, "A=1"]}}).environment == ("", "A=1")
    assert read_plugin({"Name": "a", "Config": {"PropagatedMount": "/m"}}).propagated_mount == "/m"
    assert read_root({"DockerRootDir": "/d"}) == "/d"


@every(
    ("fields", "wrong"),
    [
        ([], "a plugin must be an object, not an array"),
        ({"Name": 1}, "Name must be a string, not a number"),
        ({"Name": ""}, "a plugin has the invalid name ''"),
        ({"Name": "a\0b"}, r"a plugin has the invalid name 'a\x00b'"),
        ({"Name": "a", "Id": 1}, "Id must be a string, not a number"),
        ({"Name": "a", "Enabled": "no"}, "Enabled must be a boolean, not a string"),
        ({"Name": "a", "Config": []}, "Config must be an object, not an array"),
        (
            {"Name": "a", "Config": {"Interface": ""}},
            "Config.Interface must be an object, not a string",
        ),
        (
            {"Name": "a", "Config": {"Interface": {"Types": "x"}}},
            "Config.Interface.Types must be an array, not a string",
        ),
        (
            {"Name": "a", "Config": {"Interface": {"Types": [1]}}},
            "Config.Interface.Types must be a string, not a number",
        ),
        (
            {"Name": "a", "Config": {"Interface": {"Socket": 1}}},
            "Config.Interface.Socket must be a string, not a number",
        ),
        (
            {"Name": "a", "Config": {"Interface": {"ProtocolScheme": 1}}},
            "Config.Interface.ProtocolScheme must be a string, not a number",
        ),
        (
            {"Name": "a", "Config": {"PropagatedMount": 1}},
            "Config.PropagatedMount must be a string, not a number",
        ),
        ({"Name": "a", "Settings": 1}, "Settings must be an object, not a number"),
        (
            {"Name": "a", "Settings": {"Env": {}}},
            "Settings.Env must be an array, not an object",
        ),
        (
            {"Name": "a", "Settings": {"Mounts": {}}},
            "Settings.Mounts must be an array, not an object",
        ),
        (
            {"Name": "a", "Settings": {"Mounts": [""]}},
            "Settings.Mounts must be an object, not a string",
        ),
        *(
            (
                {"Name": "a", "Settings": {"Mounts": [{key: 1}]}},
                f"Settings.Mounts.{key} must be a string, not a number",
            )
            for key in ("Name", "Source", "Destination", "Type")
        ),
        (
            {"Name": "a", "Settings": {"Mounts": [{"Options": "ro"}]}},
            "Settings.Mounts.Options must be an array, not a string",
        ),
    ],
)
def test_what_is_of_another_type_is_an_error_that_names_the_field(
    fields: object, wrong: str
) -> None:
    """As the engine's API names it."""
    with pytest.raises(ValueError, match=f"^{re.escape(wrong)}$"):
        read_plugin(fields)


def test_what_is_no_list_or_object_of_an_engine_is_an_error() -> None:
    """Each response has its name."""
    with pytest.raises(ValueError, match=r"^the list of plugins must be an array, not an object$"):
        read_plugins({})
    with pytest.raises(ValueError, match=r"^the engine's information must be an object, not an ar"):
        read_root([])


@every(
    ("plugin", "root", "wrong"),
    [
        (
            ManagedPlugin("a", "b" * 63, True, (), "s"),
            "/d",
            f"plugin 'a' has the id '{'b' * 63}', which is not a valid id",
        ),
        (
            ManagedPlugin("a", "b" * 64, True, (), "../s"),
            "/d",
            (
                "the socket of plugin 'a' is called '../s', which is not a file's name:"
                " correct interface.socket in its config.json"
            ),
        ),
        (
            ManagedPlugin("a", "b" * 64, True, (), "s"),
            "d",
            "the engine keeps its data in 'd', which is not an absolute path",
        ),
        (
            ManagedPlugin("a", "b" * 64, True, (), "s"),
            None,
            "the engine keeps its data in None, which is not an absolute path",
        ),
    ],
)
def test_what_no_socket_can_be_derived_from_is_an_error(
    plugin: ManagedPlugin, root: object, wrong: str
) -> None:
    """It says which value is at fault."""
    with pytest.raises(SpecError) as caught:
        found_plugin(plugin, root)

    assert caught.value.reason == wrong


def test_a_root_may_end_with_a_slash() -> None:
    """Paths have one in its place."""
    plugin = ManagedPlugin("a", "b" * 64, True, (), "s", "x/1", "/m")

    found = found_plugin(plugin, "/dX//")

    assert found.managed == Managed(f"/dX/plugins/{'b' * 64}/rootfs", "/m", "x/1")
    assert found.addr == f"unix:///run/docker/plugins/{'b' * 64}/s"


def test_a_plugin_is_called_by_its_name_or_a_long_beginning_of_its_id() -> None:
    """Another plugin's id is none of its names."""
    plugin = ManagedPlugin("shelf:latest", "b" * 64, True, (), "s")

    for name in ("shelf", "shelf:latest", "docker.io/library/shelf", "b" * 12, "b" * 64):
        assert is_called(plugin, name)
    for name in ("shelf:1", "b" * 11, "c" * 12, ""):
        assert not is_called(plugin, name)


@every("text", ["1.0", "1.45", "12.345", "123.1"])
def test_a_version_of_the_api_is_two_numbers(text: str) -> None:
    """So that it can be a part of a URL."""
    assert is_api_version(text)


@every("text", ["", "1", "1.", ".1", "1.2.3", "1.4/../x", "v1.4", "1234.1", "1.2\n"])
def test_another_text_is_no_version_of_the_api(text: str) -> None:
    """Nothing else becomes a part of one."""
    assert not is_api_version(text)


@every("name", ["a.sock", "...", "a\\b"])
def test_the_name_of_a_socket_is_that_of_a_file(name: str) -> None:
    """Any that leads to no directory."""
    assert is_socket_name(name)


@every("name", ["", ".", "..", "a/b", "/", "a\0b"])
def test_a_path_is_no_name_of_a_socket(name: str) -> None:
    """Nor is what no file can be called."""
    assert not is_socket_name(name)


@every("given", [{}, {"Name": None}, {"Name": ""}])
def test_a_plugin_of_an_engine_has_a_name(given: dict[str, object]) -> None:
    """One without is none."""
    with pytest.raises(ValueError, match=r"^a plugin has the invalid name ''$"):
        read_plugin({"Id": "a", **given})


def test_a_name_with_a_digest_has_no_tag() -> None:
    """And one with neither has the usual one."""
    digest = "@sha256:" + "0" * 64
    assert familiar(f"docker.io/library/shelf{digest}") == f"shelf{digest}"
    assert familiar("shelf") == "shelf:latest"


@every(
    ("name", "may"),
    [
        ("a" * 255, True),
        ("a" * 256, False),
        (f"{'a' * 255}:{'t' * 128}", True),
        ("a" * 601, False),
        (None, False),
        (b"a", False),
    ],
)
def test_an_engine_bounds_the_names_of_plugins(name: object, may: object) -> None:
    """The part before the tag, and all of it; and a name is a text."""
    assert is_engine_name(name) is may
